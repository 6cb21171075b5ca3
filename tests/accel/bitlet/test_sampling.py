"""Intervals hold what all positions take, also where most positions are unlike the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.accel.bitlet import BitletArray, Engine, count_layer, number_format, run_network
from orrery.accel.bitlet.sampling import STRATA, cut, student
from orrery.graph import Region
from tests.conformance.kit import conv_region

from .test_function import product_region


def design(broadcast: Any = "lockstep", mode: Any = "correct") -> BitletArray:
    return BitletArray(engine=Engine(format=number_format("fp32"), mode=mode), elements=4,
                       broadcast=broadcast)  # fmt: skip


def object_in_nothing() -> tuple[Region, dict[str, np.ndarray]]:
    """An object of 10 x 10 before a background of zeros, 60 x 60."""
    draw = np.random.default_rng(11)
    region = conv_region(
        channels=16, filters=8, height=60, width=60, kernel=(1, 1), pads=(0, 0, 0, 0)
    )
    image = np.zeros((1, 16, 60, 60), np.float32)
    image[:, :, 20:30, 30:40] = np.abs(draw.standard_normal((1, 16, 10, 10)))
    return region, {"x": image}


def hot_rows() -> tuple[Region, dict[str, np.ndarray]]:
    """Eight rows of 2000 are full, the others have three numbers each."""
    draw = np.random.default_rng(12)
    region = product_region("MatMul", (2000, 64), (64, 8))
    rows = np.zeros((2000, 64), np.float32)
    rows[:, :3] = draw.standard_normal((2000, 3))
    rows[draw.choice(2000, 8, replace=False)] = draw.standard_normal((8, 64))
    return region, {"a": rows}


def heavy_tails() -> tuple[Region, dict[str, np.ndarray]]:
    """Every row has a spread of exponents of its own."""
    draw = np.random.default_rng(13)
    region = product_region("MatMul", (1500, 64), (64, 8))
    width = np.abs(draw.standard_cauchy((1500, 1))).clip(0, 20)
    rows = draw.standard_normal((1500, 64)) * np.exp(width * draw.standard_normal((1500, 64)))
    return region, {"a": rows.clip(-1e30, 1e30).astype(np.float32)}


@pytest.mark.parametrize("make", [object_in_nothing, hot_rows, heavy_tails])
@pytest.mark.parametrize("broadcast", ["lockstep", "buffered"])
def test_intervals_hold_the_truth_nine_times_of_ten(make: Any, broadcast: Any) -> None:
    region, inputs = make()
    array = design(broadcast)
    exact = count_layer(region, inputs, array)
    covered = 0
    for seed in range(20):
        found = count_layer(region, inputs, array, exact_macs=0, seed=seed)
        covered += abs(found.array_cycles - exact.array_cycles) <= found.half_width + 1e-6
        assert found.relative_error <= 0.01
        assert found.half_width > 0 or found.sampled == found.positions
        assert found.array_cycles == pytest.approx(exact.array_cycles, rel=0.02)
        assert found.element_cycles == pytest.approx(exact.element_cycles, rel=0.02)
    assert covered >= 18


@pytest.mark.parametrize("mode", ["correct", "faithful"])
def test_positions_of_nothing_but_zeros_are_counted_once_and_known(mode: Any) -> None:
    region, inputs = object_in_nothing()
    inputs["x"][:, :, 25:] = 0
    exact = count_layer(region, inputs, design(mode=mode))
    found = count_layer(region, inputs, design(mode=mode), exact_macs=0, error=1e-9)
    assert (found.sampled, found.half_width) == (3600, 0)
    assert found.array_cycles == pytest.approx(exact.array_cycles, rel=1e-12)
    zeros = count_layer(region, {"x": 0 * inputs["x"]}, design(mode=mode), exact_macs=0)
    assert (zeros.sampled, zeros.half_width) == (3600, 0)


def test_a_summary_says_exactly_only_of_what_was_counted() -> None:
    region, inputs = heavy_tails()
    sampled = run_network(region.graph, inputs, design(), bits=False, exact_macs=0)
    assert "±" in sampled.summary
    assert "exactly" not in sampled.summary
    assert "exactly" in run_network(region.graph, inputs, design(), bits=False).summary
    # Bound by the arrival of activations, so the interval has no width; still not all was counted.
    depthwise = conv_region(channels=8, filters=8, groups=8, height=24, width=24)
    inputs = {"x": np.random.default_rng(0).standard_normal((1, 8, 24, 24)).astype(np.float32)}
    array = BitletArray(engine=Engine(format=number_format("fp32")), broadcast="buffered",
                        elements=8, distil=True)  # fmt: skip
    bound = run_network(depthwise.graph, inputs, array, bits=False, exact_macs=0)
    assert (bound.half_width > 0) or "exactly" not in bound.summary


def test_equal_draws_are_no_proof_of_a_constant() -> None:
    """All rows look alike to what is known beforehand; the filters tell some of them apart."""
    region = product_region("MatMul", (1000, 64), (64, 8))
    inputs = {"a": np.ones((1000, 64), np.float32)}
    found = count_layer(region, inputs, design(), exact_macs=0)
    assert found.sampled < found.positions
    assert 0 < found.relative_error <= 0.01


def test_a_few_positions_unlike_the_rest_get_strata_of_their_own() -> None:
    known = np.concatenate([np.full(5000, 3), np.arange(100, 120)])
    strata = cut(known, np.zeros(5020, bool), np.random.default_rng(0))
    assert sorted(np.concatenate([s.places for s in strata])) == list(range(5020))
    assert sum(len(s.places) for s in strata if s.places.max() >= 5000) == 20
    assert len(strata) <= STRATA + 1


def test_students_quantiles_are_those_of_the_tables() -> None:
    for freedom, value in ((4, 2.7764), (8, 2.3060), (16, 2.1199), (30, 2.0423), (120, 1.9799)):
        assert student(freedom) == pytest.approx(value, rel=3e-3)
