"""The mapper as a whole: the best of several methods, pipelines, memories, interruption."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.cost import price
from orrery.errors import CancelledError, SpecError, UnknownNameError
from orrery.mapping import METHODS, MapSearch, map_by
from orrery.mapping.sets import best_series, chain_optimum, combine_networks, evaluate, period_ps
from orrery.mapping.sets._routes import NEVER
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress, Step
from orrery.sim import least_period

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import Everything, problem_of


class ShortestPeriod(Everything):
    """The mapping whose busiest set works least on one input, by trying every mapping."""

    def _go(self, number, placed, taken, lies, now, ends) -> None:
        # `now` is the clock of the set at work, `ends` the busiest set before it
        if max(now, ends) >= self.best:
            return
        if number == len(self.p.units):
            self.best = max(now, ends)
            return
        unit = self.p.units[number]
        for one, used, clock, busiest in self._options(number, placed, taken, now, ends):
            for c, choice in enumerate(self.p.choices[number][len(one.devices)]):
                after, then = dict(lies), clock
                for (tensor, _), need in zip(unit.uses, choice.needs, strict=True):
                    then += self._fetch(after, tensor, one, need)
                then += int(self.p.step_ps[number][one.set_class][one.design, c])
                for (tensor, _), layout in zip(unit.outputs, choice.outputs, strict=True):
                    after[tensor] = (one, layout)
                self._go(number + 1, one, used, after, then, busiest)

    def _options(self, number, placed, taken, now, ends):
        if placed is not None:
            yield placed, taken, now, ends
        for set_class, devices in self.sets if placed is None or self.p.cuts[number] else ():
            if not taken & set(devices):
                for design in range(len(self.p.designs[set_class])):
                    fresh = self.begin(set_class, design, devices)
                    yield fresh, taken | set(devices), 0, max(now, ends)


@pytest.mark.parametrize("seed", range(24))
def test_a_pipelines_period_is_within_half_a_percent_of_the_shortest(seed: int) -> None:
    problem = problem_of(
        [residual_graph(seed, most=4)], random_system(seed), dimensions=1, shared=False
    )
    best = ShortestPeriod(problem).run()
    plan = best_series(problem, objective="throughput")
    if best >= NEVER:
        assert isinstance(plan, Infeasible)
        return
    assert isinstance(plan, Plan)
    assert plan.objective == "throughput"
    assert "one can start every" in plan.notes[-1]
    mapping = _recovered(problem, plan)
    assert best <= mapping <= best * 1.006


def _recovered(problem, plan: Plan) -> int:
    """The period of a plan by the price of its steps: the busiest device."""
    graphs = [problem.tables.workload.regions[0].graph]
    cost = price(plan, graphs, problem.tables.system, MODELS)
    return round(max(cost.busy_s.values()) * 1e12)


@pytest.mark.parametrize("seed", range(30))
def test_the_best_of_methods_is_no_worse_than_any_nor_than_one_device(seed: int) -> None:
    graphs = [residual_graph(seed, most=5)]
    system = random_system(seed)

    def judge(plan: Plan) -> float:
        cost = price(plan, graphs, system, MODELS)
        return float("inf") if cost.infeasible else cost.total.latency_s

    also = ["single", "balanced", "random"]
    found = map_by(graphs, system, MODELS, MapSearch(draws=5), also=also, judge=judge)
    seconds = [tried.seconds for tried in found.tried if tried.seconds is not None]
    if not seconds:
        assert isinstance(found.best, Infeasible)
        return
    assert isinstance(found.best, Plan)
    assert judge(found.best) == min(seconds)


def test_unknown_methods_and_settings_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        MapSearch(search="gredy")
    with pytest.raises(SpecError, match="loops"):
        MapSearch(loops=9)
    with pytest.raises(UnknownNameError, match="exact-sets"):
        map_by([residual_graph(1)], random_system(1), MODELS, also=["exact-set"],
               judge=lambda plan: 1.0)  # fmt: skip
    assert "single" in METHODS


def test_an_interrupted_search_keeps_the_best_plan_until_then() -> None:
    seen: list[str] = []

    def report(step: Step) -> None:
        seen.append(step.task)

    graphs, system = [residual_graph(3, least=4)], random_system(3, least=2)
    stop = Progress(report=report, cancelled=lambda: "listing ways to share" in seen)
    found = map_by(graphs, system, MODELS, judge=lambda plan: 1.0, progress=stop)
    assert found.interrupted and isinstance(found.best, Plan)
    assert "interrupted" in found.best.notes[-1]
    if not found.best.is_split:  # its bound says nothing of what was being searched
        assert "plans that share layers" in found.best.notes[-1] and "gap" in found.best.notes[-1]
    with pytest.raises(CancelledError):
        map_by(graphs, system, MODELS, judge=lambda plan: 1.0,
               progress=Progress(cancelled=lambda: True))  # fmt: skip


@pytest.mark.parametrize("search", ["two-level", "exact-sets", "uniform", "four-steps"])
def test_a_search_that_finds_nothing_in_time_leaves_the_best_device(search: str) -> None:
    graphs, system = [residual_graph(3, least=4)], random_system(3, least=2)
    seen: list[str] = []
    calls = 0

    def judge(plan: Plan) -> float:
        nonlocal calls
        calls += 1
        return price(plan, graphs, system, MODELS).total.latency_s

    stop = Progress(report=lambda step: seen.append(step.task), cancelled=lambda: calls > 0)
    settings = MapSearch(search=search)
    found = map_by(graphs, system, MODELS, settings, judge=judge, progress=stop)
    assert isinstance(found.best, Plan)
    assert found.tried[-1].method == "single"
    assert found.interrupted
    assert found.best.searcher == "single device" and "interrupted" in found.best.notes[-1]


@pytest.mark.parametrize("seed", range(5))
def test_every_plan_for_throughput_has_a_bound_of_the_period(seed: int) -> None:
    graphs, system = [residual_graph(seed, most=4)], random_system(seed, least=2)

    def judge(plan: Plan) -> float:
        cost = price(plan, graphs, system, MODELS)
        durations = {name: c.latency_s for name, c in cost.per_region.items()}

        def part(assignment, party, turn):
            step = cost.steps.get(assignment.region)
            return step.party_s[turn][party] if step else durations.get(assignment.region, 0.0)

        return least_period(plan, system, part, expansion=cost.expansion)

    settings = MapSearch(objective="throughput", draws=5, loops=1, generations=2, population=4)
    also = ["balanced", "random", "two-level", "uniform", "random-sets", "four-steps"]
    found = map_by(graphs, system, MODELS, settings, also=also, judge=judge)
    for one in found.tried:
        if isinstance(one.outcome, Plan) and one.seconds is not None:
            bound = one.outcome.lower_bound_period_s
            assert one.outcome.objective == "throughput" and one.outcome.lower_bound_s is None
            assert bound is not None and bound <= one.seconds * (1 + 1e-9), one.method
            assert "busy" in one.outcome.bound or "sooner" in one.outcome.bound


@pytest.mark.parametrize("seed", range(12))
def test_memories_are_limits(seed: int) -> None:
    """With room for less than the fastest mapping wants, another is found, or why there is none."""
    problem = problem_of([residual_graph(seed, least=3)], random_system(seed, least=2))
    value = combine_networks(problem, [chain_optimum(problem, 0)])
    if value is None or not sum(problem.tables.workload.weight_bytes):
        return
    times = evaluate(problem, value[1])
    most = max(times.resident_bytes)
    tight = replace(problem, capacity_bytes=(max(1, most),) * len(problem.capacity_bytes))
    plan = best_series(tight)
    if isinstance(plan, Infeasible):
        assert plan.need > plan.have and plan.unit == "bytes"
    else:
        graph = problem.tables.workload.regions[0].graph
        cost = price(plan, [graph], problem.tables.system, MODELS)
        assert max(plan.resident_bytes.values(), default=0) <= most
        assert plan.lower_bound_s is not None
        assert plan.lower_bound_s <= cost.total.latency_s + 1e-12


def test_period_is_what_the_busiest_set_takes() -> None:
    problem = problem_of([residual_graph(5, least=4)], random_system(5, least=2))
    found = combine_networks(problem, [chain_optimum(problem, 0)])
    assert found is not None
    times = evaluate(problem, found[1])
    if len(found[1].sets) == 1:
        assert period_ps(problem, found[1]) == sum(times.fetch_ps) + sum(times.step_ps)
    else:
        assert period_ps(problem, found[1]) < times.makespan_ps
