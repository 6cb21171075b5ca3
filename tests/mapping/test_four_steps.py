"""The four steps as mappers of any workload: valid decisions, true plans, counted violations."""

from __future__ import annotations

from itertools import pairwise

import pytest

from orrery.cost import check_flow, price
from orrery.hardware import System
from orrery.mapping._dag_bound import dag_bound
from orrery.mapping._four_steps import (
    LocalityCase,
    four_steps_plan,
    locality_of,
    published_four_steps_plan,
)
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.locality import check_locality, safe_four_steps
from orrery.plan import Infeasible, Plan

from .cases import Rate, chain, device, full_system, graph, link
from .random_graphs import MODELS, random_system, residual_graph


@pytest.mark.parametrize("seed", range(40))
def test_plans_are_valid_and_never_beat_the_bound(seed: int) -> None:
    graphs = [residual_graph(seed, most=8)]
    if seed % 4 == 0:
        graphs.append(residual_graph(seed + 500, most=4))
    system = random_system(seed)
    tables = fill_tables(number_workload(graphs), system, MODELS)
    bound = dag_bound(tables)
    for make in (four_steps_plan, published_four_steps_plan):
        plan = make(tables)
        if isinstance(plan, Infeasible):
            assert make is published_four_steps_plan or tables.refusals
            continue
        check_flow(plan, graphs, system)
        cost = price(plan, graphs, system, MODELS)
        assert not cost.infeasible
        assert plan.predicted_latency_s is not None
        assert not isinstance(bound, Infeasible)
        assert plan.predicted_latency_s >= bound.value_s * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_decisions_hold_in_their_own_terms(seed: int) -> None:
    graph = residual_graph(seed, least=3, most=8)
    tables = fill_tables(number_workload([graph]), random_system(seed), MODELS)
    case = locality_of(tables)
    if isinstance(case, Infeasible):
        assert tables.refusals
        return
    problem = case.problem
    for schedule in safe_four_steps(problem):
        assert not check_locality(problem, schedule)
    chains: dict[int, dict[int, int]] = {}
    for layer, (path, place) in enumerate(zip(problem.chain, problem.place, strict=True)):
        chains.setdefault(path, {})[place] = layer
    for path in chains.values():
        assert sorted(path) == list(range(len(path)))
        for left, right in pairwise(path[place] for place in sorted(path)):
            assert (left, right) in problem.edges


def test_the_published_flow_breaks_rules_that_are_counted() -> None:
    """On side branches of unequal weight it pulls layers in before their producers end."""
    broken = 0
    for seed in range(60):
        graph = residual_graph(seed, least=6, most=12)
        tables = fill_tables(number_workload([graph]), random_system(seed, least=3, most=3), MODELS)
        found = published_four_steps_plan(tables)
        if isinstance(found, Infeasible) and found.unit == "violations":
            broken += 1
            assert found.need == 0 < found.have
            assert "published flow" in found.what
            assert isinstance(four_steps_plan(tables), Plan)
    assert broken


def test_one_device_alone_needs_no_transfer() -> None:
    system = System(name="alone", devices=(device("a", 2.0),), links=(), host="")
    tables = fill_tables(number_workload([chain([1.0, 2.0], [4, 4, 4])]), system, {"": Rate()})
    case = locality_of(tables)
    assert isinstance(case, LocalityCase)
    assert not case.problem.input_s.any() and not case.problem.weight_s.any()
    plan = four_steps_plan(tables)
    assert isinstance(plan, Plan)
    assert plan.predicted_latency_s == pytest.approx(1.5)


def test_transfers_are_those_to_the_host() -> None:
    joined = [link("a-host", "a", "host", bandwidth=4.0, latency=0.5),
              link("a-b", "a", "b", bandwidth=2.0)]  # fmt: skip
    system = System(name="line", devices=(device("a"), device("b", 9.0)), links=tuple(joined),
                    host="host")  # fmt: skip
    tables = fill_tables(number_workload([chain([1.0, 2.0], [4, 8, 4])]), system, {"": Rate()})
    case = locality_of(tables)
    assert isinstance(case, LocalityCase)
    assert case.problem.input_s.tolist() == [[1.5, 2.5], [2.5, 4.5]]
    assert case.problem.output_s.tolist() == [[2.5, 4.5], [1.5, 2.5]]
    assert case.problem.compute_s.tolist() == [[1.0, 1 / 9], [2.0, 2 / 9]]


def test_too_many_ready_layers_are_refused_by_number() -> None:
    nodes = [(f"n{i}", ["x"], 1.0, 1) for i in range(9)]
    wide = graph(nodes, inputs={"x": 1}, outputs=[name for name, *_ in nodes])
    system = full_system([device(f"d{i}") for i in range(8)])
    found = locality_of(fill_tables(number_workload([wide]), system, {"": Rate()}))
    assert isinstance(found, Infeasible)
    assert found.need == 9 * 8**8 and found.unit == "combinations"
    few = full_system([device(f"d{i}") for i in range(2)])
    case = locality_of(fill_tables(number_workload([wide]), few, {"": Rate()}))
    assert isinstance(case, LocalityCase)
    assert len(set(case.problem.chain)) == 9
