"""Exact searches against every placement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.mapping.phases import (
    PlacementProblem,
    all_placements,
    best_placement,
    greedy_correction,
    quickest_placements,
    standing,
    worthwhile,
)

from .problems import problems
from .test_problem import any_placement, towers


def every(problem: PlacementProblem) -> dict[tuple[int, ...], float]:
    return {p: problem.timing(p).makespan_s for p in all_placements(problem)}


@settings(max_examples=40)
@given(problems(most=5))
def test_the_best_is_what_trying_all_finds(problem: PlacementProblem) -> None:
    known = every(problem)
    assert len(known) == np.prod([np.isfinite(row).sum() for row in problem.seconds])
    found = best_placement(problem)
    assert found.proved
    assert found.seconds == pytest.approx(min(known.values()))
    assert known[found.placement] == found.seconds


@settings(max_examples=60)
@given(problems(most=5), st.integers(0, 99))
def test_what_is_struck_out_is_not_missed(problem: PlacementProblem, seed: int) -> None:
    """Of any placement there is one of worthwhile choices in which nothing ends later."""
    known, choices = every(problem), worthwhile(problem)
    assert all(choices)
    kept = {p: s for p, s in known.items() if all(w in c for w, c in zip(p, choices))}
    assert min(kept.values()) == pytest.approx(min(known.values()), rel=1e-12)
    other = any_placement(problem, seed)
    assert any(s <= known[other] + 1e-9 for s in kept.values())


def test_what_is_struck_out_by_hand() -> None:
    # On both cores each tower takes 3, on one 4, on the GPU 1: only the GPU ends sooner than both.
    problem = towers()
    assert worthwhile(problem) == ((3, 0, 1, 2),) * 2 + ((0, 3, 1, 2),)
    slow = problem.seconds.copy()
    slow[:, 0] = 5.0  # both cores are now slower than either: nobody needs them
    assert worthwhile(replace(problem, seconds=slow)) == ((3, 1, 2),) * 3
    # Slower for one subgraph alone: the hand-over from core to core may cost 0.05 more.
    slow = problem.seconds.copy()
    slow[0, 0] = 4.04
    assert worthwhile(replace(problem, seconds=slow))[0] == (3, 1, 2, 0)
    slow[0, 0] = 4.11
    assert worthwhile(replace(problem, seconds=slow))[0] == (3, 1, 2)


@settings(max_examples=40)
@given(problems(most=4), st.integers(0, 99), st.integers(1, 9))
def test_ranks_and_the_quickest(problem: PlacementProblem, seed: int, count: int) -> None:
    choices = worthwhile(problem)
    known = every(problem)
    kept = sorted(s for p, s in known.items() if all(w in c for w, c in zip(p, choices)))
    ours = any_placement(problem, seed)
    found = standing(problem, ours)
    assert found.rank_proved
    assert found.rank == 1 + sum(s < known[ours] * (1 - 1e-9) for s in kept)
    assert found.gap == pytest.approx(known[ours] / min(kept) - 1)
    assert (found.placements, found.considered) == (len(known), len(kept))
    quickest = quickest_placements(problem, count)
    assert [known[p] for p in quickest] == pytest.approx(kept[:count])
    assert len(set(quickest)) == len(quickest)


def test_ours_is_first_where_it_is_best() -> None:
    problem = towers()
    found = standing(problem, greedy_correction(problem).placement)
    assert (found.rank, found.rank_proved, found.gap) == (1, True, 0.0)
    assert quickest_placements(problem, 0) == ()


def test_a_search_that_ends_early_says_so() -> None:
    found = best_placement(towers(), most=2)
    assert not found.proved
    assert found.seconds == towers().timing(found.placement).makespan_s
    assert not standing(towers(), (0, 0, 0), most=2).rank_proved
