"""One made-up cause at a time: it is named, with its seconds, and no other is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.mapping.phases import Losses, PlacementProblem, losses_of

from .problems import problems
from .test_bounds import cores
from .test_problem import any_placement


def network() -> PlacementProblem:
    """Two towers and a sum; on both cores each tower takes 6, on one 8."""
    return cores([[6, 8, 8], [6, 8, 8], [1, 1, 1]],
                 [("a", ["x"]), ("b", ["x"]), ("s", ["a", "b"])])  # fmt: skip


PLACED = (1, 2, 0)


def taken(
    problem: PlacementProblem, *, slower: float = 1.0, gap: float = 0.0, whole_s: float = 13.0,
    bound_s: float = 8.0,
) -> Losses:  # fmt: skip
    """Towers side by side, `slower` than alone, and `gap` seconds before each begin."""
    alone = [float(problem.seconds[k, w]) for k, w in enumerate(PLACED)]
    ends = [gap + alone[k] * slower for k in (0, 1)]
    begin = [gap, gap, max(ends) + gap]
    end = [*ends, begin[2] + alone[2]]
    measured = problem.observed(PLACED, begin, end, end[2])
    return losses_of(problem, measured, alone, whole_s=whole_s, whole_on=0, bound_s=bound_s)


def test_the_parts_add_up() -> None:
    found = taken(network(), slower=1.25, gap=0.5)
    assert found.path == (0, 2) or found.path == (1, 2)
    assert (found.path_s, found.company_s, found.hand_over_s) == pytest.approx((9, 2, 1))
    assert found.drift_s == pytest.approx(0)
    assert found.placed_s == found.path_s + found.company_s + found.hand_over_s + found.drift_s
    assert found.slower == pytest.approx(1.25)
    assert found.parts_s == 13


@pytest.mark.parametrize(
    ("how", "cause", "seconds"),
    [
        ({"slower": 1.7}, "company", 5.6),
        ({"gap": 2.5}, "hand-over", 5.0),
        ({"whole_s": 10.0}, "cuts", 3.0),
        ({}, "even", -4.0),
    ],
)
def test_each_cause_is_named(how: dict[str, float], cause: str, seconds: float) -> None:
    found = taken(network(), **how)
    assert [(c.cause, c.seconds) for c in found.causes] == [(cause, pytest.approx(seconds))]


def test_a_split_that_cannot_pay_is_told_from_a_bound() -> None:
    """The towers take so long on one core that nothing has to go wrong."""
    slow = network().seconds.copy()
    slow[:2, 1:] = 12.0
    found = taken(replace(network(), seconds=slow))
    assert [c.cause for c in found.causes] == ["split"]
    assert found.causes[0].seconds == 13


def test_a_bound_forbids_it() -> None:
    slow = network().seconds.copy()
    slow[:2, 1:] = 12.0
    found = taken(replace(network(), seconds=slow), bound_s=12.9)
    assert [(c.cause, c.seconds) for c in found.causes] == [("bound", 12.9)]


def test_the_largest_comes_first_and_the_bound_before_all() -> None:
    slow = network().seconds.copy()
    slow[:2, 1:] = 10.0
    found = taken(
        replace(network(), seconds=slow), slower=1.15, gap=1.0, whole_s=11.0, bound_s=11.0
    )
    assert [c.cause for c in found.causes] == ["bound", "cuts", "hand-over", "company"] or [
        c.cause for c in found.causes] == ["bound", "hand-over", "cuts", "company"]  # fmt: skip


def test_a_bound_that_was_undercut_is_no_reason() -> None:
    """The parts were timed while the machine was slow: 9 s were measured, not 20."""
    found = taken(network(), bound_s=20.0)
    assert [c.cause for c in found.causes] == ["even"]
    assert found.undercut_s == 9
    # In the request itself the machine was slow too; its parts alone say what it could take.
    late = taken(network(), bound_s=20.0, slower=2.4, whole_s=20.0)
    assert late.placed_s == pytest.approx(20.2)
    assert late.undercut_s == 9 and [c.cause for c in late.causes] == ["company"]
    assert taken(network(), bound_s=9.0).undercut_s is None


def test_what_runs_with_nothing_beside_it_has_no_company() -> None:
    problem = network()
    measured = problem.observed((0, 0, 0), (0, 6, 12), (6, 12, 13), 13)
    found = losses_of(problem, measured, (6, 4, 1), whole_s=13, whole_on=0, bound_s=8)
    assert found.slower is None
    assert found.company_s == found.hand_over_s == 0
    assert found.drift_s == 2  # the machine was slower then: nobody is to blame
    assert [(c.cause, c.seconds) for c in found.causes] == [("drift", 2)]
    assert found.path == (0, 1, 2)


def test_a_worker_that_cannot_run_a_part_has_no_sum() -> None:
    cannot = network().seconds.copy()
    cannot[1, 0] = np.inf
    assert taken(replace(network(), seconds=cannot)).parts_s is None


@given(problems(), st.integers(0, 99))
def test_what_is_observed_as_predicted_is_the_prediction(
    problem: PlacementProblem, seed: int
) -> None:
    placement = any_placement(problem, seed)
    predicted = problem.timing(placement)
    measured = problem.observed(placement, predicted.begin, predicted.end, predicted.makespan_s)
    assert problem.phases(measured) == problem.phases(predicted)
    path = measured.critical_path()
    assert all(measured.end[a] <= measured.begin[b] for a, b in itertools.pairwise(path))
    assert measured.end[path[-1]] == max(predicted.end)
