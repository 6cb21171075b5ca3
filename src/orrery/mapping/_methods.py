"""All ways to map, under one name each: run some of them and keep the best plan.

Models:  every method sees the same tables; a judge that is handed in (a replay) compares plans
         that were timed by different clocks.
Ignores: how a method works: see its own module.
         The best single device always competes, so that there is a plan whenever a search is
         stopped.
Judge:   the best of several is never worse than one of them, nor than the best single device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np

from orrery.certificate import WHOLE_LAYERS
from orrery.cost import CostModel
from orrery.errors import CancelledError, SpecError, UnknownNameError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.settings import require, setting, to_record
from orrery.timeline import PS_PER_S
from orrery.units import format_quantity

from ._baselines import balanced, random_mapping, single_device
from ._dag_bound import dag_bound, period_bound, split_bound
from ._dag_exact import DagSearch, exact_dag
from ._four_steps import four_steps_plan, published_four_steps_plan
from ._greedy import GreedySearch, greedy
from ._tables import Tables, fill_tables, number_workload
from .genetic import TwoLevelSearch, random_sets, single_set, two_level, uniform_sets
from .sets import (
    PROOF,
    Problem,
    Sensitivity,
    SetMapping,
    TooManyStatesError,
    best_series,
    compare_cases,
    fill_scaled,
    path_bound_ps,
    plan_of,
    refused_by_all,
    series_bound_ps,
)
from .trade import (
    NO_CEILINGS,
    Ceilings,
    EnergyUnknownError,
    Joules,
    best_traded,
    fill_joules,
    layers_bound_j,
    sets_bound_j,
)

#: how the note begins that says what no plan at all of the machine undercuts
MACHINE = "On the whole machine no plan is faster than"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSearch:
    """Settings of the mapper."""

    search: str = setting(
        "auto", "How to search: auto (greedy, then sets exactly, or by two-level where too many "
        "tensors are live), or one of the methods that --with lists."
    )  # fmt: skip
    objective: Literal["latency", "throughput", "energy"] = setting(
        "latency", "What to make best: the time of one inference, inferences per second when "
        "inputs follow each other through the sets, or the energy of one inference, links and "
        "idle power of the devices used included. A need such as energy<=0.5J bounds a search for "
        "latency, one such as latency<33ms a search for energy."
    )  # fmt: skip
    set_sizes: tuple[int, ...] = setting(
        (), "Numbers of devices that a set may have; repeatable. By default the powers of two, "
        "and all devices of a group or of the system."
    )  # fmt: skip
    rings: bool = setting(True, "Whether operands may rotate round a set, each device owning part.")
    loops: int = setting(2, "Most loops of a layer that are split at once.")
    configurations: int = setting(
        8, "Greedy: how many choices of one design per device to schedule; the best one is kept."
    )
    serial: bool = setting(True, "Greedy: whether the best serial walk over the devices competes.")
    memory_share: float = setting(
        1.0, "Share of each device's off-chip memory that weights and activations may take."
    )
    population: int = setting(16, "Two-level: mappings per island in a generation.")
    generations: int = setting(30, "Two-level: generations of the upper level.")
    state: str = setting(
        "", "Two-level: file that keeps the state of the search; continued where there is one, "
        "else made, its folder too."
    )  # fmt: skip
    work: float = setting(20.0, "Exact search of whole regions: work units (about seconds).")
    draws: int = setting(100, "Random mapping: how many to draw; the best one is kept.")
    seed: int = setting(0, "Seed of everything random; the same seed gives the same plan.")

    def __post_init__(self) -> None:
        require(
            "search", self, loops=("1 to 3", 1 <= self.loops <= 3),
            set_sizes=("1 or more each", all(size >= 1 for size in self.set_sizes)),
            draws=("1 or more", self.draws >= 1),
            seed=("0 or more, below 2^31", 0 <= self.seed < 2**31),
        )  # fmt: skip
        if self.search not in ("auto", *METHODS):
            raise UnknownNameError("search method", self.search, ["auto", *METHODS])
        GreedySearch(configurations=self.configurations, memory_share=self.memory_share)
        TwoLevelSearch(population=self.population, generations=self.generations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one method gave; `seconds` is the judge's figure (joules where the objective is energy).

    `sensitivity` is what ``robust-sets`` found: its candidates at every bandwidth.
    """

    method: str
    outcome: Plan | Infeasible
    seconds: float | None = None
    sensitivity: Sensitivity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best plan, or why there is none, and what every method gave.

    `interrupted` when the user stopped the search: the best plan until then is kept. `problem`
    gives the problem of sets, with which a plan can be explained; it is made where it is not yet.
    """

    best: Plan | Infeasible
    tried: tuple[Tried, ...]
    interrupted: bool = False
    problem: Callable[[], Problem] = field(kw_only=True, repr=False, compare=False)


class _Context:
    """What methods share: networks, tables, the problem of sets; made once, when asked for."""

    def __init__(
        self, graphs: Sequence[Graph], system: System, models: Mapping[str, CostModel],
        settings: MapSearch, progress: Progress, robust: Sequence[float] = (),
        ceilings: Ceilings = NO_CEILINGS,
    ) -> None:  # fmt: skip
        self.graphs, self.system, self.models = graphs, system, models
        self.settings, self.progress, self.ceilings = settings, progress, ceilings
        #: bandwidths as they are always count
        self.factors = tuple(sorted({1.0, *(robust or _FACTORS)}))
        self.sensitivity: Sensitivity | None = None
        self.executor: Executor | None = None  # as long as there is one
        self.judge: Callable[[Plan], float] | None = None
        self.keeps: Callable[[Plan], bool] | None = None
        #: why no sets in series keep the ceilings, where a search under them said so
        self.refusal: Infeasible | None = None

    @cached_property
    def tables(self) -> Tables:
        return fill_tables(number_workload(self.graphs), self.system, self.models,
                           progress=self.progress)  # fmt: skip

    @cached_property
    def problem(self) -> Problem:
        return self.scaled((1.0,))[0]

    @cached_property
    def bound(self) -> tuple[int, str]:
        """Return picoseconds that no search over sets undercuts, and of which plans it is said."""
        return series_bound_ps(self.problem, progress=self.progress)

    @cached_property
    def joules(self) -> Joules:
        return fill_joules(self.problem, self.models, progress=self.progress)

    @cached_property
    def _least_j(self) -> dict[bool, float]:
        return {}

    @cached_property
    def whole_layers(self) -> float:
        return dag_bound(self.tables).value_s

    def bounded(self, plan: Plan) -> Plan:
        """Return a plan with what its bound covers, and with a bound where its method gave none."""
        if self.settings.objective != "latency" or plan.objective != "latency":
            return plan
        if plan.is_split:
            sizes = ", ".join(map(str, sorted({one.parties for one in self.problem.classes})))
            plan = replace(plan, settings={**plan.settings, "set_sizes": sizes})
        elif plan.lower_bound_s is None and math.isfinite(self.whole_layers):
            plan = replace(plan, lower_bound_s=self.whole_layers, bound=WHOLE_LAYERS)
        machine = split_bound(self.tables).value_s
        if not 0 < machine < math.inf:
            return plan
        said = (f"{MACHINE} {format_quantity(machine, 's')}, layers shared in any way, where a "
                "share of a layer takes at least that share of its time.")  # fmt: skip
        return replace(plan, notes=(*plan.notes, said))

    def stopped(self, plan: Plan, *, shared: bool) -> Plan:
        """Say in a plan that its search was interrupted, and what else was open.

        Parameters
        ----------
        shared : whether plans that share layers were being searched
        """
        note = "The search was interrupted; this is the best plan it had found."
        took, least = plan.predicted_latency_s, split_bound(self.tables).value_s
        if "problem" in self.__dict__:  # tables were filled in time
            least = max(least, path_bound_ps(self.problem) / PS_PER_S)
        timed = self.settings.objective == "latency" and took is not None
        if shared and timed and not plan.is_split and 0 < least < math.inf:
            note += (
                " Its bound is of whole layers; of plans that share layers, which were being "
                f"searched, it is only known that they take {format_quantity(least, 's')} or more, "
                f"a gap of {100 * max(0.0, (took or 0.0) / least - 1):.3g} %."
            )
        return replace(plan, notes=(*plan.notes, note))

    def bounded_j(self, plan: Plan) -> Plan:
        """Return a plan with a lower bound of its energy, where its method gave none."""
        if plan.lower_bound_j is not None:
            return plan
        split, known = plan.is_split, self._least_j
        if split not in known:
            known[split] = (sets_bound_j(self.joules) if split
                            else layers_bound_j(self.tables, self.models))  # fmt: skip
        said = ("every layer shared" if split else "every whole layer computed") + (
            " in the way that takes least energy")  # fmt: skip
        return replace(plan, objective="energy", lower_bound_s=None, bound=said,
                       lower_bound_j=known[split])  # fmt: skip

    def unproved(self, short: Infeasible) -> Infeasible:
        """Say that sets in series keep no ceiling; of all plans only where their bound says so."""
        limit = self.ceilings.energy_j
        all_above = limit is not None and layers_bound_j(self.tables, self.models) > limit
        return replace(short, proved=short.proved and all_above)

    @cached_property
    def _least_periods(self) -> dict[bool, tuple[float, str]]:
        return {}

    def bounded_period(self, plan: Plan) -> Plan:
        """Return a plan for throughput, its bound one of the time between two inputs."""
        if plan.lower_bound_period_s is None:
            split, known = plan.is_split, self._least_periods
            if split not in known:
                known[split] = (_sets_period_s(self.problem), _SETS_BUSY) if split else (
                    period_bound(self.tables).value_s, _LAYERS_BUSY)  # fmt: skip
            bound, said = known[split]
            plan = replace(plan, lower_bound_period_s=bound, bound=said)
        return replace(plan, objective="throughput", lower_bound_s=None)

    def scaled(self, factors: Sequence[float]) -> tuple[Problem, ...]:
        """Return a problem per factor of bandwidths."""
        share = self.settings.memory_share
        return fill_scaled(
            self.tables, self.models, [int(size * share) for size in self.tables.capacity_bytes],
            factors, sizes=self.settings.set_sizes or _usual_sizes(len(self.system.devices)),
            shared=self.settings.rings, dimensions=self.settings.loops, progress=self.progress,
            executor=self.executor,
        )  # fmt: skip


#: of bandwidths, where the user names none
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


#: methods that look for plans with shared layers
_OF_SETS = {"exact-sets", "two-level", "robust-sets", "uniform", "random-sets"}

#: of which plans a bound of the time between two inputs is proved, without a search
_SETS_BUSY = "no plan of these sets, units in these ways, keeps its busiest device less busy"
_LAYERS_BUSY = "no plan of whole layers keeps its busiest device or the host's links less busy"


def _sets_period_s(problem: Problem) -> float:
    """Return seconds that one device at least is busy with one input: a unit's, or its share."""
    longest = work = 0
    for tables, listed in zip(problem.step_ps, problem.choices):
        shares = []
        for table, one in zip(tables, problem.classes):
            used = [1 if choice.strategies[0] is None else one.parties
                    for choice in listed[one.parties]]  # fmt: skip
            shares.append(int((table * np.array(used, np.int64)).min()))
        longest = max(longest, min(int(table.min()) for table in tables))
        work += min(shares)
    return max(longest, work // len(problem.tables.of_device)) / PS_PER_S


def _usual_sizes(devices: int) -> tuple[int, ...]:
    sizes = {devices}
    size = 1
    while size <= devices:
        sizes.add(size)
        size *= 2
    return tuple(sorted(sizes))


def _greedy(c: _Context) -> Plan | Infeasible:
    s = c.settings
    return greedy(
        c.graphs, c.system, c.models, GreedySearch(
            configurations=s.configurations, serial=s.serial, memory_share=s.memory_share
        ), progress=c.progress, judge=c.judge if s.objective == "throughput" else None,
    )  # fmt: skip


def _sets(c: _Context) -> Plan | Infeasible:
    s = c.settings
    if s.objective == "energy" or (s.objective == "latency" and c.ceilings.energy_j is not None):
        refused = refused_by_all(c.problem)
        if refused is not None:
            return refused
        try:
            found = best_traded(c.joules, s.objective, c.ceilings, progress=c.progress)
            c.refusal = c.unproved(found) if isinstance(found, Infeasible) else None
            return c.refusal or found
        except EnergyUnknownError:  # then a ceiling of energy is answered so
            if s.objective == "energy":
                raise
    return best_series(c.problem, objective=c.settings.objective, progress=c.progress)


def _two_level(c: _Context) -> Plan | Infeasible:
    s, refused = c.settings, refused_by_all(c.problem)
    if refused is not None:
        return refused
    settings = TwoLevelSearch(seed=s.seed, population=s.population, generations=s.generations)
    timed = s.objective != "throughput"  # a bound of latency says nothing of a period
    found = two_level(
        c.problem, settings, bound_ps=c.bound[0], progress=c.progress,
        resume=Path(s.state) if s.state else None, executor=c.executor,
    )  # fmt: skip
    if isinstance(found, Infeasible):
        return found
    note = () if found.finished else (
        f"The two-level search was stopped after {found.generations} generations.",
    )  # fmt: skip
    return plan_of(c.problem, found.mapping, searcher="two-level", seed=s.seed, notes=note,
                   settings=to_record(settings), objective=c.settings.objective,
                   lower_bound_ps=c.bound[0] if timed else None,
                   bound=c.bound[1] if timed else "")  # fmt: skip


def _uniform(c: _Context) -> Plan | Infeasible:
    refused = refused_by_all(c.problem)
    found = refused or uniform_sets(c.problem, progress=c.progress)
    if isinstance(found, Infeasible):
        return found
    note = f"All layers that can be are split in one way: {found.kind}."
    return plan_of(c.problem, found.mapping, searcher="uniform", notes=(note,),
                   lower_bound_ps=c.bound[0], bound=c.bound[1])  # fmt: skip


def _random_sets(c: _Context) -> Plan | Infeasible:
    s, refused = c.settings, refused_by_all(c.problem)
    found = refused or random_sets(c.problem, draws=s.draws, seed=s.seed, progress=c.progress)
    if isinstance(found, Infeasible):
        return found
    return plan_of(c.problem, found, searcher="random-sets", seed=s.seed,
                   lower_bound_ps=c.bound[0], bound=c.bound[1])  # fmt: skip


def _robust(c: _Context) -> Plan | Infeasible:
    if c.settings.objective != "latency":
        raise SpecError("search: robust-sets", found=f"objective {c.settings.objective!r}",
                        wanted="latency", fix="leave out --objective or --robust")  # fmt: skip
    problems = c.scaled(c.factors)
    now = c.factors.index(1.0)
    single = single_set(problems[now])
    also = {} if isinstance(single, Infeasible) else {"single device": single}
    try:
        found = compare_cases(problems, c.factors, also=also, progress=c.progress)
    except TooManyStatesError:
        found = compare_cases(problems, c.factors, also=also, search=partial(_by_two_level, c),
                              progress=c.progress)  # fmt: skip
    if isinstance(found, Infeasible):
        return found
    c.sensitivity = found
    worst = 100 * float(found.regret[found.robust].max())
    factors = ", ".join(f"{f:g}" for f in c.factors)
    return plan_of(
        problems[now], found.mapping, searcher="robust-sets", settings={"robust": factors},
        seed=c.settings.seed, lower_bound_ps=found.bound_ps[now], bound=PROOF,
        notes=(f"At {factors} times the bandwidth of all links this plan takes at most "
               f"{worst:.3g} % longer than the best that was found there.",),
    )  # fmt: skip


def _by_two_level(
    c: _Context, problem: Problem, *, progress: Progress = SILENT
) -> tuple[int, SetMapping] | Infeasible:
    s = c.settings
    settings = TwoLevelSearch(seed=s.seed, population=s.population, generations=s.generations)
    bound, _ = series_bound_ps(problem, progress=progress)
    found = two_level(problem, settings, bound_ps=bound, progress=progress,
                      executor=c.executor)  # fmt: skip
    return found if isinstance(found, Infeasible) else (bound, found.mapping)


def _dag(c: _Context) -> Plan | Infeasible:
    s = c.settings
    found = exact_dag(
        c.tables, DagSearch(work=s.work, memory_share=s.memory_share, seed=s.seed),
        progress=c.progress, judge=c.judge if s.objective == "latency" else None,
    )  # fmt: skip
    if isinstance(found, Infeasible):
        return found
    return replace(found.plan, lower_bound_s=found.lower_bound_s, bound=found.bound)


def _single(c: _Context) -> Plan | Infeasible:
    """Return the judge's favourite among single devices that keep the ceilings, if any does."""
    judge, keeps = c.judge, c.keeps
    if judge is None or len(c.system.devices) == 1:
        return single_device(c.tables, memory_share=c.settings.memory_share)

    def worth(plan: Plan) -> tuple[bool, float]:
        return keeps is not None and not keeps(plan), judge(plan)

    return single_device(c.tables, memory_share=c.settings.memory_share, judge=worth)


#: name -> (what it does, in one line; how)
METHODS: dict[str, tuple[str, Callable[[_Context], Plan | Infeasible]]] = {
    "greedy": ("list schedule of whole layers over all devices", _greedy),
    "exact-sets": ("the optimum of sets in series, layers split inside them", _sets),
    "two-level": ("genetic search of sets, designs and cuts, and of splits inside", _two_level),
    "robust-sets": ("the sets whose latency suffers least when links are slower or faster",
                    _robust),
    "uniform": ("one kind of split for all layers, on the best set", _uniform),
    "random-sets": ("the best of random sets, cuts and splits", _random_sets),
    "exact-layers": ("whole layers on devices by constraint programming, with a bound", _dag),
    "single": ("the best single device", _single),
    "balanced": ("layer by layer where it ends first, devices balanced", lambda c: balanced(
        c.tables, memory_share=c.settings.memory_share)),
    "random": ("the best of random mappings of whole layers", lambda c: random_mapping(
        c.tables, draws=c.settings.draws, seed=c.settings.seed, progress=c.progress,
        memory_share=c.settings.memory_share)),
    "four-steps": ("locality-aware remapping in four steps, made dependency-safe",
                   lambda c: four_steps_plan(
        c.tables, memory_share=c.settings.memory_share, progress=c.progress)),
    "four-steps-published": ("the four steps as published; no plan where they break rules",
                             lambda c: published_four_steps_plan(
        c.tables, memory_share=c.settings.memory_share, progress=c.progress)),
}  # fmt: skip


def map_by(
    graphs: Sequence[Graph],
    system: System,
    models: Mapping[str, CostModel],
    settings: MapSearch = MapSearch(),  # frozen
    *,
    also: Sequence[str] = (),
    robust: Sequence[float] = (),
    judge: Callable[[Plan], float],
    ceilings: Ceilings = NO_CEILINGS,
    keeps: Callable[[Plan], bool] | None = None,
    strict: bool = True,
    executor: Executor | None = None,
    progress: Progress = SILENT,
) -> Found:
    """Map networks onto a system by one or more methods and keep the best plan.

    Parameters
    ----------
    also : further methods, whose plans are compared with that of the settings' own
    robust : factors of all links' bandwidths; when given, the plan of ``robust-sets`` is kept,
        whatever others take on the system as it is
    executor : works beside the caller; the plans are the same as without
    judge : what a plan takes, the less the better; e.g. its replayed makespan. The best single
        device competes too where there are several, and is what is left of a search that is
        stopped before it found anything
    ceilings : that ``exact-sets`` searches under, where one is of energy or that is the objective
    keeps : whether a plan keeps all ceilings; those that do come first, and where none does and
        ``exact-sets`` found none under them, there is no best plan if `strict`

    Returns
    -------
    Found
        its `best` is the judge's favourite, or the reasons of the first method where none of
        those asked for gave a plan

    Raises
    ------
    UnknownNameError : no such method
    CancelledError : the user asked to stop before anything was found
    """
    for name in also:
        if name not in METHODS:
            raise UnknownNameError("search method", name, [*METHODS])
    most = len(system.devices)
    if any(size > most for size in settings.set_sizes):
        raise SpecError("search: set_sizes", found=max(settings.set_sizes),
                        wanted=f"at most {most}, the devices of {system.name}",
                        fix="leave it out")  # fmt: skip
    context = _Context(graphs, system, models, settings, progress, robust, ceilings)
    own = [settings.search]
    if settings.search == "auto":
        own = ["greedy", "exact-sets"] if len(system.devices) > 1 else ["greedy"]
    if robust:
        own = ["robust-sets", *(name for name in own if settings.search != "auto")]
    tried: list[Tried] = []
    interrupted = False
    asked = list(dict.fromkeys((*own, *also)))
    several = len(system.devices) > 1 or asked != ["greedy"]
    waiting = list(dict.fromkeys((*(["single"] if several else []), *asked)))
    context.executor, context.judge, context.keeps = executor, judge, keeps
    while waiting:
        name = waiting.pop(0)
        try:
            outcome = METHODS[name][1](context)
            seconds = None if isinstance(outcome, Infeasible) else judge(outcome)
            if isinstance(outcome, Plan):
                outcome = context.bounded(outcome)
            if settings.objective == "energy" and isinstance(outcome, Plan):
                outcome = context.bounded_j(outcome)
            elif settings.objective == "throughput" and isinstance(outcome, Plan):
                outcome = context.bounded_period(outcome)
        except TooManyStatesError as error:
            outcome, seconds = error.infeasible, None
            if settings.search == "auto" and "two-level" not in waiting:
                waiting.insert(0, "two-level")
        except CancelledError:
            if not any(t.seconds is not None for t in tried):
                raise
            interrupted = True
            break
        sensitivity = context.sensitivity if name == "robust-sets" else None
        tried.append(Tried(method=name, outcome=outcome, seconds=seconds, sensitivity=sensitivity))
    context.executor = None
    tried.sort(key=lambda t: asked.index(t.method) if t.method in asked else len(asked)
               + (t.method == "single"))  # fmt: skip
    done = [t for t in tried if t.seconds is not None]
    if not interrupted and not any(t.method in asked or t.method == "two-level" for t in done):
        first = next(t for t in tried if t.method == asked[0])
        return Found(best=first.outcome, tried=tuple(tried), interrupted=interrupted,
                     problem=lambda: context.problem)  # fmt: skip
    kept = [t for t in done if robust and t.method == "robust-sets"] or done
    if keeps is not None:
        keeping = [t for t in kept if isinstance(t.outcome, Plan) and keeps(t.outcome)]
        if strict and not keeping and context.refusal is not None:
            return Found(best=context.refusal, tried=tuple(tried), interrupted=interrupted,
                         problem=lambda: context.problem)  # fmt: skip
        kept = keeping or kept
    best = min(kept, key=lambda t: t.seconds if t.seconds is not None else 0.0).outcome
    if interrupted and isinstance(best, Plan):
        best = context.stopped(best, shared=bool(_OF_SETS & {*asked}))
    return Found(best=best, tried=tuple(tried), interrupted=interrupted,
                 problem=lambda: context.problem)  # fmt: skip
