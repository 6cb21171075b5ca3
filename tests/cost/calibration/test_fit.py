"""Judges: truths made up with known constants and noise; a brute-force grid; identities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost.calibration._fit import DELTA, VAGUE, Design, fit
from orrery.cost.calibration._validate import cross_validate, quantile

TRUTH = np.array([2.5, 1.6, 12.0, 5e-6])


def made_up(
    seed: int, networks: int = 6, rows: int = 25, noise: float = 0.15, own: float = 0.0
) -> tuple[Design, np.ndarray, list[str]]:
    """Layers of made-up networks under TRUTH: two limits that overlap, a third, an overhead."""
    random = np.random.default_rng(seed)
    count = networks * rows
    lines = np.zeros((count, 3, 4))
    lines[:, 0, 0] = 10 ** random.uniform(-7, -3, count) * (random.random(count) < 0.6)
    lines[:, 1, 1] = 10 ** random.uniform(-7, -3.5, count)
    lines[:, 2, 2] = 10 ** random.uniform(-7, -4.5, count)
    added = np.zeros((count, 4))
    added[:, 3] = 1.0
    design = Design(
        names=("a", "b", "c", "overhead"), added=added, lines=lines, free=np.ones(4, bool),
        start=np.array([1.0, 1.0, 1.0, 0.0]), guess=np.array([1.0, 1.0, 1.0, 1e-6]),
    )  # fmt: skip
    member = np.repeat(np.arange(networks), rows)
    shift = own * random.standard_normal(networks)[member]
    measured = design.price(TRUTH) * np.exp(noise * random.standard_normal(count) + shift)
    return design, measured, [f"net{i}" for i in member]


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_constants_are_found_again_within_their_errors(seed: int) -> None:
    design, measured, _ = made_up(seed)
    found = fit(design, measured)
    assert found.status == ("fitted",) * 4
    off = np.abs(np.log(found.x / TRUTH))
    assert (off < 5 * found.errors).all()
    assert (off < 0.25).all()


def test_without_noise_constants_are_exact() -> None:
    design, measured, _ = made_up(3, noise=0.0)
    assert fit(design, measured).x == pytest.approx(TRUTH, rel=1e-5)


def test_no_point_of_a_grid_is_better() -> None:
    design, measured, _ = made_up(11, networks=2, rows=20)
    found = fit(design, measured)

    def loss(x: np.ndarray) -> float:
        size = np.abs(np.log(design.price(x) / measured))
        return float(np.where(size < DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).mean())

    assert found.loss == pytest.approx(loss(found.x))
    for a in np.geomspace(0.2, 5, 9):
        for b in np.geomspace(0.2, 5, 9):
            for c in np.geomspace(0.2, 5, 9):
                for d in np.geomspace(0.2, 5, 9):
                    assert loss(found.x * np.array([a, b, c, d])) >= found.loss * (1 - 1e-6)


def test_single_bad_rows_pull_little() -> None:
    design, measured, _ = made_up(5)
    spoiled = measured.copy()
    spoiled[::20] *= 100.0
    before, after = fit(design, measured), fit(design, spoiled)
    assert np.abs(np.log(after.x / before.x)).max() < 0.2


def test_units_of_time_do_not_matter() -> None:
    design, measured, _ = made_up(6)
    factor = np.array([1.0, 1.0, 1.0, 1000.0])
    in_ms = Design(names=design.names, added=design.added, lines=design.lines * 1000.0,
                   start=design.start, guess=design.guess * factor, free=design.free)  # fmt: skip
    there = fit(in_ms, measured * 1000.0)
    assert there.x == pytest.approx(fit(design, measured).x * factor, rel=1e-3)


def test_what_no_row_depends_on_keeps_its_start() -> None:
    design, _, _ = made_up(7)
    lines = design.lines.copy()
    lines[:, 2, 2] *= 1e-6  # far below the others in every row
    quiet = Design(names=design.names, added=design.added, lines=lines, start=design.start,
                   guess=design.guess, free=design.free)  # fmt: skip
    found = fit(quiet, quiet.price(TRUTH))
    assert found.status[2] == "kept"
    assert found.x[2] == 1.0
    assert np.isnan(found.errors[2])
    assert found.x[[0, 1, 3]] == pytest.approx(TRUTH[[0, 1, 3]], rel=1e-3)


def test_of_two_that_only_their_sum_tells_one_is_kept() -> None:
    random = np.random.default_rng(2)
    size = 10 ** random.uniform(-6, -3, 60)
    added = np.stack([size, size], axis=1)  # equal columns
    design = Design(names=("a", "b"), added=added, lines=np.zeros((60, 1, 2)),
                    start=np.ones(2), guess=np.ones(2), free=np.ones(2, bool))  # fmt: skip
    found = fit(design, size * 5.0)
    assert sorted(found.status) == ["fitted", "kept"]
    assert sorted(found.x) == pytest.approx([1.0, 4.0], rel=1e-6)


def test_rows_faster_than_the_start_bound_it() -> None:
    """The second limit never rules, but at its start it would be longer than what was measured."""
    random = np.random.default_rng(4)
    size = 10 ** random.uniform(-6, -3, 80)
    lines = np.zeros((80, 2, 2))
    lines[:, 0, 0], lines[:, 1, 1] = size, 3 * size
    design = Design(names=("a", "b"), added=np.zeros((80, 2)), lines=lines, start=np.ones(2),
                    guess=np.ones(2), free=np.ones(2, bool))  # fmt: skip
    found = fit(design, size * 2.0)
    price = design.price(found.x)
    assert price == pytest.approx(size * 2.0, rel=0.05)
    assert found.x[1] <= 2 / 3 * 1.05


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    design, measured, _ = made_up(seed, networks=3)
    order = np.random.default_rng(seed).permutation(len(measured))
    mixed = Design(names=design.names, added=design.added[order], lines=design.lines[order],
                   start=design.start, guess=design.guess, free=design.free)  # fmt: skip
    assert fit(mixed, measured[order]).x == pytest.approx(fit(design, measured).x, rel=1e-3)


def test_intervals_hold_eighty_percent_of_networks_never_seen() -> None:
    """Truth known: fresh networks of the same kind, none of which any fit or interval saw."""
    inside = counted = 0
    told = []
    for seed in range(3):
        design, measured, names = made_up(seed)
        validation = cross_validate(design, measured, names)
        told.append(validation.coverage)
        found = fit(design, measured)
        fresh, truth, _ = made_up(seed + 1000)
        ratio = truth / fresh.price(found.x)
        low, high = validation.interval
        inside += int(((ratio >= low) & (ratio <= high)).sum())
        counted += len(ratio)
    assert 0.7 <= inside / counted <= 0.9
    assert 0.7 <= float(np.mean(told)) <= 0.9


def test_intervals_widen_where_networks_differ() -> None:
    """Every network is off by a factor of its own: the interval must hold new networks too."""
    inside = counted = 0
    for seed in range(3):
        design, measured, names = made_up(seed, networks=8, rows=12, own=0.2)
        validation = cross_validate(design, measured, names)
        found = fit(design, measured)
        fresh, truth, _ = made_up(seed + 1000, networks=8, rows=12, own=0.2)
        ratio = truth / fresh.price(found.x)
        inside += int(((ratio >= validation.interval[0]) & (ratio <= validation.interval[1])).sum())
        counted += len(ratio)
    assert 0.7 <= inside / counted <= 0.9


def test_higher_confidence_makes_wider_intervals() -> None:
    design, measured, names = made_up(1, networks=4, rows=15)
    ends = [cross_validate(design, measured, names, confidence=c).interval for c in (0.5, 0.8, 0.9)]
    assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in pairwise(ends))


@given(st.lists(st.floats(-5, 5), min_size=20, max_size=60), st.sampled_from([0.5, 0.8, 0.9]))
def test_quantiles_leave_out_no_more_than_told(errors: list[float], confidence: float) -> None:
    low, high = quantile(np.array(errors), np.zeros(len(errors), int), confidence)
    inside = sum(low <= error <= high for error in errors) / len(errors)
    assert inside >= confidence - 1e-9


def test_networks_weigh_the_same_in_quantiles() -> None:
    errors = np.concatenate([np.full(1000, 0.0), np.full(10, 1.0)])
    member = np.array([0] * 1000 + [1] * 10)
    assert quantile(errors, member, 0.8) == (0.0, 1.0)


def test_the_limit_of_what_is_told_is_a_factor_of_about_one_and_a_half() -> None:
    assert np.exp(VAGUE) == pytest.approx(1.5, rel=0.01)
