"""Rearrangements of flat arrays, written as permutations of digits, and what they combine to.

An array of 24 elements as digits (2, 3, 4) with order (1, 0, 2) is read as 2×3×4, transposed and
read flat again: every reshape, transpose and packing of channels is one of these.

Models:  bijections of positions that permute the digits of a mixed-radix number.
Judge:   tests apply them to ``arange`` with NumPy and compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


@dataclass(frozen=True, slots=True)
class Digits:
    """Sizes of the digits as read, the most significant first, and their order as written."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def written(self) -> tuple[int, ...]:
        """Sizes in the order as written."""
        return tuple(self.sizes[k] for k in self.order)

    @property
    def inverse(self) -> Digits:
        """What undoes it."""
        back = [0] * len(self.order)
        for place, digit in enumerate(self.order):
            back[digit] = place
        return Digits(self.written, tuple(back))

    @property
    def is_identity(self) -> bool:
        """Whether it leaves every element where it is."""
        return normal(self).order in ((), (0,))


def identity(size: int) -> Digits:
    """Return the rearrangement that changes nothing."""
    return Digits((size,), (0,))


def normal(digits: Digits) -> Digits:
    """Drop digits of size 1 and join those that stay beside each other."""
    kept = [k for k in range(len(digits.sizes)) if digits.sizes[k] != 1]
    number = {old: new for new, old in enumerate(kept)}
    sizes = [digits.sizes[k] for k in kept]
    order = [number[k] for k in digits.order if k in number]
    runs: list[list[int]] = []
    for digit in order:
        if runs and runs[-1][-1] + 1 == digit:
            runs[-1].append(digit)
        else:
            runs.append([digit])
    by_input = sorted(range(len(runs)), key=lambda k: runs[k][0])
    place = {run: new for new, run in enumerate(by_input)}
    return Digits(
        tuple(prod(sizes[d] for d in runs[k]) for k in by_input),
        tuple(place[k] for k in range(len(runs))),
    )


def _cuts(sizes: Sequence[int]) -> list[int]:
    """Return how many elements lie below each boundary between digits, ends included."""
    below, found = 1, [1]
    for size in reversed(sizes):
        below *= size
        found.append(below)
    return found


def common(*factorings: Sequence[int]) -> tuple[int, ...] | None:
    """Return the coarsest digits of which all factorings are made; None where there are none."""
    cuts = sorted({cut for sizes in factorings for cut in _cuts(sizes)})
    found: list[int] = []
    for low, high in pairwise(cuts):
        if high % low:
            return None
        found.append(high // low)
    return tuple(reversed(found))


def refine(
    digits: Digits, read: Sequence[int] | None = None, written: Sequence[int] | None = None
) -> Digits | None:
    """Cut digits so that axes of the array as read, and as written, are whole digits."""
    current = normal(digits)
    for _ in range(2 * len(current.sizes) + 64):
        before = current
        if read is not None:
            fine = common(current.sizes, [s for s in read if s != 1])
            if fine is None:
                return None
            current = _cut(current, fine)
        if written is not None:
            fine = common(current.written, [s for s in written if s != 1])
            if fine is None:
                return None
            current = _cut(current.inverse, fine).inverse
        if current == before:
            return current
    return None


def _cut(digits: Digits, fine: Sequence[int]) -> Digits:
    """Replace each digit as read by the finer ones that make it up."""
    parts: list[list[int]] = []
    at = 0
    for size in digits.sizes:
        mine: list[int] = []
        while prod(fine[k] for k in mine) < size:
            mine.append(at)
            at += 1
        parts.append(mine)
    return Digits(tuple(fine), tuple(d for k in digits.order for d in parts[k]))


def compose(first: Digits, second: Digits) -> Digits | None:
    """Return `second` after `first` as one; None where their digits do not fit together."""
    cut_first = refine(first, written=normal(second).sizes)
    if cut_first is None:
        return None
    cut_second = refine(second, read=cut_first.written)
    if cut_second is None:
        return None
    cut_first = refine(cut_first, written=cut_second.sizes)
    if cut_first is None:
        return None
    # Both count every boundary now; normal() may have joined what the other one cuts.
    fine = common(cut_first.written, cut_second.sizes)
    if fine is None:
        return None
    one, two = _cut(cut_first.inverse, fine).inverse, _cut(cut_second, fine)
    return normal(Digits(one.sizes, tuple(one.order[k] for k in two.order)))


def groups_of(sizes: Sequence[int], axes: Sequence[int]) -> list[list[int]] | None:
    """Return which digits make up each axis, in order; None where one is cut by an axis."""
    found: list[list[int]] = []
    at = 0
    for axis in axes:
        mine: list[int] = []
        total = 1
        while total < axis:
            if at >= len(sizes):
                return None
            mine.append(at)
            total *= sizes[at]
            at += 1
        if total != axis:
            return None
        found.append(mine)
    return found if at == len(sizes) else None
