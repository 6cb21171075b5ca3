"""The space of loop nests of one layer: places, factor tuples, and how many mappings there are.

A loop of extent N is cut into factors, one per *place*: the temporal loops of a level or an array
axis. A tuple of factors belongs to the space when its product covers N and no single factor could
be smaller (where the wiring fixes a factor, that one is not free to shrink).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orrery.cost.nest import NestProblem
from orrery.hardware import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a factor can stand: at a level (`axis` is None) or along an axis below a level."""

    level: int
    axis: str | None = None


def places_of(architecture: Architecture) -> tuple[Place, ...]:
    """Return all places, outermost first: a level's loops, then the axes that fan out below it."""
    below = architecture.fans_out_below()
    return tuple(
        place
        for level in range(len(architecture.levels))
        for place in (
            Place(level=level),
            *(Place(level=level, axis=a.name) for a in architecture.axes if below[a.name] == level),
        )
    )


def options_of(
    problem: NestProblem, architecture: Architecture, *, dividing: bool = False
) -> list[NDArray[np.int64]]:
    """Return per loop its factor tuples, one row each, one column per place.

    With `dividing`, those alone that come to the extent exactly; where the wiring fixes parts that
    do not divide it, those that come to the passes over these parts exactly.
    """
    axes = {axis.name: axis for axis in architecture.axes}
    found = []
    for loop, extent in problem.loops:
        most: list[int] = []
        fixed: list[int] = []
        for place in places_of(architecture):
            axis = axes[place.axis] if place.axis is not None else None
            if axis is None:
                steps = architecture.levels[place.level].loops
                most.append(0 if steps is None or loop in steps else 1)
                fixed.append(0)
            elif axis.fixed is not None:
                most.append(0)
                fixed.append(min(axis.fixed.get(loop, 1), extent))
            else:
                most.append(axis.size if axis.loops is None or loop in axis.loops else 1)
                fixed.append(0)
        rows = factor_tuples(extent, tuple(most), tuple(fixed))
        if dividing:
            given = math.prod(f for f in fixed if f)
            rows = rows[rows.prod(axis=1) == -(-extent // given) * given]
        found.append(rows)
    return found


@lru_cache(maxsize=512)
def factor_tuples(extent: int, most: tuple[int, ...], fixed: tuple[int, ...]) -> NDArray[np.int64]:
    """Return all minimal covering tuples of factors, one row each.

    Parameters
    ----------
    most : per place the largest factor; 0: any
    fixed : per place the factor that it must have; 0: free
    """
    given = math.prod(f for f in fixed if f)
    rest = -(-extent // given)
    rows = np.ones((1, 0), np.int64)
    left = np.array([rest], np.int64)
    free = [p for p, f in enumerate(fixed) if not f]
    # In a minimal tuple each factor is ceil(left / x), x being what stands further in.
    for n, p in enumerate(free):
        if n == len(free) - 1:
            rows, left = np.column_stack([rows, left]), np.ones_like(left)
            if most[p]:
                rows = rows[rows[:, -1] <= most[p]]
            break
        kinds, which = np.unique(left, return_inverse=True)
        choices = [_ceilings(int(kind), most[p]) for kind in kinds]
        sizes = np.array([len(c) for c in choices])[which]
        rows, left = np.repeat(rows, sizes, axis=0), np.repeat(left, sizes)
        chosen = np.concatenate([choices[k] for k in which])
        rows, left = np.column_stack([rows, chosen]), -(-left // chosen)
    product = rows.prod(axis=1)
    # Minimal over the fixed ones too: given * product covers, given * a smaller product does not.
    smaller = (rows == 1) | (product[:, None] // np.maximum(rows, 1) * (rows - 1) * given < extent)
    rows = rows[(product * given >= extent) & smaller.all(axis=1)]
    whole = np.empty((len(rows), len(fixed)), np.int64)
    whole[:, free] = rows
    for p, factor in enumerate(fixed):
        if factor:
            whole[:, p] = factor
    whole.setflags(write=False)
    return whole


def _ceilings(n: int, most: int) -> NDArray[np.int64]:
    """Return all values of ceil(n / x), x from 1 to n, at most `most` (0: any)."""
    root = math.isqrt(n)
    x = np.arange(1, root + 2, dtype=np.int64)
    values = np.unique(np.concatenate([-(-n // x), x[x <= n]]))
    ways = -(-n // values)
    values = values[-(-n // ways) == values]  # only those that some x yields
    fitting: NDArray[np.int64] = values[values <= most] if most else values
    return fitting


def mappings_of(options: list[NDArray[np.int64]], levels: list[int]) -> int:
    """Return how many mappings there are: tilings, times the orders of the loops at each level.

    `levels` are the columns of the temporal places. A loop whose factor is 1 has no place in an
    order; loops along one axis count once, since their order there changes nothing.
    """
    bits = 1 << np.arange(len(levels))
    counts = np.zeros((len(options) + 1,) * len(levels), object)
    counts[(0,) * len(levels)] = 1
    for done, rows in enumerate(options, 1):
        present = ((rows[:, levels] > 1) * bits).sum(axis=1)
        grown = np.zeros_like(counts)
        for kind, size in enumerate(np.bincount(present).tolist()):
            if size:
                to = [slice(kind >> n & 1, done + (kind >> n & 1)) for n in range(len(levels))]
                grown[tuple(to)] += counts[(slice(0, done),) * len(levels)] * size
        counts = grown
    for n in range(len(levels)):
        orders = np.array([math.factorial(k) for k in range(len(options) + 1)], object)
        counts = counts * orders.reshape([-1 if n == m else 1 for m in range(len(levels))])
    return int(counts.sum())
