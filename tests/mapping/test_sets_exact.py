"""The exact search over sets against everything tried, and its clock against the plan's price."""

from __future__ import annotations

from random import Random

import pytest

from orrery.cost import check_flow, price
from orrery.mapping.sets import (
    evaluate,
    path_bound_ps,
    plan_of,
    series_bound_ps,
    series_optimum,
)
from orrery.mapping.sets._routes import NEVER

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import Everything, problem_of, random_mapping


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_is_that_of_trying_everything(seed: int) -> None:
    graph = residual_graph(seed, most=4)
    problem = problem_of([graph], random_system(seed), dimensions=1, shared=seed % 4 == 0)
    everything = Everything(problem)
    best = everything.run()
    found = series_optimum(problem)
    if best >= NEVER:
        assert found is None
        return
    assert found is not None
    value, mapping = found
    assert value == best == evaluate(problem, mapping).makespan_ps
    for behind, forget in (("relaxed", None), ("relaxed", 100), ("exact", 500)):
        below = series_optimum(problem, behind=behind, forget=forget)
        assert below is not None
        assert below[0] <= best <= evaluate(problem, below[1]).makespan_ps
    assert path_bound_ps(problem) <= series_bound_ps(problem, states=50)[0] <= best
    never = series_optimum(problem, behind="never")
    assert never is None or best <= evaluate(problem, never[1]).makespan_ps


@pytest.mark.parametrize("seed", range(60))
def test_the_clock_is_that_of_the_plans_price(seed: int) -> None:
    random = Random(seed)
    graphs = [residual_graph(seed, most=6)]
    system = random_system(seed)
    if seed % 3 == 0 and len(system.devices) > 1:
        graphs.append(residual_graph(seed + 1000, most=4))
    problem = problem_of(graphs, system)
    bounds = [series_bound_ps(problem, states=states)[0] for states in (0, 1000)]
    for _ in range(4):
        mapping = random_mapping(problem, random)
        times = evaluate(problem, mapping)
        assert path_bound_ps(problem) <= min(bounds) <= max(bounds) <= times.makespan_ps
        if times.makespan_ps >= NEVER:
            continue
        plan = plan_of(problem, mapping, searcher="random")
        check_flow(plan, graphs, system)
        cost = price(plan, graphs, system, MODELS)
        assert round(cost.total.latency_s * 1e12) == times.makespan_ps


def test_what_is_read_later_is_fetched_later_and_delays_no_early_result() -> None:
    """Were it paid for at the hand-over, the result of unit 3 would seem to come home too late."""
    problem = problem_of([residual_graph(1486)], random_system(1486), dimensions=1)
    found = series_optimum(problem)
    assert found is not None
    assert found[0] == evaluate(problem, found[1]).makespan_ps == Everything(problem).run()


def test_a_set_that_takes_over_only_to_hand_over_is_no_way_back() -> None:
    """Ties of such ways, which forwards do not exist, once misled the way back."""
    problem = problem_of([residual_graph(449)], random_system(449), dimensions=1)
    found = series_optimum(problem)
    assert found is not None
    assert found[0] == evaluate(problem, found[1]).makespan_ps
