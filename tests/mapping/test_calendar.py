"""Gaps in a calendar, judged by looking through everything that was ever booked."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orrery.mapping._schedule import _Calendar

# Small whole numbers: sums are exact, and bookings often touch.
ASKED = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=60)


def naive_gap(booked: list[tuple[float, float]], time: float, duration: float) -> float:
    """Wait for the end of whatever is in the way, one booking after the other."""
    if duration == 0:  # between two bookings there is room for what takes no time
        return next((end for begin, end in booked if begin <= time < end), time)
    for begin, end in sorted(booked):
        if begin <= time < end or time <= begin < time + duration:
            time = end
    return time


@given(asked=ASKED)
def test_gaps_are_those_of_all_bookings_one_by_one(asked: list[tuple[int, int]]) -> None:
    calendar = _Calendar()
    booked: list[tuple[float, float]] = []
    for time, duration in asked:
        found = calendar.gap(float(time), float(duration))
        assert found == naive_gap(booked, float(time), float(duration))
        calendar.book(found, float(duration))
        if duration:
            booked.append((found, found + duration))
    # Stretches are apart, and together as long as everything booked.
    stretches = list(zip(calendar.starts, calendar.ends, strict=True))
    assert all(a[1] < b[0] for a, b in pairwise(stretches))
    assert sum(e - s for s, e in stretches) == sum(e - s for s, e in booked)


def test_what_comes_one_after_the_other_is_one_stretch() -> None:
    calendar = _Calendar()
    for _ in range(1000):
        calendar.book(calendar.gap(0.0, 0.25), 0.25)
    assert (calendar.starts, calendar.ends) == ([0.0], [250.0])
