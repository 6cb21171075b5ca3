"""What stages take under their settings: nests searched once, for the least room that needs it.

A nest found with much room is also the best with less, as long as it fits there. Results that stay
while sums go on are as wide as sums; a nest with such is searched again with that much less room,
and the bound of the first search is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from orrery.cost.nest import (
    NestCost,
    NestProblem,
    Stages,
    TailCost,
    keep_on_chip,
    nest_cost,
    room_bits,
    tail_cost,
    tensor_bits,
)
from orrery.hardware import Architecture
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source
from orrery.store import Cache

from ._find import NestFound
from ._network import nest_network
from ._resident_space import Setting

__all__ = ["Goal", "Point", "Prices"]

#: What nests are searched for: least cycles, or joules plus this price of a cycle.
Goal = float | None

_PRICE = Source(basis=Basis.ASSUMED, where="search", note="price of a cycle, in no result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One way to run a stage under a setting.

    Attributes
    ----------
    nests : one per problem
    energy_j : of what has a price
    """

    cycles: int
    energy_j: float
    nests: tuple[NestFound, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A search: from which room on it holds, what its nest needs, what none is below."""

    taken_bits: int
    need_bits: int
    found: NestFound | None
    bound: float


class Prices:
    """Points and bounds of settings, found when asked for."""

    def __init__(
        self, stages: Stages, architecture: Architecture, level: str | None, *, most: int,
        cache: Cache | None, executor: Executor | None = None, progress: Progress = SILENT,
    ) -> None:  # fmt: skip
        self.stages, self.architecture, self.level = stages, architecture, level
        self.most, self.cache, self.executor, self.progress = most, cache, executor, progress
        self.room = room_bits(architecture, level) if level is not None else None
        self.entries: dict[tuple[NestProblem, tuple[str, ...], Goal], list[_Entry]] = {}
        self.points: dict[Setting, dict[tuple[int, float], Point]] = {}
        self.tails: dict[Setting, TailCost] = {}
        self.searches = 0

    def fill(self, settings: Iterable[Setting], goal: Goal) -> dict[Setting, float]:
        """Search the nests of settings and return, per setting, what no way to run it is below.

        Settings under which nothing fits are left out.
        """
        chains: dict[tuple[NestProblem, tuple[str, ...]], list[Setting]] = {}
        settings = tuple(settings)
        for setting in sorted(settings, key=lambda s: s.taken_bits):
            for problem in self.stages.stages[setting.stage].problems:
                chains.setdefault((problem, setting.roles), []).append(setting)
        run: Callable[..., Iterable[object]] = self.executor.map if self.executor else map
        jobs = list(chains.items())
        for number, _ in enumerate(run(lambda job: self._chain(job[0], job[1], goal), jobs), 1):
            self.progress.step("loop nests", number, len(jobs))
        return {setting: bound for setting in settings
                if (bound := self._settle(setting, goal)) is not None}  # fmt: skip

    def tail(self, setting: Setting) -> TailCost:
        """Return what the tail of a stage takes."""
        if setting not in self.tails:
            self.tails[setting] = tail_cost(
                self.stages.stages[setting.stage].tail, self.stages.sizes, self.architecture,
                self.level or "", kept=setting.kept, written=setting.written,
            )  # fmt: skip
        return self.tails[setting]

    def seen_by(self, setting: Setting) -> Architecture:
        """Return the architecture as a stage sees it."""
        return self._architecture(setting.roles, setting.taken_bits)

    def _architecture(self, roles: tuple[str, ...], taken: int) -> Architecture:
        if self.level is None or not (roles or taken):
            return self.architecture
        return keep_on_chip(self.architecture, self.level, roles, taken)

    def _chain(
        self, key: tuple[NestProblem, tuple[str, ...]], settings: list[Setting], goal: Goal
    ) -> None:
        """Search one problem for one choice of roles, from most room to least."""
        problem, roles = key
        entries = self.entries.setdefault((problem, roles, goal), [])
        for setting in settings:
            if self._entry(entries, setting.taken_bits) is None:
                entries.append(self._search(problem, roles, setting, goal))

    def _entry(self, entries: list[_Entry], taken: int) -> _Entry | None:
        for entry in entries:
            fits = self.room is None or entry.need_bits <= self.room - taken
            if entry.taken_bits <= taken and (entry.found is None or fits):
                return entry
        return None

    def _search(
        self, problem: NestProblem, roles: tuple[str, ...], setting: Setting, goal: Goal
    ) -> _Entry:
        taken = setting.taken_bits
        first = self._best(problem, roles, taken, goal)
        if first is None:
            return _Entry(taken_bits=taken, need_bits=0, found=None, bound=float("inf"))
        wide = self._wide(first, roles, setting)
        need = self._peak(first) + wide
        if self.room is None or need <= self.room - taken:
            return _Entry(taken_bits=taken, need_bits=need, found=first, bound=first.bound)
        again = None
        if taken + wide < self.room:
            again = self._best(problem, roles, taken + wide, goal)
        need = self._peak(again) + wide if again else 0
        return _Entry(taken_bits=taken, need_bits=need, found=again, bound=first.bound)

    def _wide(self, found: NestFound, roles: tuple[str, ...], setting: Setting) -> int:
        """Return what sums that go on in the buffer take beyond the result that stays there."""
        if self.level is None or "output" not in roles:
            return 0
        place = next(i for i, x in enumerate(self.architecture) if x.name == self.level)
        if not found.cost.counts.partial[place]:
            return 0
        elements = self.stages.sizes[self.stages.stages[setting.stage].writes[0]]
        wide = elements * self.architecture.partial_sum_bits
        return max(0, wide - tensor_bits(self.architecture, elements))

    def _peak(self, found: NestFound) -> int:
        return found.cost.peak_bits[self.level] if self.level is not None else 0

    def _best(
        self, problem: NestProblem, roles: tuple[str, ...], taken: int, goal: Goal
    ) -> NestFound | None:
        plain = self._architecture(roles, taken)
        sought = plain
        if goal:
            watts = (plain.static_power_w or 0.0) + goal * plain.clock_hz
            sought = replace(plain, static_power_w=watts,
                             sources={**plain.sources, "static_power_w": _PRICE})  # fmt: skip
        self.searches += 1
        found = nest_network({"": problem}, sought, "latency" if goal is None else "energy",
                             most=self.most, cache=self.cache)[""]  # fmt: skip
        if isinstance(found, Infeasible):
            return None
        if not goal:
            return found
        return replace(found, cost=nest_cost(problem, found.mapping, plain))

    def _settle(self, setting: Setting, goal: Goal) -> float | None:
        """Add the point of a goal to a setting; return the setting's bound under that goal."""
        tail, nests, bound = self.tail(setting), [], 0.0
        for problem in self.stages.stages[setting.stage].problems:
            entry = self._entry(self.entries[problem, setting.roles, goal], setting.taken_bits)
            if entry is None or (entry.found is None and entry.bound == float("inf")):
                return None
            bound += entry.bound
            if entry.found is not None:
                nests.append(entry.found)
        bound += tail.cycles if goal is None else tail.energy_j + goal * tail.cycles
        points = self.points.setdefault(setting, {})
        if len(nests) == len(self.stages.stages[setting.stage].problems):
            cycles = sum(one.cost.cycles for one in nests) + tail.cycles
            energy = sum(_joules(one.cost) for one in nests) + tail.energy_j
            point = Point(cycles=cycles, energy_j=energy, nests=tuple(nests))
            point = Point(cycles=cycles, energy_j=energy, nests=tuple(nests))
            points.setdefault((cycles, energy), point)
        return bound


def _joules(cost: NestCost) -> float:
    return sum(charge.energy_j for charge in cost.charges)
