"""Compiled evaluation of mappings onto sets against `evaluate`, equal to the picosecond."""

from __future__ import annotations

import pickle
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from orrery.mapping.sets import Evaluator, Problem, Running, SetMapping, evaluate

from .random_graphs import random_system, residual_graph
from .sets_cases import problem_of, random_mapping


def _problem(seed: int) -> Problem:
    system = random_system(seed, least=2, size_bytes=4096 if seed % 4 == 0 else 2**30)
    graphs = [residual_graph(seed, least=3, most=8)]
    if seed % 3 == 0:
        graphs.append(residual_graph(seed + 1000, most=4))
    return problem_of(graphs, system)


def _agree(problem: Problem, running: Running, mapping: SetMapping) -> None:
    times = evaluate(problem, mapping)
    assert running.makespan_ps == times.makespan_ps
    excess = sum(n - problem.capacity_bytes[d] for d, n in times.overfull.items())
    assert running.excess_bytes == excess


@pytest.mark.parametrize("seed", range(24))
def test_every_changed_gene_leaves_what_evaluate_says(seed: int) -> None:
    problem, random = _problem(seed), Random(seed)
    evaluator = Evaluator(problem)
    running = evaluator.start(random_mapping(problem, random))
    _agree(problem, running, running.mapping())
    for _ in range(60):
        mapping = running.mapping()
        if len(mapping.sets) != len(running.sets):
            break
        gene = random.choice(["choice", "design", "cut"])
        unit = random.randrange(len(problem.units))
        number = int(running.state.set_of[unit])
        placed = running.sets[number]
        if gene == "choice":
            running.choose(unit, random.randrange(len(problem.choices[unit][len(placed.devices)])))
        elif gene == "design":
            running.configure(number, random.randrange(len(problem.designs[placed.set_class])))
        elif gene == "cut" and unit and running.state.set_of[unit - 1] != number:
            other = int(running.state.set_of[unit - 1])
            parties = len(running.sets[other].devices)
            running.move_unit(unit, other, random.randrange(len(problem.choices[unit][parties])))
        _agree(problem, running, running.mapping())


@pytest.mark.parametrize("seed", range(8))
def test_exploring_changes_one_choice_each_and_none_stays(seed: int) -> None:
    problem, random = _problem(seed), Random(seed)
    mapping = random_mapping(problem, random)
    running = Evaluator(problem).start(mapping)
    units = [u for u in range(len(problem.units)) for _ in range(4)]
    options = [len(problem.choices[u][_parties(mapping, u)]) for u in units]
    choices = [random.randrange(count) for count in options]
    found = running.explore(np.array(units), np.array(choices))
    for unit, choice, makespan in zip(units, choices, found, strict=True):
        changed = list(mapping.choices)
        changed[unit] = choice
        assert evaluate(problem, replace(mapping, choices=tuple(changed))).makespan_ps == makespan
    assert running.mapping() == mapping


@pytest.mark.parametrize("follow", [0, 1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_descending_ends_where_no_single_change_helps(seed: int, follow: int) -> None:
    problem, random = _problem(seed), Random(seed)
    running = Evaluator(problem).start(random_mapping(problem, random))
    before = (running.excess_bytes, running.makespan_ps)
    running.descend(np.arange(len(problem.units)), 100, follow)
    after = (running.excess_bytes, running.makespan_ps)
    assert after <= before
    mapping = running.mapping()
    _agree(problem, running, mapping)
    for unit in range(len(problem.units)):
        for choice in range(len(problem.choices[unit][_parties(mapping, unit)])):
            kept = mapping.choices[unit]
            running.choose(unit, choice)
            assert (running.excess_bytes, running.makespan_ps) >= after
            running.choose(unit, kept)


def test_an_evaluator_travels_to_another_process() -> None:
    problem, random = _problem(3), Random(3)
    mapping = random_mapping(problem, random)
    there = pickle.loads(pickle.dumps(Evaluator(problem)))
    assert there.start(mapping).makespan_ps == evaluate(problem, mapping).makespan_ps


def _parties(mapping: SetMapping, unit: int) -> int:
    return next(len(s.devices) for s in mapping.sets if s.first <= unit < s.last)


@pytest.mark.parametrize("seed", range(8))
def test_runs_of_wished_choices_are_kept_only_where_they_gain(seed: int) -> None:
    problem, random = _problem(seed), Random(seed)
    mapping = random_mapping(problem, random)
    running = Evaluator(problem).start(mapping)
    for placed in mapping.sets:
        units = np.arange(placed.first, placed.last)
        parties = len(placed.devices)
        wishes = np.array([
            [random.randrange(-1, len(problem.choices[u][parties])) for u in units]
            for _ in range(4)
        ])  # fmt: skip
        before, kept = (running.excess_bytes, running.makespan_ps), running.state.choice.copy()
        running.spread(units, wishes, 3)
        _agree(problem, running, running.mapping())
        after = (running.excess_bytes, running.makespan_ps)
        changed = not np.array_equal(kept, running.state.choice)
        assert after < before if changed else after == before
        for u, choice in enumerate(running.state.choice):
            here = placed.first <= u < placed.last
            wished = wishes[:, u - placed.first] if here else np.array([], np.int64)
            assert choice == kept[u] or choice in wished
