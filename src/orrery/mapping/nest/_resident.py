"""Loop nests of a whole network together: which tensors stay on chip, under which ceilings.

Models:  stages one after the other. Cycles and joules add up; so for one price of a cycle the best
         choice of tensors and nests is a shortest path, and its length less the price of the cycles
         allowed is a bound (Lagrange). The nests found for some prices are then combined exactly,
         way by way, keeping those that no other beats in both.
Ignores: stages that overlap; nests that are best for no price of a cycle.
Judge:   all subsets of tensors and all combinations of nests, priced one by one (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from orrery.cost.nest import (
    NestProblem,
    Stage,
    Stages,
    TailCost,
    keeping_levels,
    room_bits,
    tensor_bits,
    with_tail,
)
from orrery.errors import SpecError, did_you_mean
from orrery.hardware import Architecture
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.store import Cache

from ._find import OBJECTIVES, NestFound
from ._network import nest_network
from ._resident_front import Chosen, Way, front, shortest
from ._resident_price import Goal, Prices
from ._resident_space import Steps, steps_of

__all__ = ["Kept", "PartNest", "StagedNests", "nest_stages"]

#: Prices of a cycle that are tried at most, and a gap that is not worth another.
PRICES, CLOSE = 12, 1e-4
#: a price of a cycle at which joules only decide between equally fast ways
_DEAR = 1e3
#: shares of the joules per cycle at which cycles only decide between equally frugal nests, and ways
_CHEAP, _CHEAPEST = 1e-7, 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A tensor that stays on chip.

    Attributes
    ----------
    maker, until : stages
    written : whether it goes off chip as well
    """

    tensor: str
    maker: str
    until: str
    bits: int
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNest:
    """A nest of a stage, or of a tile of its rows, as it runs.

    Attributes
    ----------
    rows : of a tile, which is run `problem.times` times; 0: all rows at once
    nest : its cost takes in the tail
    tail : what the tail takes in one run
    architecture : as the nest sees it: what stays on chip has taken its room
    roles : of the nest that live on chip
    """

    stage: Stage
    problem: NestProblem
    rows: int
    nest: NestFound
    tail: TailCost
    architecture: Architecture
    roles: tuple[str, ...]
    taken_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedNests:
    """A network's nests.

    Attributes
    ----------
    parts : nests in the order of the stages; tiles of a chain take turns
    failed : stages no nest of which fits, and why; in no total
    kept : tensors that stay on chip
    level : where
    value : cycles, joules, or joules times seconds
    bound : no choice of whole tensors, tiles of the heights tried, and nests has less
    heights : of tiles of rows that were tried, in chains of `LONGEST` stages at most
    searches : of single nests, equal ones once
    """

    objective: str
    parts: tuple[PartNest, ...]
    failed: dict[str, Infeasible]
    kept: tuple[Kept, ...]
    level: str | None
    value: float
    bound: float
    searches: int
    heights: tuple[int, ...] = ()

    @property
    def cycles(self) -> int:
        return sum(one.nest.cost.cycles for one in self.parts)

    @property
    def energy_j(self) -> float | None:
        """Joules, None when a price is not known."""
        joules = [one.nest.cost.energy_j for one in self.parts]
        return None if None in joules else sum(j for j in joules if j is not None)

    @property
    def offchip_bytes(self) -> int:
        """Bytes to and from the outermost level."""
        return sum(one.nest.cost.cost.offchip_bytes or 0 for one in self.parts)

    @property
    def gap(self) -> float:
        """Share of the value by which a better choice could be less."""
        return max(0.0, 1 - self.bound / self.value) if self.value else 0.0


def nest_stages(
    stages: Stages, architecture: Architecture, objective: str = "latency", *,
    keep: bool = True, most_cycles: int | None = None, most_energy_j: float | None = None,
    most: int = 2_000_000_000, most_states: int = 256, cache: Cache | None = None,
    executor: Executor | None = None, progress: Progress = SILENT,
) -> StagedNests | Infeasible:  # fmt: skip
    """Choose the tensors that stay on chip and every stage's nests, for the whole network.

    Parameters
    ----------
    stages : of `stages_of`
    objective : one of `OBJECTIVES`, of all stages together
    keep : whether tensors may stay on chip at all
    most_cycles, most_energy_j : ceilings, of all stages together
    most : evaluations of each search of a nest, see `best_nest`
    most_states : sets of tensors that are followed, see `steps_of`
    executor : searches nests side by side, in threads

    Raises
    ------
    SpecError : an unknown objective; joules asked for where a price is not known
    """
    if objective not in OBJECTIVES:
        raise SpecError("objective", found=objective, wanted=f"one of {', '.join(OBJECTIVES)}",
                        fix=f"choose one{did_you_mean(objective, OBJECTIVES)}")  # fmt: skip
    stages, failed = _without_failed(stages, architecture, most, cache, executor, progress)
    levels = keeping_levels(architecture) if keep else ()
    level = max(levels, key=lambda x: _room(architecture, x), default=None)
    steps = steps_of(stages, architecture, level, most_states=most_states)
    prices = Prices(stages, architecture, level, most=most, cache=cache, executor=executor,
                    progress=progress)  # fmt: skip
    search = _Search(steps, prices, most_cycles, most_energy_j)
    chosen = search.run(objective)
    if isinstance(chosen, Infeasible):
        return chosen
    return _told(chosen, search, objective, stages, failed, level)


def _room(architecture: Architecture, level: str) -> float:
    room = room_bits(architecture, level)
    return math.inf if room is None else room


def _without_failed(
    stages: Stages, architecture: Architecture, most: int, cache: Cache | None,
    executor: Executor | None, progress: Progress,
) -> tuple[Stages, dict[str, Infeasible]]:  # fmt: skip
    """Take the nests from stages that do not fit even an empty chip."""
    problems = {
        f"{place} {number}": problem
        for place, stage in enumerate(stages.stages)
        for number, problem in enumerate(stage.problems)
    }
    found = nest_network(problems, architecture, most=most, cache=cache, executor=executor,
                         progress=progress)  # fmt: skip
    wrong = {int(name.split()[0]): one for name, one in found.items()
             if isinstance(one, Infeasible)}  # fmt: skip
    left = tuple(
        s.left_out(str(wrong[place])) if place in wrong else s
        for place, s in enumerate(stages.stages)
    )
    return replace(stages, stages=left), {
        stages.stages[place].name: one for place, one in wrong.items()
    }


class _Search:
    """Prices of a cycle tried so far, the ways they led to, what they prove."""

    def __init__(
        self, steps: Steps, prices: Prices, most_cycles: int | None, most_energy_j: float | None
    ) -> None:
        self.steps, self.prices = steps, prices
        self.most_cycles = math.inf if most_cycles is None else most_cycles
        self.most_energy_j = math.inf if most_energy_j is None else most_energy_j
        self.lines: list[tuple[float, float]] = []  # price -> what joules and priced cycles exceed
        self.least_cycles = 0.0
        self.rate = 0.0  # joules per cycle of the most frugal way

    def run(self, objective: str) -> Chosen | Infeasible:
        limited = self.most_cycles < math.inf or self.most_energy_j < math.inf
        if objective == "energy" and not limited:
            self.priced(0.0)
            first = self.best(objective)
            if isinstance(first, Chosen):
                chosen = dict.fromkeys(step.setting for step in first.steps)
                self.prices.fill(chosen, _CHEAP * self.rate)
            return self.best(objective)
        fast = self.solve(None, lambda cycles, energy: float(cycles))
        self.least_cycles = fast.bound
        if fast.cycles > self.most_cycles:
            return Infeasible(
                what="cycles of all loop nests", need=fast.cycles, have=self.most_cycles,
                unit="cycles", remedies=("allow more cycles", "keep more on chip"),
                proved=fast.bound > self.most_cycles,
            )  # fmt: skip
        if objective == "latency" and self.most_energy_j == math.inf:
            if self.is_priced():
                self.priced(_DEAR * fast.energy_j / max(fast.cycles, 1))
            return self.best(objective)
        fast, slow = self.priced(_DEAR * fast.energy_j / max(fast.cycles, 1)), self.priced(0.0)
        if slow.energy_j > self.most_energy_j:
            return Infeasible(
                what="energy of all loop nests", need=slow.energy_j, have=self.most_energy_j,
                unit="J", remedies=("allow more energy", "keep more on chip"),
                proved=slow.bound > self.most_energy_j,
            )  # fmt: skip
        self.refine(fast, slow, objective)
        found = self.best(objective)
        if isinstance(found, Infeasible) and objective != "energy":
            self.refine(fast, slow, "energy")  # the least joules within the cycles
            return self.best(objective)
        return found

    def is_priced(self) -> bool:
        """Return whether the energy of nests is known."""
        return all(not one.cost.unpriced for points in self.prices.points.values()
                   for point in points.values() for one in point.nests)  # fmt: skip

    def solve(self, goal: Goal, worth: Callable[[int, float], float]) -> Way:
        bounds = self.prices.fill(self.steps.settings, goal)
        return shortest(self.steps, self.prices.points, bounds, worth)

    def priced(self, price: float) -> Way:
        """Return the best way at a price of a cycle, and note what it proves."""
        way = self.solve(price, lambda cycles, energy: energy + price * cycles)
        self.lines.append((price, way.bound))
        if not price:
            self.rate = way.energy_j / max(way.cycles, 1)
        return way

    def refine(self, fast: Way, slow: Way, objective: str) -> None:
        """Try the prices that lie where the best way under the ceilings may be."""
        hull = sorted({(w.cycles, w.energy_j) for w in (fast, slow)})
        closed: set[tuple[tuple[int, float], tuple[int, float]]] = set()
        while len(self.lines) < PRICES:
            open_ones = [(self._promise(a, b, objective), a, b) for a, b in pairwise(hull)
                         if (a, b) not in closed and a[1] > b[1]]  # fmt: skip
            if not open_ones:
                return
            promise, a, b = min(open_ones)
            if promise == math.inf or self._near(hull, objective):
                return
            price = (a[1] - b[1]) / (b[0] - a[0])
            way = self.priced(price)
            new = way.cycles, way.energy_j
            if way.energy_j + price * way.cycles >= (a[1] + price * a[0]) * (1 - 1e-9):
                closed.add((a, b))
            elif a[0] < new[0] < b[0]:
                hull = sorted({*hull, new})
            else:
                closed.add((a, b))

    def _near(self, hull: list[tuple[int, float]], objective: str) -> bool:
        """Return whether one of the ways is as good as proven best."""
        worth = [{"latency": float(cycles), "energy": joules, "edp": joules * cycles}[objective]
                 for cycles, joules in hull
                 if cycles <= self.most_cycles and joules <= self.most_energy_j]  # fmt: skip
        return bool(worth) and self.bound(objective, 1.0) >= min(worth) * (1 - CLOSE)

    def _promise(self, a: tuple[int, float], b: tuple[int, float], objective: str) -> float:
        """Return how good ways between two may be: infinite where none is of use."""
        if a[0] > self.most_cycles or b[1] > self.most_energy_j:
            return math.inf
        if objective == "edp":
            return min(a[0] * a[1], b[0] * b[1])
        if objective == "energy":
            return b[1] if b[0] > self.most_cycles else math.inf
        return a[0] if a[1] > self.most_energy_j else math.inf

    def best(self, objective: str) -> Chosen | Infeasible:
        ranks = {
            "latency": lambda w: (w.cycles, w.energy_j),
            # Sums in another order differ by a rounding: joules that near are the same.
            "energy": lambda w: (w.energy_j + _CHEAPEST * self.rate * w.cycles, w.cycles),
            "edp": lambda w: (w.cycles * w.energy_j, w.cycles),
        }  # fmt: skip
        found = front(self.steps, self.prices.points, rank=ranks[objective],
                      most_cycles=self.most_cycles, most_energy_j=self.most_energy_j)  # fmt: skip
        if found is None:
            least = front(self.steps, self.prices.points, rank=ranks["energy"],
                          most_cycles=self.most_cycles)  # fmt: skip
            return Infeasible(
                what=f"energy of all loop nests within {self.most_cycles:,.0f} cycles",
                need=math.inf if least is None else least.energy_j, have=self.most_energy_j,
                unit="J", remedies=("allow more cycles", "allow more energy"),
                proved=self.bound("energy", 1.0) > self.most_energy_j,
            )  # fmt: skip
        return found

    def bound(self, objective: str, clock_hz: float) -> float:
        """Return what no way within the ceilings is below."""
        if not self.steps.complete:
            return 0.0
        if objective == "latency":
            short = [(g - self.most_energy_j) / price for price, g in self.lines if price]
            return max(self.least_cycles, *short, 0.0)
        if objective == "energy":
            return max(g - price * self.most_cycles if price else g for price, g in self.lines)
        candidates = {self.least_cycles}
        for (p, g), (q, h) in combinations(self.lines, 2):
            if p != q and (crossing := (g - h) / (p - q)) > self.least_cycles:
                candidates.add(crossing)
        return min(c * max(g - price * c for price, g in self.lines)
                   for c in candidates) / clock_hz  # fmt: skip


def _told(
    chosen: Chosen, search: _Search, objective: str, stages: Stages,
    failed: dict[str, Infeasible], level: str | None,
) -> StagedNests:  # fmt: skip
    prices, told, kept = search.prices, [], []
    for step, point in zip(chosen.steps, chosen.points, strict=True):
        setting = step.setting
        maker = stages.stages[step.end - 1].name
        for name, until in step.stays:
            kept.append(Kept(
                tensor=name, maker=maker, until=stages.stages[until].name,
                bits=tensor_bits(prices.architecture, stages.sizes[name]),
                written=name in setting.written,
            ))  # fmt: skip
        for part, nest, tail in zip(setting.parts, point.nests, prices.tail(setting), strict=True):
            told.append(PartNest(
                stage=stages.stages[part.stage], problem=part.problem, rows=part.rows, tail=tail,
                architecture=prices.seen_by(part), roles=part.roles, taken_bits=part.taken_bits,
                nest=replace(nest, cost=with_tail(nest.cost, tail,
                                                  prices.architecture.clock_hz)),
            ))  # fmt: skip
    clock = prices.architecture.clock_hz
    value = {"latency": float(chosen.cycles), "energy": chosen.energy_j,
             "edp": chosen.energy_j * chosen.cycles / clock}[objective]  # fmt: skip
    return StagedNests(
        objective=objective, parts=tuple(told), failed=failed, kept=tuple(kept), level=level,
        value=value, bound=min(value, search.bound(objective, clock)), searches=prices.searches,
        heights=search.steps.heights,
    )  # fmt: skip
