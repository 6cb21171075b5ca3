"""Intervals hold what all positions take, also where most positions are unlike the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel._products import matrices, require_layer
from orrery.accel.bitlet import BitletArray, Engine, count_layer, number_format, run_network
from orrery.accel.bitlet._cycles import BROADCASTS, _Counter
from orrery.accel.bitlet.sampling import Draws, Path
from orrery.graph import ArrayConstant, Region
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


def odd_rows(odd: int) -> tuple[Region, dict[str, np.ndarray]]:
    """Every row leaves something of 32 weights: one bit each, and of a few rows 17 to 24."""
    draw = np.random.default_rng(0)
    weights = np.ones((64, 8), np.float32)
    weights[32:] = np.nextafter(np.float32(2), np.float32(0))  # 24 ones
    shift = np.float32(2.0) ** -(np.arange(32) % 8)
    rows = np.full((3000, 64), 2.0**-40, np.float32)
    rows[:, :32] = shift
    rare = draw.choice(3000, odd, replace=False)
    rows[rare] = 2.0**-40
    rows[rare[:, None], np.arange(32, 64)] = shift
    region = product_region("MatMul", (3000, 64), (64, 8))
    return with_weights(region, weights), {"a": rows}


def with_weights(region: Region, weights: np.ndarray) -> Region:
    graph = region.graph
    [name] = graph.constants
    return replace(graph, constants={name: ArrayConstant(weights)}).regions()[0]


@pytest.mark.parametrize(("odd", "error"), [(6, 0.02), (25, 0.03), (45, 0.05)])
def test_a_few_rows_that_take_four_times_the_others_are_reckoned_with(
    odd: int, error: float
) -> None:
    region, inputs = odd_rows(odd)
    array = design()
    exact = count_layer(region, inputs, array)
    missed = 0
    for seed in range(20):
        found = count_layer(region, inputs, array, exact_macs=0, seed=seed, error=error)
        assert found.sampled < found.positions
        assert found.relative_error <= error
        missed += abs(found.array_cycles - exact.array_cycles) > found.half_width
    assert missed <= 2


FORMATS = st.sampled_from(["fp32", "fp16", "bf16"])
MODES = st.sampled_from(["correct", "faithful"])
DIGITS = st.sampled_from(["plain", "signed", "split"])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), precision=FORMATS, mode=MODES, digits=DIGITS)
def test_no_position_takes_less_or_more_than_its_bounds(
    data: st.DataObject, precision: str, mode: Any, digits: Any
) -> None:
    group, window = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    terms, batches = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 3))
    filters, elements = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 7))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    broadcast = data.draw(st.sampled_from(BROADCASTS))

    def numbers(*shape: int) -> np.ndarray:
        found = draw.standard_normal(shape) * 2.0 ** draw.integers(-9, 5, shape)
        kind = draw.random(shape)
        found = np.where(kind < 0.2, np.where(kind < 0.1, 1.0, 0.0), found)
        return found.astype(np.float32)

    region = product_region("MatMul", (batches, 12, terms), (batches, terms, filters))
    region = with_weights(region, numbers(batches, terms, filters))
    rows = numbers(batches, 12, terms)
    rows[:, :3] = 0
    engine = Engine(format=number_format(precision), mode=mode, group=group, digits=digits,
                    enabled=data.draw(st.sampled_from([-1, 0b101])))  # fmt: skip
    array = BitletArray(engine=engine, window=window, elements=elements, broadcast=broadcast)
    layer = require_layer(region)
    given_ = matrices(region, {"a": rows}, layer)
    count = _Counter(layer, given_, array, -(-batches * filters // elements), engine.format)
    outline = count.outline()
    each, steps = count(np.arange(12))
    assert (each >= outline.least_row).all()
    assert (steps >= outline.least).all()
    least, taken = outline.least, steps
    if broadcast == "buffered":
        taken = np.maximum.reduceat(each, np.arange(0, each.shape[1], elements), axis=1)
        least = np.full(taken.shape[1], outline.least_row)
    above = taken - least
    assert (above.sum(1) <= outline.width).all()
    assert (above.max(1) <= outline.one * np.maximum(outline.width, 1) + 1e-9).all()
    assert outline.alike[:3].all()
    assert (each[outline.alike] == each[:1]).all()


def drawn(
    surplus: np.ndarray, width: np.ndarray, ends: list[int], draw: np.random.Generator
) -> Path:
    """Draws from a population as the sample makes them, in two kinds of positions."""
    order = np.argsort(draw.standard_exponential(len(width)) / width)
    width, surplus = width[order], surplus[order]
    bins = np.arange(len(width)) % 2
    apart = np.where(bins[:, None] == np.arange(2), width[:, None], 0.0)
    open_ = np.cumsum(apart[::-1], axis=0)[::-1]
    n = ends[-1]
    return Draws(width=width[:n], bins=bins[:n], ends=ends, open_=open_[:n]).path(surplus[:n])


@pytest.mark.parametrize("ends", [[40], [20, 60, 150], [50, 300], [50, 780]])
@pytest.mark.parametrize("odd", [0, 3, 12, 40])
def test_an_interval_misses_at_most_one_sum_in_twenty(ends: list[int], odd: int) -> None:
    """Most take a fifth of their width, some all of it; whenever one stops."""
    population = np.random.default_rng(odd)
    width = population.uniform(10, 40, 800)
    surplus = width * population.uniform(0.15, 0.25, 800)
    surplus[:odd] = width[:odd]
    missed = 0
    for seed in range(200):
        path = drawn(surplus, width, ends, np.random.default_rng(seed))
        missed += abs(path.estimate - surplus.sum()) > path.half()
    assert missed <= 15  # of 200 at one in twenty: 10 expected, 16 in fewer than one of thirty


def test_an_estimate_is_right_in_the_mean_and_exact_at_the_end() -> None:
    population = np.random.default_rng(5)
    width = population.uniform(1, 40, 400)
    surplus = width * population.random(400) ** 3
    paths = [drawn(surplus, width, [30, 100], np.random.default_rng(s)) for s in range(400)]
    found = np.array([path.estimate for path in paths])
    assert abs(found.mean() - surplus.sum()) < 4 * found.std() / 20
    whole = drawn(surplus, width, [30, 400], np.random.default_rng(0))
    assert whole.half() == 0
    assert whole.estimate == pytest.approx(surplus.sum())


def test_a_sum_is_called_surely_below_what_the_interval_leaves_out() -> None:
    population = np.random.default_rng(6)
    width = population.uniform(10, 40, 800)
    surplus = width * population.uniform(0.15, 0.25, 800)
    path = drawn(surplus, width, [50, 300], np.random.default_rng(0))
    assert path.below(path.estimate + path.half() * 1.01)
    assert not path.below(path.estimate)
    assert not path.below(path.estimate * 0.9)
    assert path.below(width.sum())
