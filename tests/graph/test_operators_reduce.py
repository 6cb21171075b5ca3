"""Reductions, scans and sorting against NumPy and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType

from .operator_kit import apply, count, infer

EXAMPLES = settings(max_examples=40, deadline=None)
SHAPE = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)
WANT = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **k: np.abs(x).sum(**k),
    "ReduceL2": lambda x, **k: np.sqrt((x**2).sum(**k)),
    "ReduceSumSquare": lambda x, **k: (x**2).sum(**k),
    "ReduceLogSum": lambda x, **k: np.log(np.sum(x, **k)),
    "ReduceLogSumExp": lambda x, **k: np.log(np.exp(x).sum(**k)),
}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(WANT)), SHAPE, st.booleans(), st.data())
def test_reductions_are_numpys(op, shape, keepdims, data):
    x = np.random.default_rng(1).uniform(0.5, 2, shape)
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim))
    signed = [a - x.ndim if data.draw(st.booleans()) else a for a in axes]
    got = apply(op, x, np.array(signed, np.int64), keepdims=int(keepdims))
    over = tuple(axes) if axes else None  # no axes: all of them
    np.testing.assert_allclose(got, WANT[op](x, axis=over, keepdims=keepdims), rtol=1e-12)
    same = apply(op, x, np.array([], np.int64), noop_with_empty_axes=1)
    assert same.shape == x.shape


def test_empty_sets_have_the_neutral_element():
    x = np.zeros((2, 0, 3), np.float32)
    axes = np.array([1], np.int64)
    for op, neutral in {
        "ReduceSum": 0, "ReduceProd": 1, "ReduceMax": -np.inf, "ReduceMin": np.inf,
        "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf, "ReduceL2": 0,
    }.items():  # fmt: skip
        got = apply(op, x, axes, keepdims=0)
        assert got.tolist() == np.full((2, 3), neutral).tolist(), op
    assert apply("ReduceMax", x.astype(np.int8), axes, keepdims=0).tolist() == [[-128] * 3] * 2


def test_log_sum_exp_does_not_overflow():
    x = np.array([1000.0, 1000.0], np.float32)
    got = apply("ReduceLogSumExp", x, keepdims=0)
    np.testing.assert_allclose(got, 1000 + math.log(2), rtol=1e-6)
    assert apply("ReduceLogSumExp", np.array([np.inf, 0.0]), keepdims=0) == np.inf


def test_axes_outside_or_twice_are_refused():
    data = TensorType(dtype="float32", shape=("n", 3))
    axes = TensorType(dtype="int64", shape=(2,))
    for wrong in ([0, 2], [0, -2]):
        with pytest.raises(ModelError):
            infer("ReduceSum", data, axes, values=(None, np.array(wrong)))
    assert infer("ReduceSum", data, values=(None,), keepdims=0)[0].shape == ()
    (kept,) = infer("ReduceSum", data, TensorType(dtype="int64", shape=(1,)),
                    values=(None, np.array([1])))  # fmt: skip
    assert kept.shape == ("n", 1)


@EXAMPLES
@given(SHAPE, st.sampled_from(["ArgMax", "ArgMin"]), st.booleans(), st.booleans(), st.data())
def test_the_first_or_last_of_equals_wins(shape, op, last, keepdims, data):
    x = np.random.default_rng(2).integers(0, 3, shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    got = apply(op, x, axis=axis, keepdims=int(keepdims), select_last_index=int(last))
    best = (x.max if op == "ArgMax" else x.min)(axis=axis, keepdims=True)

    def place(line):
        return np.flatnonzero(line)[-1 if last else 0]

    want = np.apply_along_axis(place, axis, x == best)
    np.testing.assert_array_equal(got, np.expand_dims(want, axis) if keepdims else want)


@EXAMPLES
@given(SHAPE, st.sampled_from(["CumSum", "CumProd"]), st.booleans(), st.booleans(), st.data())
def test_scans_are_sums_of_prefixes(shape, op, exclusive, reverse, data):
    x = np.random.default_rng(3).integers(-3, 4, shape).astype(np.int32)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    got = apply(op, x, np.array(axis), exclusive=int(exclusive), reverse=int(reverse))
    combine = np.sum if op == "CumSum" else np.prod

    def scan(line):
        line = line[::-1] if reverse else line
        parts = [combine(line[: i if exclusive else i + 1]) for i in range(len(line))]
        return np.array(parts[::-1] if reverse else parts)

    np.testing.assert_array_equal(got, np.apply_along_axis(scan, axis, x))


@EXAMPLES
@given(SHAPE, st.booleans(), st.data())
def test_top_k_breaks_ties_by_index(shape, largest, data):
    x = np.random.default_rng(4).integers(0, 4, shape).astype(np.float32)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(0, x.shape[axis]))
    values, indices = apply(
        "TopK", x, np.array([k], np.int64), outputs=2, axis=axis, largest=int(largest)
    )
    sign = -1 if largest else 1

    def best(line):
        order = sorted(range(len(line)), key=lambda i: (sign * line[i], i))
        return np.array(order[:k], np.int64)

    np.testing.assert_array_equal(indices, np.apply_along_axis(best, axis, x))
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, axis))


def test_top_k_refuses_more_than_there_are():
    with pytest.raises(ModelError, match=r"k = 4.*at most 3"):
        infer("TopK", TensorType(dtype="float32", shape=(3,)),
              TensorType(dtype="int64", shape=(1,)), values=(None, np.array([4])))  # fmt: skip


@EXAMPLES
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.booleans())
def test_unique_in_either_order(numbers, ordered):
    x = np.array(numbers, np.int64)
    values, first, inverse, counts = apply("Unique", x, outputs=4, sorted=int(ordered))
    seen = list(dict.fromkeys(numbers))
    want = sorted(seen) if ordered else seen
    assert values.tolist() == want
    assert first.tolist() == [numbers.index(v) for v in want]
    assert counts.tolist() == [numbers.count(v) for v in want]
    np.testing.assert_array_equal(values[inverse], x)


def test_unique_slices_along_an_axis():
    x = np.array([[2, 0, 2], [3, 1, 3]], np.float32)
    values, first, inverse, counts = apply("Unique", x, outputs=4, axis=1, sorted=0)
    assert values.tolist() == [[2, 0], [3, 1]]
    assert (first.tolist(), inverse.tolist(), counts.tolist()) == ([0, 1], [0, 1, 0], [2, 1])


def test_counts_are_by_input_element():
    x = np.ones((4, 5, 6), np.float32)
    axes = np.array([1], np.int64)
    assert count("ReduceSum", x, axes) == Operations(others=120)
    assert count("ReduceL2", x, axes) == Operations(others=240)
    assert count("ArgMax", x) == Operations(others=120)
    # a heap of k = 3 is two levels deep
    assert count("TopK", x, np.array([3]), outputs=2) == Operations(others=240)
