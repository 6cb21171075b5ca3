"""Races of made-up ways on a clock of our own, with noise, drift and failures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from orrery.errors import CancelledError, OrreryError, SpecError
from orrery.runtime.together import race


class Machine:
    """Lets time pass: each way's own seconds, times noise, times a drift that doubles them."""

    def __init__(self, seed: int = 0, noise: float = 0.0, drift: float = 0.0) -> None:
        self.now, self.random, self.noise, self.drift = 0.0, random.Random(seed), noise, drift
        self.ran: list[float] = []

    def way(self, seconds: float, fails_at: int = 0) -> Callable[[], None]:
        runs = 0

        def run() -> None:
            nonlocal runs
            runs += 1
            if runs == fails_at:
                raise OrreryError("made up")
            self.ran.append(seconds)
            slow = 1 + self.drift * (1 + math.sin(self.now / 30))
            self.now += seconds * slow * self.random.lognormvariate(0, self.noise)

        return run

    def __call__(self) -> float:
        return self.now


def test_the_quickest_wins_and_the_slow_leave_early() -> None:
    machine = Machine(noise=0.05, drift=1.0)
    found = race([machine.way(s) for s in (1.0, 0.71, 1.5, 0.7)], most_s=1e9, clock=machine)
    assert found.winner in (1, 3)
    rounds = [len(times) for times in found.times_s]
    assert rounds[2] == 9 < rounds[3]  # out at the first look
    median, low, high = found.quicker(3)
    assert low <= median <= high
    assert median == pytest.approx(1 / 0.7, rel=0.1)
    assert found.median_s(3) is not None
    assert found.failures == ("",) * 4


def test_a_drift_does_not_decide() -> None:
    """The machine slows down throughout; equal ways stay equal, the first stays champion."""
    for seed in range(20):
        machine = Machine(seed, noise=0.1, drift=2.0)
        found = race([machine.way(1.0) for _ in range(4)], most_s=1e9, clock=machine)
        assert found.winner == 0 or found.quicker(found.winner)[0] > 1


def test_equal_ways_rarely_win() -> None:
    """The champion loses against an equal in no more than the stated share of races."""
    lost = 0
    for seed in range(300):
        machine = Machine(seed, noise=0.2)
        found = race([machine.way(1.0), machine.way(1.0)], most_s=1e9, clock=machine)
        lost += found.winner != 0
    assert lost <= 24  # 5 % of one side at the most are 15; more than 24 once in a hundred times


def test_a_sure_gain_is_nearly_always_seen() -> None:
    won = 0
    for seed in range(100):
        machine = Machine(seed, noise=0.1)
        found = race([machine.way(1.0), machine.way(0.85)], most_s=1e9, clock=machine)
        won += found.winner == 1
    assert won >= 95


def test_who_gains_nothing_ends_the_race() -> None:
    machine = Machine()
    found = race([machine.way(1.0), machine.way(1.0)], most_s=1e9, clock=machine)
    assert found.winner == 0
    assert len(found.times_s[0]) == 9


def test_who_fails_is_out_and_said() -> None:
    machine = Machine()
    found = race([machine.way(1.0), machine.way(0.5, fails_at=1), machine.way(0.7, fails_at=4)],
                 most_s=1e9, clock=machine)  # fmt: skip
    assert found.winner == 0
    assert found.failures == ("", "made up", "made up")
    assert found.times_s[1] == ()
    assert found.quicker(1) is None
    assert found.median_s(1) is None
    # The champion itself fails: the best of the others takes its place.
    machine = Machine()
    found = race([machine.way(0.5, fails_at=3), machine.way(1.0), machine.way(0.7)],
                 most_s=1e9, clock=machine)  # fmt: skip
    assert found.winner == 2
    machine = Machine()
    found = race([machine.way(1.0, fails_at=1), machine.way(1.0, fails_at=2)], clock=machine)
    assert found.winner is None
    assert found.failures == ("made up", "made up")


def test_time_that_is_up_leaves_the_champion() -> None:
    machine = Machine()
    found = race([machine.way(1.0), machine.way(0.5)], most_s=4.0, clock=machine)
    assert found.winner == 0
    assert 1 <= len(found.times_s[1]) < 9


def test_a_user_who_stops_is_heard() -> None:
    def stop() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        race([stop])


def test_everybody_runs_in_turn() -> None:
    machine = Machine()
    race([machine.way(s) for s in (1.0, 1.1, 0.9)], looks=(3,), warmup=0, most_s=1e9,
         clock=machine)  # fmt: skip
    assert machine.ran == [1.0, 1.1, 0.9, 0.9, 1.1, 1.0, 1.1, 0.9, 1.0]


@pytest.mark.parametrize("wrong", [{"looks": ()}, {"looks": (3, 2)}, {"warmup": -1}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        race([int], **wrong)
    with pytest.raises(SpecError):
        race([])
