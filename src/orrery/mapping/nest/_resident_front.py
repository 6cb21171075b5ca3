"""Ways through the stages: the shortest for one measure, and all that are best in two.

Judge:   enumeration of all ways of small networks (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._resident_price import Point
from ._resident_space import Setting, Step, Steps

#: (cycles, joules) -> point, per setting
Points = Mapping[Setting, Mapping[tuple[float, float], Point]]

#: Ways that are kept at a state; of more, those spread evenly over the cycles.
MOST_WAYS = 4000
#: What adding up in another order may come to, as a multiple.
ROUNDED = 1 + 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What the stages come to; `bound`: no way is below in the measure that was asked for."""

    cycles: float
    energy_j: float
    bound: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A way, stage by stage."""

    cycles: float
    energy_j: float
    steps: tuple[Step, ...]
    points: tuple[Point, ...]


def shortest(
    steps: Steps, points: Points, bounds: Mapping[Setting, float],
    worth: Callable[[float, float], float],
) -> Way:  # fmt: skip
    """Return the way of least worth, worths being added up, and the bound of all ways."""
    best = {
        setting: min((worth(*point), point) for point in points[setting])
        for setting in bounds if points[setting]
    }  # fmt: skip
    count = len(steps.steps)
    at: list[dict[int, tuple[float, float, float]]] = [{} for _ in range(count + 1)]
    low: list[dict[int, float]] = [{} for _ in range(count + 1)]
    at[0][0], low[0][0] = (0.0, 0.0, 0.0), 0.0
    for place, stage in enumerate(steps.steps):
        for step in stage:
            if step.setting in bounds and step.before in low[place]:
                value = low[place][step.before] + bounds[step.setting]
                below = low[step.end]
                below[step.after] = min(value, below.get(step.after, math.inf))
            if step.setting in best and step.before in at[place]:
                value, (cycles, energy) = best[step.setting]
                before, after = at[place][step.before], at[step.end]
                new = before[0] + value, before[1] + cycles, before[2] + energy
                after[step.after] = min(new, after.get(step.after, (math.inf, 0.0, 0.0)))
    _, cycles, energy = at[count][0]
    return Way(cycles=cycles, energy_j=energy, bound=low[count][0])


@dataclass(frozen=True, slots=True)
class _Ways:
    """Ways to a state, none beaten in both; rows of (place, step, way before, point)."""

    cycles: NDArray[np.float64]
    joules: NDArray[np.float64]
    origin: NDArray[np.int64]


def front(
    steps: Steps, points: Points, *, rank: Callable[[Way], tuple[float, float]],
    most_cycles: float = math.inf, most_energy_j: float = math.inf,
) -> Chosen | None:  # fmt: skip
    """Return the way that ranks first among those within the ceilings, or None.

    Every way that no other beats in cycles and joules is compared; beyond `MOST_WAYS` at a state,
    a share of them. Ceilings hold up to what adding up in another order changes.
    """
    most_cycles, most_energy_j = most_cycles * ROUNDED, most_energy_j * ROUNDED
    table = {setting: list(found.values()) for setting, found in points.items() if found}
    left = _least_left(steps, table)
    count = len(steps.steps)
    parts: list[dict[int, list[_Ways]]] = [{} for _ in range(count + 1)]
    start = _Ways(np.zeros(1), np.zeros(1), np.zeros((1, 4), np.int64))
    parts[0][0] = [start]
    layers: list[dict[int, _Ways]] = []
    for place in range(count + 1):
        layers.append({state: _unbeaten(found) for state, found in parts[place].items()})
        for number, step in enumerate(steps.steps[place] if place < count else ()):
            before = layers[place].get(step.before)
            rest = left[step.end].get(step.after)
            if before is None or rest is None:
                continue
            for n, point in enumerate(table.get(step.setting, ())):
                cycles, joules = before.cycles + point.cycles, before.joules + point.energy_j
                fits = (cycles + rest[0] <= most_cycles) & (joules + rest[1] <= most_energy_j)
                which = np.flatnonzero(fits)
                origin = np.column_stack([np.full(len(which), place), np.full(len(which), number),
                                          which, np.full(len(which), n)])  # fmt: skip
                parts[step.end].setdefault(step.after, []).append(
                    _Ways(cycles[which], joules[which], origin)
                )
    last = layers[count].get(0)
    if last is None or not len(last.cycles):
        return None
    ways = [Way(cycles=float(c), energy_j=float(j))
            for c, j in zip(last.cycles, last.joules, strict=True)]  # fmt: skip
    at = min(range(len(ways)), key=lambda n: rank(ways[n]))
    chosen, row, state, place = [], at, 0, count
    while place:
        place, number, before_row, n = layers[place][state].origin[row].tolist()
        step = steps.steps[place][number]
        chosen.append((step, table[step.setting][n]))
        row, state = before_row, step.before
    chosen.reverse()
    return Chosen(
        cycles=ways[at].cycles, energy_j=ways[at].energy_j,
        steps=tuple(step for step, _ in chosen), points=tuple(point for _, point in chosen),
    )  # fmt: skip


def _least_left(
    steps: Steps, table: Mapping[Setting, list[Point]]
) -> list[dict[int, tuple[float, float]]]:
    """Return, before each stage and per state, the fewest cycles and joules to the end."""
    count = len(steps.steps)
    left: list[dict[int, tuple[float, float]]] = [{} for _ in range(count + 1)]
    left[count][0] = 0.0, 0.0
    for place in reversed(range(count)):
        for step in steps.steps[place]:
            rest, ways = left[step.end].get(step.after), table.get(step.setting)
            if rest is not None and ways:
                least = min(p.cycles for p in ways), min(p.energy_j for p in ways)
                old = left[place].get(step.before, (math.inf, math.inf))
                left[place][step.before] = (min(old[0], rest[0] + least[0]),
                                            min(old[1], rest[1] + least[1]))  # fmt: skip
    return left


def _unbeaten(parts: list[_Ways]) -> _Ways:
    cycles = np.concatenate([p.cycles for p in parts])
    joules = np.concatenate([p.joules for p in parts])
    origin = np.concatenate([p.origin for p in parts])
    order = np.lexsort((joules, cycles))
    joules = joules[order]
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], joules]))[:-1]
    kept = order[joules < lowest]
    if len(kept) > MOST_WAYS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_WAYS).astype(np.int64))]
    return _Ways(cycles[kept], np.concatenate([p.joules for p in parts])[kept], origin[kept])
