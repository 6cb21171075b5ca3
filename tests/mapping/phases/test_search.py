"""Searches against every placement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from orrery.mapping.phases import (
    PlacementProblem,
    all_placements,
    best_placement,
    greedy_correction,
    single_workers,
)

from .problems import problems
from .test_problem import towers


@settings(max_examples=40)
@given(problems(most=5))
def test_the_best_is_what_trying_all_finds(problem: PlacementProblem) -> None:
    every = {p: problem.timing(p).makespan_s for p in all_placements(problem)}
    assert len(every) == np.prod([np.isfinite(row).sum() for row in problem.seconds])
    found = best_placement(problem)
    assert found is not None
    assert found.proved
    assert found.seconds == pytest.approx(min(every.values()))
    assert every[found.placement] == found.seconds


@given(problems())
def test_corrected_is_never_worse_than_one_worker(problem: PlacementProblem) -> None:
    found = greedy_correction(problem)
    assert found.seconds == found.predicted_s == problem.timing(found.placement).makespan_s
    for placement in single_workers(problem).values():
        assert found.seconds <= problem.timing(placement).makespan_s
    best = best_placement(problem)
    assert best is None or best.seconds <= found.seconds + 1e-12


def test_towers_go_to_a_core_each() -> None:
    assert greedy_correction(towers()).seconds == best_placement(towers()).seconds == 5.0


def test_only_measured_gains_stay() -> None:
    """What is predicted to be best is in truth the worst; measuring finds it out."""
    problem, asked = towers(), []

    def truth(placement: tuple[int, ...]) -> float:
        asked.append(placement)
        return 100.0 if len(set(placement)) > 1 else problem.timing(placement).makespan_s

    found = greedy_correction(problem, truth)
    assert len(set(found.placement)) == 1
    assert found.seconds == 7.0
    assert len(asked) == len(set(asked)) == len(found.log)
    assert {c.by for c in found.log} == {"measured"}


def test_measurements_are_counted() -> None:
    asked: list[tuple[int, ...]] = []

    def truth(placement: tuple[int, ...]) -> float:
        asked.append(placement)
        return 1.0 / len(asked)  # every change seems to help

    greedy_correction(towers(), truth, most_measured=8)
    few = len(asked)
    asked.clear()
    greedy_correction(towers(), truth, most_measured=0)
    # Everything on one worker is measured in any case: nothing worse may come out.
    assert set(single_workers(towers()).values()) <= set(asked)
    assert len(asked) <= few <= 8


def test_too_many_placements_are_not_looked_through() -> None:
    assert best_placement(towers(), most=3) is None
