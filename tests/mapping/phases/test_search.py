"""Searches by prediction and by races with made-up times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given

from orrery.errors import SpecError
from orrery.mapping.phases import (
    PlacementProblem,
    Raced,
    Ran,
    best_placement,
    greedy_correction,
    single_workers,
)

from .problems import problems
from .test_bounds import cores
from .test_problem import towers

Placement = tuple[int, ...]


class Races:
    """Races by a truth of our own; a placement whose truth is infinite fails."""

    def __init__(self, truth: Callable[[Placement], float]) -> None:
        self.truth, self.fields = truth, list[list[Placement]]()

    @property
    def entered(self) -> list[Placement]:
        """Every placement that came in as a challenger, or first of all."""
        return [p for k, field in enumerate(self.fields) for p in field[0 if k == 0 else 1 :]]

    def __call__(self, field: Sequence[Placement]) -> Raced:
        self.fields.append(list(field))
        times = [self.truth(p) for p in field]
        runs = tuple(
            Ran(seconds=None, note=f"worker of {p} failed") if t == np.inf
            else Ran(seconds=t, quicker=(times[0] / t,) * 3, rounds=9)
            for p, t in zip(field, times)
        )  # fmt: skip
        able = [k for k, t in enumerate(times) if t < np.inf]
        return Raced(runs=runs, winner=min(able, key=lambda k: (times[k], k), default=None))


@given(problems())
def test_corrected_is_never_worse_than_one_worker(problem: PlacementProblem) -> None:
    found = greedy_correction(problem)
    assert found.seconds == found.predicted_s == problem.timing(found.placement).makespan_s
    for placement in single_workers(problem).values():
        assert found.seconds <= problem.timing(placement).makespan_s
    assert best_placement(problem).seconds <= found.seconds + 1e-12


def test_towers_go_to_a_core_each() -> None:
    assert greedy_correction(towers()).seconds == best_placement(towers()).seconds == 5.0


def test_only_measured_gains_stay() -> None:
    """What is predicted to be best is in truth the worst; racing finds it out."""
    problem = towers()
    races = Races(
        lambda p: 100.0 if len(set(p)) > 1 else problem.timing(p).makespan_s
    )  # fmt: skip
    found = greedy_correction(problem, races)
    assert len(set(found.placement)) == 1
    assert found.seconds == 7.0
    assert len(races.entered) == len(set(races.entered))
    raced = [c for c in found.log if c.by == "measured"]
    assert len(raced) == len(races.entered)
    assert all(c.rounds == 9 for c in raced)
    # What was the best so far runs against every later field.
    for field in races.fields[1:]:
        assert field[0] == found.placement


def test_a_gain_that_only_racing_shows_is_found() -> None:
    """One tower on the GPU is predicted to take 6, not 5; in truth it takes 1."""
    problem, good = towers(), {(3, 2, 0), (1, 3, 0)}
    found = greedy_correction(problem, Races(lambda p: 1.0 if p in good else 2.0))
    assert found.placement in good
    assert found.predicted_s == problem.timing(found.placement).makespan_s == 6.0
    assert [c.seconds for c in found.log if c.kept] == [2.0, 1.0]


def test_what_fails_is_out_and_said() -> None:
    problem = towers()
    bad = 2  # everything that uses this worker fails
    found = greedy_correction(
        problem, Races(lambda p: np.inf if bad in p else problem.timing(p).makespan_s)
    )
    assert bad not in found.placement
    failed = [c for c in found.log if c.note]
    assert failed
    assert all(c.seconds is None and not c.kept and "failed" in c.note for c in failed)
    with pytest.raises(SpecError, match=r"none that runs: worker of .* failed"):
        greedy_correction(problem, Races(lambda _: np.inf))


def test_budgets_hold() -> None:
    problem = towers()
    count = iter(range(10**6))
    races = Races(lambda _: 1 / (1 + next(count)))  # every change seems to help
    greedy_correction(problem, races, most_raced=8)
    assert 2 <= len(races.entered) <= 8
    # With no room at all, the best prediction still runs against the best single worker.
    races = Races(lambda _: 1.0)
    found = greedy_correction(problem, races, most_raced=0)
    single = min(single_workers(problem).values(), key=lambda p: problem.timing(p).makespan_s)
    assert len(races.fields) == 1
    assert set(races.entered) == {found.placement, single}
    races = Races(lambda _: 1.0)
    greedy_correction(problem, races, go_on=lambda: False)
    assert len(races.fields) == 1


def test_candidates_may_be_added() -> None:
    problem = towers()
    extra = (1, 3, 0)
    races = Races(lambda p: 0.5 if p == extra else 1.0)
    found = greedy_correction(problem, races, also={extra: "by hand"}, most_raced=2)
    assert found.placement == extra
    assert [c.what for c in found.log if c.kept] == ["by hand"]
    # It came in beside the quickest single worker; what is predicted to be best did not.
    assert len(races.entered) == 2


def test_greedy_and_corrected_come_near_the_best() -> None:
    """Towers of all sizes on two libraries, on both cores or one: within 2 % of the best of all."""
    for seed, width in itertools.product(range(4), (2, 4, 6)):
        rng = np.random.default_rng(seed)
        half = rng.lognormal(0, 0.8, width + 1)
        seconds = np.stack([half * rng.uniform(0.5, 0.9, width + 1), half, half], axis=1)
        names = [f"t{k}" for k in range(width)]
        problem = cores(seconds.tolist(), [*((n, ["x"]) for n in names), ("s", names)])
        best = best_placement(problem)
        assert best.proved
        assert greedy_correction(problem).seconds <= 1.02 * best.seconds
