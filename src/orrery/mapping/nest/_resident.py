"""Loop nests of a whole network together: which tensors stay on chip, under which ceilings.

Models:  stages one after the other. Cycles and joules add up; so the best choice of tensors and
         nests is found by prices of a cycle (`_resident_search`). What a run takes beside its
         cycles counts as cycles: cutting a chain into tiles costs runs. Of several levels in which
         tensors can stay each is tried alone.
Ignores: stages that overlap; some tensors in one level and others in another.
Judge:   all subsets of tensors and all combinations of nests, priced one by one (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from orrery.cost.nest import (
    NestProblem,
    Stage,
    Stages,
    TailCost,
    Zeros,
    keeping_levels,
    room_bits,
    tensor_bits,
    with_tail,
)
from orrery.errors import check_choice
from orrery.hardware import Architecture
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.store import Cache

from ._find import OBJECTIVES, NestFound
from ._network import nest_network
from ._resident_front import Chosen
from ._resident_price import Prices
from ._resident_search import Search
from ._resident_space import steps_of


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
    tail_kept : tensors on chip that the tail reads
    """

    stage: Stage
    problem: NestProblem
    rows: int
    nest: NestFound
    tail: TailCost
    architecture: Architecture
    roles: tuple[str, ...]
    taken_bits: int
    tail_kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedNests:
    """A network's nests.

    Attributes
    ----------
    parts : nests in the order of the stages; tiles of a chain take turns
    failed : stages no nest of which fits, and why; in no total
    kept : tensors that stay on chip
    level : where; all that stays is there
    value : cycles, what runs take beside theirs included; joules; or joules times seconds
    bound : no choice of whole tensors or tiles of the heights tried, all in one of the levels
        tried, and of nests has less
    tried : level -> heights of tiles of rows that were tried there, in chains of `LONGEST` stages
        at most
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
    tried: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        return sum(one.nest.cost.cycles for one in self.parts)

    @property
    def runs(self) -> int:
        """How often a nest is run."""
        return sum(one.problem.times for one in self.parts)

    @property
    def latency_s(self) -> float:
        """Seconds, what runs take beside their cycles included."""
        return math.fsum(one.nest.cost.latency_s for one in self.parts)

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
    keep: bool = True, most_cycles: float | None = None, most_energy_j: float | None = None,
    zeros: Mapping[str, Zeros] | None = None, most: int = 2_000_000_000, most_states: int = 256,
    cache: Cache | None = None, executor: Executor | None = None, progress: Progress = SILENT,
) -> StagedNests | Infeasible:  # fmt: skip
    """Choose the tensors that stay on chip and every stage's nests, for the whole network.

    Parameters
    ----------
    stages : of `stages_of`
    objective : one of `OBJECTIVES`, of all stages together
    keep : whether tensors may stay on chip at all
    most_cycles, most_energy_j : ceilings, of all stages together; what runs take beside their
        cycles counts as cycles
    zeros : stage -> what its nests make of zeros, see `best_nest`; tails are dense
    most : evaluations of each search of a nest, see `best_nest`
    most_states : sets of tensors that are followed, see `steps_of`
    executor : searches nests side by side, in threads

    Raises
    ------
    SpecError : an unknown objective; joules asked for where a price is not known
    """
    check_choice("objective", objective, OBJECTIVES)
    stages, failed = _without_failed(stages, architecture, most, cache, executor, progress)
    able = keeping_levels(architecture)
    levels = able if keep else ()
    remedy = "enlarge the array or its memories"
    if able and not keep:
        remedy = "let tensors stay on chip"
    tried: dict[str, tuple[int, ...]] = {}
    found: list[tuple[float, StagedNests | Infeasible]] = []
    for level in sorted(levels, key=lambda x: -_room(architecture, x)) or (None,):
        steps = steps_of(stages, architecture, level, most_states=most_states)
        prices = Prices(stages, architecture, level, most=most, cache=cache, executor=executor,
                        progress=progress, zeros=zeros)  # fmt: skip
        search = Search(steps, prices, most_cycles, most_energy_j, remedy)
        chosen = search.run(objective)
        if level is not None:
            tried[level] = steps.heights
        if isinstance(chosen, Infeasible):
            bound = search.bound(objective, architecture.clock_hz)
            found.append((math.inf if chosen.proved else bound, chosen))
        else:
            one = _told(chosen, search, objective, stages, failed, level)
            found.append((one.bound, one))
    best = _best(found)
    return best if isinstance(best, Infeasible) else replace(best, tried=tried)


def _best(found: list[tuple[float, StagedNests | Infeasible]]) -> StagedNests | Infeasible:
    """Return the best of what was found at each level, with the bound of all of them."""
    ways = [one for _, one in found if isinstance(one, StagedNests)]
    if ways:
        best = min(ways, key=lambda one: one.value)
        return replace(best, bound=min(best.value, *(bound for bound, _ in found)),
                       searches=sum(one.searches for one in ways))  # fmt: skip
    misses = [one for _, one in found if isinstance(one, Infeasible)]
    # Too slow in one level and too dear in another: too dear is what fast enough ones are.
    dear = [one for one in misses if one.unit == "J"] or misses
    said = max((one.what for one in dear), key=len)  # energy within the cycles, if so anywhere
    return replace(min(dear, key=lambda one: one.need), what=said,
                   proved=all(one.proved for one in misses))  # fmt: skip


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


def _told(
    chosen: Chosen, search: Search, objective: str, stages: Stages,
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
                tail_kept=tuple(n for n in part.tail.reads if n in setting.kept),
                nest=replace(nest, cost=with_tail(nest.cost, tail,
                                                  prices.architecture.clock_hz)),
            ))  # fmt: skip
    clock = prices.architecture.clock_hz
    value = {"latency": chosen.cycles, "energy": chosen.energy_j,
             "edp": chosen.energy_j * chosen.cycles / clock}[objective]  # fmt: skip
    return StagedNests(
        objective=objective, parts=tuple(told), failed=failed, kept=tuple(kept), level=level,
        value=value, bound=min(value, search.bound(objective, clock)), searches=prices.searches,
    )  # fmt: skip
