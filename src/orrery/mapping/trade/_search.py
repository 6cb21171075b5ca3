"""The least latency or energy under ceilings of the other, with a lower bound.

Models:  for every number of devices of each kind (their idle power P is then known), the lower hull
         of seconds and dynamic joules over all mappings onto sets in series: a search for the least
         ``a * seconds + b * joules`` gives a line that no mapping lies below, and a mapping on or
         near it. Lines are added where the bound is lowest until bound and best mapping meet: the
         bound is the least of the objective over what lies above all lines and below the ceilings
         (the Lagrangian dual). Energy is dynamic joules plus P times seconds.
Ignores: most mappings inside the hull: under a ceiling the best one may lie there, and only those
         that begin as one corner and end as another are tried. The bound stays below; the gap is
         told. Of several networks the time of the longest is bounded by
         weighted sums of their times.
Judge:   brute force over all mappings of random residual networks (tests).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Literal

import numpy as np

from orrery.progress import SILENT, Progress
from orrery.timeline import PS_PER_S

from ..sets._exact import ChainOptimum, TooManyStatesError, chain_optimum
from ..sets._mapping import Placed, SetMapping, evaluate
from ..sets._problem import Problem
from ..sets._routes import NEVER
from ._joules import Joules
from ._weighed import weigh

Taken = tuple[int, ...]

#: one unit of a reference mapping's value is so many whole ones in a search
_UNITS = 2.0**40
_CLOSE = 1e-6  #: a bound so near the best is reached
_NEAR = 1e-3  #: beyond this, mappings inside the hull are looked for
_PARENTS = 5  #: mappings of which others are made, on either side
_CUTS = 40  #: places at most where one mapping may pass into another
_STATES = 2_000_000  #: of an exact search of where tensors lie, where forgetting it leaves a gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What a mapping may take at most; None for any."""

    latency_s: float | None = None
    energy_j: float | None = None
    devices: int | None = None

    def keep(self, point: Point) -> bool:
        """Whether a mapping keeps them all."""
        return not (
            (self.latency_s is not None and point.seconds > self.latency_s)
            or (self.energy_j is not None and point.energy_j > self.energy_j)
            or (self.devices is not None and point.devices > self.devices)
        )

    def __bool__(self) -> bool:
        return self != NO_CEILINGS


#: no ceilings
NO_CEILINGS = Ceilings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A mapping that fits and what it takes."""

    mapping: SetMapping
    seconds: float
    dynamic_j: float
    idle_w: float
    devices: int

    @property
    def energy_j(self) -> float:
        return self.dynamic_j + self.idle_w * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded:
    """The best mapping found, None where none keeps the ceilings, and the bound.

    `bound` is infinite where it is proved that none keeps them.
    """

    best: Point | None
    bound: float


@dataclass(slots=True)
class _Hull:
    """What is known of mappings that take so many devices."""

    power_w: float
    #: (a, b, value): no mapping has less than that of a * seconds + b * joules
    lines: list[tuple[float, float, float]] = field(default_factory=list)
    #: seconds and dynamic joules of mappings, whether or not they fit
    seen: list[tuple[float, float]] = field(default_factory=list)


class Trader:
    """Searches that share what they have found.

    Attributes
    ----------
    points : different mappings that fit, in the order in which they were found
    """

    def __init__(self, joules: Joules, *, most_runs: int = 24, progress: Progress = SILENT) -> None:
        self.joules, self.most_runs, self.progress = joules, most_runs, progress
        self.points: list[Point] = []
        self._tried: set[SetMapping] = set()
        self._asked: set[float] = set()
        self._overfull = False
        networks = len(joules.problem.tables.workload.references)
        even = (1.0 / networks,) * networks
        alone = (tuple(float(m == n) for m in range(networks)) for n in range(networks))
        #: of the networks' times, in sums that are no more than the longest
        self._weights = tuple(dict.fromkeys((even, *alone)))
        self._hulls: dict[Taken, _Hull] = {}
        #: seconds and joules of the order of what good mappings take
        self._scale = (1.0, 1.0)

    def least(
        self, objective: Literal["latency", "energy"], ceilings: Ceilings = NO_CEILINGS
    ) -> Traded:
        """Return the best mapping under ceilings.

        Raises
        ------
        TooManyStatesError : so many tensors are live that even forgetting where they lie is no help
        CancelledError : the user asked to stop; `points` has what was found
        """
        runs, done = 0, set[Taken]()
        if not self._hulls:
            self._begin()
        while True:
            best, value = self._best(objective, ceilings)
            corners = self._corners(objective, ceilings)
            open_ = sorted(c for c in corners if c[2] not in done and c[0] < value * (1 - _CLOSE))
            if runs >= self.most_runs or not open_:
                break
            _, corner, taken = open_[0]
            direction = self._direction(objective, ceilings, taken, corner)
            if direction is None:
                done.add(taken)
                continue
            self._ask(*direction, [c[2] for c in open_[:4]])
            runs += 1
        bound = min((c[0] for c in corners), default=math.inf)
        if ceilings and value > bound * (1 + _NEAR) and bound < math.inf:
            self._cross(objective, ceilings)
            best, value = self._best(objective, ceilings)
        if best is None and self._overfull and corners:
            self._fit(objective, min(corners)[2])
            best, value = self._best(objective, ceilings)
        return Traded(best=best, bound=min(bound, value))

    def _best(self, objective: str, ceilings: Ceilings) -> tuple[Point | None, float]:
        kept = [
            (p.seconds if objective == "latency" else p.energy_j, number)
            for number, p in enumerate(self.points) if ceilings.keep(p)
        ]  # fmt: skip
        value, number = min(kept, default=(math.inf, -1))
        return (self.points[number] if kept else None), value

    # -- lines ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find the fastest mapping on every number of devices."""
        for weights in self._weights:
            sums, optima = self._solve(PS_PER_S, 0.0, weights, "relaxed")
            for taken, (value, _) in sums.items():
                hull = self._hulls.setdefault(taken, _Hull(power_w=self.joules.power_w(taken)))
                hull.lines.append((1.0, 0.0, value / PS_PER_S))
            self._trace([*sums], sums, optima)
        seen = [p for hull in self._hulls.values() for p in hull.seen]
        if seen:
            self._scale = min(s for s, _ in seen) or 1.0, min(j for _, j in seen) or 1.0
        self._asked.add(_angle(1.0, 0.0))

    def _ask(self, a: float, b: float, trace: Sequence[Taken]) -> None:
        """Add the line of a direction to every hull, and mappings on it to those asked for."""
        self._asked.add(_angle(a * self._scale[0], b * self._scale[1]))
        unit = _UNITS / (a * self._scale[0] + b * self._scale[1])
        values: dict[Taken, int] = {}
        for weights in self._weights:
            sums, optima = self._solve(a * unit, b * unit, weights, "relaxed")
            for taken in self._hulls:  # what is not there takes more than any clock says
                value = sums[taken][0] if taken in sums else NEVER
                values[taken] = max(values.get(taken, 0), value)
            self._trace(trace, sums, optima)
        seen = (a * s + b * j for s, j in self._hulls[trace[0]].seen)
        if min(seen, default=math.inf) > values[trace[0]] / unit * (1 + _CLOSE):
            # Where tensors lie that wait was forgotten: look for a mapping that knows it.
            known = self._solve(a * unit, b * unit, self._weights[0], "exact")
            self._trace(trace[:1], *known)
        for taken, hull in self._hulls.items():
            hull.lines.append((a, b, values[taken] / unit))

    def _solve(
        self, per_s: float, per_j: float, weights: Sequence[float], behind: str,
        per_byte: float = 0.0,
    ) -> tuple[dict[Taken, tuple[int, list[Taken]]], list[ChainOptimum]]:  # fmt: skip
        optima = []
        for network, weight in enumerate(weights):
            priced = weigh(self.joules, weight * per_s / PS_PER_S, per_j, per_byte)
            optima.append(_optimum(priced, network, behind, self.progress))
        return _summed(self.joules.problem, optima), optima

    def _trace(
        self, wanted: Sequence[Taken], sums: Mapping[Taken, tuple[int, list[Taken]]],
        optima: Sequence[ChainOptimum],
    ) -> None:  # fmt: skip
        for taken in wanted:
            if taken not in sums:
                continue
            mapping = _mapping(self.joules.problem, sums[taken][1], optima)
            found = self._look(mapping)
            if found is not None:
                self._hulls[taken].seen.append(found)

    def _look(self, mapping: SetMapping) -> tuple[float, float] | None:
        """Return seconds and dynamic joules of a mapping; it is a point if it is new and fits."""
        times = evaluate(self.joules.problem, mapping)
        if times.makespan_ps >= NEVER:
            return None
        seconds, joules = times.makespan_ps / PS_PER_S, self.joules.dynamic_j(mapping)
        if mapping not in self._tried and not times.overfull:
            devices = len({d for placed in mapping.sets for d in placed.devices})
            self.points.append(Point(
                mapping=mapping, seconds=seconds, dynamic_j=joules, devices=devices,
                idle_w=self.joules.idle_of(mapping),
            ))  # fmt: skip
        self._tried.add(mapping)
        self._overfull |= bool(times.overfull)
        return seconds, joules

    def _cross(self, objective: str, ceilings: Ceilings) -> None:
        """Begin as one mapping does and end as another: between corners of the hull lie those."""

        def figures(point: Point) -> tuple[float, float]:
            both = (point.seconds, point.energy_j)
            return both if objective == "latency" else both[::-1]

        good: dict[object, Point] = {}
        kept: dict[object, Point] = {}
        for point in self.points:
            where = tuple((placed.devices, placed.design) for placed in point.mapping.sets)
            if where not in good or figures(point)[0] < figures(good[where])[0]:
                good[where] = point
            if where not in kept or figures(point)[1] < figures(kept[where])[1]:
                kept[where] = point
        first = sorted(good.values(), key=lambda p: figures(p)[0])[:_PARENTS]
        second = sorted(kept.values(), key=lambda p: figures(p)[1])[:_PARENTS]
        for one, other in product(first, second):
            for before, after in ((one, other), (other, one)):
                for mapping in _spliced(self.joules.problem, before.mapping, after.mapping):
                    if mapping not in self._tried:
                        self._look(mapping)

    def _corners(
        self, objective: str, ceilings: Ceilings
    ) -> list[tuple[float, tuple[float, float], Taken]]:
        """Return per number of devices the least that lines and ceilings allow, and where."""
        found = []
        for taken, hull in self._hulls.items():
            if ceilings.devices is not None and sum(taken) > ceilings.devices:
                continue
            rows = [*hull.lines, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
            if ceilings.latency_s is not None:
                rows.append((-1.0, 0.0, -ceilings.latency_s))
            if ceilings.energy_j is not None:
                rows.append((-hull.power_w, -1.0, -ceilings.energy_j))
            goal = (1.0, 0.0) if objective == "latency" else (hull.power_w, 1.0)
            corner = _corner(goal, rows, self._scale)
            if corner is not None:
                found.append((goal[0] * corner[0] + goal[1] * corner[1], corner, taken))
        return found

    def _direction(
        self, objective: str, ceilings: Ceilings, taken: Taken, corner: tuple[float, float]
    ) -> tuple[float, float] | None:
        """Return where to look next for a line above a corner; None where all was asked."""
        hull, (second, joule) = self._hulls[taken], self._scale
        goals = [(1.0 / second, 0.0) if objective == "latency" else (hull.power_w, 1.0)]
        if ceilings.energy_j is not None:
            goals.append((hull.power_w, 1.0))
        if ceilings.latency_s is not None:
            goals.append((1.0 / second, 0.0))
        left = max((p for p in hull.seen if p[0] <= corner[0]), default=None)
        right = min((p for p in hull.seen if p[0] >= corner[0]), default=None)
        if left is not None and right is not None:
            goals.append((left[1] - right[1], right[0] - left[0]))
        goals.append((second / joule * 1e-6, 1.0))
        for a, b in goals:
            if min(a, b) >= 0 < max(a, b) and _angle(a * second, b * joule) not in self._asked:
                return a, b
        return None

    def _fit(self, objective: str, taken: Taken) -> None:
        """Look for mappings that fit, with a price on resident bytes, ever dearer."""
        a, b = (1.0, 0.0) if objective == "latency" else (self._hulls[taken].power_w, 1.0)
        unit = _UNITS / (a * self._scale[0] + b * self._scale[1])
        total = sum(self.joules.problem.tables.workload.weight_bytes) or 1
        for power in range(-4, 8):
            price, before = 4.0**power * _UNITS / total, len(self.points)
            sums, optima = self._solve(a * unit, b * unit, self._weights[0], "relaxed", price)
            self._trace([*sums], sums, optima)
            if len(self.points) > before:
                return


def _optimum(priced: Problem, network: int, behind: str, progress: Progress) -> ChainOptimum:
    if behind == "relaxed":
        return chain_optimum(priced, network, behind=behind, forget=True, progress=progress)
    try:
        return chain_optimum(priced, network, most_states=_STATES, progress=progress)
    except TooManyStatesError:
        return chain_optimum(priced, network, behind="never", progress=progress)


def _summed(
    problem: Problem, optima: Sequence[ChainOptimum]
) -> dict[Taken, tuple[int, list[Taken]]]:
    """Share the devices among networks so that the sum is least, for every number of devices."""
    sizes = tuple(len(group) for group in problem.groups)
    best: dict[Taken, tuple[int, list[Taken]]] = {(0,) * len(sizes): (0, [])}
    for optimum in optima:
        following: dict[Taken, tuple[int, list[Taken]]] = {}
        for gone, (value, parts) in best.items():
            for taken, own in optimum.value_ps.items():
                total = tuple(a + b for a, b in zip(gone, taken))
                if own >= NEVER or any(a > n for a, n in zip(total, sizes)):
                    continue
                if total not in following or value + own < following[total][0]:
                    following[total] = (value + own, [*parts, taken])
        best = following
    return best


def _mapping(
    problem: Problem, parts: Sequence[Taken], optima: Sequence[ChainOptimum]
) -> SetMapping:
    sets: list[Placed] = []
    choices = [0] * len(problem.units)
    offset = (0,) * len(problem.groups)
    for optimum, taken in zip(optima, parts, strict=True):
        placed, chosen, *_ = optimum.mapping(taken, offset)
        sets += placed
        for unit, choice in chosen.items():
            choices[unit] = choice
        offset = tuple(a + b for a, b in zip(offset, taken))
    return SetMapping(sets=tuple(sets), choices=tuple(choices))


def _spliced(problem: Problem, before: SetMapping, after: SetMapping) -> Iterator[SetMapping]:
    """Yield mappings that begin as one and end as another, of a single network.

    Their sets are the same, so that choices alone change, or have no device in common.
    """
    count = len(problem.units)
    same = before.sets == after.sets
    devices = [{d for placed in m.sets for d in placed.devices} for m in (before, after)]
    if before == after or problem.units[0].network != problem.units[-1].network:
        return
    if not same and devices[0] & devices[1]:
        return
    cuts = [u for u in range(1, count) if same or problem.cuts[u]]
    for cut in cuts[:: -(-len(cuts) // _CUTS) or 1]:
        sets = before.sets if same else (
            *(replace(p, last=min(p.last, cut)) for p in before.sets if p.first < cut),
            *(replace(p, first=max(p.first, cut)) for p in after.sets if p.last > cut),
        )  # fmt: skip
        yield SetMapping(sets=sets, choices=before.choices[:cut] + after.choices[cut:])


def _angle(a: float, b: float) -> float:
    return round(math.atan2(a, b), 9)


def _corner(
    goal: tuple[float, float], rows: Sequence[tuple[float, float, float]],
    scale: tuple[float, float],
) -> tuple[float, float] | None:  # fmt: skip
    """Return where ``goal`` is least among points with ``a * x + b * y >= c`` for all rows.

    None where there is no such point. Rows are few: all their crossings are tried.
    """
    table = np.array(rows, np.float64) * (*scale, 1.0)
    table /= np.hypot(table[:, 0], table[:, 1])[:, None]
    first, second = np.array(list(combinations(range(len(table)), 2))).T
    (a, b, c), (d, e, f) = table[first].T, table[second].T
    under = a * e - b * d
    cross = np.abs(under) > 1e-12
    under = np.where(cross, under, 1.0)
    x, y = (c * e - b * f) / under, (a * f - c * d) / under
    rest = table[:, :1] * x + table[:, 1:2] * y - table[:, 2:]
    size = 1e-9 * (1.0 + np.abs(x) + np.abs(y))
    fine = cross & (rest >= -size).all(axis=0)
    if not fine.any():
        return None
    value = np.where(fine, goal[0] * scale[0] * x + goal[1] * scale[1] * y, np.inf)
    best = int(np.argmin(value))
    return float(x[best] * scale[0]), float(y[best] * scale[1])
