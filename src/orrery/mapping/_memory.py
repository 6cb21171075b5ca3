"""What lies in a device's off-chip memory over the time of a schedule.

Models:  weights and other residents for ever; tensors from when their region or transfer starts
         until nobody there needs them.
Ignores: fragmentation, alignment, work space of kernels, reuse of an input's bytes in place.
Judge:   a sweep over all instants, in the tests.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from itertools import accumulate


class Shortage(Exception):
    """A region (-1: the schedule as a whole) needs `need` bytes on a device that has `have`.

    Raised and caught inside this room; users get an `Infeasible`.
    """

    def __init__(self, *, region: int, device: int, need: int, have: int) -> None:
        self.region, self.device, self.need, self.have = region, device, need, have
        super().__init__(f"region {region} on device {device}: need {need} bytes, have {have}")


class Occupancy:
    """The bytes in use in one memory.

    Attributes
    ----------
    capacity_bytes : what there is
    resident_bytes : held from before the start to after the end
    """

    __slots__ = ("_changes", "_ever", "capacity_bytes", "resident_bytes")

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.resident_bytes = 0
        self._ever = 0  # all that was ever allocated: while that fits, nobody needs to look closer
        self._changes: list[tuple[float, int]] = []

    def peak(self, *, resident: int = 0, allocations: Sequence[tuple[float, int]] = ()) -> int:
        """Return the most bytes in use, or an upper bound of them that still fits.

        Parameters
        ----------
        resident : further resident bytes, as if they were there
        allocations : further allocations (seconds, bytes), never freed, as if made
        """
        base = self.resident_bytes + resident
        bound = base + self._ever + sum(size for _, size in allocations)
        if bound <= self.capacity_bytes:
            return bound
        # At one instant frees (negative) sort first: the next region takes over what one gave.
        changes = sorted([*self._changes, *allocations]) if allocations else self._changes
        return base + max(accumulate((size for _, size in changes), initial=0))

    def allocate(self, time_s: float, size_bytes: int) -> None:
        """Hold bytes from an instant on."""
        self._ever += size_bytes
        insort(self._changes, (time_s, size_bytes))

    def free(self, time_s: float, size_bytes: int) -> None:
        """Give bytes back at an instant."""
        insort(self._changes, (time_s, -size_bytes))
