"""Comparisons on a clock of our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.runtime.together import Comparison, compare, in_turn


class Clock:
    """Ways that let known times pass, on a machine that slows down for some rounds."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[str]()

    def way(self, name: str, seconds: float) -> object:
        def run() -> None:
            self.calls.append(name)
            slow = 10 if (len(self.calls) - 1) // 2 % 3 == 1 else 1
            self.now += seconds * slow

        return run

    def __call__(self) -> float:
        return self.now


def test_ways_take_turns_and_rounds_are_compared() -> None:
    clock = Clock()
    ways = {"quick": clock.way("quick", 1.0), "slow": clock.way("slow", 1.5)}
    found = compare(ways, warmup=0, rounds=9, most_s=1e9, clock=clock)
    assert found.rounds == 9
    assert found.quickest == "quick"
    ratio, (low, high) = found.speedup("quick", "slow")
    assert (ratio, low, high) == pytest.approx((1.5, 1.5, 1.5))  # rounds were slow for both
    assert found.median_s("quick") == pytest.approx(1.0)
    assert clock.calls[:4] == ["quick", "slow", "slow", "quick"]


def test_one_way_under_two_names_is_timed_once() -> None:
    clock = Clock()
    way = clock.way("a", 1.0)
    found = compare(
        {"x": way, "y": way, "z": clock.way("b", 2.0)}, warmup=1, rounds=6, most_s=1e9, clock=clock
    )
    assert Counter(clock.calls) == {"a": 7, "b": 7}
    assert found.times_s["x"] == found.times_s["y"]
    assert not found.surely_quicker("x", "y")


def test_time_that_is_up_ends_it() -> None:
    clock = Clock()
    found = compare({"a": clock.way("a", 1.0)}, warmup=2, rounds=50, most_s=4.5, clock=clock)
    assert 1 <= found.rounds < 50


def test_nothing_to_compare_is_refused() -> None:
    for ways, rounds in (({}, 3), ({"a": int}, 0)):
        with pytest.raises(SpecError):
            compare(ways, rounds=rounds)


def test_confidence_is_that_of_the_rounds_there_are() -> None:
    assert Comparison(times_s={"a": (1.0,)}).confidence == 0.0
    assert Comparison(times_s={"a": (1.0, 2.0)}).confidence == 0.5
    assert Comparison(times_s={"a": tuple(map(float, range(20)))}).confidence >= 0.95


def test_a_short_way_is_timed_when_it_follows_itself() -> None:
    """A way that is slow after others, quick in a row; a long one runs once a round."""
    now, last, runs = [0.0], [""], {"short": 0, "long": 0}

    def way(name: str, cold_s: float, warm_s: float) -> Callable[[], None]:
        def run() -> None:
            now[0] += warm_s if last[0] == name else cold_s
            last[0], runs[name] = name, runs[name] + 1

        return run

    found = compare(
        {"short": way("short", 4e-3, 1e-3), "long": way("long", 0.2, 0.1)},
        warmup=0, rounds=5, clock=lambda: now[0],
    )  # fmt: skip
    np.testing.assert_allclose(found.times_s["short"], 1e-3, rtol=1e-6)
    # Once it begins after itself, and has not run for 2 ms after one run.
    assert runs == {"short": 11, "long": 5}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_nobody_follows_the_same_way_always(count: int) -> None:
    """Over twice as many rounds as ways, each follows both neighbours about equally often."""
    ran = [way for turn in range(2 * count) for way in in_turn(range(count), turn)]
    for turn in range(2 * count):
        assert sorted(ran[turn * count : (turn + 1) * count]) == list(range(count))
    after = Counter(pairwise(ran))
    for way in range(count):
        before, behind = (way - 1) % count, (way + 1) % count
        assert abs(after[before, way] - after[behind, way]) <= 1
        assert after[way, way] == after[0, 0]
