"""What changes of layout take on the links between devices, fast enough to fill tables with.

Models:  the messages of `orrery.cost.reshard` with its ring algorithm, and their price by
         `orrery.cost.moves_cost`: the same phases and bytes, on plain arrays of box bounds.
Ignores: sums (they belong to a layer's own strategy); packed elements of less than a byte.
Judge:   `reshard` and `phases_cost`, equal to the picosecond on random layouts (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code
from orrery.timeline import PS_PER_S

from .._tables import Tables

Ints = NDArray[np.int64]

#: Picoseconds that no plan takes; a few thousand of them can be added up.
NEVER = 2**50

_BOXES = 512  #: room for the boxes that a party still lacks
_FULL = -2  #: what a change answers when that was too little


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Routes between ends as flat arrays.

    Attributes
    ----------
    latency_s : ends × ends; infinite without a way
    first, channels : channels of the route from i to j are ``channels[first[i, j]:first[i, j] +
        hops[i, j]]``
    bandwidth : per directed channel, bytes per second
    """

    latency_s: NDArray[np.float64]
    first: Ints
    hops: Ints
    channels: Ints
    bandwidth: NDArray[np.float64]


def links_of(tables: Tables) -> Links:
    """Return the routes of tables as arrays."""
    count = len(tables.ends)
    first = np.zeros((count, count), np.int64)
    hops = np.zeros((count, count), np.int64)
    channels: list[int] = []
    for i in range(count):
        for j in range(count):
            first[i, j], hops[i, j] = len(channels), len(tables.route_channels[i][j])
            channels += tables.route_channels[i][j]
    bandwidth = [
        link.bandwidth_bytes_per_s for link in tables.system.links for _ in range(1 + link.duplex)
    ]
    return Links(
        latency_s=np.ascontiguousarray(tables.route_s), first=first, hops=hops,
        channels=np.array(channels or [0], np.int64), bandwidth=np.array(bandwidth or [1.0]),
    )  # fmt: skip


def phase_ps(links: Links, messages: Sequence[tuple[int, int, int]]) -> int:
    """Return what messages (source, target, bytes) that travel at once take."""
    if not messages:
        return 0
    table = np.array(messages, np.int64)
    return int(_compiled()[0](table, len(table), links.latency_s, links.first, links.hops,
                             links.channels, links.bandwidth))  # fmt: skip


def reshard_ps(links: Links, befores: Ints, afters: Ints, ends: Ints, element_bytes: int) -> Ints:
    """Return what each change of layout takes, and -1 where it moves nothing.

    Parameters
    ----------
    befores, afters : layouts × parties × axes × 2, bounds of boxes; empty boxes hold nothing
    ends : end of each party, rising

    Returns
    -------
    befores × afters picoseconds; `NEVER` where somebody lacks what nobody holds or there is no way
    """
    out = np.zeros((len(befores), len(afters)), np.int64)
    _compiled()[1](out, befores, afters, ends, element_bytes, links.latency_s, links.first,
                  links.hops, links.channels, links.bandwidth)  # fmt: skip
    if (out == _FULL).any():
        raise MemoryError(
            f"a change of layout among {len(ends)} parties in more than {_BOXES} boxes"
        )
    return out


def _time_of(
    messages: Any, count: Any, latency_s: Any, first: Any, hops: Any, channels: Any, bandwidth: Any
) -> Any:
    if count == 0:
        return 0
    load = np.zeros(len(bandwidth), np.int64)
    slowest, lasting = 0.0, 0.0
    for m in range(count):
        source, target, size = messages[m, 0], messages[m, 1], messages[m, 2]
        if source == target:
            continue
        if not np.isfinite(latency_s[source, target]):
            return NEVER
        slowest = max(slowest, latency_s[source, target])
        begin = first[source, target]
        for c in channels[begin : begin + hops[source, target]]:
            load[c] += size
            lasting = max(lasting, load[c] / bandwidth[c])
    seconds = slowest + lasting
    return NEVER if seconds * PS_PER_S >= NEVER else np.int64(np.rint(seconds * PS_PER_S))


def _volume(box: Any) -> Any:
    total = 1
    for a in range(box.shape[0]):
        total *= max(0, box[a, 1] - box[a, 0])
    return total


def _meet(one: Any, other: Any, out: Any) -> Any:
    for a in range(one.shape[0]):
        out[a, 0] = max(one[a, 0], other[a, 0])
        out[a, 1] = max(min(one[a, 1], other[a, 1]), out[a, 0])


def _copy(one: Any, out: Any) -> None:
    for a in range(
        one.shape[0]
    ):  # an assignment of slices takes a second to compile, this does not
        out[a, 0], out[a, 1] = one[a, 0], one[a, 1]


def _subtract(box: Any, hole: Any, rest: Any, count: Any) -> Any:
    """Append what `box` has and `hole` lacks to `rest`; return the new count."""
    rank = box.shape[0]
    common = np.empty((rank, 2), np.int64)
    _meet(box, hole, common)
    if _volume(common) == 0:
        if _volume(box) > 0:
            _copy(box, rest[count])
            count += 1
        return count
    left = np.empty((rank, 2), np.int64)
    _copy(box, left)
    for a in range(rank):
        if left[a, 0] < common[a, 0]:
            _copy(left, rest[count])
            rest[count, a, 1] = common[a, 0]
            count += 1
        if common[a, 1] < left[a, 1]:
            _copy(left, rest[count])
            rest[count, a, 0] = common[a, 1]
            count += 1
        left[a, 0], left[a, 1] = common[a, 0], common[a, 1]
    return count


def _pieces_of(box: Any, count: Any, out: Any) -> Any:
    """Cut along the axis that keeps the largest part smallest."""
    rank, total, best, axis = box.shape[0], _volume(box), -1, 0
    for a in range(rank):
        size = box[a, 1] - box[a, 0]
        largest = -(-size // count) * total // max(size, 1)
        if best < 0 or largest < best:
            best, axis = largest, a
    start = box[axis, 0]
    share, more = (box[axis, 1] - start) // count, (box[axis, 1] - start) % count
    for i in range(count):
        _copy(box, out[i])
        end = start + share + (1 if i < more else 0)
        out[i, axis, 0], out[i, axis, 1] = start, end
        start = end


def _change(
    before: Any,
    after: Any,
    ends: Any,
    element_bytes: Any,
    latency_s: Any,
    first: Any,
    hops: Any,
    channels: Any,
    bandwidth: Any,
) -> Any:
    parties, rank = after.shape[0], after.shape[1]
    wanted = after.copy()
    ringed = np.zeros(parties, np.int64)  # 1: in a ring of pieces
    pieces = np.zeros((parties, rank, 2), np.int64)
    grouped = np.zeros(parties, np.bool_)
    members = np.zeros((parties, parties), np.int64)
    sizes = np.zeros(parties, np.int64)
    rings = 0
    both = np.empty((rank, 2), np.int64)
    for i in range(parties):
        if grouped[i] or _volume(after[i]) == 0:
            continue
        count = 0
        for j in range(i, parties):
            same = True
            for a in range(rank):
                if after[i, a, 0] != after[j, a, 0] or after[i, a, 1] != after[j, a, 1]:
                    same = False
            if same:
                grouped[j] = True
                members[rings, count] = j
                count += 1
        if count < 2:
            continue
        held, overlap, total = 0, False, _volume(after[i])
        for m in range(count):
            j = members[rings, m]
            _meet(before[j], after[i], pieces[j])
            held += _volume(pieces[j])
        if held == 0:
            fresh = np.empty((count, rank, 2), np.int64)
            _pieces_of(after[i], count, fresh)
            for m in range(count):
                _copy(fresh[m], pieces[members[rings, m]])
                _copy(fresh[m], wanted[members[rings, m]])
        else:
            if held != total:
                continue
            for m in range(count):
                for n in range(m + 1, count):
                    _meet(pieces[members[rings, m]], pieces[members[rings, n]], both)
                    if _volume(both) > 0:
                        overlap = True
            if overlap:
                continue
            for m in range(count):
                ringed[members[rings, m]] = 1
        sizes[rings] = count
        rings += 1
    place = np.zeros(parties, np.int64)  # among those who hold or want something
    number = 0
    for i in range(parties):
        place[i] = number
        if _volume(before[i]) > 0 or (ringed[i] == 0 and _volume(wanted[i]) > 0):
            number += 1
    room = 4 * parties * parties + 64
    messages = np.empty((room, 3), np.int64)
    count = 0
    missing = np.empty((_BOXES, rank, 2), np.int64)
    rest = np.empty((_BOXES, rank, 2), np.int64)
    for i in range(parties):
        if ringed[i] == 1:
            continue
        lack = _subtract(wanted[i], before[i], missing, 0)
        if lack == 0:
            continue
        # From near to far among those who hold something, of two as near the lower number first.
        low, high = i - 1, i + 1
        while low >= 0 or high < parties:
            if high == parties or (low >= 0 and place[i] - place[low] <= place[high] - place[i]):
                j = low
                low -= 1
            else:
                j = high
                high += 1
            if _volume(before[j]) == 0:
                continue
            left = 0
            for b in range(lack):
                if count == room or left + 2 * rank > _BOXES:
                    return _FULL
                _meet(missing[b], before[j], both)
                part = _volume(both)
                if part > 0:
                    messages[count, 0] = ends[j]
                    messages[count, 1] = ends[i]
                    messages[count, 2] = part * element_bytes
                    count += 1
                left = _subtract(missing[b], both, rest, left)
            missing, rest = rest, missing
            lack = left
            if lack == 0:
                break
        if lack > 0:
            return NEVER
    moved = count > 0
    total_ps = _time_of(messages, count, latency_s, first, hops, channels, bandwidth)
    turns = 0
    for r in range(rings):
        turns = max(turns, sizes[r] - 1)
    for turn in range(turns):
        count = 0
        for r in range(rings):
            size = sizes[r]
            if turn >= size - 1:
                continue
            for m in range(size):
                part = _volume(pieces[members[r, (m - turn) % size]])
                if part > 0:
                    messages[count, 0] = ends[members[r, m]]
                    messages[count, 1] = ends[members[r, (m + 1) % size]]
                    messages[count, 2] = part * element_bytes
                    count += 1
        moved = moved or count > 0
        total_ps += _time_of(messages, count, latency_s, first, hops, channels, bandwidth)
    return min(total_ps, NEVER) if moved else -1


def _table(
    out: Any,
    befores: Any,
    afters: Any,
    ends: Any,
    element_bytes: Any,
    latency_s: Any,
    first: Any,
    hops: Any,
    channels: Any,
    bandwidth: Any,
) -> Any:
    for i in range(befores.shape[0]):
        for j in range(afters.shape[0]):
            out[i, j] = _change(
                befores[i], afters[j], ends, element_bytes, latency_s, first, hops, channels,
                bandwidth,
            )  # fmt: skip


@cache
def _compiled() -> tuple[Callable[..., Any], ...]:
    """Return `_time_of` and `_table` as machine code; loads the compiler on first use."""
    helpers = (_copy, _volume, _meet, _subtract, _pieces_of, _time_of, _change)
    return machine_code(_time_of, _table, calls=helpers)
