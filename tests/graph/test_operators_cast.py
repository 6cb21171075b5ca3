"""Casts and quantisation: exhaustive small types, loops written from the definition."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType, numpy_dtype
from orrery.graph._types import ELEMENT_CODES as CODES
from orrery.graph.operators._rules import element_type

from .operator_kit import apply, count, infer

FLOAT8 = ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"]


def all_values(dtype):
    return np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype))


@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_8_bit_float_survives_a_round_trip(dtype):
    x = all_values(dtype)
    wide = apply("Cast", x, to=CODES["float32"])
    finite = np.isfinite(wide)
    back = apply("Cast", wide, to=CODES[dtype])
    np.testing.assert_array_equal(back.view(np.uint8)[finite], x.view(np.uint8)[finite])


@pytest.mark.parametrize("dtype", FLOAT8)
def test_saturation_of_8_bit_floats(dtype):
    largest = float(ml_dtypes.finfo(numpy_dtype(dtype)).max)
    x = np.array([1e9, -1e9, np.inf, -np.inf, np.nan, 1.0], np.float32)
    tight = apply("Cast", x, to=CODES[dtype]).astype(np.float32)
    np.testing.assert_array_equal(tight, [largest, -largest, largest, -largest, np.nan, 1])
    loose = apply("Cast", x, to=CODES[dtype], saturate=0).astype(np.float32)
    over = np.inf if dtype == "float8e5m2" else np.nan
    np.testing.assert_array_equal(np.abs(loose), [over, over, over, over, np.nan, 1])


@pytest.mark.parametrize("dtype", FLOAT8)
def test_8_bit_floats_round_to_the_nearest(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(300) * 4).astype(np.float32)
    grid = np.unique(all_values(dtype).astype(np.float32))
    grid = grid[np.isfinite(grid)]
    got = apply("Cast", x, to=CODES[dtype]).astype(np.float32)
    nearest = np.abs(x[:, None] - grid).min(1)
    np.testing.assert_array_equal(np.abs(x - got), nearest)


@pytest.mark.parametrize(
    ("mode", "want"),
    [("up", [1, 2, 2, 2, 4]), ("down", [1, 1, 1, 1, 2]), ("nearest", [1, 1, 2, 2, 4])],
)
def test_powers_of_two_round_as_told(mode, want):
    x = np.array([1.0, 1.25, 1.5, 1.75, 3.0], np.float32)
    got = apply("Cast", x, to=CODES["float8e8m0"], round_mode=mode)
    assert got.astype(np.float32).tolist() == want


def test_powers_of_two_saturate():
    x = np.array([1e-45, 0.0, 3.4e38, np.inf, np.nan], np.float32)
    tight = apply("Cast", x, to=CODES["float8e8m0"]).view(np.uint8)
    assert tight.tolist() == [0, 0, 254, 254, 255]
    loose = apply("Cast", x, to=CODES["float8e8m0"], saturate=0, round_mode="nearest")
    assert loose.view(np.uint8).tolist() == [255] * 5


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(2**40), 2**40),
    st.sampled_from(["int2", "uint2", "int4", "uint4", "int8", "uint16"]),
)
def test_integers_keep_their_low_bits(value, to):
    bits = int(to.lstrip("uint"))
    low = value % 2**bits
    want = low - 2**bits if to[0] == "i" and low >= 2 ** (bits - 1) else low
    assert int(apply("Cast", np.array([value], np.int64), to=CODES[to])[0]) == want


def test_text_and_bool():
    words = np.array(["3.5", "-INF", "nan", "1e2"], object)
    got = apply("Cast", words, to=CODES["float32"])
    np.testing.assert_array_equal(got, np.array([3.5, -np.inf, np.nan, 100], np.float32))
    assert apply("Cast", np.array(["9007199254740993"], object), to=7).tolist() == [2**53 + 1]
    with pytest.raises(ModelError, match="found 'Hello'"):
        apply("Cast", np.array(["Hello"], object), to=1)
    texts = apply("Cast", np.array([0.1, np.inf], np.float32), to=CODES["string"])
    assert texts.tolist() == ["0.1", "INF"]
    assert apply("Cast", np.array([0.0, -0.0, 0.3]), to=CODES["bool"]).tolist() == [0, 0, 1]
    with pytest.raises(ModelError, match="element type: found 99"):
        element_type(99)


def test_bits_are_reinterpreted_there_and_back():
    x = np.random.default_rng(5).standard_normal((2, 3)).astype(np.float32)
    bits = apply("BitCast", x, to=CODES["int32"])
    np.testing.assert_array_equal(bits, x.view(np.int32))
    np.testing.assert_array_equal(apply("BitCast", bits, to=1), x)
    small = np.arange(-8, 8).astype(ml_dtypes.int4)
    assert apply("BitCast", small, to=CODES["uint4"]).astype(int).tolist() == [
        v % 16 for v in range(-8, 8)
    ]
    with pytest.raises(ModelError, match="equal width"):
        infer("BitCast", TensorType(dtype="float32", shape=(2,)), to=CODES["int8"])


# -- quantisation -----------------------------------------------------------------------------


def _parameters(rng, shape, axis, kind, block):
    if kind == "tensor":
        form = ()
    elif kind == "axis":
        form = (shape[axis],)
    else:
        form = tuple(-(-n // block) if i == axis else n for i, n in enumerate(shape))
    return rng.uniform(0.05, 0.5, form).astype(np.float32), rng.integers(-5, 5, form)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["tensor", "axis", "block"]),
    st.integers(0, 2),
    st.sampled_from(["int8", "int4", "int16"]),
    st.integers(0, 99),
)
def test_every_granularity_follows_the_formula(kind, axis, dtype, seed):
    rng = np.random.default_rng(seed)
    shape, block = (3, 5, 4), 2
    x = rng.standard_normal(shape).astype(np.float32) * 8
    scale, zero = _parameters(rng, shape, axis, kind, block)
    zero = zero.astype(numpy_dtype(dtype))
    attributes = {"axis": axis, "block_size": block if kind == "block" else 0}
    q = apply("QuantizeLinear", x, scale, zero, **attributes)
    back = apply("DequantizeLinear", q, scale, zero, **attributes)
    bits = int(dtype[3:])
    for place in np.ndindex(shape):
        at = {
            "tensor": (),
            "axis": (place[axis],),
            "block": tuple(p // block if i == axis else p for i, p in enumerate(place)),
        }[kind]
        s, z = np.float32(scale[at]), int(zero[at])
        want = min(max(int(np.rint(x[place] / s)) + z, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
        assert int(q[place]) == want
        assert back[place] == np.float32(want - z) * s


def test_a_scale_that_fits_nothing_is_refused():
    with pytest.raises(ModelError, match="one element, one per step"):
        apply("QuantizeLinear", np.ones((2, 3), np.float32), np.ones(2, np.float32))


def test_dynamic_quantisation_covers_the_data():
    x = np.random.default_rng(6).standard_normal(1000).astype(np.float32)
    q, scale, zero = apply("DynamicQuantizeLinear", x, outputs=3)
    back = apply("DequantizeLinear", q, scale, zero)
    assert np.abs(back - x).max() <= scale * 1.001
    q, scale, zero = apply("DynamicQuantizeLinear", np.zeros(3, np.float32), outputs=3)
    assert (q.tolist(), float(scale), int(zero)) == ([0, 0, 0], 0.0, 0)


def test_counts():
    x, s, z = np.ones((4, 5), np.float32), np.float32(1), np.int8(0)
    assert count("Cast", x, to=10) == Operations(others=20)
    assert count("QuantizeLinear", x, s) == Operations(others=60)
    assert count("QuantizeLinear", x, s, z) == Operations(others=80)
    assert count("DequantizeLinear", x.astype(np.int8), s, z) == Operations(others=40)
