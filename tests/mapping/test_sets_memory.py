"""What a mapping onto sets needs of memories against the price of its plan."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from orrery.cost import price
from orrery.graph import Graph, build_model
from orrery.hardware import System
from orrery.mapping.genetic import TwoLevelSearch, two_level
from orrery.mapping.sets import Placed, SetMapping, best_series, evaluate, plan_of
from orrery.mapping.sets._mapping import fits
from orrery.mapping.sets._routes import NEVER
from orrery.plan import Infeasible, Plan

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import needs_of, problem_of, random_mapping


@pytest.mark.parametrize("group", range(6))
def test_no_plan_needs_more_than_its_mapping_was_said_to(group: int) -> None:
    compared = equal = 0
    for seed in range(8 * group, 8 * group + 8):
        random = Random(seed)
        graphs = [residual_graph(seed, most=6)]
        system = random_system(seed + 7, least=2)
        if seed % 3 == 0:
            graphs.append(residual_graph(seed + 1000, most=4))
        problem = problem_of(graphs, system)
        for _ in range(3):
            mapping = random_mapping(problem, random)
            if evaluate(problem, mapping).makespan_ps >= NEVER:
                continue
            said = needs_of(problem, mapping)
            plan = plan_of(problem, mapping, searcher="random")
            peaks = price(plan, graphs, system, MODELS).total.peak_bytes
            for device, name in enumerate(problem.tables.ends[: len(said)]):
                peak = peaks.get(f"{name}.dram", 0)
                assert peak <= said[device]
                # Where the host computes too, inputs and results count for it all the time.
                if peak and system.host != name:
                    compared += 1
                    equal += peak == said[device]
    assert equal >= 0.95 * compared > 0


def _tight(seed: int, share: float) -> tuple[Graph, System]:
    """Memories that each hold so much of all constants."""
    graph = residual_graph(seed, least=3, most=6, dense="MatMul")
    total = sum(constant.type.size_bytes for constant in graph.constants.values())
    return graph, random_system(seed + 7, least=2, size_bytes=int(total * share) + 1500)


@pytest.mark.parametrize("seed", [709, 720, 759, 778])
def test_plans_for_tight_memories_are_found_and_fit_by_their_price(seed: int) -> None:
    """Plans once were refused by their price, or not found at all."""
    graph, system = _tight(seed, Random(seed).choice([0.7, 0.8, 1.0, 1.2]))
    problem = problem_of([graph], system)
    exact = best_series(problem)
    other = two_level(problem, TwoLevelSearch(population=6, generations=8))
    assert isinstance(exact, Plan)
    assert not isinstance(other, Infeasible)
    assert exact.lower_bound_s is not None
    assert exact.predicted_latency_s <= other.makespan_ps / 1e12
    for plan in (exact, plan_of(problem, other.mapping, searcher="two-level")):
        cost = price(plan, [graph], system, MODELS)
        assert not cost.infeasible
        assert exact.lower_bound_s <= cost.total.latency_s


def test_no_plan_is_said_to_be_proved_only_where_it_is() -> None:
    graph, system = _tight(709, 1.0)
    problem = problem_of([graph], system)
    devices = len(problem.capacity_bytes)
    total = sum(problem.tables.workload.weight_bytes)
    # All devices together lack one byte; every single layer could be held.
    small = replace(problem, capacity_bytes=(total - 1, *(0,) * (devices - 1)))
    answer = best_series(small)
    assert isinstance(answer, Infeasible)
    assert (answer.need, answer.have) == (total, total - 1)
    assert "all devices together" in answer.what
    answer = best_series(replace(problem, capacity_bytes=(8,) * devices))
    assert isinstance(answer, Infeasible)
    assert "split as far as sets allow" in answer.what
    assert answer.need > answer.have == 8
    # Constants fit, tensors do not.
    answer = best_series(replace(problem, capacity_bytes=(total,) * devices))
    assert isinstance(answer, Plan) or "does not prove" in answer.what
    answer = best_series(replace(problem, capacity_bytes=(total, *(0,) * (devices - 1))))
    assert isinstance(answer, Infeasible)
    assert "does not prove that none exists" in answer.what
    assert "--generations" in str(answer)


def test_where_a_mapping_seems_too_large_the_price_of_its_plan_decides() -> None:
    """On a device that is the host too, results count from the start for the search alone."""
    graph = residual_graph(1, least=4, dense="MatMul")
    system = random_system(1, most=1, topology="host computes", designs=False)
    problem = problem_of([graph], system)
    one = Placed(set_class=0, design=0, devices=(0,), first=0, last=len(problem.units))
    mapping = SetMapping(sets=(one,), choices=(0,) * len(problem.units))
    assert evaluate(problem, mapping).makespan_ps < NEVER
    cost = price(plan_of(problem, mapping, searcher="single"), [graph], system, MODELS)
    peak = cost.total.peak_bytes["d0.dram"]
    assert peak < needs_of(problem, mapping)[0]
    assert fits(replace(problem, capacity_bytes=(peak,)), mapping)
    assert not fits(replace(problem, capacity_bytes=(peak - 1,)), mapping)


def test_caches_that_grow_count_once() -> None:
    graph = build_model("gpt2-124m", layers=2, hidden=64, heads=4, vocabulary=200, context=64,
                        phase="decode")  # fmt: skip
    system = random_system(5, least=2, most=2, designs=False, topology="full")
    problem, random = problem_of([graph], system, dimensions=1), Random(0)
    for _ in range(3):
        mapping = random_mapping(problem, random)
        cost = price(plan_of(problem, mapping, searcher="random"), [graph], system, MODELS)
        assert [cost.total.peak_bytes[f"d{i}.dram"] for i in (0, 1)] == needs_of(problem, mapping)
