"""One network: baselines, two-level and exact search, each plan replayed and certified.

Models:  nothing of its own.
Ignores: searches under several seeds.
Judge:   the independent certificate checker for every plan; exact search for the two-level one;
         a lower bound for the exact one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orrery.api.judging import judge_plan
from orrery.cost import CostModel
from orrery.graph import Graph, build_model
from orrery.hardware import System
from orrery.mapping import Tables, balanced, fill_tables, greedy, number_workload, single_device
from orrery.mapping.genetic import FoundSets, TwoLevelSearch, two_level, uniform_sets
from orrery.mapping.sets import (
    PROOF,
    Problem,
    SetMapping,
    best_mapping,
    evaluate,
    fill_problem,
    plan_of,
    restrict,
    set_texts,
)
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress
from orrery.timeline import PS_PER_S

from ._platform import DESIGNS, SIZES

#: ways that the searches are held against -> what each is
BASELINES = {
    "greedy by layers": "layer by layer where it ends first, devices balanced, layers whole (the "
    "paper's baseline extends Herald's greedy: from memory, unconfirmed)",
    "uniform split": "one kind of split for all layers, on the best set with its best design",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What one way of mapping gave.

    Attributes
    ----------
    predicted_s, replayed_s : without contention, and with
    holds : what the independent checker says of the certificate
    violations : that it found
    search_s : what the search took; tables of the problem not counted
    sets : a line per set, for mappings onto sets
    """

    name: str
    predicted_s: float
    replayed_s: float
    holds: bool
    violations: int
    search_s: float
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network on the platform.

    Attributes
    ----------
    ways : those that gave a plan; refused : the others, with the reason
    bound_s : no plan of these sets in series, units in this order, is faster
    ablations : what was taken away -> best latency without it (s), None where nothing is left
    filling_s : what it took to list and price all ways to share
    """

    network: str
    graph: Graph
    system: System
    models: dict[str, CostModel]
    tables: Tables
    ways: dict[str, Way]
    refused: dict[str, str]
    bound_s: float
    ablations: dict[str, float | None]
    filling_s: float

    def reduction(self, baseline: str, way: str = "two-level") -> float | None:
        """Return by which fraction a way's replayed latency is below a baseline's."""
        if baseline not in self.ways or way not in self.ways:
            return None
        return 1 - self.ways[way].replayed_s / self.ways[baseline].replayed_s

    @property
    def gap(self) -> float:
        """Return how far the exact search's plan is above the bound, as a fraction."""
        return self.ways["exact"].predicted_s / self.bound_s - 1


def run_case(
    network: str, system: System, models: dict[str, CostModel], progress: Progress
) -> Case:
    """Map one network in every way.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    graph = build_model(network)
    start = time.perf_counter()
    tables = fill_tables(number_workload([graph]), system, models, progress=progress)
    problem = fill_problem(tables, models, tables.capacity_bytes, sizes=SIZES, progress=progress)
    filling = time.perf_counter() - start
    bounds: list[int] = []

    def exact() -> SetMapping | Infeasible:
        found = best_mapping(problem, progress=progress)
        if isinstance(found, Infeasible):
            return found
        bounds.append(found[0])
        return found[1]

    def uniform() -> SetMapping | Infeasible:
        found = uniform_sets(problem, progress=progress)
        return found if isinstance(found, Infeasible) else found.mapping

    def genetic() -> SetMapping | Infeasible:
        found = two_level(problem, TwoLevelSearch(), progress=progress)
        return found if isinstance(found, Infeasible) else found.mapping

    searches: dict[str, Callable[[], Plan | SetMapping | Infeasible]] = {
        "single device": lambda: single_device(tables),
        "greedy by layers": lambda: balanced(tables),
        "list schedule": lambda: greedy([graph], system, models, progress=progress),
        "uniform split": uniform, "two-level": genetic, "exact": exact,
    }  # fmt: skip
    ways: dict[str, Way] = {}
    refused: dict[str, str] = {}
    for name, search in searches.items():
        start = time.perf_counter()
        outcome = search()
        seconds = time.perf_counter() - start
        if isinstance(outcome, Infeasible):
            refused[name] = str(outcome)
            continue
        bound = bounds[0] if name == "exact" else None
        ways[name] = _judged(name, outcome, graph, system, problem, seconds, bound)
    return Case(
        network=network, graph=graph, system=system, models=models, tables=tables, ways=ways,
        refused=refused, bound_s=bounds[0] / PS_PER_S, filling_s=filling,
        ablations=_ablations(problem, progress),
    )  # fmt: skip


def _judged(
    name: str, outcome: Plan | SetMapping, graph: Graph, system: System, problem: Problem,
    seconds: float, bound_ps: int | None,
) -> Way:  # fmt: skip
    sets: tuple[str, ...] = ()
    if isinstance(outcome, SetMapping):
        sets = set_texts(problem, outcome)
        outcome = plan_of(problem, outcome, searcher=name, lower_bound_ps=bound_ps,
                          bound=PROOF if bound_ps is not None else "")  # fmt: skip
    result = judge_plan([graph], system, outcome)
    # The price knows no contention; what a searcher of whole layers predicts has its own clock.
    predicted = outcome.predicted_latency_s or result.price.total.latency_s
    report = result.report
    return Way(
        name=name, predicted_s=predicted, replayed_s=result.timeline.makespan_s,
        holds=report.holds, violations=len(report.violations) + report.more, search_s=seconds,
        sets=sets,
    )  # fmt: skip


def _ablations(problem: Problem, progress: Progress) -> dict[str, float | None]:
    """Return the best latency with one freedom or one idea taken away."""
    found: dict[str, float | None] = {}
    for design in DESIGNS.values():
        found[f"only {design}"] = latency_s(restrict(problem, designs=[design]), progress)
    less = {
        "no rotating shards": restrict(problem, rings=False),
        "one loop split at once": restrict(problem, loops=1),
        "one set for all layers": restrict(problem, one_set=True),
    }
    for name, smaller in less.items():
        found[name] = latency_s(smaller, progress)
    searches = {
        "two-level, blind to communication": TwoLevelSearch(communication=False),
        "two-level, lower level greedy": TwoLevelSearch(one_level=True),
    }
    for name, settings in searches.items():
        outcome = two_level(problem, settings, progress=progress)
        found[name] = outcome.makespan_ps / PS_PER_S if isinstance(outcome, FoundSets) else None
    return found


def latency_s(problem: Problem, progress: Progress) -> float | None:
    """Return what the best mapping takes, None where there is none."""
    best = best_mapping(problem, progress=progress)
    if isinstance(best, Infeasible):
        return None
    return evaluate(problem, best[1]).makespan_ps / PS_PER_S
