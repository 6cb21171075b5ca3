"""Selections by other orders than the published one, as further starts of a search.

Models
    In each order tensors leave until what is left fits at the forward's end.
Ignores
    All other instants; what does not fit is mended afterwards.
Judge
    The best of several starts is never worse than one (``tests/mapping/offload``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ._mend import way_out
from ._problem import DROP, KEEP, WRITE, Choices, Columns
from ._select import Selection, ratio

#: Tensors that are made again one from the other.
_CHAINS = (1, 3, 7, 15, 40)


def other_selections(columns: Columns, *, least_bytes: int) -> Iterator[Selection]:
    """Yield selections by other orders than the published one; each frees enough at the end.

    By seconds in the queues per byte; by how long the tensor is idle; by seconds to make it again;
    by those in chains of several lengths, as checkpointing does; everything.
    """
    missing = sum(columns.size) - columns.room
    rows = [n for n, size in enumerate(columns.size)
            if WRITE in columns.allowed[n] and size >= least_bytes]  # fmt: skip
    again = [n for n in rows if DROP in columns.allowed[n]]

    def queued(n: int) -> float:
        way = way_out(columns, n)
        return (columns.write_s[n][way] + columns.read_s[n][way]) / columns.size[n]

    def busy(n: int) -> float:
        return columns.last_s[n] - columns.need_s[n]

    def remade(n: int) -> float:
        return columns.again_s[n] / columns.size[n] if DROP in columns.allowed[n] else math.inf

    rows = [n for n in rows if columns.size[n]]
    again = [n for n in again if columns.size[n]]
    orders = [("cheapest to move", sorted(rows, key=lambda n: (queued(n), n))),
              ("longest idle", sorted(rows, key=lambda n: (busy(n), n))),
              ("best packed", sorted(rows, key=lambda n: (-ratio(columns, n), n)))]  # fmt: skip
    for label, order in orders:
        yield Selection(choices=_take(columns, order, missing, again=False), label=label)
    if again:
        cheapest = sorted(rows, key=lambda n: (min(queued(n), remade(n)), n))
        yield Selection(choices=_take(columns, cheapest, missing, again=True),
                        label="cheapest of all ways")  # fmt: skip
        order = sorted(again, key=lambda n: (remade(n), n))
        rest = [n for n in orders[0][1] if n not in set(again)]
        made = _take(columns, [*order, *rest], missing, again=False)
        made = tuple(
            DROP if choice != KEEP and DROP in columns.allowed[n] else choice
            for n, choice in enumerate(made)
        )
        yield Selection(choices=made, label="made again")  # fmt: skip
        largest = max(columns.size[n] for n in again)
        for most in _CHAINS:
            # The second leaves room for what a chain holds while it is made.
            for more in (0, most * largest):
                yield Selection(choices=_chained(columns, again, rest, missing + more, most),
                                label=f"made again, chains of {most}")  # fmt: skip
    yield Selection(choices=_take(columns, rows, sum(columns.size), again=False),
                    label="everything")  # fmt: skip


def _chained(
    columns: Columns, again: list[int], rest: list[int], missing: int, most: int
) -> Choices:
    """Make again what takes the fewest seconds per byte, at most so many one from the other.

    What stays between two chains is what checkpointing calls a checkpoint. What takes most is left
    out as long as enough leaves; where all is not enough, others are written.
    """
    price = {n: columns.again_s[n] / columns.size[n] for n in again}

    def dropped(limit: float) -> list[int]:
        depth = dict[int, int]()
        for n in sorted(again):
            longest = 1 + max((depth.get(m, 0) for m in columns.again_from[n]), default=0)
            if price[n] <= limit and longest <= most:
                depth[n] = longest
        return list(depth)

    limits = sorted(set(price.values()))
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(columns.size[n] for n in dropped(limits[middle])) >= missing:
            high = middle
        else:
            low = middle + 1
    chosen = dropped(limits[low])
    missing -= sum(columns.size[n] for n in chosen)
    choices = [KEEP] * len(columns.size)
    for n in chosen:
        choices[n] = DROP
    for n in sorted(chosen, key=lambda n: -price[n]):
        if missing + columns.size[n] <= 0:
            missing += columns.size[n]
            choices[n] = KEEP
    for n in [*rest, *(n for n in again if choices[n] == KEEP)]:
        if missing <= 0:
            break
        missing -= columns.size[n]
        choices[n] = way_out(columns, n)
    return tuple(choices)


def _cheapest(columns: Columns, tensor: int) -> int:
    way = way_out(columns, tensor)
    moved = columns.write_s[tensor][way] + columns.read_s[tensor][way]
    # What moving takes of the computation it always takes, what it takes of the queues only where
    # the step waits for them; which that is is not known yet.
    again = DROP in columns.allowed[tensor] and columns.again_s[tensor] < moved
    return DROP if again else way


def _take(columns: Columns, order: list[int], missing: int, *, again: bool) -> Choices:
    choices = [KEEP] * len(columns.size)
    for n in order:
        if missing <= 0:
            break
        missing -= columns.size[n]
        choices[n] = _cheapest(columns, n) if again else way_out(columns, n)
    return tuple(choices)
