"""What a user may decide about offloading: sizes as text with a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orrery.settings import setting
from orrery.units import read_quantity

if TYPE_CHECKING:
    from orrery.mapping.offload import OffloadSearch
    from orrery.runtime.offload import OffloadSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadOptions:
    """Settings of `orrery.offload`."""

    least: str = setting("1 MiB", "Smaller saved tensors stay in memory and are not planned.")
    block: str = setting("1 MiB", "Of one request; whole sectors of 4 KiB.")
    threads: int = setting(4, "That make requests; with io_uring, half of the requests at once.")
    engine: Literal["io_uring", "threads"] | None = setting(
        None, "How requests are made; None: io_uring where the process may use it, else threads."
    )
    queue: str = setting(
        "64 MiB", "Of tensors that may wait to be written before the forward does."
    )
    ahead: str = setting("256 MiB", "Of memory for what is read before it is needed.")
    when_full: Literal["memory", "raise"] = setting(
        "memory", "A tensor that cannot be written stays in memory, or ends the step (raise)."
    )
    packing: bool = setting(True, "Elements that are mostly zero may travel packed, without loss.")
    recompute: bool = setting(
        True, "Tensors may be made again where that gave the same bits when it was tried and takes "
        "less than moving them."
    )  # fmt: skip
    storage: Literal["exact", "fp16"] = setting(
        "exact", "fp16: single precision is written with half the bits, no element off by more "
        "than 2^-11 of its tensor's largest; gradients are then not exact, nothing is made again."
    )  # fmt: skip
    device: str = setting(
        "cpu", "Whose tensors are moved, and whose memory is limited: cpu, cuda, cuda:1, ..."
    )
    direct: bool = setting(True, "Go past the system's cache where it allows that.")
    trace: bool = setting(False, "Keep a record of each request, for IoTrace files.")
    return_freed: bool = setting(
        True, "Have freed memory given back to the system where the limit is near."
    )
    method: Literal["two_phases", "improved", "exact"] = setting(
        "improved", "How plans are searched: OffloadSearch says what each means."
    )

    def moving(self, folders: Sequence[Path], limit_bytes: int | None) -> OffloadSettings:
        """Return the settings of the part that moves tensors.

        Raises
        ------
        SpecError : a size without a unit, or one that cannot be
        """
        from orrery.runtime.offload import OffloadSettings

        return OffloadSettings(
            folders=tuple(folders), limit_bytes=limit_bytes, threads=self.threads,
            engine=self.engine,
            least_bytes=self._bytes("least"), block_bytes=self._bytes("block"),
            queue_bytes=self._bytes("queue", zero_allowed=True),
            ahead_bytes=self._bytes("ahead", zero_allowed=True),
            when_full=self.when_full, packing=self.packing, direct=self.direct, trace=self.trace,
            return_freed=self.return_freed, recompute=self.recompute, storage=self.storage,
            device=self.device,
        )  # fmt: skip

    def search(self) -> OffloadSearch:
        """Return the settings of the part that plans."""
        from orrery.mapping.offload import OffloadSearch

        return OffloadSearch(
            method=self.method,
            least_bytes=self._bytes("least"),
            pack=self.packing,
            recompute=self.recompute,
        )

    def _bytes(self, key: str, *, zero_allowed: bool = False) -> int:
        text = getattr(self, key)
        return size_bytes(text, f"offload options: {key}", zero_allowed=zero_allowed)


def size_bytes(text: object, where: str, *, zero_allowed: bool = False) -> int:
    """Return text such as ``"4 GiB"`` as whole bytes.

    Raises
    ------
    SpecError : a bare number, an unknown unit, what cannot be a size
    """
    return int(read_quantity(text, "size", where=where, zero_allowed=zero_allowed))
