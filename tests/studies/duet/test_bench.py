"""The bench's figures follow from planted cases; a chain of nothing is timed step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from bench.placing import (
    EFFORT,
    chain,
    fork_seconds,
    of_gains,
    of_prediction,
    of_search,
    step_seconds,
)

from orrery.studies.duet import Case

from .cases import block, case, sweep


def gaining(name: str, gain: float, bound_s: float = 0.5) -> Case:
    return case(name=name, blocks=(block(ort=gain, ov=9.0),), bound_s=bound_s)


def test_the_worst_search_is_the_figure() -> None:
    poor = case(name="poor", sweep=sweep(corrected_s=1.067, gap=0.05, interval=(0.04, 0.06)))
    unproved = case(name="large", sweep=sweep(exact_s=None))
    predicted, measured = of_search([case(), poor, unproved])
    assert predicted.value == pytest.approx(10.0)
    assert predicted.met is False
    assert "made-up, poor; exact not proved: large" in predicted.note
    assert (measured.value, measured.met) == (pytest.approx(5.0), False)
    assert "poor 5 (4 to 6, 95 %) over the quickest of 3 of 9" in measured.note
    assert all(figure.met for figure in of_search([case()]))
    assert len(of_search([unproved])) == 1  # nothing proved, nothing claimed
    bounded = case(name="bounded", sweep=sweep(exact_s=None, least_s=0.95))
    assert of_search([bounded])[0].value == pytest.approx(100 * (0.98 / 0.95 - 1))


def test_the_median_error_of_predictions() -> None:
    cases = [case(predicted_s=p) for p in (0.99, 0.7, 1.05)]
    (predicted,) = of_prediction(cases)
    assert (predicted.value, predicted.met) == (pytest.approx(5.0), True)
    assert "made-up -30.0" in predicted.note
    assert [figure.met for figure in of_prediction(cases[1:2])] == [False]


def test_the_second_largest_gain_counts_and_its_bound_is_said() -> None:
    figure, *single = of_gains([gaining("a", 1.2), gaining("b", 1.5), gaining("c", 1.4)])
    assert (figure.value, figure.met) == (pytest.approx(1.4), True)
    assert "the bound allows a 2.40, b 3.00, c 2.80" in figure.note
    assert [f.value for f in single] == [pytest.approx(g) for g in (1.2, 1.5, 1.4)]
    figure, *_ = of_gains([gaining("a", 1.1, 0.9), gaining("b", 1.5, 0.9)])
    assert (figure.value, figure.met) == (pytest.approx(1.1), False)
    assert figure.note.startswith("the bound by times alone forbids it: a 1.22, b 1.67")
    assert EFFORT.torch == "compiled"  # a contender for the best alone, though no worker
    assert "alone best: a cpu0-1 ort, b cpu0-1 ort" in figure.note


def test_a_bound_that_was_undercut_forbids_nothing() -> None:
    figure, first, _ = of_gains([gaining("a", 1.1, 1.1), gaining("b", 1.2, 1.1)])
    assert figure.note.startswith("the bound allows a 1.00 (undercut: no proof)")
    assert "at most 1.00 (undercut: no proof)" in first.note
    told = replace(gaining("a", 1.2), notes=("PyTorch alone is left out: it is not installed",))
    assert "a: PyTorch alone is left out" in of_gains([told])[0].note


def test_what_company_forbids_is_said_apart() -> None:
    crowded = [
        replace(gaining(name, gain), limit_s=0.99) for name, gain in (("a", 1.2), ("b", 1.1))
    ]
    figure, *_ = of_gains(crowded)
    assert figure.note.startswith(
        "the limit with company as measured forbids it: a 2.40, 1.21 in company, b 2.20, 1.11 in "
        "company"
    )


def test_a_chain_is_timed_per_subgraph() -> None:
    assert len(chain(4).nodes) == 4
    for pattern in ((0,), (0, 1)):
        found = step_seconds(pattern, 20, length=4)
        assert len(found) == 20
        assert all(math.isfinite(seconds) for seconds in found)
        assert max(found) > 0  # the executor costs something


def test_forks_are_timed_above_their_longer_branch() -> None:
    found = fork_seconds(10, 2, branches=(2e-3, 1e-3))
    assert len(found) == 10
    assert all(seconds > 0 for seconds in found)  # no branch ends before its time
