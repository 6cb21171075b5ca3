"""Zeros counted one by one; the chain of the pointer against walks; the published share."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel.bitlet._cycles import BitletArray, count_layer, weight_cycles
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import FLOATS, FixedFormat, to_bits
from orrery.accel.bitlet._statistics import (
    bit_statistics,
    expected_aligned_cycles,
    expected_cycles,
    merge_statistics,
)
from orrery.errors import SpecError
from orrery.graph import read_safetensors

from . import slow
from .test_function import product_region


@given(
    st.sampled_from(tuple(FLOATS)),
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
)
def test_zeros_of_floats_are_counted_bit_by_bit(kind: str, values: list[float]) -> None:
    layout = slow.LAYOUTS[kind]
    words = [int(w) for w in to_bits(np.float32(values), FLOATS[kind])]
    magnitudes = [slow.unpack(w, layout, False)[2] for w in words]
    got = bit_statistics(np.float32(values), kind)
    places = range(layout.fraction, -1, -1)
    assert got.zeros == tuple(sum(1 - (m >> b & 1) for m in magnitudes) for b in places)
    stored = sum(1 - (w >> b & 1) for w in words for b in range(layout.fraction))
    assert got.stored_sparsity == pytest.approx(stored / len(words) / layout.fraction)
    assert got.zero_values == sum(m == 0 for m in magnitudes)
    assert got.small_values == sum(abs(v) < 1e-5 for v in values)


def test_integers_are_counted_as_they_are_and_others_on_their_grid() -> None:
    got = bit_statistics(np.array([[0, -5], [3, 4]]), "fixed3")
    assert got.zeros == (2, 3, 2)  # 000 101 011 100
    assert got.lane_sparsity == got.stored_sparsity == 7 / 12
    # Filters on grids of their own: the largest of each is 3 (bits 011), others rounded.
    values = np.array([[3.0, 1.0], [0.3, -0.1], [0, 0]])
    assert bit_statistics(values, "fixed3", axis=0).zeros == (6, 4, 2)
    assert bit_statistics(values, "fixed3").zeros == (6, 5, 4)


def test_counts_of_tensors_add_up() -> None:
    draw = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    parts = [bit_statistics(p, "fp16") for p in np.split(draw, [30, 31])]
    assert merge_statistics(parts) == bit_statistics(draw, "fp16")


def test_many_values_are_counted_block_by_block() -> None:
    values = np.ones((1 << 20) + 3, np.float32)
    assert bit_statistics(values, "fp32").zeros == (0, *[values.size] * 23)


@pytest.mark.parametrize(
    ("values", "precision", "match"),
    [
        ([], "fp32", "found 'no values'"),
        ([1.0, np.nan], "fp32", "not finite"),
        ([np.inf], "fixed8", "not finite"),
        ([9], "fixed3", "found 9, wanted integers from -7 to 7"),
        ([1.0], "fixed0", "fixed1 to fixed24"),
    ],
)
def test_tensors_that_cannot_be_counted_are_refused(
    values: Any, precision: str, match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        bit_statistics(np.array(values), precision)


def test_statistics_of_different_precisions_do_not_mix() -> None:
    parts = [bit_statistics(np.ones(3), p) for p in ("fp32", "fp16")]
    with pytest.raises(SpecError, match="fp16, fp32"):
        merge_statistics(parts)
    with pytest.raises(SpecError, match="no tensors"):
        merge_statistics([])


# -- expected cycles ------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 10), st.floats(0, 1))
@settings(max_examples=60)
def test_the_chain_is_the_mean_over_all_bit_strings(group: int, window: int, zero: float) -> None:
    mean = 0.0
    for ones in itertools.product((0, 1), repeat=group):
        chance = zero ** (group - sum(ones)) * (1 - zero) ** sum(ones)
        mean += chance * len(slow.window_cycles(ones, group, window))
    assert expected_cycles([zero], group, window) == pytest.approx(mean, abs=1e-9)


def _counted(zeros: list[float], groups: int) -> np.ndarray:
    """Cycles of groups of random bits, lane by lane of the given density."""
    draw = np.random.default_rng(1)
    rows = sum((draw.random((groups, 64)) >= z).astype(np.int32) << b for b, z in enumerate(zeros))
    engine = Engine(format=FixedFormat(bits=len(zeros)))
    return weight_cycles(np.asarray(rows), BitletArray(engine=engine))[:, 0]


@pytest.mark.parametrize("elements", [1, 3])
def test_the_slowest_of_independent_lanes_and_elements(elements: int) -> None:
    zeros = [0.7, 0.5, 0.9, 0.6]
    worst = _counted(zeros, 30_000).reshape(elements, -1).max(0)
    error = 4 * worst.std() / np.sqrt(worst.size)
    got = expected_cycles(zeros, elements=elements)
    assert got == pytest.approx(worst.mean(), abs=error)


def test_bits_that_are_all_zero_or_all_one() -> None:
    assert expected_cycles([1.0] * 8) == 8
    assert expected_cycles([1.0, 0.0]) == 64
    assert expected_cycles([1.0], group=6) == 1


@pytest.mark.parametrize(
    ("lanes", "percent", "cycles"),
    [(8, 70.15, 24.4), (8, 76.85, 20.0), (8, 77.78, 19.0), (8, 66.33, 27.0), (16, 74.31, 23.2),
     (16, 75.0, 22.4), (16, 68.92, 26.7), (16, 70.83, 24.8), (24, 48.0, 41.0)],
)  # fmt: skip
def test_published_sparsities_give_the_fact_sheets_simulated_cycles(
    lanes: int, percent: float, cycles: float
) -> None:
    """The sheet drew random bits; it gives three digits."""
    assert expected_cycles([percent / 100] * lanes) == pytest.approx(cycles, rel=0.025)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(([],), "zero shares"), (([1.5],), "zero shares"), (([np.nan],), "zero shares"),
     (([0.5], 0), "group, window"), (([0.5], 64, 65), "group, window"),
     (([0.5], 64, 8, 0), "elements")],
)  # fmt: skip
def test_chains_that_cannot_be_are_refused(arguments: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        expected_cycles(*arguments)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    ("zeros", "low", "high"), [(0.0, -0.02, 0.02), (0.5, -0.03, 0.03), (0.8, -0.12, 0.03)]
)
def test_aligned_weights_are_foretold_from_counts_of_bits_and_exponents(
    precision: str, zeros: float, low: float, high: float
) -> None:
    draw = np.random.default_rng(3)
    a, b = draw.standard_normal((60, 320)), draw.standard_normal((320, 64))
    inputs = {"a": np.where(draw.random(a.shape) < zeros, 0, a).astype(np.float32),
              "b": b.astype(np.float32)}  # fmt: skip
    region = product_region("MatMul", a.shape, b.shape, constant="")
    engine = Engine(format=FLOATS[precision])
    counted = count_layer(region, inputs, BitletArray(engine=engine))
    weights, values = (bit_statistics(inputs[n], precision) for n in "ba")
    error = expected_aligned_cycles(weights, values) / counted.cycles_per_group - 1
    assert low < error < high
    steps = counted.array_cycles / (60 * 5 * 2)
    assert low < expected_aligned_cycles(weights, values, elements=32) / steps - 1 < high


def test_large_groups_do_not_underflow() -> None:
    weights, values = (bit_statistics(np.float32(v), "fp32") for v in ([1.5, 1.25], [0, 1, 1.5]))
    found = expected_aligned_cycles(weights, values, group=700)
    assert 700 * 2 / 3 * 0.9 < found < 700


def test_alignment_of_equal_exponents_shifts_nothing() -> None:
    weights = np.random.default_rng(4).uniform(1, 2, 1000).astype(np.float32)
    pair = bit_statistics(weights, "fp32"), bit_statistics(np.ones(3, np.float32), "fp32")
    want = expected_cycles([1 - o for o in 1 - np.array(pair[0].shares)])
    assert expected_aligned_cycles(*pair) == pytest.approx(want, rel=1e-9)


def test_activations_that_are_all_zero_need_the_least() -> None:
    pair = [bit_statistics(np.full(3, v, np.float32), "fp32") for v in (1, 0)]
    assert expected_aligned_cycles(*pair) == 8


def test_fixed_point_aligns_nothing() -> None:
    fixed, single = (bit_statistics(np.ones(3, np.float32), p) for p in ("fixed8", "fp32"))
    for pair in ((fixed, fixed), (single, fixed)):
        with pytest.raises(SpecError, match="one floating format"):
            expected_aligned_cycles(*pair)


# -- published ------------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_trained_weights_have_the_published_share_of_zero_bits(shared_data: Path) -> None:
    """48.6 ± 0.1 % of the 24 bits of a magnitude; 23/24 of the share among stored bits."""
    tensors = read_safetensors(shared_data / "cifar10" / "resnet20.safetensors")
    kernels = [c.array() for c in tensors.values() if len(c.type.shape) > 1]
    found = merge_statistics(bit_statistics(k, "fp32", axis=0) for k in kernels)
    assert found.values == 268_336
    assert 100 * found.lane_sparsity == pytest.approx(48.6, abs=0.1)
    assert 100 * found.stored_sparsity == pytest.approx(50.74, abs=0.01)
    assert found.zero_values == 0
    assert found.shares[0] == 0  # the hidden one
    assert all(0.45 < s < 0.6 for s in found.stored_shares)
