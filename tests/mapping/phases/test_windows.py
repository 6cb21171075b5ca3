"""Windows against every placement of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.mapping.phases import PlacementProblem, Worker, best_placement, greedy_correction
from orrery.mapping.phases._search import descend
from orrery.mapping.phases._windows import better_windows

from .problems import problems
from .test_bounds import cores
from .test_problem import any_placement


def anew(problem: PlacementProblem, placement: tuple[int, ...], members: tuple[int, ...]) -> float:
    """Return the least that any placement of some subgraphs takes, the others where they are."""
    able = [np.flatnonzero(np.isfinite(problem.seconds[k])).tolist() for k in members]
    seconds = []
    for workers in itertools.product(*able):
        tried = list(placement)
        for k, w in zip(members, workers, strict=True):
            tried[k] = w
        seconds.append(problem.timing(tried).makespan_s)
    return min(seconds)


@settings(max_examples=40)
@given(problems(most=6), st.integers(0, 99), st.integers(1, 4))
def test_no_window_can_be_bettered(problem: PlacementProblem, seed: int, width: int) -> None:
    given_ = any_placement(problem, seed)
    found = better_windows(problem, given_, width=width)
    seconds = problem.timing(found).makespan_s
    assert seconds <= problem.timing(given_).makespan_s
    for first in range(max(1, len(problem.order) - width + 1)):
        members = problem.order[first : first + width]
        assert seconds <= anew(problem, found, members) * (1 + 1e-8)


@settings(max_examples=20)
@given(problems(most=5), st.integers(0, 99))
def test_a_window_of_everything_is_exact(problem: PlacementProblem, seed: int) -> None:
    found = better_windows(problem, any_placement(problem, seed), width=9)
    best = best_placement(problem).seconds
    assert problem.timing(found).makespan_s <= best * (1 + 1e-8)


def four_cores() -> PlacementProblem:
    """Three towers, each best alone on all cores; side by side only a certain three pay."""
    inf = float("inf")
    problem = cores([[4, 8, 8], [4, 8, 8], [4, 8, 8], [1, 1, 1]],
                    [("a", ["x"]), ("b", ["x"]), ("c", ["x"]), ("s", ["a", "b", "c"])])  # fmt: skip
    thirds = tuple(Worker(name=f"t{k}", processors=frozenset({f"c{k}"})) for k in range(3))
    every = Worker(name="all", processors=frozenset({"c0", "c1", "c2"}))
    rows = [
        [4.0, 10.0, 11.0, 11.0],
        [4.0, 11.0, 10.0, 11.0],
        [4.0, 11.0, 11.0, 10.0],
        [1, inf, inf, inf],
    ]
    return replace(problem, workers=(every, *thirds), seconds=np.array(rows))


def test_three_moves_that_pay_only_together_are_found() -> None:
    problem = four_cores()
    whole = (0, 0, 0, 0)
    assert problem.timing(whole).makespan_s == 13
    assert descend(problem, whole) == whole
    assert better_windows(problem, whole) == (1, 2, 3, 0)
    assert greedy_correction(problem).seconds == best_placement(problem).seconds == 11


def test_looking_ends() -> None:
    problem = four_cores()
    assert better_windows(problem, (0, 0, 0, 0), looks=3) == (0, 0, 0, 0)
    assert better_windows(problem, (0, 0, 0, 0), all_looks=0) == (0, 0, 0, 0)
