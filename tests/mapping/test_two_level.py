"""The two-level genetic search over sets against the exact optimum of small problems."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orrery.cost import check_flow, price
from orrery.errors import CancelledError, SpecError
from orrery.mapping.genetic import FoundSets, TwoLevelSearch, local_search, two_level
from orrery.mapping.sets import (
    Evaluator,
    Problem,
    SetMapping,
    chain_optimum,
    combine_networks,
    evaluate,
    feasible,
    plan_of,
)
from orrery.plan import Infeasible
from orrery.progress import Progress, Step

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import problem_of, random_mapping

SMALL = TwoLevelSearch(population=8, generations=10, exchange=5)


def _best(problem: Problem, networks: int) -> int | None:
    found = combine_networks(problem, [
        chain_optimum(problem, n, behind="exact") for n in range(networks)
    ])  # fmt: skip
    return None if found is None else found[0]


def _well_formed(problem: Problem, mapping: SetMapping) -> None:
    """Every unit in one set, sets disjoint, cuts where sets may take over."""
    units = [u for placed in mapping.sets for u in range(placed.first, placed.last)]
    assert units == list(range(len(problem.units)))
    devices = [d for placed in mapping.sets for d in placed.devices]
    assert len(set(devices)) == len(devices)
    for before, after in zip(mapping.sets, mapping.sets[1:], strict=False):
        new = problem.units[before.last - 1].network != problem.units[after.first].network
        assert new or problem.cuts[after.first]


@pytest.mark.parametrize("seed", range(20))
def test_small_networks_are_mapped_at_the_optimum_or_close(seed: int) -> None:
    graphs = [residual_graph(seed, least=3, most=6)]
    system = random_system(seed, least=2)
    if seed % 4 == 0:
        graphs.append(residual_graph(seed + 1000, most=4))
    problem = problem_of(graphs, system, dimensions=1)
    found = two_level(problem, SMALL)
    best = _best(problem, len(graphs))
    if best is None:
        assert isinstance(found, Infeasible)
        return
    assert isinstance(found, FoundSets)
    _well_formed(problem, found.mapping)
    times = evaluate(problem, found.mapping)
    assert feasible(times)
    assert times.makespan_ps == found.makespan_ps
    assert found.makespan_ps <= 1.05 * best
    plan = plan_of(problem, found.mapping, searcher="two-level")
    check_flow(plan, graphs, system)
    cost = price(plan, graphs, system, MODELS)
    assert round(cost.total.latency_s * 1e12) == found.makespan_ps


def test_workers_and_interruptions_do_not_show(tmp_path: Path) -> None:
    problem = problem_of([residual_graph(4, least=5, most=6)], random_system(4, least=3))
    alone = two_level(problem, SMALL)
    with ThreadPoolExecutor(2) as threads:
        assert two_level(problem, SMALL, executor=threads) == alone
    for workers in (1, 2, 3):
        with ProcessPoolExecutor(workers) as processes:
            assert two_level(problem, SMALL, executor=processes) == alone
    steps: list[Step] = []
    progress = Progress(
        report=steps.append,
        cancelled=lambda: sum(step.task == "two-level search" for step in steps) >= 3,
    )
    record = tmp_path / "search.json"
    part = two_level(problem, SMALL, progress=progress, resume=record)
    assert isinstance(part, FoundSets)
    assert not part.finished
    assert feasible(evaluate(problem, part.mapping))
    with ProcessPoolExecutor(2) as processes:
        assert two_level(problem, SMALL, resume=record, executor=processes) == alone


@pytest.mark.parametrize("after", [1, 2, 3, 5, 20])
def test_stopped_at_any_time_it_gives_the_best_so_far(after: int) -> None:
    problem = problem_of([residual_graph(4, least=5, most=6)], random_system(4, least=3))
    steps: list[Step] = []
    progress = Progress(report=steps.append, cancelled=lambda: len(steps) >= after)
    found = two_level(problem, SMALL, progress=progress)
    assert isinstance(found, FoundSets)
    assert not found.finished or len(steps) < after
    assert feasible(evaluate(problem, found.mapping))
    assert found.makespan_ps <= min(found.history)
    with pytest.raises(CancelledError):
        two_level(problem, SMALL, progress=Progress(cancelled=lambda: True))


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    system, record = random_system(4, least=3), tmp_path / "search.json"
    two_level(problem_of([residual_graph(4)], system), SMALL, resume=record)
    with pytest.raises(SpecError, match="another search"):
        two_level(problem_of([residual_graph(5)], system), SMALL, resume=record)


def test_memory_is_a_constraint() -> None:
    graph = residual_graph(11, least=5, most=6, dense="Conv")
    roomy = problem_of([graph], random_system(2, least=3, most=3))
    free = two_level(roomy, SMALL)
    assert isinstance(free, FoundSets)
    needed = max(evaluate(roomy, free.mapping).resident_bytes)
    tight = replace(roomy, capacity_bytes=(needed,) * len(roomy.capacity_bytes))
    found = two_level(tight, SMALL)
    if isinstance(found, FoundSets):
        assert feasible(evaluate(tight, found.mapping))
    none = two_level(replace(roomy, capacity_bytes=(8,) * len(roomy.capacity_bytes)), SMALL)
    assert isinstance(none, Infeasible)
    assert none.unit == "bytes"
    assert none.need > none.have == 8


def test_more_networks_than_devices_cannot_be() -> None:
    graphs = [residual_graph(n, most=2) for n in range(3)]
    found = two_level(problem_of(graphs, random_system(1, least=2, most=2)), SMALL)
    assert isinstance(found, Infeasible)
    assert (found.need, found.have) == (3, 2)


@pytest.mark.parametrize("seed", range(6))
def test_local_search_never_makes_it_worse(seed: int) -> None:
    from random import Random

    problem = problem_of([residual_graph(seed, least=4, most=7)], random_system(seed, least=2))
    start = random_mapping(problem, Random(seed))
    after = local_search(Evaluator(problem), start, follow=1)
    _well_formed(problem, after)
    one, other = evaluate(problem, start), evaluate(problem, after)
    assert (sum(other.overfull.values()), other.makespan_ps) <= (
        sum(one.overfull.values()), one.makespan_ps,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("population", 1), ("elite", 16), ("crossover", 1.5), ("polish", 9), ("islands", 0)],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"two-level search: {field}"):
        TwoLevelSearch(**{field: value})


def test_a_search_that_reaches_its_bound_ends_there() -> None:
    problem = problem_of([residual_graph(4, least=5, most=6)], random_system(4, least=3))
    whole = two_level(problem, SMALL)
    assert isinstance(whole, FoundSets)
    steps: list[Step] = []
    reached = min(whole.history)
    found = two_level(problem, SMALL, bound_ps=reached, progress=Progress(report=steps.append))
    assert isinstance(found, FoundSets)
    assert found.finished
    assert found.generations < SMALL.generations
    assert {step.bound for step in steps if step.task == "two-level search"} >= {reached * 1e-12}
