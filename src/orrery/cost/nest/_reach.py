"""How many elements the tiles of a loop nest touch: exact counts, one tensor axis at a time.

A loop of a nest is cut into digits, outermost first; an index is the sum of digit x product of the
factors further in, and is left out at the loop's extent and beyond. What happens to the elements
that the values of a digit touch is its kind:

    EACH    moved for every value (a refetch, or an instance that gets its own)
    WHICH   the same, and the value also says which instance of the level it is
    ONCE    moved once for all values together (a multicast, a sum on the way)
    SLIDE   only what the value before did not touch is moved
    FREE    only its first value counts (the tile stays while it advances)
    INSIDE  within the tile

Models:  axes of a tensor that share no loop are independent, so that a count over all tiles is a
         product over axes (and loops the tensor does not follow) of the counts here.
Judge:   a brute-force interpreter of nests in the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._problem import Index

EACH, WHICH, ONCE, SLIDE, FREE, INSIDE = "EWOSFI"

#: (factor, kind), outermost first
Digits = tuple[tuple[int, str], ...]

Ints = npt.NDArray[np.int64]


class Reach(NamedTuple):
    """Elements moved: in all, by the instance that moves most, and at once at most."""

    total: int
    busiest: int
    largest: int


def passes(extent: int, digits: Digits, kinds: str) -> int:
    """Return how many values the digits of these kinds take together with some index in range."""
    weight = math.prod(factor for factor, _ in digits)
    inner = math.prod(factor for factor, kind in digits if kind in kinds)
    total, rest = 0, extent
    for factor, kind in digits:
        weight //= factor
        if kind not in kinds:
            rest = min(rest, weight)  # at its first value it leaves most room
            continue
        inner //= factor
        full = min(factor, rest // weight)
        total += full * inner
        rest -= full * weight
        if full == factor or not rest:
            return total
    return total + 1


@lru_cache(maxsize=1 << 16)
def loop_reach(extent: int, digits: Digits) -> Reach:
    """Return how often a loop that the tensor does not follow moves its tile."""
    return Reach(passes(extent, digits, EACH + WHICH), passes(extent, digits, EACH), 1)


@lru_cache(maxsize=1 << 16)
def axis_reach(index: Index, extents: tuple[int, ...], digits: tuple[Digits, ...]) -> Reach:
    """Return the elements along one axis of a tensor.

    Parameters
    ----------
    index : how the axis follows its loops
    extents, digits : of the loops in `index.terms`, in their order
    """
    if not index.terms:
        return Reach(index.size, index.size, index.size)
    if len(index.terms) == 1:
        return _single(index, index.terms[0][1], extents[0], digits[0])
    slides = [(t, place) for t, cut in enumerate(digits) for place, (_, kind) in enumerate(cut)
              if kind == SLIDE]  # fmt: skip
    if any(kind in (ONCE, INSIDE) for cut in digits for _, kind in cut[: _inner(cut)]):
        return _walk(index, extents, digits)
    if slides:
        t, place = slides[0]
        joined = any(kind == ONCE for cut in digits for _, kind in cut)
        if joined or place != _inner(digits[t]) - 1:
            return _walk(index, extents, digits)
    return _blocks(index, extents, digits, slides[0][0] if slides else None)


@lru_cache(maxsize=1 << 12)
def distinct(index: Index, ranges: tuple[tuple[int, int], ...]) -> int:
    """Return the elements that whole ranges (start, length) of the loops of an axis touch."""
    if not index.terms:
        return index.size
    if len(index.terms) == 1:
        low, high = _valid(index, index.terms[0][1], sum(ranges[0]))
        return max(0, high - max(low, ranges[0][0]))
    starts = [np.array([[start]]) for start, _ in ranges]
    lengths = [np.array([[length]]) for _, length in ranges]
    return int(_clipped(index, starts, lengths)[0, 0])


def _inner(digits: Digits) -> int:
    """Return where the tile begins: after the last digit that is neither joined nor inside."""
    return max((i + 1 for i, (_, kind) in enumerate(digits) if kind not in (ONCE, INSIDE)),
               default=0)  # fmt: skip


def _valid(index: Index, stride: int, extent: int) -> tuple[int, int]:
    """Return the range of a loop in which it touches elements of the tensor."""
    low = max(0, -(index.offset // stride))
    return low, min(extent, -((index.offset - index.size) // stride))


def _single(index: Index, stride: int, extent: int, digits: Digits) -> Reach:
    """An axis along one loop: no two indices touch the same element."""
    low, high = _valid(index, stride, extent)
    if low == 0 and high == extent:
        kinds = ONCE + INSIDE
        total = passes(extent, digits, kinds + EACH + SLIDE + WHICH)
        return Reach(total, passes(extent, digits, kinds + EACH + SLIDE),
                     passes(extent, digits, kinds))  # fmt: skip
    touched = np.arange(low, high)
    if any(kind == FREE for _, kind in digits):
        touched = touched[_value(touched, digits, FREE) == 0]
    if not touched.size:
        return Reach(0, 0, 0)
    return Reach(touched.size, _most(touched, digits, WHICH),
                 _most(touched, digits, EACH + WHICH + SLIDE))  # fmt: skip


def _most(touched: Ints, digits: Digits, kinds: str) -> int:
    """Return the most indices that share their values of the digits of these kinds."""
    return int(np.bincount(_value(touched, digits, kinds)).max())


def _value(starts: Ints, digits: Digits, kinds: str) -> Ints:
    """Return the value that the digits of these kinds have together at every index."""
    value = np.zeros_like(starts)
    weight = math.prod(factor for factor, _ in digits)
    for factor, kind in digits:
        weight //= factor
        if kind in kinds:
            value = value * factor + starts // weight % factor
    return value


def _starts(extent: int, digits: Digits, kinds: str) -> Ints:
    """Return the index at every value of the digits of these kinds, the others at zero."""
    weight = math.prod(factor for factor, _ in digits)
    starts = np.zeros(1, np.int64)
    for factor, kind in digits:
        weight //= factor
        if kind in kinds:
            starts = (starts[:, None] + np.arange(factor) * weight).ravel()
            starts = starts[starts < extent]
    return starts


def _blocks(
    index: Index, extents: tuple[int, ...], digits: tuple[Digits, ...], slides: int | None
) -> Reach:
    """Two loops whose tiles are whole blocks of indices."""
    starts, lengths, sizes = [], [], []
    for extent, cut in zip(extents, digits, strict=True):
        start = _starts(extent, cut, EACH + WHICH + SLIDE)
        sizes.append(math.prod(factor for factor, _ in cut[_inner(cut) :]))
        starts.append(start)
        lengths.append(np.minimum(sizes[-1], extent - start))
    which = any(kind == WHICH for cut in digits for _, kind in cut)
    weights = [np.ones_like(start) for start in starts]
    if not which and slides is None:
        for t in (0, 1):
            kept, weights[t] = _representatives(index, t, starts, lengths, sizes[t])
            starts[t], lengths[t] = starts[t][kept], lengths[t][kept]
    rows, columns = (starts[0][:, None], starts[1]), (lengths[0][:, None], lengths[1])
    if slides is None:
        counts = _clipped(index, rows, columns)
    else:
        size = sizes[slides]
        goes_on = _value(starts[slides], digits[slides], SLIDE) > 0
        goes_on = goes_on[:, None] if slides == 0 else goes_on
        before = [*rows], [*columns]
        before[0][slides] = before[0][slides] - size * goes_on
        both = [*columns]
        both[slides] = both[slides] + size * goes_on
        before[1][slides] = np.full_like(columns[slides], size)
        counts = _clipped(index, before[0], both) - np.where(
            goes_on, _clipped(index, *before), 0
        )  # fmt: skip
    total = int((counts * weights[0][:, None] * weights[1]).sum())
    busiest = total
    if which:
        ids = [_value(start, cut, WHICH) for start, cut in zip(starts, digits, strict=True)]
        width = int(ids[1].max()) + 1
        place = (ids[0][:, None] * width + ids[1]).ravel()
        shares = np.zeros(int(place.max()) + 1, np.int64)
        np.add.at(shares, place, counts.ravel())
        busiest = int(shares.max())
    return Reach(total, busiest, int(counts.max()))


def _representatives(
    index: Index, t: int, starts: list[Ints], lengths: list[Ints], size: int
) -> tuple[Ints, Ints]:
    """Return places of tiles and how many each stands for: those nowhere cut off are alike."""
    stride, other = index.terms[t][1], index.terms[1 - t][1]
    far = int((starts[1 - t] + lengths[1 - t]).max()) - 1
    alike = (
        (lengths[t] == size)
        & (starts[t] * stride + index.offset >= 0)
        & ((starts[t] + size - 1) * stride + far * other + index.offset < index.size)
    )
    number = int(alike.sum())
    if number < 2:
        return np.arange(len(alike)), np.ones(len(alike), np.int64)
    kept = np.flatnonzero(~alike)
    kept = np.append(kept, np.flatnonzero(alike)[0])
    weights = np.ones(len(kept), np.int64)
    weights[-1] = number
    return kept, weights


def _clipped(index: Index, starts: Any, lengths: Any) -> Ints:
    """Count the elements that two ranges touch; arrays are broadcast against each other.

    Before clipping, i < m and j < n touch m n - max(0, m - b) max(0, n - a) values a i + b j, with
    a and b free of common divisors: i = b, j = 0 is where i = 0, j = a was.
    """
    (_, a), (_, b) = index.terms
    low = -(index.offset + a * starts[0] + b * starts[1])
    high = low + index.size
    divisor = math.gcd(a, b)
    a, b = a // divisor, b // divisor
    low, high = -(-low // divisor), -(-high // divisor)
    m, n = lengths
    if a == 1:
        a, b, m, n = b, a, n, m
    if b == 1:
        counted: Ints = _below(high, a, m, n) - _below(low, a, m, n)
        return counted
    counts = m * n - np.maximum(0, m - b) * np.maximum(0, n - a)
    cut = (low > 0) | (high <= a * (m - 1) + b * (n - 1))
    low, high, m, n, counts = np.broadcast_arrays(low, high, m, n, counts)
    counts = counts.copy()
    for place in zip(*np.nonzero(np.broadcast_to(cut, counts.shape)), strict=True):
        counts[place] = _listed(a, b, int(m[place]), int(n[place]), int(low[place]),
                                int(high[place]))  # fmt: skip
    return counts


def _below(bound: Any, a: int, m: Any, n: Any) -> Any:
    """Count values a i + j (i < m, j < n) below a bound: blocks of n at every multiple of a."""
    whole = np.clip(bound, 0, a * (m - 1) + n)
    blocks = np.clip(bound // a, 0, m)
    apart = blocks * n + np.where(blocks < m, np.clip(bound - blocks * a, 0, n), 0)
    return np.where(n >= a, whole, apart)


@lru_cache(maxsize=1 << 14)
def _listed(a: int, b: int, m: int, n: int, low: int, high: int) -> int:
    values = np.unique(a * np.arange(m)[:, None] + b * np.arange(n))
    return int(np.searchsorted(values, high) - np.searchsorted(values, low))


def _walk(index: Index, extents: tuple[int, ...], digits: tuple[Digits, ...]) -> Reach:
    """Two loops whose tiles are scattered, or slide in several places: list what is touched."""
    turns = [_turns(index, t, extents, cut) for t, cut in enumerate(digits)]
    sliding, joined, inside = (
        [_starts(math.prod(f for f, _ in cut), cut, kind) for cut in digits]
        for kind in (SLIDE, ONCE, INSIDE)
    )
    steps = [(x, y) for x in sliding[0].tolist() for y in sliding[1].tolist()]
    parts = [(x, y) for x in joined[0].tolist() for y in joined[1].tolist()]
    (_, a), (_, b) = index.terms
    total, largest, shares = 0, 0, dict[tuple[int, int], int]()
    for i, which_i, often_i in turns[0]:
        for j, which_j, often_j in turns[1]:
            before: dict[tuple[int, int], set[int]] = {}
            moved = 0
            for step in steps:
                new: set[int] = set()
                for at in parts:
                    rows = inside[0] + (i + step[0] + at[0])
                    columns = inside[1] + (j + step[1] + at[1])
                    values = (index.offset + a * rows[rows < extents[0]][:, None]
                              + b * columns[columns < extents[1]]).ravel()  # fmt: skip
                    values = values[(values >= 0) & (values < index.size)]
                    tile = set(values.tolist())
                    new |= tile - before.get(at, set())
                    before[at] = tile
                moved += len(new)
                largest = max(largest, len(new))
            total += moved * often_i * often_j
            key = which_i, which_j
            shares[key] = shares.get(key, 0) + moved * often_i * often_j
    return Reach(total, max(shares.values(), default=0), largest)


def _turns(
    index: Index, t: int, extents: tuple[int, ...], digits: Digits
) -> list[tuple[int, int, int]]:
    """Return index, instance and number of turns of a loop: those nowhere cut off are alike."""
    turns = _starts(extents[t], digits, EACH + WHICH)
    ids = _value(turns, digits, WHICH)
    span = int(_starts(math.prod(f for f, _ in digits), digits, SLIDE + ONCE + INSIDE)[-1])
    stride, other = index.terms[t][1], index.terms[1 - t][1]
    far = index.offset + stride * (turns + span) + other * (extents[1 - t] - 1)
    alike = (turns + span < extents[t]) & (index.offset + stride * turns >= 0) & (far < index.size)
    found = [(turn, which, 1) for turn, which in
             zip(turns[~alike].tolist(), ids[~alike].tolist(), strict=True)]  # fmt: skip
    for which in np.unique(ids[alike]).tolist():
        same = turns[alike & (ids == which)]
        found.append((int(same[0]), which, len(same)))
    return found
