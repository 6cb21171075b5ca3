"""Recurrent layers, attention and control flow: ONNX Runtime, plain loops, identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError, UnknownNameError
from orrery.graph import ArrayConstant, Graph, Node, Operations, TensorType

from .layer_kit import agree, normal
from .operator_kit import apply, count

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(
    op: str, rng: np.random.Generator, *, directions: int, batch: int = 2, steps: int = 4,
    inputs: int = 3, hidden: int = 2, bias: bool = True, lengths: bool = False,
    initial: bool = False, peephole: bool = False,
) -> list[Any]:  # fmt: skip
    gates = GATES[op]
    state = normal(rng, directions, batch, hidden) if initial else None
    arrays = [
        normal(rng, steps, batch, inputs),
        normal(rng, directions, gates * hidden, inputs),
        normal(rng, directions, gates * hidden, hidden),
        normal(rng, directions, 2 * gates * hidden) if bias else None,
        rng.integers(1, steps + 1, batch).astype(np.int32) if lengths else None,
        state,
    ]
    if op == "LSTM":
        cell = normal(rng, directions, batch, hidden) if initial else None
        arrays += [cell, normal(rng, directions, 3 * hidden) if peephole else None]
    return arrays


@pytest.mark.needs("onnxruntime")
@settings(max_examples=60, deadline=None)
@given(
    op=st.sampled_from(["LSTM", "GRU", "RNN"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    bias=st.booleans(), lengths=st.booleans(), initial=st.booleans(), peephole=st.booleans(),
    clip=st.sampled_from([None, 0.5]), coupled=st.booleans(), seed=seeds,
)  # fmt: skip
def test_recurrent_layers_agree_with_onnxruntime(
    op: str, direction: str, bias: bool, lengths: bool, initial: bool, peephole: bool,
    clip: float | None, coupled: bool, seed: int,
) -> None:  # fmt: skip
    directions = 2 if direction == "bidirectional" else 1
    arrays = recurrent(op, np.random.default_rng(seed), directions=directions, bias=bias,
                       lengths=lengths, initial=initial, peephole=peephole)  # fmt: skip
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": 2}
    if clip is not None:
        attributes["clip"] = clip
    if op == "GRU":
        attributes["linear_before_reset"] = int(coupled)
    if op == "LSTM" and not peephole:
        attributes["input_forget"] = int(coupled)
    agree(op, arrays, outputs=3 if op == "LSTM" else 2, **attributes)


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize(
    ("activations", "numbers"),
    [
        (["HardSigmoid", "ScaledTanh"], {"activation_alpha": [0.3, 0.9],
                                         "activation_beta": [0.4, 0.8]}),
        (["Sigmoid", "LeakyRelu"], {"activation_alpha": [0.2]}),
        (["Affine", "Softsign"], {"activation_alpha": [0.5], "activation_beta": [0.1]}),
        (["Softplus", "Elu"], {"activation_alpha": [0.7]}),
        (["Relu", "ThresholdedRelu"], {"activation_alpha": [0.1]}),
    ],
)  # fmt: skip
def test_activations_agree_with_onnxruntime(
    activations: list[str], numbers: dict[str, list[float]]
) -> None:
    arrays = recurrent("GRU", np.random.default_rng(3), directions=1)
    agree("GRU", arrays, outputs=2, hidden_size=2, activations=activations, **numbers)


@pytest.mark.parametrize("op", list(GATES))
def test_layout_only_moves_axes(op: str) -> None:
    arrays = recurrent(op, np.random.default_rng(0), directions=2, initial=True)
    outputs = 3 if op == "LSTM" else 2
    plain = apply(op, *arrays, outputs=outputs, direction="bidirectional")
    swapped = [a.swapaxes(0, 1) if i in (0, 5, 6) and a is not None else a
               for i, a in enumerate(arrays)]  # fmt: skip
    other = apply(op, *swapped, outputs=outputs, direction="bidirectional", layout=1)
    np.testing.assert_allclose(other[0], plain[0].transpose(2, 0, 1, 3))
    for a, b in zip(plain[1:], other[1:], strict=True):
        np.testing.assert_allclose(b, a.swapaxes(0, 1))


def test_recurrent_counts_are_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    for op, gates in GATES.items():
        arrays = recurrent(op, rng, directions=2, batch=3, steps=5, inputs=4, hidden=6)
        found = count(op, *arrays, outputs=2, direction="bidirectional")
        assert found.macs == 2 * 5 * 3 * gates * 6 * (4 + 6)
    peep = recurrent("LSTM", rng, directions=1, batch=1, steps=1, inputs=1, hidden=1, peephole=True)
    assert count("LSTM", *peep, outputs=3).macs == 4 * 2 + 3


def test_an_unknown_activation_offers_the_nearest() -> None:
    arrays = recurrent("RNN", np.random.default_rng(0), directions=1)
    with pytest.raises(UnknownNameError, match="did you mean 'sigmoid'"):
        apply("RNN", *arrays, outputs=2, activations=["Sigmoit"])


# -- attention ------------------------------------------------------------------------------------


def attend(q: Any, k: Any, v: Any, allowed: Any) -> np.ndarray:
    """Attention by plain loops over batch, head and query; q (B, H, S, D)."""
    batch, heads, queries, size = q.shape
    y = np.zeros((batch, heads, queries, v.shape[3]))
    for b in range(batch):
        for h in range(heads):
            kv = h * k.shape[1] // heads
            for i in range(queries):
                keys = [j for j in range(k.shape[2]) if allowed(b, i, j)]
                if not keys:
                    continue
                scores = np.array([q[b, h, i] @ k[b, kv, j] for j in keys]) / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                y[b, h, i] = weights @ v[b, kv, keys] / weights.sum()
    return y


@quick
@given(
    seed=seeds, group=st.integers(1, 3), queries=st.integers(1, 4), keys=st.integers(1, 5),
    causal=st.booleans(), left=st.integers(-1, 2), right=st.integers(-1, 2), past=st.integers(0, 3),
)  # fmt: skip
def test_attention_is_the_plain_loop(
    seed: int, group: int, queries: int, keys: int, causal: bool, left: int, right: int, past: int
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = normal(rng, 2, 2 * group, queries, 4), normal(rng, 2, 2, keys, 4), normal(
        rng, 2, 2, keys, 3)  # fmt: skip
    inputs = [q, k, v]
    if past:
        inputs += [None, normal(rng, 2, 2, past, 4), normal(rng, 2, 2, past, 3)]
        k, v = (np.concatenate([inputs[4 + i], a], axis=2) for i, a in enumerate((k, v)))

    def allowed(b: int, i: int, j: int) -> bool:
        here = i + past
        return not (
            (causal and j > here)
            or (left >= 0 and j < here - left)
            or (right >= 0 and j > here + right)
        )

    attributes = {"is_causal": int(causal), "left_window_size": left, "right_window_size": right}
    y, keys_now, values_now = apply("Attention", *inputs, outputs=3, **attributes)
    np.testing.assert_allclose(y, attend(q, k, v, allowed), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(keys_now, k)
    np.testing.assert_array_equal(values_now, v)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, group=st.integers(1, 2), causal=st.booleans(), mask=st.booleans(),
       softcap=st.sampled_from([0.0, 2.0]))  # fmt: skip
def test_attention_agrees_with_onnxruntime(
    seed: int, group: int, causal: bool, mask: bool, softcap: float
) -> None:
    rng = np.random.default_rng(seed)
    inputs: list[Any] = [normal(rng, 2, 4, 2 * group * 3), normal(rng, 2, 4, 6),
                         normal(rng, 2, 4, 8)]  # fmt: skip
    if mask:
        inputs.append(normal(rng, 4, 4))
    agree("Attention", inputs, opset=23, q_num_heads=2 * group, kv_num_heads=2,
          is_causal=int(causal), softcap=softcap)  # fmt: skip


def test_attention_counts_both_products() -> None:
    rng = np.random.default_rng(0)
    found = count("Attention", normal(rng, 2, 8, 5, 16), normal(rng, 2, 2, 7, 16),
                  normal(rng, 2, 2, 7, 12))  # fmt: skip
    assert found.macs == 2 * 8 * 5 * 7 * (16 + 12)
    assert found.others == 2 * 8 * 5 * 7 * 6


@quick
@given(seed=seeds, rule=st.sampled_from(["linear", "gated", "delta", "gated_delta"]),
       cut=st.integers(1, 4))  # fmt: skip
def test_linear_attention_in_two_parts_is_that_of_the_whole(seed: int, rule: str, cut: int) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = normal(rng, 2, 5, 4 * 3), normal(rng, 2, 5, 2 * 3), normal(rng, 2, 5, 2 * 2)
    decay = -np.abs(normal(rng, 2, 5, 2)) if "gated" in rule else None
    beta = rng.uniform(0, 1, (2, 5, 2)).astype(np.float32) if "delta" in rule else None
    attributes = {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": rule}

    def part(span: slice, state: Any) -> Any:
        cuts = [None if a is None else a[:, span] for a in (q, k, v, decay, beta)]
        return apply("LinearAttention", *cuts[:3], state, *cuts[3:], outputs=2, **attributes)

    whole, final = part(slice(None), None)
    first, between = part(slice(0, cut), None)
    second, last = part(slice(cut, None), between)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, final, rtol=1e-4, atol=1e-5)


@quick
@given(seed=seeds, interleaved=st.integers(0, 1))
def test_rotary_products_depend_on_distance_only(seed: int, interleaved: int) -> None:
    """<rotate(q, i), rotate(k, j)> is the same for equal j - i, and lengths stay."""
    rng = np.random.default_rng(seed)
    angles = np.arange(10)[:, None] * (0.1 + np.arange(3))
    cosine, sine = np.cos(angles), np.sin(angles)
    q, k = (np.tile(rng.standard_normal(6), (1, 1, 10, 1)) for _ in range(2))
    positions = np.arange(10)[None]
    a, b = (apply("RotaryEmbedding", x, cosine, sine, positions, interleaved=interleaved)[0, 0]
            for x in (q, k))  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(q[0, 0], axis=1))
    products = a @ b.T
    for distance in range(5):
        np.testing.assert_allclose(np.ptp(np.diagonal(products, distance)), 0, atol=1e-12)


# -- control flow ---------------------------------------------------------------------------------


def body(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], *nodes: Any,
         constants: dict[str, Any] | None = None) -> Graph:  # fmt: skip
    made = tuple(
        Node(name=f"{name}{i}", op=op, inputs=given, outputs=(result,))
        for i, (op, given, result) in enumerate(nodes)
    )
    values = {k: ArrayConstant(np.asarray(v)) for k, v in (constants or {}).items()}
    return Graph(name=name, nodes=made, inputs=inputs, outputs=outputs, types={}, constants=values)


def whole(node: Node, types: dict[str, TensorType], constants: dict[str, Any]) -> Graph:
    return Graph(
        name="outer", nodes=(node,), inputs=tuple(types), outputs=node.outputs, types=types,
        constants={k: ArrayConstant(np.asarray(v)) for k, v in constants.items()},
    ).infer()  # fmt: skip


VECTOR = TensorType(dtype="float32", shape=(3,))


def test_a_loop_runs_by_count_and_sums_its_body() -> None:
    step = body("step", ("i", "go", "s", "a"), ("go", "t", "s"), ("Add", ("s", "a"), "t"))
    loop = Node(name="loop", op="Loop", inputs=("trips", "", "s0", "a"), outputs=("s5", "all"),
                attributes={"body": step, "captured": 1})  # fmt: skip
    graph = whole(loop, {"s0": VECTOR, "a": VECTOR}, {"trips": np.int64(5)})
    assert graph.type("all").shape == (5, 3)
    assert graph.operations(loop) == Operations(others=15)
    s0, a = np.zeros(3, np.float32), np.arange(3, dtype=np.float32)
    found = graph.evaluate({"s0": s0, "a": a})
    np.testing.assert_array_equal(found["s5"], 5 * a)
    np.testing.assert_array_equal(found["all"], np.arange(5)[:, None] * a)


def test_a_loop_without_a_count_says_that_it_cannot_be_counted() -> None:
    step = body("step", ("i", "go", "s"), ("more", "t"), ("Add", ("s", "s"), "t"),
                ("Less", ("t", "limit"), "more"), constants={"limit": np.float32(10)})  # fmt: skip
    loop = Node(name="loop", op="Loop", inputs=("", "go", "s0"), outputs=("s",),
                attributes={"body": step, "captured": 0})  # fmt: skip
    graph = whole(loop, {"s0": TensorType(dtype="float32", shape=())}, {"go": np.True_})
    assert graph.evaluate({"s0": np.float32(1)})["s"] == 16
    with pytest.raises(ModelError, match="only running tells"):
        graph.operations(loop)


def test_a_loop_state_that_grows_gets_a_name() -> None:
    step = Graph(
        name="grow", inputs=("i", "go", "s"), outputs=("go", "t"), types={},
        nodes=(Node(name="c", op="Concat", inputs=("s", "s"), outputs=("t",),
                    attributes={"axis": 0}),),
    )  # fmt: skip
    loop = Node(name="loop", op="Loop", inputs=("n", "", "s0"), outputs=("s",),
                attributes={"body": step, "captured": 0})  # fmt: skip
    graph = whole(loop, {"n": TensorType(dtype="int64", shape=()), "s0": VECTOR}, {})
    (size,) = graph.type("s").shape
    assert isinstance(size, str)
    grown = graph.evaluate({"n": np.array(2), "s0": np.zeros(3, np.float32)})["s"]
    assert grown.shape == (12,)


def test_if_takes_a_branch_and_counts_the_costlier() -> None:
    cheap = body("cheap", ("a",), ("y",), ("Neg", ("a",), "y"))
    dear = body("dear", ("a",), ("y",), ("Add", ("a", "a"), "b"), ("Mul", ("a", "b"), "y"))
    node = Node(name="if", op="If", inputs=("c", "a"), outputs=("y",),
                attributes={"then_branch": cheap, "else_branch": dear, "captured": 1})  # fmt: skip
    types = {"c": TensorType(dtype="bool", shape=()), "a": VECTOR}
    graph = whole(node, types, {})
    assert graph.operations(node) == Operations(others=6)
    assert graph.type("y") == VECTOR
    a = np.arange(3, dtype=np.float32)
    for choice, want in ((True, -a), (False, 2 * a * a)):
        np.testing.assert_array_equal(graph.evaluate({"c": np.array(choice), "a": a})["y"], want)
    known = whole(node, {"a": VECTOR}, {"c": np.True_})
    assert known.operations(node) == Operations(others=3)


def test_a_branch_that_cannot_fit_is_left_out() -> None:
    """Exporters write: if the size is 1, squeeze, else keep."""
    squeeze = body("squeeze", ("a",), ("y",), ("Squeeze", ("a", "axes"), "y"),
                   constants={"axes": np.array([0])})  # fmt: skip
    keep = body("keep", ("a",), ("y",), ("Neg", ("a",), "y"))
    node = Node(name="if", op="If", inputs=("c", "a"), outputs=("y",),
                attributes={"then_branch": squeeze, "else_branch": keep,
                            "captured": 1})  # fmt: skip
    graph = whole(node, {"c": TensorType(dtype="bool", shape=()), "a": VECTOR}, {})
    assert graph.type("y") == VECTOR
    assert graph.operations(node) == Operations(others=3)


@quick
@given(seed=seeds, backwards=st.booleans(), axis=st.integers(0, 1))
def test_scan_is_a_running_sum(seed: int, backwards: bool, axis: int) -> None:
    step = body("step", ("s", "x"), ("t", "t2"), ("Add", ("s", "x"), "t"),
                ("Identity", ("t",), "t2"))  # fmt: skip
    x = normal(np.random.default_rng(seed), 4, 4)
    node = Node(
        name="scan", op="Scan", inputs=("s0", "x"), outputs=("s", "all"),
        attributes={"body": step, "captured": 0, "num_scan_inputs": 1, "scan_input_axes": (axis,),
                    "scan_output_axes": (axis,), "scan_input_directions": (int(backwards),),
                    "scan_output_directions": (int(backwards),)},
    )  # fmt: skip
    types = {"s0": TensorType(dtype="float32", shape=(4,)),
             "x": TensorType(dtype="float32", shape=(4, 4))}  # fmt: skip
    graph = whole(node, types, {})
    assert graph.operations(node) == Operations(others=16)
    found = graph.evaluate({"s0": np.zeros(4, np.float32), "x": x})
    want = np.flip(np.cumsum(np.flip(x, axis), axis), axis) if backwards else np.cumsum(x, axis)
    np.testing.assert_allclose(found["all"], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["s"], x.sum(axis=axis), rtol=1e-5, atol=1e-5)
