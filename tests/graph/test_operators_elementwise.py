"""Element-wise operators against NumPy, Python's integers and `math`."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType
from orrery.graph.operators._elementwise import erf

from .operator_kit import apply, count, infer

SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)
SMALL = {"int8": st.integers(-128, 127), "uint8": st.integers(0, 255)}


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(["Add", "Mul", "Greater", "Max", "Pow"]))
def test_broadcasting_is_numpys(shapes, op):
    a, b = (np.ones(s, np.float32) for s in shapes.input_shapes)
    assert apply(op, a, b).shape == shapes.result_shape


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 3]), max_size=4),
    st.lists(st.sampled_from([1, 2, 3]), max_size=4),
)
def test_shapes_that_do_not_broadcast_are_refused(first, second):
    types = [TensorType(dtype="float32", shape=tuple(s)) for s in (first, second)]
    try:
        wanted = np.broadcast_shapes(tuple(first), tuple(second))
    except ValueError:
        with pytest.raises(ModelError, match="shapes that broadcast"):
            infer("Add", *types)
    else:
        assert infer("Add", *types)[0].shape == wanted


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (("n", 3), ("n", 1), ("n", 3)),
        (("n", 3), (3,), ("n", 3)),
        (("n",), (1,), ("n",)),
        (("n",), (4,), (4,)),
        (("b", "s"), ("s",), ("b", "s")),
        (("n",), ("m",), ("m|n",)),
        (("m",), ("n",), ("m|n",)),
        ((), ("n",), ("n",)),
    ],
)
def test_named_dimensions_broadcast(first, second, result):
    types = [TensorType(dtype="float32", shape=s) for s in (first, second)]
    assert infer("Add", *types)[0].shape == result


def test_names_of_unsure_sizes_stay_short():
    shape = ("n0",)
    for i in range(1, 200):
        types = [TensorType(dtype="float32", shape=s) for s in (shape, (f"n{i}",))]
        shape = infer("Add", *types)[0].shape
        assert len(shape[0]) <= 100
    again = TensorType(dtype="float32", shape=("a|b",))
    assert infer("Add", again, TensorType(dtype="float32", shape=("b",)))[0].shape == ("a|b",)


def test_element_types_that_differ_are_refused():
    with pytest.raises(ModelError, match=r"float32 and float64.*one element type"):
        infer("Add", TensorType(dtype="float32", shape=()), TensorType(dtype="float64", shape=()))


def test_erf_is_the_standard_librarys():
    x = np.concatenate([np.linspace(-7, 7, 4001), np.logspace(-300, 0, 61), [np.inf, -np.inf]])
    want = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), want, rtol=2e-15, atol=0)
    assert np.isnan(erf(np.array(np.nan)))
    narrow = x[np.abs(x) > 1e-37].astype(np.float32)
    want = np.array([math.erf(v) for v in narrow.astype(np.float64)])
    np.testing.assert_allclose(erf(narrow), want, rtol=1e-8, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.data())
def test_integer_division_and_remainder_are_cs_and_pythons(dtype, data):
    a = data.draw(SMALL[dtype])
    b = data.draw(SMALL[dtype].filter(bool))
    x, y = np.array(a, dtype), np.array(b, dtype)
    exact = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    assert apply("Div", x, y) == np.array(exact).astype(dtype)  # -128 / -1 wraps
    assert apply("Mod", x, y) == a % b
    assert apply("Mod", x, y, fmod=1) == math.fmod(a, b)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.sampled_from(["LEFT", "RIGHT"]), st.data())
def test_shifts_are_pythons_modulo_the_width(dtype, direction, data):
    x = data.draw(SMALL[dtype])
    by = data.draw(st.integers(-3 if dtype == "int8" else 0, 12))
    outside = not 0 <= by < 8
    if direction == "LEFT":
        want = 0 if outside else x << by
    else:
        want = (-1 if x < 0 else 0) if outside else x >> by
    got = apply("BitShift", np.array(x, dtype), np.array(by, dtype), direction=direction)
    assert got == np.array(want, np.int64).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(st.integers(-9, 9), st.integers(-4, 25))
def test_integer_powers_wrap_and_negative_ones_truncate(x, y):
    if y >= 0:
        want = x**y
    else:
        want = int(1 / x**-y) if x else None
    if want is not None:
        wrapped = (want + 2**31) % 2**32 - 2**31
        assert apply("Pow", np.array(x, np.int32), np.array(y, np.int32)) == wrapped


def test_a_power_has_the_type_of_its_base():
    assert apply("Pow", np.array([2, 3], np.int64), np.array([2.5, 2], np.float32)).tolist() == [
        5,
        9,
    ]
    got = apply("Pow", np.array([2, 4], np.float32), np.array([3, -1], np.int64))
    assert got.dtype == np.float32 and got.tolist() == [8.0, 0.25]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_are_rounded_once(dtype):
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(500).astype(dtype) for _ in range(3)]
    wide = [x.astype(np.float32) for x in xs]
    np.testing.assert_array_equal(apply("Sum", *xs), (wide[0] + wide[1] + wide[2]).astype(dtype))
    np.testing.assert_array_equal(apply("Tanh", xs[0]), np.tanh(wide[0]).astype(dtype))


def test_clip_takes_the_upper_bound_when_bounds_cross():
    x = np.array([-1.0, 0.0, 5.0], np.float32)
    assert apply("Clip", x, np.float32(3), np.float32(2)).tolist() == [2, 2, 2]
    assert apply("Clip", x, None, np.float32(2)).tolist() == [-1, 0, 2]
    assert apply("Clip", x).tolist() == x.tolist()


def test_round_is_half_even_and_text_compares():
    assert apply("Round", np.array([0.5, 1.5, 2.5, -2.5])).tolist() == [0, 2, 2, -2]
    words = np.array(["a", "b"], object)
    assert apply("Equal", words, np.array(["a", "c"], object)).tolist() == [True, False]


def test_counts_are_one_an_output_element_and_one_a_further_input():
    a, b = np.ones((4, 1, 3), np.float32), np.ones((5, 1), np.float32)
    assert count("Add", a, b) == Operations(others=60)
    assert count("Sum", a, b, a) == Operations(others=120)
    assert count("Mean", a, b, a) == Operations(others=180)
    assert count("Identity", a) == Operations()
    assert count("Clip", a, np.float32(0)) == Operations(others=12)
