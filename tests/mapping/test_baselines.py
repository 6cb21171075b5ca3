"""Baselines give valid plans, truthfully timed, and none beats a bound or the exact optimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import CostModel, check_flow, price
from orrery.errors import CancelledError, SpecError
from orrery.mapping import (
    Certified,
    balanced,
    dag_bound,
    exact_dag,
    greedy,
    random_mapping,
    single_device,
)
from orrery.mapping._tables import Tables, fill_tables, number_workload
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress

from .brute import fastest
from .cases import Rate, chain, device, full_system, graph
from .random_graphs import MODELS, random_system, residual_graph
from .test_dag_exact import replayed_s

BASELINES: Mapping[str, Callable[[Tables], Plan | Infeasible]] = {
    "balanced": balanced,
    "random": lambda tables: random_mapping(tables, draws=10, seed=3),
    "single device": single_device,
}
RATE: Mapping[str, CostModel] = {"": Rate()}
TWO = full_system([device("a"), device("b", 2.0)], bandwidth=4.0)


def predicted(plan: Plan | Infeasible) -> float:
    assert isinstance(plan, Plan), plan
    assert plan.predicted_latency_s is not None
    return plan.predicted_latency_s


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(sorted(BASELINES)))
def test_every_plan_is_valid_and_above_the_bound(seed: int, name: str) -> None:
    g, system = residual_graph(seed), random_system(seed)
    tables = fill_tables(number_workload([g]), system, MODELS)
    plan = BASELINES[name](tables)
    if isinstance(plan, Infeasible):
        assert name == "single device"  # no device that runs everything
        return
    assert plan.searcher == name
    check_flow(plan, [g], system)
    priced = price(plan, [g], system, MODELS)
    assert priced.feasible
    assert priced.total.latency_s <= predicted(plan) * (1 + 1e-9)
    bound = dag_bound(tables)
    assert predicted(plan) >= bound.value_s * (1 - 1e-9)
    rounding_s = 1e-12 * (len(plan.assignments) + len(plan.transfers) + 1)
    assert replayed_s(plan, g, system, MODELS) >= bound.value_s - rounding_s


@pytest.mark.needs("ortools")
@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_none_beats_the_exact_optimum(seed: int) -> None:
    g, system = residual_graph(seed, least=3), random_system(seed, least=2)
    tables = fill_tables(number_workload([g]), system, MODELS)
    best = exact_dag(tables)
    assert isinstance(best, Certified)
    for baseline in (*BASELINES.values(), lambda _: greedy([g], system, MODELS)):
        plan = baseline(tables)
        if isinstance(plan, Plan):
            assert predicted(plan) >= best.makespan_s * (1 - 1e-9)


def test_a_single_device_takes_what_it_takes_alone() -> None:
    g = chain([4, 6], [8, 100, 12])
    tables = fill_tables(number_workload([g]), TWO, RATE)
    plan = single_device(tables)
    assert predicted(plan) == pytest.approx(8 / 4 + 10 / 2 + 12 / 4)
    assert isinstance(plan, Plan)
    assert set(plan.device_of().values()) == {"b"}


def test_a_balanced_plan_does_not_see_busy_links() -> None:
    """Two branches, one each; both inputs come over the one link of the host that the plan shares.

    By hand: x takes 4 s to either device; p on b ends at 6, so q is done sooner on a (4 + 4).
    """
    g = graph([("p", ["x"], 4, 4), ("q", ["x"], 4, 4)], inputs={"x": 16}, outputs=["p", "q"])
    plan = balanced(fill_tables(number_workload([g]), TWO, RATE))
    assert isinstance(plan, Plan)
    # p: a at 8, b at 6; q: a at 8, b at 8 as well: the less loaded one.
    assert plan.device_of() == {"p": "b", "q": "a"}
    assert predicted(plan) == pytest.approx(9.0)


def test_more_draws_are_never_worse_and_a_seed_repeats() -> None:
    tables = fill_tables(number_workload([residual_graph(16)]), random_system(16), MODELS)
    few, many = (predicted(random_mapping(tables, draws=n, seed=1)) for n in (5, 50))
    assert many <= few
    assert random_mapping(tables, draws=5, seed=1) == random_mapping(tables, draws=5, seed=1)
    assert fastest(residual_graph(16, most=4), random_system(16), MODELS) > 0
    with pytest.raises(SpecError, match="random mapping: draws"):
        random_mapping(tables, draws=0)


def test_random_stops_with_its_best_or_says_that_it_has_none() -> None:
    tables = fill_tables(number_workload([chain([1, 1], [1, 1, 1])]), TWO, RATE)
    drawn: list[object] = []
    plan = random_mapping(
        tables, draws=10**9,
        progress=Progress(report=drawn.append, cancelled=lambda: len(drawn) > 5),
    )  # fmt: skip
    assert isinstance(plan, Plan)
    with pytest.raises(CancelledError):
        random_mapping(tables, progress=Progress(cancelled=lambda: True))


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_what_cannot_be_is_infeasible_with_a_reason(name: str) -> None:
    g = chain([1, 1], [1, 1, 1])
    lacking = full_system([device("a", operators=("Conv",)), device("b", operators=("Add",))])
    refused = BASELINES[name](fill_tables(number_workload([g]), lacking, RATE))
    assert isinstance(refused, Infeasible)
    assert "Relu" in refused.what
    heavy = graph([("n", ["x", "w"], 1, 1)], inputs={"x": 1}, outputs=["n"], weights={"w": 100})
    small = full_system([device("a", size_bytes=50), device("b", size_bytes=50)])
    short = BASELINES[name](fill_tables(number_workload([heavy]), small, RATE))
    assert isinstance(short, Infeasible)
    assert short.unit == "bytes"


def test_designs_that_complete_each_other_are_found() -> None:
    models: Mapping[str, CostModel] = {
        "": Rate(accepts=frozenset()), "relu": Rate(accepts=frozenset({"Relu"})),
        "tanh": Rate(accepts=frozenset({"Tanh"})),
    }  # fmt: skip
    s = full_system([device("a", designs=["relu", "tanh"], operators=()),
                     device("b", designs=["relu", "tanh"], operators=())])  # fmt: skip
    g = graph([("p", ["x"], 1, 1), ("q", ["p"], 1, 1)], inputs={"x": 1}, outputs=["q"],
              ops={"q": "Tanh"})  # fmt: skip
    tables = fill_tables(number_workload([g]), s, models)
    plan = balanced(tables)
    assert isinstance(plan, Plan)
    assert {a.region: a.design for a in plan.assignments} == {"p": "relu", "q": "tanh"}
    assert isinstance(random_mapping(tables, draws=40), Plan)
    assert isinstance(single_device(tables), Infeasible)
