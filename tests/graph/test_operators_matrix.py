"""Products against NumPy; counts against loops and closed forms."""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType

from .operator_kit import apply, count, infer

EXAMPLES = settings(max_examples=40, deadline=None)
RNG = np.random.default_rng(0)


@EXAMPLES
@given(
    hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=4)
)
def test_matmul_is_numpys(shapes):
    a, b = (RNG.standard_normal(s) for s in shapes.input_shapes)
    got = apply("MatMul", a, b)
    assert got.shape == shapes.result_shape
    np.testing.assert_allclose(got, a @ b, rtol=1e-12, atol=1e-12)
    assert count("MatMul", a, b) == Operations(macs=got.size * a.shape[-1])


def test_matmul_with_names():
    a = TensorType(dtype="float32", shape=("b", "heads", "s", 64))
    b = TensorType(dtype="float32", shape=("b", "heads", 64, "t"))
    assert infer("MatMul", a, b)[0].shape == ("b", "heads", "s", "t")
    with pytest.raises(ModelError, match="64 and 32"):
        infer("MatMul", a, TensorType(dtype="float32", shape=(32, 8)))
    with pytest.raises(ModelError, match="scalar"):
        infer("MatMul", a, TensorType(dtype="float32", shape=()))


def test_integer_products_wrap_and_narrow_floats_accumulate_in_float32():
    big = np.array([[2**31 - 1, 2]], np.int32)
    assert apply("MatMul", big, big.T).item() == ((2**31 - 1) ** 2 + 4 + 2**31) % 2**32 - 2**31
    a = RNG.standard_normal((3, 400)).astype(ml_dtypes.bfloat16)
    want = (a.astype(np.float32) @ a.astype(np.float32).T).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(apply("MatMul", a, a.T), want)


@EXAMPLES
@given(st.booleans(), st.booleans(), st.sampled_from([None, (), (4,), (3, 1), (1, 4), (3, 4)]),
       st.sampled_from([1.0, 0.5]), st.sampled_from([1.0, 2.0, 0.0]))  # fmt: skip
def test_gemm(trans_a, trans_b, c_shape, alpha, beta):
    a, b = RNG.standard_normal((3, 5)), RNG.standard_normal((5, 4))
    c = None if c_shape is None else RNG.standard_normal(c_shape)
    inputs = [
        a.T.copy() if trans_a else a,
        b.T.copy() if trans_b else b,
        *([] if c is None else [c]),
    ]
    attributes = {"transA": int(trans_a), "transB": int(trans_b), "alpha": alpha, "beta": beta}
    want = alpha * (a @ b) + (0 if c is None else beta * c)
    np.testing.assert_allclose(apply("Gemm", *inputs, **attributes), want, rtol=1e-12, atol=1e-12)
    others = 12 * (alpha != 1) + (0 if c is None else 12 + c.size * (beta != 1))
    assert count("Gemm", *inputs, **attributes) == Operations(macs=60, others=others)


EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("bhsd,bhtd->bhst", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("...ij,...jk->...ik", [(2, 3, 4), (5, 1, 4, 2)]),
    ("...ij,jk", [(2, 3, 4), (4, 2)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("i,j->ij", [(3,), (4,)]),
    ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
    ("Ab , bA -> b", [(2, 3), (3, 2)]),
    ("...->...", [(2, 3)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation, shapes):
    tensors = [RNG.standard_normal(s) for s in shapes]
    want = np.einsum(equation, *tensors)
    np.testing.assert_allclose(apply("Einsum", *tensors, equation=equation), want, rtol=1e-12)


@pytest.mark.parametrize(
    ("equation", "shapes", "wanted"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], Operations(macs=24)),
        ("i,j->ij", [(3,), (4,)], Operations(others=12)),
        ("ij->i", [(3, 4)], Operations(others=12)),
        ("ij->ji", [(3, 4)], Operations()),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], Operations(macs=120, others=120)),
        ("...ij,...jk->...ik", [(2, 3, 4), (5, 1, 4, 2)], Operations(macs=2 * 5 * 3 * 4 * 2)),
    ],
)
def test_einsum_counts_the_definition(equation, shapes, wanted):
    assert count("Einsum", *[np.ones(s) for s in shapes], equation=equation) == wanted


def test_einsum_with_names_and_mistakes():
    q = TensorType(dtype="float32", shape=("b", "s", 8, 64))
    (found,) = infer("Einsum", q, q, equation="bshd,bthd->bhst")
    assert found.shape == ("b", 8, "s", "s")
    for wrong in ("ab,cd->ac", "bshd->b", "bshd,bthd->bx"):
        with pytest.raises(ModelError):
            infer("Einsum", q, q, equation=wrong)


def _determinant(m):
    """Leibniz' formula."""
    n = len(m)
    total = 0.0
    for order in itertools.permutations(range(n)):
        swaps = sum(order[i] > order[j] for i in range(n) for j in range(i + 1, n))
        total += (-1) ** swaps * math.prod(m[i][j] for i, j in enumerate(order))
    return total


def test_determinants_and_their_count():
    x = RNG.standard_normal((2, 4, 4))
    np.testing.assert_allclose(apply("Det", x), [_determinant(m) for m in x], rtol=1e-10)
    macs = sum((4 - k - 1) ** 2 for k in range(4))  # elimination, step by step
    divisions = sum(4 - k - 1 for k in range(4))
    assert count("Det", x) == Operations(macs=2 * macs, others=2 * (divisions + 3))


@EXAMPLES
@given(st.booleans(), st.booleans(), st.integers(0, 99))
def test_integer_products_are_exact(per_row, per_column, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (3, 40)).astype(np.uint8)
    b = rng.integers(-128, 128, (40, 4)).astype(np.int8)
    za = rng.integers(0, 256, 3 if per_row else 1).astype(np.uint8)
    zb = rng.integers(-128, 128, 4 if per_column else 1).astype(np.int8)
    want = (a.astype(int) - za.astype(int)[:, None]) @ (b.astype(int) - zb.astype(int))
    got = apply("MatMulInteger", a, b, za if per_row else za[0], zb if per_column else zb[0])
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.int32


def test_a_quantised_product_is_near_the_real_one():
    x, w = RNG.uniform(-1, 1, (4, 16)), RNG.uniform(-1, 1, (16, 5))
    sx, sw, sy = (np.float32(v) for v in (1 / 127, 1 / 127, 8 / 127))
    zero = np.int8(0)
    qx, qw = np.rint(x / sx).astype(np.int8), np.rint(w / sw).astype(np.int8)
    y = apply("QLinearMatMul", qx, sx, zero, qw, sw, zero, sy, zero)
    assert y.dtype == np.int8
    assert np.abs(y * sy - x @ w).max() < sy
