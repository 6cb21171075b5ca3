"""Expected times against planted lines, and against every line through the runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.mapping.phases._expect import expected_s

some = st.floats(1e-4, 1.0)


def test_without_runs_nothing_is_corrected() -> None:
    """Of two the ratio may be theirs alone: one that is large would say this is."""
    assert expected_s(0.3, []) is None
    assert expected_s(0.3, [(0.1, 0.2), (0.2, 0.2)]) is None
    assert expected_s(0.3, [(0.1, 0.2), (0.2, 0.4), (0.4, 0.8)]) == pytest.approx(0.6)


@given(st.lists(some, min_size=3, max_size=12, unique=True), some, st.floats(0.5, 2),
       st.floats(0, 0.1))  # fmt: skip
def test_a_planted_line_is_found(
    predicted: list[float], own: float, factor: float, fixed: float
) -> None:
    runs = [(p, fixed + factor * p) for p in predicted]
    found = expected_s(own, runs)
    # Where the predictions hardly differ, a line elsewhere is not known: it stays near them.
    if max(predicted) > 1.1 * min(predicted):
        assert found == pytest.approx(fixed + factor * own, rel=1e-6)
    assert found > 0


def test_a_run_that_is_far_off_hardly_matters() -> None:
    runs = [(p, 1e-4 + 1.2 * p) for p in (0.001, 0.0012, 0.0015, 0.002)]
    assert expected_s(0.0011, [*runs, (0.0013, 0.02)]) == pytest.approx(1e-4 + 1.2 * 0.0011)


def test_noise_of_runs_is_not_that_of_what_is_expected() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(50):
        runs = [(p, (2e-4 + 0.9 * p) * rng.lognormal(0, 0.05)) for p in rng.uniform(1, 2, 12) / 1e3]
        errors.append(abs(expected_s(1.2e-3, runs) / (2e-4 + 0.9 * 1.2e-3) - 1))
    assert np.median(errors) < 0.03


@given(st.lists(st.tuples(some, some), min_size=3, max_size=6), some)
def test_nothing_below_nought_is_expected(runs: list[tuple[float, float]], own: float) -> None:
    found = expected_s(own, runs)
    assert 0 <= found <= max(max(m for _, m in runs), own * max(m / p for p, m in runs)) * 1.000001
