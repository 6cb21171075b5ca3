"""Derivatives by central differences of the NumPy reference; none without a judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    gradient_graph,
    operator_table,
)

from .derivative_cases import BEYOND_PYTORCH, CASES
from .derivative_kit import Case, by_differences, gradients, one_node

#: One case of each operator; flat ones and kinks are no case for differences.
_FIRST = {case.op: case for case in reversed(CASES) if case.op not in ("Hardmax", "MaxPool")}


def test_every_derivative_has_a_judge() -> None:
    judged = {case.op for case in CASES} | {case.op for case in BEYOND_PYTORCH}
    registered = {row.name for row in operator_table() if row.derivative}
    assert judged == registered
    assert len(registered) > 110


@pytest.mark.parametrize("case", [*_FIRST.values(), *BEYOND_PYTORCH], ids=str)
def test_gradients_equal_central_differences(case: Case) -> None:
    _, seeds, ours = gradients(case, np.random.default_rng(11))
    for found, want in zip(ours, by_differences(case, seeds), strict=True):
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case(op="RNN", arrays=tuple(np.ones(s) for s in ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
              attributes={"clip": 1.0}), "found 'clip'"),
        (Case(op="LSTM", arrays=tuple(np.ones(s) for s in ((1, 1, 1), (1, 4, 1), (1, 4, 1))),
              attributes={"activations": ("Sigmoid", "Elu", "Tanh")}), "activation Elu"),
        (Case(op="ScatterElements", arrays=(np.ones(2), np.array([1]), np.ones(1)),
              attributes={"reduction": "mul"}), "reduction 'mul'"),
        (Case(op="Einsum", arrays=(np.ones((2, 2)),), attributes={"equation": "ii->i"}),
         "repeated label"),
    ],
    ids=lambda value: value.op if isinstance(value, Case) else "",
)  # fmt: skip
def test_what_a_derivative_does_not_cover_is_refused(case: Case, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        gradient_graph(one_node(case), ["x0"])
    assert "derivative of node 'node'" in str(caught.value)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
    op=st.sampled_from(["Add", "Mul", "Sub", "Where"]),
)
@settings(max_examples=40, deadline=None)
def test_broadcast_gradients_have_the_shape_of_their_input(
    shape: list[int], data: st.DataObject, op: str
) -> None:
    """For a bilinear f, <g, f(a, b)> = <da, a>, plus <db, b> where f is additive."""
    other = [data.draw(st.sampled_from([1, n])) for n in shape]
    other = other[data.draw(st.integers(0, len(other))) :]
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(shape), rng.standard_normal(other)
    mask = (rng.random(shape) > 0.5,) if op == "Where" else ()
    case = Case(op=op, arrays=(*mask, a, b))
    (y,), (g,), (da, db) = gradients(case, rng)
    assert da.shape == a.shape and db.shape == b.shape
    total = (da * a).sum() + (0 if op == "Mul" else (db * b).sum())
    np.testing.assert_allclose(total, (g * y).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization", "GroupNormalization"])
def test_narrow_normalisations_are_differentiated_in_float32(op: str, dtype: str) -> None:
    """Squares of 300 and an epsilon of 1e-12 leave the range of float16."""
    import ml_dtypes

    narrow = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16)
    rng = np.random.default_rng(3)
    shapes = [(2, 4, 3), *[(4,) if op[0] == "G" else (3,)] * (1 if op[0] == "R" else 2)]
    arrays = [(rng.standard_normal(s) * 300).astype(narrow) for s in shapes]
    words = {"epsilon": 1e-12, **({"num_groups": 2} if op[0] == "G" else {})}
    found = []
    for kind in (narrow, np.dtype(np.float64)):
        names = tuple(f"x{i}" for i in range(len(arrays)))
        graph = Graph(
            name="narrow", inputs=names, outputs=("y",),
            types={n: TensorType(dtype=kind.name, shape=s)
                   for n, s in zip(names, shapes, strict=True)},
            nodes=(Node(name="n", op=op, inputs=names, outputs=("y",), attributes=words),),
        ).infer()  # fmt: skip
        whole = gradient_graph(graph, names)
        values = {n: a.astype(kind) for n, a in zip(names, arrays, strict=True)}
        seed = np.random.default_rng(4).standard_normal((2, 4, 3)).astype(narrow).astype(kind)
        result = whole.evaluate({**values, "y.seed": seed})
        assert result["x0.gradient"].dtype == kind
        found.append([result[f"{n}.gradient"].astype(np.float64) for n in names])
    for ours, want in zip(*found, strict=True):
        np.testing.assert_allclose(ours, want, rtol=0.02, atol=0.01 * np.abs(want).max())


def test_gradients_of_several_readers_add_up() -> None:
    """y = x·x + x + sin(x) read three ways, and a branch that nobody differentiates."""
    kind = TensorType(dtype="float64", shape=(3,))
    graph = Graph(
        name="fan", inputs=("x",), outputs=("y", "count"), types={"x": kind},
        constants={"half": ArrayConstant(np.float64(0.5))},
        nodes=(
            Node(name="square", op="Mul", inputs=("x", "x"), outputs=("s",)),
            Node(name="sine", op="Sin", inputs=("x",), outputs=("w",)),
            Node(name="all", op="Sum", inputs=("s", "x", "w"), outputs=("y",)),
            Node(name="over", op="Greater", inputs=("x", "half"), outputs=("mask",)),
            Node(name="count", op="Cast", inputs=("mask",), outputs=("count",),
                 attributes={"to": 11}),
        ),
    ).infer()  # fmt: skip
    x, g = np.array([0.1, 1.0, -2.0]), np.array([1.0, 2.0, -1.0])
    whole = gradient_graph(graph, ["x", "s"], of=("y",))
    found = whole.evaluate({"x": x, "y.seed": g})
    np.testing.assert_allclose(found["x.gradient"], g * (2 * x + 1 + np.cos(x)), rtol=1e-12)
    np.testing.assert_allclose(found["s.gradient"], g)
    blind = gradient_graph(graph, ["x"], of=("count",))
    zero = blind.evaluate({"x": x, "count.seed": g})["x.gradient"]
    np.testing.assert_array_equal(zero, np.zeros(3))


def test_a_second_derivative_is_the_derivative_of_the_first() -> None:
    """d²/dx² tanh = -2 tanh (1 - tanh²)."""
    graph = Graph(
        name="twice", inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float64", shape=(5,))},
        nodes=(Node(name="tanh", op="Tanh", inputs=("x",), outputs=("y",)),),
    ).infer()  # fmt: skip
    once = gradient_graph(graph, ["x"])
    twice = gradient_graph(once, ["x"], of=("x.gradient",))
    x, ones = np.linspace(-2, 2, 5), np.ones(5)
    found = twice.evaluate({"x": x, "y.seed": ones, "x.gradient.seed": ones})
    t = np.tanh(x)
    np.testing.assert_allclose(found[twice.outputs[-1]], -2 * t * (1 - t * t), atol=1e-12)


def test_a_wanted_name_must_be_a_floating_point_tensor() -> None:
    case = next(c for c in CASES if c.op == "Gather")
    for name in ("x1", "nobody"):
        with pytest.raises(ModelError, match="floating-point tensor"):
            gradient_graph(one_node(case), [name])
