"""A tensor cut into cells, none of which any box in question cuts, and who holds which when.

Models:  a part is held from when it is begun (computed, sent) to its last use; it may be used from
         when it is complete. A sum is complete where all its addends have come together.
Ignores: copies made twice on one device at one time count once.
Judge:   a dictionary of single elements (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.certificate import Box

#: later than any instant of any clock
NEVER = 2**62

Index = tuple[slice, ...]


def fits(box: Box, sizes: Sequence[int]) -> bool:
    """Whether a box is a part of a tensor of these sizes."""
    return len(box) == len(sizes) and all(
        len(span) == 2 and 0 <= span[0] <= span[1] <= size for span, size in zip(box, sizes)
    )


class Cells:
    """The cells of a tensor: its axes cut wherever one of the boxes begins or ends."""

    def __init__(self, sizes: Sequence[int], boxes: Iterable[Box]) -> None:
        self._scalar = not sizes
        cuts = [{0, size} for size in sizes or (1,)]
        if not self._scalar:
            for box in set(boxes):
                for own, span in zip(cuts, box):
                    own.update(span)
        ordered = [sorted(mine) for mine in cuts]
        self._place = [{cut: i for i, cut in enumerate(mine)} for mine in ordered]
        self.shape = tuple(len(mine) - 1 for mine in ordered)
        self.volume: NDArray[np.int64] = np.full(self.shape, prod(mine[-1] for mine in ordered))
        if self.volume.size > 1:
            self.volume[...] = 1
            for axis, mine in enumerate(ordered):
                lengths = np.array(mine[1:]) - np.array(mine[:-1])
                self.volume *= lengths.reshape(-1, *(1,) * (len(ordered) - axis - 1))

    def index(self, box: Box) -> Index:
        """Return the cells of a box, which is one of those that the tensor was cut by."""
        if self._scalar:
            return (slice(0, 1),)
        return tuple(slice(place[a], place[b]) for place, (a, b) in zip(self._place, box))


class Held:
    """What one device, or another end, has of one tensor.

    Attributes
    ----------
    ready : per cell, since when it is complete there
    addends : per cell, the set of addends that have come together, as bits; None without sums
    """

    def __init__(self, cells: Cells, *, sums: bool) -> None:
        self.ready: NDArray[np.int64] = np.full(cells.shape, NEVER, np.int64)
        self.addends: NDArray[Any] | None = np.zeros(cells.shape, object) if sums else None
        self._cells = cells
        self._begin = np.full(cells.shape, -1, np.int64)
        self._until = np.full(cells.shape, -1, np.int64)
        self._kept = np.zeros(cells.shape, bool)
        self._past: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []

    def given(self, index: Index, *, kept: bool) -> None:
        """Note what lies there from the start, and if it has to lie there at the end.

        In between it may be away, as a part that goes round a ring and comes home.
        """
        self.ready[index] = 0
        if kept:
            self._kept[index] = True
            self._begin[index] = self._until[index] = 0

    def hold(self, index: Index, begin: int, until: int) -> None:
        """Note that a part is made or arrives there from one instant to another."""
        old_begin, old_until = self._begin[index], self._until[index]
        over = (old_begin >= 0) & (old_until < begin)
        if over.any():
            volume = self._cells.volume[index]
            self._past.append((old_begin[over], old_until[over], volume[over]))
        fresh = over | (old_begin < 0)
        self._begin[index] = np.where(fresh, begin, np.minimum(old_begin, begin))
        self._until[index] = np.where(fresh, until, np.maximum(old_until, until))

    def complete(self, index: Index, at: int) -> None:
        """Note that a part is complete."""
        self.ready[index] = np.minimum(self.ready[index], at)

    def use(self, index: Index, at: int, until: int) -> bool:
        """Note a use and return whether all of the part was there."""
        begin = self._begin[index]
        self._begin[index] = np.where(begin < 0, at, begin)
        self._until[index] = np.maximum(self._until[index], until)
        return bool((self.ready[index] <= at).all())

    def lives(
        self, end: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
        """Return begins, ends and elements of everything that was held for some time.

        What has to lie there at the end is held from when it last came.
        """
        held = self._begin >= 0
        until = np.where(self._kept, end, self._until)
        last = (self._begin[held], until[held], self._cells.volume[held])
        if not self._past:
            return last
        parts = [*self._past, last]
        return (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]),
                np.concatenate([p[2] for p in parts]))  # fmt: skip
