"""Generators: constants, ranges, windows, and the moments of random numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError
from orrery.graph import TensorType

from .operator_kit import apply, infer


def test_constants_of_every_kind():
    assert apply("Constant", value_float=1.5).dtype == np.float32
    assert apply("Constant", value_ints=(1, 2)).tolist() == [1, 2]
    assert apply("Constant", value_string="a").item() == "a"
    assert apply("Constant", value_strings=("a", "b")).tolist() == ["a", "b"]
    assert apply("Constant", value=np.ones((2, 1), np.int8)).dtype == np.int8
    with pytest.raises(ModelError, match="exactly one value"):
        infer("Constant", value_int=1, value_float=1.0)
    assert apply("ConstantOfShape", np.array([2, 0])).shape == (2, 0)
    seven = apply("ConstantOfShape", np.array([2]), value=np.array([7], np.int32))
    assert seven.tolist() == [7, 7] and seven.dtype == np.int32


@settings(max_examples=50, deadline=None)
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_ranges_are_pythons(start, limit, delta):
    got = apply("Range", *(np.array(v, np.int64) for v in (start, limit, delta)))
    assert got.tolist() == list(range(start, limit, delta))
    halves = apply("Range", *(np.array(v / 2, np.float32) for v in (start, limit, delta)))
    assert halves.tolist() == [v / 2 for v in range(start, limit, delta)]


def test_long_narrow_ranges_keep_counting():
    got = apply("Range", *(np.array(v, ml_dtypes.bfloat16) for v in (0, 1000, 1)))
    assert len(got) == 1000 and got[-1] == np.array(999).astype(ml_dtypes.bfloat16)


def test_a_range_of_unknown_length_has_a_name():
    scalar = TensorType(dtype="int64", shape=())
    assert infer("Range", scalar, scalar, scalar)[0].shape == ("node.length",)


@pytest.mark.parametrize(
    ("op", "numpys"), [("HannWindow", np.hanning), ("BlackmanWindow", np.blackman)]
)
def test_windows_are_numpys(op, numpys):
    got = apply(op, np.array(9), periodic=0, output_datatype=11)
    np.testing.assert_allclose(got, numpys(9), atol=1e-12)
    # a periodic window is a symmetric one of one more, its last element dropped
    got = apply(op, np.array(9), output_datatype=11)
    np.testing.assert_allclose(got, numpys(10)[:-1], atol=1e-12)
    assert apply(op, np.array(1), periodic=0).tolist() == [1]


def test_the_hamming_window_has_onnxs_constants():
    got = apply("HammingWindow", np.array(5), periodic=0, output_datatype=11)
    a = 25 / 46
    np.testing.assert_allclose(got, [2 * a - 1, a, 1, a, 2 * a - 1], atol=1e-12)


def test_random_numbers_follow_their_distribution_and_seed():
    shape = (200, 100)
    normal = apply("RandomNormal", shape=shape, mean=2.0, scale=3.0, seed=1.0)
    assert normal.dtype == np.float32
    assert abs(normal.mean() - 2) < 0.1 and abs(normal.std() - 3) < 0.1
    again = apply("RandomNormal", shape=shape, mean=2.0, scale=3.0, seed=1.0)
    np.testing.assert_array_equal(normal, again)
    other = apply("RandomNormal", shape=shape, mean=2.0, scale=3.0, seed=2.0)
    assert (normal != other).any()
    uniform = apply("RandomUniform", shape=shape, low=-1.0, high=3.0, dtype=10)
    assert uniform.dtype == np.float16 and uniform.min() >= -1 and uniform.max() <= 3
    assert abs(uniform.astype(np.float64).mean() - 1) < 0.05
    like = apply("RandomNormalLike", np.zeros((3, 2), np.float64))
    assert like.dtype == np.float64 and like.shape == (3, 2)


def test_samples_follow_their_probabilities():
    p = np.array([0.0, 0.25, 1.0])
    drawn = apply("Bernoulli", np.broadcast_to(p, (20000, 3)).copy(), dtype=7)
    assert drawn.dtype == np.int64
    np.testing.assert_allclose(drawn.mean(0), p, atol=0.02)
    logs = np.log(np.array([[1.0, 2.0, 7.0], [5.0, 5.0, 1e-30]]))
    picked = apply("Multinomial", logs, sample_size=20000)
    assert picked.dtype == np.int32 and picked.shape == (2, 20000)
    shares = [np.bincount(row, minlength=3) / 20000 for row in picked]
    np.testing.assert_allclose(shares, [[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], atol=0.02)


def test_an_identity_matrix_with_a_diagonal():
    got = apply("EyeLike", np.zeros((2, 4), np.int32), k=1, dtype=16)
    assert got.dtype == ml_dtypes.bfloat16
    assert got.astype(int).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
