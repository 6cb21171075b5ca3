"""The exact search over sets against everything tried, and its clock against the plan's price."""

from __future__ import annotations

from random import Random

import pytest

from orrery.cost import check_flow, price
from orrery.mapping.sets import (
    chain_optimum,
    combine_networks,
    evaluate,
    path_bound_ps,
    plan_of,
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
    exact = chain_optimum(problem, 0, behind="exact")
    found = combine_networks(problem, [exact])
    if best >= NEVER:
        assert found is None
        return
    assert found is not None
    value, mapping = found
    times = evaluate(problem, mapping)
    early = len(problem.tables.workload.results) > 1
    assert value == best or (early and value <= best)
    assert times.makespan_ps == value or (early and times.makespan_ps >= value)
    relaxed = chain_optimum(problem, 0, behind="relaxed")
    assert min(relaxed.value_ps.values()) <= best
    never = chain_optimum(problem, 0, behind="never")
    assert min(never.value_ps.values(), default=NEVER) >= best or early


@pytest.mark.parametrize("seed", range(60))
def test_the_clock_is_that_of_the_plans_price(seed: int) -> None:
    random = Random(seed)
    graphs = [residual_graph(seed, most=6)]
    system = random_system(seed)
    if seed % 3 == 0 and len(system.devices) > 1:
        graphs.append(residual_graph(seed + 1000, most=4))
    problem = problem_of(graphs, system)
    for _ in range(4):
        mapping = random_mapping(problem, random)
        times = evaluate(problem, mapping)
        assert path_bound_ps(problem) <= times.makespan_ps
        if times.makespan_ps >= NEVER:
            continue
        plan = plan_of(problem, mapping, searcher="random")
        check_flow(plan, graphs, system)
        cost = price(plan, graphs, system, MODELS)
        assert round(cost.total.latency_s * 1e12) == times.makespan_ps
