"""Rounds of made-up ways, and percentiles by their definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import CancelledError
from orrery.progress import SILENT, Progress, Step
from orrery.studies.duet import in_rounds, percentiles, timed
from orrery.studies.duet._rounds import SHARES


def test_every_way_runs_once_a_round_in_turn() -> None:
    ran: list[str] = []

    def way(name: str, seconds: float) -> float:
        ran.append(name)
        return seconds

    found = in_rounds(
        {"a": lambda: way("a", 1.0), "b": lambda: way("b", 3.0)}, rounds=4, most_s=60, warmup=1,
        progress=SILENT, task="trying",
    )  # fmt: skip
    assert "".join(ran) == "ab" + "ab" + "ba" + "ba" + "ab"
    assert found.times_s == {"a": (1.0,) * 4, "b": (3.0,) * 4}
    assert found.speedup("a", "b")[0] == 3.0


def test_a_short_way_is_timed_the_second_time() -> None:
    waking = iter([0.001] + [0.004, 0.001] * 5)
    found = in_rounds(
        {"short": lambda: next(waking), "long": lambda: 0.01}, rounds=5, most_s=60, warmup=1,
        progress=SILENT, task="trying",
    )  # fmt: skip
    assert found.times_s == {"short": (0.001,) * 5, "long": (0.01,) * 5}
    assert next(waking, None) is None


def test_seconds_end_the_rounds_but_not_before_the_least() -> None:
    found = in_rounds({"a": lambda: 1.0}, rounds=1000, most_s=0, least=7, warmup=0, progress=SILENT,
                      task="trying")  # fmt: skip
    assert found.rounds == 7


def test_rounds_can_be_stopped() -> None:
    steps: list[Step] = []
    progress = Progress(report=steps.append, cancelled=lambda: len(steps) >= 3)
    with pytest.raises(CancelledError):
        in_rounds({"a": lambda: 1.0}, rounds=100, most_s=60, progress=progress, task="trying")
    assert steps[0].task == "trying"


def test_a_timed_way_takes_as_long_as_it_takes() -> None:
    assert timed(lambda: math.factorial(20_000))() > timed(lambda: None)() >= 0


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=300))
def test_percentiles_keep_their_share_and_no_less_would(times: list[float]) -> None:
    for share, found in zip(SHARES, percentiles(times), strict=True):
        if found is None:
            assert len(times) * (1 - share) < 1
            continue
        within = sum(t <= found for t in times)
        assert within >= share * len(times) - 1e-6
        below = sum(t < found for t in times)
        assert below < share * len(times) + 1e-6


@pytest.mark.parametrize(("count", "known"), [(1, 0), (2, 1), (10, 2), (99, 2), (100, 3),
                                              (999, 3), (1000, 4)])  # fmt: skip
def test_a_percentile_needs_a_run_beyond(count: int, known: int) -> None:
    found = percentiles([float(k) for k in range(1, count + 1)])
    assert sum(p is not None for p in found) == known
    if count == 1000:
        assert found == (500.0, 900.0, 990.0, 999.0)
