"""What a loop's factors do to a count: how many tiles there are, how many elements they touch.

Every count of a nest is a product over the axes of a tensor and over the loops that are irrelevant
to it. Each such part is a number per factor tuple, once it is settled what each place does:

    KEEP    its parts are told apart: their counts add up
    MERGE   its parts act together: their union counts once
    MOST    only the part with the highest count matters (the busiest instance, the largest tile)
    FIRST   only the first part matters
    SLIDE   only what the part before did not touch counts, for each merged part apart
    WITHIN  the tile itself
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code

from ..groups import ranked

KEEP, MERGE, MOST, FIRST, SLIDE, WITHIN = range(6)

Rows = NDArray[np.int64]


def tile_counts(rows: Rows, extent: int, roles: tuple[int, ...]) -> NDArray[np.int64]:
    """Return per factor tuple how many combinations of kept parts hold an index below `extent`.

    Parts that are not kept count by their first one: it is never behind the others.
    """
    return _kernels()[0](rows, extent, np.array(roles, np.int64))  # type: ignore[no-any-return]


def element_counts(
    first: Rows, second: Rows, extents: tuple[int, int], roles: tuple[tuple[int, ...], ...],
    strides: tuple[int, int], offset: int, size: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Return per pair of factor tuples the elements touched along an axis, shape (first, second).

    Element ``offset + strides[0] i + strides[1] j`` exists when it lies in [0, size). Kept parts
    add up, each counting its distinct elements; of the parts marked MOST the largest sum is taken.
    """
    slides = any(SLIDE in role for role in roles)
    if not slides:  # what is merged next to the tile is one tile
        roles = tuple(tuple(MERGE if r == WITHIN else r for r in role) for role in roles)
    keys = [_compact(rows, role) for rows, role in zip((first, second), roles, strict=True)]
    (a, which_a), (b, which_b) = keys
    table = _kernels()[3 if slides else 1](a, b, np.array(extents), np.array(strides), offset, size)
    return table[which_a][:, which_b]  # type: ignore[no-any-return]


def _compact(rows: Rows, roles: tuple[int, ...]) -> tuple[Rows, NDArray[np.int64]]:
    """Join neighbouring places of one role and leave out ones; return the distinct rows, which.

    A row is factor, role, factor, role, …, from outside in, filled up with ones.
    """
    joined = _kernels()[2](rows, np.array(roles, np.int64))
    kinds, which = np.unique(joined, axis=0, return_inverse=True)
    return kinds, which.reshape(-1)


@cache
def _kernels() -> tuple[Callable[..., Any], ...]:
    return machine_code(_tiles, _elements, _join, _sliding, calls=(ranked, _parts, _digits))


def _tiles(rows: Any, extent: int, roles: Any) -> Any:
    found = np.zeros(len(rows), np.int64)
    places = rows.shape[1]
    inner, stride = np.ones(places, np.int64), np.ones(places, np.int64)
    for n in range(len(rows)):
        size, kept = 1, 1
        for p in range(places - 1, -1, -1):
            stride[p], inner[p] = size, kept
            size *= rows[n, p]
            if roles[p] == KEEP:
                kept *= rows[n, p]
        rest, total, ended = extent, 0, False
        for p in range(places):
            last = (rest - 1) // stride[p]  # the last part that holds anything; others are whole
            if roles[p] == KEEP:
                total += last * inner[p]
            elif last >= 1:
                total += inner[p]
                ended = True
                break
            rest -= last * stride[p]
        found[n] = total if ended else total + 1
    return found


def _join(rows: Any, roles: Any) -> Any:
    places = rows.shape[1]
    found = np.ones((len(rows), 2 * places + 2), np.int64)
    found[:, 1::2] = WITHIN
    inmost = WITHIN if (roles == WITHIN).any() else MERGE
    for n in range(len(rows)):
        # From inside out, so that what is merged at the inner end becomes one tile.
        at, role, product = places + 1, inmost, 1
        for p in range(places - 1, -1, -1):
            if rows[n, p] == 1:
                continue
            if roles[p] == role:
                product *= rows[n, p]
            else:
                at -= 1
                found[n, 2 * at], found[n, 2 * at + 1] = product, role
                role, product = roles[p], rows[n, p]
        at -= 1
        found[n, 2 * at], found[n, 2 * at + 1] = product, role
    return found


def _parts(row: Any, extent: int) -> Any:
    """Return the indices below `extent` sorted by their part, with the part and the kept part."""
    places = len(row) // 2
    most, kept = np.zeros(extent, np.int64), np.zeros(extent, np.int64)
    used = 0
    for i in range(extent):
        rest, here = i, True
        stride = 1
        a, b, wide_a, wide_b = 0, 0, 1, 1
        for p in range(places - 1, -1, -1):
            digit = rest // stride % row[2 * p]
            stride *= row[2 * p]
            role = row[2 * p + 1]
            if role == MOST:
                a += digit * wide_a
                wide_a *= row[2 * p]
            elif role == KEEP:
                b += digit * wide_b
                wide_b *= row[2 * p]
            elif role == FIRST and digit > 0:
                here = False
        if here:
            most[i], kept[i] = a, b
            used += 1
        else:
            most[i] = -1
    widest = 0
    for i in range(extent):
        widest = max(widest, kept[i])
    keys = np.empty(extent, np.int64)
    for i in range(extent):
        keys[i] = most[i] * (widest + 1) + kept[i]
    return ranked(keys, extent)[extent - used :], most, kept


def _elements(a: Any, b: Any, extents: Any, strides: Any, offset: int, size: int) -> Any:
    table = np.zeros((len(a), len(b)), np.int64)
    seen = np.zeros(size, np.int64)
    mark = 0
    sorted_a = [_parts(a[n], extents[0]) for n in range(len(a))]
    for m in range(len(b)):
        others, most_b, kept_b = _parts(b[m], extents[1])
        for n in range(len(a)):
            own, most_a, kept_a = sorted_a[n]
            best, at_a = 0, 0
            while at_a < len(own):  # each busiest-candidate of the first loop …
                end_a = at_a
                while end_a < len(own) and most_a[own[end_a]] == most_a[own[at_a]]:
                    end_a += 1
                at_b = 0
                while at_b < len(others):  # … with each of the second
                    end_b = at_b
                    while end_b < len(others) and most_b[others[end_b]] == most_b[others[at_b]]:
                        end_b += 1
                    total, x = 0, at_a
                    while x < end_a:
                        x_end = x
                        while x_end < end_a and kept_a[own[x_end]] == kept_a[own[x]]:
                            x_end += 1
                        y = at_b
                        while y < end_b:
                            y_end = y
                            mark += 1
                            while y_end < end_b and kept_b[others[y_end]] == kept_b[others[y]]:
                                for i in range(x, x_end):
                                    e = offset + strides[0] * own[i] + strides[1] * others[y_end]
                                    if 0 <= e < size and seen[e] != mark:
                                        seen[e] = mark
                                        total += 1
                                y_end += 1
                            y = y_end
                        x = x_end
                    best = max(best, total)
                    at_b = end_b
                at_a = end_a
            table[n, m] = best
    return table


def _digits(row: Any, index: int, extent: int) -> Any:
    """Return an index's part among MOST, its kept, slid and merged parts; -1: it does not count."""
    most, kept, slid, merged = 0, 0, 0, 0
    wide_most, wide_kept, wide_merged, stride = 1, 1, 1, 1
    for p in range(len(row) // 2 - 1, -1, -1):
        factor, role = row[2 * p], row[2 * p + 1]
        digit = index // stride % factor
        stride *= factor
        if role == MOST:
            most += digit * wide_most
            wide_most *= factor
        elif role == KEEP:
            kept += digit * wide_kept
            wide_kept *= factor
        elif role == SLIDE:
            slid = digit
        elif role == MERGE:
            merged += digit * wide_merged
            wide_merged *= factor
        elif role == FIRST and digit > 0:
            return -1, 0, 0, 0, 1, 1
    return most, kept, slid, merged, wide_kept, wide_merged


def _sliding(a: Any, b: Any, extents: Any, strides: Any, offset: int, size: int) -> Any:
    """As `_elements`, one place sliding: walk all pairs of indices in the order of the sweeps."""
    table = np.zeros((len(a), len(b)), np.int64)
    rows_a = np.zeros((extents[0], 6), np.int64)
    rows_b = np.zeros((extents[1], 6), np.int64)
    for n in range(len(a)):
        for i in range(extents[0]):
            rows_a[i] = _digits(a[n], i, extents[0])
        for m in range(len(b)):
            for j in range(extents[1]):
                rows_b[j] = _digits(b[m], j, extents[1])
            parts_b = rows_b[:, 0].max() + 1
            kept_b, merged_b = rows_b[0, 4], rows_b[0, 5]
            pairs = extents[0] * extents[1]
            kept = np.zeros(pairs, np.int64)  # sorts by part, then kept part, then sweep
            for i in range(extents[0]):
                for j in range(extents[1]):
                    if rows_a[i, 0] < 0 or rows_b[j, 0] < 0:
                        kept[i * extents[1] + j] = -1
                        continue
                    part = rows_a[i, 0] * parts_b + rows_b[j, 0]
                    group = rows_a[i, 1] * kept_b + rows_b[j, 1]
                    slid = rows_a[i, 2] + rows_b[j, 2]
                    groups = rows_a[0, 4] * kept_b
                    kept[i * extents[1] + j] = (part * groups + group) * (pairs + 1) + slid
            order = ranked(kept, pairs)
            groups = rows_a[0, 4] * kept_b
            held = np.full((rows_a[0, 5] * merged_b, size), -2, np.int64)
            new = np.full(size, -2, np.int64)
            best, total, part = 0, 0, -1
            for pair in order:
                now = kept[pair]
                if now < 0:
                    continue
                if now // (pairs + 1) // groups != part:
                    part, total = now // (pairs + 1) // groups, 0
                i, j = pair // extents[1], pair % extents[1]
                e = offset + strides[0] * i + strides[1] * j
                if 0 <= e < size:
                    at = rows_a[i, 3] * merged_b + rows_b[j, 3]
                    # A sweep starts anew at 0, which no part of another sweep lies just before.
                    if held[at, e] != now and held[at, e] != now - 1 and new[e] != now:
                        new[e] = now
                        total += 1
                    held[at, e] = now
                best = max(best, total)
            table[n, m] = best
    return table
