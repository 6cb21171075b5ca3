"""What stages take under their settings: nests searched once, for the least room that needs it.

A nest found with much room is also the best with less, as long as it fits there. Results that stay
while sums go on are as wide as sums; a nest with such is searched again with that much less room,
and the bound of the first search is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from orrery.cost.nest import (
    NestProblem,
    Stages,
    TailCost,
    Zeros,
    footprint_bits,
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
from ._resident_space import Part, Setting

#: What nests are searched for: least cycles, or joules plus this price of a cycle.
Goal = float | None
#: a problem, its roles on chip, what is made of zeros, and the goal
_Key = tuple[NestProblem, tuple[str, ...], str, Goal]

_PRICE = Source(basis=Basis.ASSUMED, where="search", note="price of a cycle, in no result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One way to run a stage under a setting.

    Attributes
    ----------
    nests : one per part
    cycles : what runs take beside theirs included
    energy_j : of what has a price
    """

    cycles: float
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
        zeros: Mapping[str, Zeros] | None = None,
    ) -> None:  # fmt: skip
        self.stages, self.architecture, self.level = stages, architecture, level
        self.most, self.cache, self.executor, self.progress = most, cache, executor, progress
        self.room = room_bits(architecture, level) if level is not None else None
        self.beside = (architecture.overhead_s or 0.0) * architecture.clock_hz  # cycles of a run
        zeros, self.zeros = zeros or {}, {"": Zeros()}  # what is made of zeros, by how it reads
        self.kinds = [repr(zeros[s.name]) if s.name in zeros else "" for s in stages.stages]
        self.zeros |= {repr(one): one for one in zeros.values()}
        self.entries: dict[_Key, list[_Entry]] = {}
        self.points: dict[Setting, dict[tuple[float, float], Point]] = {}
        self.tails: dict[Setting, tuple[TailCost, ...]] = {}
        self.searches = 0

    def fill(self, settings: Iterable[Setting], goal: Goal) -> dict[Setting, float]:
        """Search the nests of settings and return, per setting, what no way to run it is below.

        Settings under which nothing fits are left out.
        """
        chains: dict[_Key, list[Part]] = {}
        settings = tuple(settings)
        for part in sorted((part for setting in settings for part in setting.parts),
                           key=lambda part: part.taken_bits):  # fmt: skip
            chains.setdefault(self._key(part, goal), []).append(part)
        run: Callable[..., Iterable[object]] = self.executor.map if self.executor else map
        jobs = list(chains.values())
        for number, _ in enumerate(run(lambda parts: self._chain(parts, goal), jobs), 1):
            self.progress.step("loop nests", number, len(jobs))
        return {setting: bound for setting in settings
                if (bound := self._settle(setting, goal)) is not None}  # fmt: skip

    def tail(self, setting: Setting) -> tuple[TailCost, ...]:
        """Return what the tail of every part of a setting takes, one run."""
        if setting not in self.tails:
            self.tails[setting] = tuple(
                tail_cost(part.tail, self.stages.sizes, self.architecture, self.level or "",
                          kept=setting.kept, written=setting.written) for part in setting.parts
            )  # fmt: skip
        return self.tails[setting]

    def seen_by(self, part: Part) -> Architecture:
        """Return the architecture as a nest sees it."""
        return self._architecture(part.roles, part.taken_bits)

    def _architecture(self, roles: tuple[str, ...], taken: int) -> Architecture:
        if self.level is None or not (roles or taken):
            return self.architecture
        return keep_on_chip(self.architecture, self.level, roles, taken)

    def _chain(self, parts: list[Part], goal: Goal) -> None:
        """Search one problem for one choice of roles, from most room to least."""
        entries = self.entries.setdefault(self._key(parts[0], goal), [])
        for part in parts:
            if self._entry(part, goal) is None:
                entries.append(self._search(part, goal))

    def _key(self, part: Part, goal: Goal) -> _Key:
        return part.problem, part.roles, self.kinds[part.stage], goal

    def _entry(self, part: Part, goal: Goal) -> _Entry | None:
        for entry in self.entries[self._key(part, goal)]:
            fits = self.room is None or entry.need_bits <= self.room - part.taken_bits
            if entry.taken_bits <= part.taken_bits and (entry.found is None or fits):
                return entry
        return None

    def _search(self, part: Part, goal: Goal) -> _Entry:
        taken = part.taken_bits
        first = self._best(part, taken, goal)
        if first is None:
            return _Entry(taken_bits=taken, need_bits=0, found=None, bound=math.inf)
        wide = self._wide(first, part)
        need = self._tiles(first) + wide
        if self.room is None or need <= self.room - taken:
            return _Entry(taken_bits=taken, need_bits=need, found=first, bound=first.bound)
        again = self._best(part, taken + wide, goal) if taken + wide < self.room else None
        need = self._tiles(again) + wide if again else 0
        return _Entry(taken_bits=taken, need_bits=need, found=again, bound=first.bound)

    def _wide(self, found: NestFound, part: Part) -> int:
        """Return what sums that go on in the buffer take beyond the result that stays there."""
        if self.level is None or "output" not in part.roles:
            return 0
        if not found.cost.counts.partial[self._place()]:
            return 0
        wide = part.makes * self.architecture.partial_sum_bits
        return max(0, wide - tensor_bits(self.architecture, part.makes))

    def _tiles(self, found: NestFound) -> int:
        """Return the bits of the buffer's shared room that the tiles of a nest take."""
        if self.level is None:
            return 0
        place = self._place()
        shares = self.architecture.levels[place].shares_bits
        bits = footprint_bits(found.cost.counts, self.architecture)[place]
        return sum(n for role, n in bits.items() if role not in shares)

    def _place(self) -> int:
        return next(i for i, x in enumerate(self.architecture) if x.name == self.level)

    def _best(self, part: Part, taken: int, goal: Goal) -> NestFound | None:
        plain = self._architecture(part.roles, taken)
        sought = plain
        if goal:
            watts = (plain.static_power_w or 0.0) + goal * plain.clock_hz
            sought = replace(plain, static_power_w=watts,
                             sources={**plain.sources, "static_power_w": _PRICE})  # fmt: skip
        self.searches += 1
        zeros = self.zeros[self.kinds[part.stage]]
        found = nest_network({"": part.problem}, sought, "latency" if goal is None else "energy",
                             most=self.most, cache=self.cache, zeros=zeros)[""]  # fmt: skip
        if isinstance(found, Infeasible):
            return None
        if not goal:
            return found
        return replace(found, cost=nest_cost(part.problem, found.mapping, plain, zeros=zeros))

    def _settle(self, setting: Setting, goal: Goal) -> float | None:
        """Add the point of a goal to a setting; return the setting's bound under that goal."""
        nests, bound, cycles, joules = [], 0.0, 0.0, 0.0
        for part, tail in zip(setting.parts, self.tail(setting), strict=True):
            entry = self._entry(part, goal)
            if entry is None or entry.bound == math.inf:
                return None
            times = part.problem.times
            also = tail.cycles + self.beside
            more = also if goal is None else tail.energy_j + goal * also
            bound += entry.bound + more * times
            if entry.found is not None:
                nests.append(entry.found)
                cycles += entry.found.cost.cycles + also * times
                joules += sum(c.energy_j for c in entry.found.cost.charges) + tail.energy_j * times
        points = self.points.setdefault(setting, {})
        if len(nests) == len(setting.parts):
            point = Point(cycles=cycles, energy_j=joules, nests=tuple(nests))
            points.setdefault((cycles, joules), point)
        return bound
