"""What other choices would cost, against each changed mapping evaluated from the definition."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from orrery.errors import SpecError
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import (
    Placed,
    SetMapping,
    chain_optimum,
    combine_networks,
    evaluate,
    feasible,
    plan_of,
)
from orrery.mapping.sets._explain import explain_sets, layer_classes, mapping_of
from orrery.mapping.sets._routes import NEVER

from .cases import Rate, device, full_system, graph
from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import problem_of, random_mapping


def _problem(seed: int):
    graphs = [residual_graph(seed, least=3, most=6)]
    system = random_system(seed, least=2)
    if seed % 3 == 0:
        graphs.append(residual_graph(seed + 1000, most=3))
    return problem_of(graphs, system, dimensions=2)


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_gives_back_its_mapping(seed: int) -> None:
    random, problem = Random(seed), _problem(seed)
    for _ in range(3):
        mapping = random_mapping(problem, random)
        times = evaluate(problem, mapping)
        if times.makespan_ps >= NEVER:
            continue
        plan = plan_of(problem, mapping, searcher="random")
        found = mapping_of(problem, plan)
        assert evaluate(problem, found) == times
        again = plan_of(problem, found, searcher="random")
        assert again == plan
        for one, other in zip(mapping.sets, found.sets, strict=True):
            assert (one.first, one.last, one.devices[0]) == (
                other.first, other.last, other.devices[0],
            )  # fmt: skip
            alone = all(
                problem.choices[u][len(one.devices)][mapping.choices[u]].strategies[0] is None
                for u in range(one.first, one.last)
            )
            assert alone or one.devices == other.devices


def _changed(mapping: SetMapping, unit: int, number: int, choice: int) -> SetMapping:
    """Another choice, or a cut that moves by a unit; written without the evaluator."""
    sets = list(mapping.sets)
    home = next(i for i, s in enumerate(sets) if s.first <= unit < s.last)
    if number != home:
        sets[home] = replace(
            sets[home], first=sets[home].first + (number < home),
            last=sets[home].last - (number > home),
        )  # fmt: skip
        sets[number] = replace(
            sets[number], first=sets[number].first - (number > home),
            last=sets[number].last + (number < home),
        )  # fmt: skip
    choices = list(mapping.choices)
    choices[unit] = choice
    return SetMapping(sets=tuple(sets), choices=tuple(choices))


def _neighbours(problem, mapping: SetMapping, unit: int) -> list[int]:
    sets = mapping.sets
    home = next(i for i, s in enumerate(sets) if s.first <= unit < s.last)
    if sets[home].last - sets[home].first < 2:
        return []
    network = problem.units[unit].network
    found = []
    for number, placed in enumerate(sets):
        if problem.units[placed.first].network != network:
            continue
        before = placed.last == sets[home].first == unit and problem.cuts[unit + 1]
        after = placed.first == sets[home].last == unit + 1 and problem.cuts[unit]
        if before or after:
            found.append(number)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_the_next_best_choice_is_that_of_trying_all(seed: int) -> None:
    random, problem = Random(seed), _problem(seed)
    mapping = random_mapping(problem, random)
    times = evaluate(problem, mapping)
    if not feasible(times):
        return
    found = explain_sets(problem, mapping)
    assert found.makespan_ps == times.makespan_ps
    for reason in found.units:
        unit, home = reason.unit, mapping.sets[reason.set_number]
        assert home.first <= unit < home.last
        tried = []
        for number in (reason.set_number, *_neighbours(problem, mapping, unit)):
            for choice in range(len(problem.choices[unit][len(mapping.sets[number].devices)])):
                if (number, choice) == (reason.set_number, mapping.choices[unit]):
                    continue
                took = evaluate(problem, _changed(mapping, unit, number, choice))
                if feasible(took):
                    tried.append(took.makespan_ps)
        assert (reason.other is None) == (not tried)
        if reason.other is not None:
            other = reason.other
            assert other.makespan_ps == min(tried)
            changed = _changed(mapping, unit, other.set_number, other.choice)
            assert evaluate(problem, changed).makespan_ps == other.makespan_ps
            assert reason.worst_ps >= other.makespan_ps


@pytest.mark.parametrize("seed", range(25))
def test_other_designs_cost_what_they_cost(seed: int) -> None:
    random, problem = Random(seed), _problem(seed)
    mapping = random_mapping(problem, random)
    if not feasible(evaluate(problem, mapping)):
        return
    for reason in explain_sets(problem, mapping).sets:
        placed = mapping.sets[reason.set_number]
        designs = set(range(len(problem.designs[placed.set_class]))) - {placed.design}
        held = {}
        for design in designs:
            sets = list(mapping.sets)
            sets[reason.set_number] = replace(placed, design=design)
            times = evaluate(problem, replace(mapping, sets=tuple(sets)))
            if feasible(times):
                held[design] = times.makespan_ps
        assert {other.design: other.makespan_ps for other in reason.held} == held
        anew = {other.design: other.makespan_ps for other in reason.anew}
        assert all(anew[design] <= makespan for design, makespan in held.items())
        assert list(anew.values()) == sorted(anew.values())


@pytest.mark.parametrize("seed", [s for s in range(24) if s % 3])
def test_in_an_optimum_no_other_choice_is_faster(seed: int) -> None:
    problem = _problem(seed)
    best = combine_networks(problem, [chain_optimum(problem, 0)])
    if best is None or len(problem.tables.workload.results) > 1:
        return
    found = explain_sets(problem, best[1])
    for reason in found.units:
        assert reason.other is None or reason.other.makespan_ps >= best[0]
    for set_reason in found.sets:
        assert all(other.makespan_ps >= best[0] for other in (*set_reason.held, *set_reason.anew))


def test_plans_of_another_form_are_named() -> None:
    problem = problem_of([residual_graph(4, least=4)], random_system(4, least=2))
    units = len(problem.units)
    mapping = SetMapping(
        sets=(Placed(set_class=0, design=0, devices=problem.classes[0].devices, first=0,
                     last=units),), choices=(0,) * units,
    )  # fmt: skip
    plan = plan_of(problem, mapping, searcher="test")
    first, *others = plan.assignments
    with pytest.raises(SpecError, match="regions"):
        mapping_of(problem, replace(plan, assignments=tuple(others)))
    with pytest.raises(SpecError, match="one of its designs"):
        mapping_of(problem, replace(
            plan, assignments=(replace(first, design="no such design"), *others)))  # fmt: skip
    with pytest.raises(SpecError, match="not split"):
        mapping_of(problem, replace(
            plan, assignments=tuple(replace(a, split=None) for a in plan.assignments)
        ))  # fmt: skip


def test_classes_of_layers_prefer_the_fastest_design() -> None:
    nodes = [("a", ["x"], 8.0, 4), ("b", ["a"], 2.0, 4), ("c", ["b"], 6.0, 4)]
    net = graph(nodes, inputs={"x": 4}, outputs=["c"], ops={"b": "Sigmoid"})
    models = {"": Rate(), "fast relu": Rate(accepts=frozenset({"Relu"}), speedup=4.0),
              "any": Rate(speedup=2.0)}  # fmt: skip
    system = full_system([device(f"d{i}", designs=("fast relu", "any")) for i in range(2)])
    relu, sigmoid = layer_classes(fill_tables(number_workload([net]), system, models))
    assert (relu.name, relu.layers, sigmoid.name, sigmoid.layers) == ("Relu", 2, "Sigmoid", 1)
    assert relu.seconds == {("asic", None): 14.0, ("asic", "fast relu"): 3.5, ("asic", "any"): 7.0}
    assert relu.prefers == {("asic", None): 0, ("asic", "fast relu"): 2, ("asic", "any"): 0}
    assert sigmoid.seconds[("asic", "fast relu")] is None
    assert sigmoid.prefers == {("asic", None): 0, ("asic", "fast relu"): 0, ("asic", "any"): 1}


def test_classes_of_convolutions_say_kernel_and_stride() -> None:
    names = set()
    for seed in range(20):
        net = residual_graph(seed, least=4)
        tables = fill_tables(number_workload([net]), random_system(seed), MODELS)
        names |= {one.name for one in layer_classes(tables)}
        assert sum(one.layers for one in layer_classes(tables)) == len(net.nodes)
    assert "Conv 3×3" in names
