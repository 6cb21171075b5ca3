"""The most urgent first finds a window that is too full exactly when there is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orrery.certify._links import Job, overfull


def fullest(jobs: list[Job]) -> float:
    """Look at every window from a release to an end; return the most work beyond its length."""
    windows = [(a, b) for a, _, _ in jobs for _, b, _ in jobs if a < b]
    return max((sum(w for r, e, w in jobs if a <= r and e <= b) - (b - a) for a, b in windows),
               default=0.0)  # fmt: skip


job = st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(1, 12)).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1], float(drawn[2]))
)


@given(st.lists(job, min_size=1, max_size=12))
def test_all_windows_one_by_one_agree(jobs: list[Job]) -> None:
    found = overfull(jobs)
    assert (found is not None) == (fullest(jobs) > 0)
    if found is not None:
        begin, end, excess = found
        inside = sum(w for r, e, w in jobs if begin <= r and e <= end)
        assert inside - (end - begin) == excess > 0


def test_late_instants_keep_picoseconds() -> None:
    base = 2**61
    assert overfull([(base, base + 10, 10.0)]) is None
    assert overfull([(base, base + 10, 11.0)]) == (base, base + 10, 1.0)
