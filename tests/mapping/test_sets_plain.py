"""Random, uniform and single-device mappings onto sets; the search's ablations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from orrery.mapping.genetic import (
    FoundSets,
    TwoLevelSearch,
    random_sets,
    single_set,
    two_level,
    uniform_sets,
)
from orrery.mapping.sets import Placed, Problem, SetMapping, chain_optimum, evaluate, feasible
from orrery.plan import Infeasible

from .random_graphs import random_system, residual_graph
from .sets_cases import problem_of

SMALL = TwoLevelSearch(population=8, generations=5)


def _problem(seed: int) -> Problem:
    graph = residual_graph(seed, least=4, most=6)
    return problem_of([graph], random_system(seed, least=2), dimensions=1)


def _optimum(problem: Problem) -> int:
    return min(chain_optimum(problem, 0, behind="exact").value_ps.values())


@pytest.mark.parametrize("seed", range(10))
def test_baselines_run_and_are_never_faster_than_the_optimum(seed: int) -> None:
    problem = _problem(seed)
    best = _optimum(problem)
    for found in (random_sets(problem, draws=30, seed=seed), single_set(problem)):
        if not isinstance(found, Infeasible):
            times = evaluate(problem, found)
            assert feasible(times)
            assert times.makespan_ps >= best


@pytest.mark.parametrize("seed", range(6))
def test_more_draws_are_never_worse_and_a_seed_repeats(seed: int) -> None:
    problem = _problem(seed)
    few, many = (random_sets(problem, draws=n, seed=1) for n in (5, 40))
    assert random_sets(problem, draws=40, seed=1) == many
    if isinstance(few, SetMapping):
        assert isinstance(many, SetMapping)
        assert evaluate(problem, many).makespan_ps <= evaluate(problem, few).makespan_ps


@pytest.mark.parametrize("seed", range(6))
def test_the_single_device_is_the_best_of_all_tried_one_by_one(seed: int) -> None:
    problem = _problem(seed)
    found = single_set(problem)
    values = [
        evaluate(problem, SetMapping(sets=(one,), choices=(0,) * len(problem.units))).makespan_ps
        for one in _singles(problem)
    ]
    if isinstance(found, SetMapping):
        assert evaluate(problem, found).makespan_ps == min(values)


def _singles(problem: Problem) -> Iterator[Placed]:
    for k, one in enumerate(problem.classes):
        if one.parties == 1:
            for design in range(len(problem.designs[k])):
                yield Placed(set_class=k, design=design, devices=one.devices, first=0,
                             last=len(problem.units))  # fmt: skip


@pytest.mark.parametrize("seed", [2, 3, 5, 7, 8, 11, 12, 13])
def test_a_uniform_split_cuts_all_layers_alike(seed: int) -> None:
    problem = _problem(seed)
    found = uniform_sets(problem)
    if isinstance(found, Infeasible):
        return
    assert found.makespan_ps == min(found.tried.values()) == found.tried[found.kind]
    times = evaluate(problem, found.mapping)
    assert times.makespan_ps == found.makespan_ps >= _optimum(problem)
    (placed,) = found.mapping.sets
    parties, split = len(placed.devices), 0
    for u, number in enumerate(found.mapping.choices):
        choice = problem.choices[u][parties][number]
        strategy = choice.strategies[0]
        if strategy is None:
            continue
        split += 1
        assert strategy.shared is None
        assert [factor for _, factor in strategy.exclusive] == [parties]
        if found.kind.startswith("axis"):
            axis = int(found.kind.split()[1])
            boxes = problem.layouts[problem.units[u].outputs[0][0]][parties][choice.outputs[0]]
            assert (np.diff(boxes[:, axis, 0]) != 0).any()
    assert split == found.split


def test_several_networks_have_no_single_set() -> None:
    graphs = [residual_graph(n, most=3) for n in range(2)]
    problem = problem_of(graphs, random_system(3, least=3))
    for found in (single_set(problem), uniform_sets(problem)):
        assert isinstance(found, Infeasible)
        assert found.need == 2
    both = random_sets(problem, draws=20)
    assert isinstance(both, SetMapping)
    assert not set(both.sets[0].devices) & set(both.sets[-1].devices)


@pytest.mark.parametrize("seed", range(8))
def test_ablations_are_evaluated_truthfully_and_never_beat_the_optimum(seed: int) -> None:
    problem = _problem(seed)
    best = _optimum(problem)
    for changed in ({"communication": False}, {"one_level": True}):
        found = two_level(problem, replace(SMALL, **changed))
        if isinstance(found, FoundSets):
            assert found.makespan_ps == evaluate(problem, found.mapping).makespan_ps >= best
    blind = two_level(problem, replace(SMALL, communication=False))
    if isinstance(blind, FoundSets):
        for placed in blind.mapping.sets:
            for u in range(placed.first, placed.last):
                steps = problem.step_ps[u][placed.set_class][placed.design]
                assert steps[blind.mapping.choices[u]] == steps.min()


def test_fewer_classes_than_networks_need_leaves_no_crash() -> None:
    graphs = [residual_graph(n, most=3) for n in range(2)]
    problem = problem_of(graphs, random_system(6, least=3), sizes=(2,))
    assert isinstance(two_level(problem, SMALL), Infeasible)
    assert isinstance(random_sets(problem, draws=3), Infeasible)
