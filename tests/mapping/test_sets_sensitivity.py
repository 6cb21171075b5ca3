"""Mappings under scaled links and with freedoms left out; `price` and fresh fills are judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from orrery.cost import price
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph
from orrery.hardware import System, load_system
from orrery.mapping import MapSearch, map_by
from orrery.mapping._tables import Tables, fill_tables, number_workload, with_links
from orrery.mapping.genetic import single_set
from orrery.mapping.sets import (
    Problem,
    Sensitivity,
    SetMapping,
    best_mapping,
    chain_optimum,
    compare_cases,
    evaluate,
    fill_problem,
    fill_problems,
    fill_scaled,
    plan_of,
    restrict,
    scale_links,
    set_texts,
)
from orrery.plan import Plan
from orrery.timeline import PS_PER_S

from .random_graphs import MODELS, random_system, residual_graph

FACTORS = (0.125, 1.0, 8.0)
#: seeds with two devices or more, links, and mappings that differ from factor to factor
SEEDS = (2, 3, 5, 7, 8, 11)


def _tables(seed: int) -> tuple[Graph, System, Tables]:
    graph, system = residual_graph(seed, least=3, most=5), random_system(seed, least=2)
    return graph, system, fill_tables(number_workload([graph]), system, MODELS)


def _cases(seed: int) -> tuple[Graph, System, tuple[Problem, ...], Sensitivity]:
    graph, system, tables = _tables(seed)
    problems = fill_scaled(tables, MODELS, tables.capacity_bytes, FACTORS, dimensions=1)
    found = compare_cases(problems, FACTORS)
    assert isinstance(found, Sensitivity)
    return graph, system, problems, found


def _moved(plan: Plan, system: System) -> Plan:
    return replace(plan, system=replace(plan.system, digest=system.digest))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_matrix_is_the_price_of_every_plan_on_every_scaled_system(seed: int) -> None:
    graph, system, problems, found = _cases(seed)
    for number, candidate in enumerate(found.candidates):
        plan = plan_of(problems[0], candidate.mapping, searcher="test")
        for case, factor in enumerate(FACTORS):
            scaled = replace(system, links=scale_links(system, factor))
            cost = price(_moved(plan, scaled), [graph], scaled, MODELS)
            if not cost.infeasible:
                assert round(cost.total.latency_s * PS_PER_S) == found.makespan_ps[number, case]


@pytest.mark.parametrize("seed", SEEDS)
def test_filling_all_factors_at_once_equals_filling_each_alone(seed: int) -> None:
    _, system, tables = _tables(seed)
    together = fill_scaled(tables, MODELS, tables.capacity_bytes, FACTORS, dimensions=1)
    for factor, problem in zip(FACTORS, together, strict=True):
        scaled = replace(system, links=scale_links(system, factor))
        fresh = fill_tables(tables.workload, scaled, MODELS)
        assert problem.tables.route_links == fresh.route_links
        np.testing.assert_array_equal(problem.tables.width_bytes_per_s, fresh.width_bytes_per_s)
        alone = fill_problem(fresh, MODELS, fresh.capacity_bytes, dimensions=1)
        assert alone.choices == problem.choices
        for ours, theirs in zip(problem.step_ps, alone.step_ps, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", SEEDS)
def test_robust_mapping_regrets_least_of_all_candidates(seed: int) -> None:
    _, _, problems, found = _cases(seed)
    table = [[evaluate(p, c.mapping).makespan_ps for p in problems] for c in found.candidates]
    least = [min(row[i] for row in table) for i in range(len(FACTORS))]
    worst = [max(row[i] / least[i] - 1 for i in range(len(FACTORS))) for row in table]
    assert worst[found.robust] == min(worst)
    np.testing.assert_allclose(found.regret.max(axis=1), worst)
    assert found.mapping == found.candidates[found.robust].mapping
    assert [found.candidates[n].names[0] for n in dict.fromkeys(found.own)] == [
        f"best at {FACTORS[found.own.index(n)]:g}" for n in dict.fromkeys(found.own)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_hold_and_fall_when_links_get_faster(seed: int) -> None:
    _, _, _, found = _cases(seed)
    assert (found.best_ps >= np.array(found.bound_ps)).all()
    assert list(found.bound_ps) == sorted(found.bound_ps, reverse=True)
    assert found.proven == (found.best_ps.tolist() == list(found.bound_ps))


def test_somewhere_the_best_mapping_changes_with_the_links() -> None:
    changes = [change for seed in SEEDS for change in _cases(seed)[3].changes]
    assert any(change.sets for change in changes)
    assert any(change.units for change in changes)
    assert all(bool(c) == (c.sets or c.designs or c.units > 0) for c in changes)


def test_further_candidates_compete_and_equal_ones_share_a_row() -> None:
    _, _, problems, alone = _cases(3)
    single = single_set(problems[0])
    assert isinstance(single, SetMapping)
    best = alone.candidates[0].mapping
    found = compare_cases(problems, FACTORS, also={"one device": single, "again": best})
    assert isinstance(found, Sensitivity)
    names = [name for candidate in found.candidates for name in candidate.names]
    assert {"one device", "again"} <= set(names)
    assert found.candidates[0].names[-1] == "again"
    assert found.regret.max(axis=1)[found.robust] <= alone.regret.max(axis=1)[alone.robust]


def test_a_texts_names_every_set_once() -> None:
    _, _, problems, found = _cases(5)
    texts = set_texts(problems[0], found.mapping)
    assert len(texts) == len(found.mapping.sets)
    assert texts[0].startswith(f"{len(found.mapping.sets[0].devices)} × ")


def test_links_of_the_host_and_among_devices_are_told_apart() -> None:
    system = random_system(2, least=2)
    for which in ("host", "devices"):
        for before, after in zip(system.links, scale_links(system, 2.0, which), strict=True):
            at_host = system.host in before.ends
            factor = 2.0 if at_host == (which == "host") else 1.0
            assert after.bandwidth_bytes_per_s == factor * before.bandwidth_bytes_per_s


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_factors_that_are_no_bandwidth_are_refused(factor: float) -> None:
    with pytest.raises(SpecError, match="above zero"):
        scale_links(random_system(2, least=2), factor)


def test_links_are_named_and_factors_rise() -> None:
    _, _, problems, _ = _cases(3)
    with pytest.raises(SpecError, match="host"):
        scale_links(random_system(2, least=2), 1.0, "hosts")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="rising"):
        compare_cases(problems, (1.0, 1.0, 2.0))
    _, _, tables = _tables(3)
    with pytest.raises(SpecError, match="one or more"):
        fill_scaled(tables, MODELS, tables.capacity_bytes, ())


def test_variants_in_which_other_devices_are_alike_are_refused() -> None:
    system = load_system("aws-f1")
    system = replace(system, devices=tuple(replace(d, designs=()) for d in system.devices))
    graph = residual_graph(2, least=2, most=2)
    tables = fill_tables(number_workload([graph]), system, MODELS)
    first, *others = system.links
    slower = replace(first, bandwidth_bytes_per_s=first.bandwidth_bytes_per_s / 2)
    uneven = with_links(tables, [slower, *others])
    with pytest.raises(SpecError, match="alike"):
        fill_problems([tables, uneven], MODELS, tables.capacity_bytes, sizes=[1, 2])


@pytest.mark.parametrize("seed", SEEDS)
def test_restricted_problems_have_the_optimum_of_those_filled_so(seed: int) -> None:
    _, _, tables = _tables(seed)
    full = fill_problem(tables, MODELS, tables.capacity_bytes)
    designs = sorted({d for names in full.designs for d in names if d})
    kinds = product([None, *([d, None] for d in designs[:1])], (True, False), (1, 2))
    for allowed, rings, loops in kinds:
        fresh = fill_problem(
            tables, MODELS, tables.capacity_bytes, shared=rings, dimensions=loops, designs=allowed
        )
        ours = restrict(full, designs=allowed, rings=rings, loops=loops)
        one, other = (
            min(chain_optimum(p, 0).value_ps.values(), default=None) for p in (ours, fresh)
        )
        assert one == other


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restricted_mapping_takes_the_same_in_the_full_problem(seed: int) -> None:
    _, _, tables = _tables(seed)
    full = fill_problem(tables, MODELS, tables.capacity_bytes)
    found = best_mapping(restrict(full, rings=False, loops=1, one_set=True))
    assert isinstance(found, tuple)
    assert len(found[1].sets) == 1
    assert evaluate(full, found[1]).makespan_ps >= found[0]
    best = best_mapping(full)
    assert isinstance(best, tuple)
    assert best[0] <= found[0]


def test_an_unknown_design_is_refused_with_the_nearest() -> None:
    for seed in range(20):
        _, _, tables = _tables(seed)
        full = fill_problem(tables, MODELS, tables.capacity_bytes, dimensions=1)
        if any("dense" in names for names in full.designs):
            with pytest.raises(UnknownNameError, match="dense"):
                restrict(full, designs=["dens"])
            return
    pytest.fail("no system among the seeds offered that design")


def _seconds(graph: Graph, system: System) -> Callable[[Plan], float]:
    return lambda plan: price(plan, [graph], system, MODELS).total.latency_s


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_the_mapper_keeps_the_plan_that_regrets_least(seed: int) -> None:
    graph, system, _ = _tables(seed)
    found = map_by([graph], system, MODELS, MapSearch(loops=1), also=["exact-sets"],
                   robust=(0.125, 8.0), judge=_seconds(graph, system))  # fmt: skip
    assert isinstance(found.best, Plan)
    sensitivity = next(t.sensitivity for t in found.tried if t.method == "robust-sets")
    assert sensitivity is not None
    assert sensitivity.factors == FACTORS
    assert found.best.searcher == "robust-sets"
    assert found.best.settings["robust"] == "0.125, 1, 8"
    times = []
    for factor in FACTORS:
        scaled = replace(system, links=scale_links(system, factor))
        cost = price(_moved(found.best, scaled), [graph], scaled, MODELS)
        times.append(round(cost.total.latency_s * PS_PER_S))
    assert times == sensitivity.makespan_ps[sensitivity.robust].tolist()


def test_robust_mapping_of_a_pipeline_is_refused() -> None:
    graph, system, _ = _tables(3)
    with pytest.raises(SpecError, match="latency"):
        map_by([graph], system, MODELS, MapSearch(objective="throughput"), robust=(0.5,),
               judge=_seconds(graph, system))  # fmt: skip
