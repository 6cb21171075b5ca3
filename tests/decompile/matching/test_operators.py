"""Every other operator, written as loops, must come back as itself."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.forms import Index, Reduction, Symbol, Value, linear

from .judging import operators, recovered
from .kernels import Kernels, between, fused, network, number, op, row_major

SHAPE = (1, 4, 5, 6)
SIZE = prod(SHAPE)


def flat(k: Kernels, name: str = "x", shape: Any = SHAPE) -> tuple[Symbol, Value]:
    """Return a counter over all elements of an input and what it reads."""
    k.input(name, shape)
    i = k.counter(prod(shape))
    return i, k.load(name, linear(0, {i: 1}))


def sigmoid(x: Value) -> Value:
    return op("fdiv", number(1), op("fadd", number(1), op("call:expf", op("fneg", x))))


def gelu(x: Value) -> Value:
    inside = op("call:erff", op("fmul", x, number(0.70710678)))
    return op("fmul", op("fmul", number(0.5), x), op("fadd", inside, number(1)))


def gelu_tanh(x: Value) -> Value:
    cube = op("fmul", op("fmul", x, x), x)
    inside = op("fmul", number(0.7978846), op("fma", number(0.044715), cube, x))
    half = op("fmul", x, number(0.5))
    return op("fmul", half, op("fadd", op("call:tanhf", inside), number(1)))


UNARY: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "relu by maximum": (lambda x: op("max_x86", x, number(0)), "Relu", {}),
    "relu by choice": (
        lambda x: op("select", op("flt", x, number(0), width=1), number(0), x), "Relu", {},
    ),
    "relu by mask": (
        lambda x: op("iand", op("iextend", op("flt", number(0), x, width=1)), x), "Relu", {},
    ),
    "leaky by choice": (
        lambda x: op("select", op("flt", number(0), x, width=1), x, op("fmul", x, number(0.1))),
        "LeakyRelu", {"alpha": 0.1},
    ),
    "leaky by maximum": (
        lambda x: op("fmax", op("fmul", number(0.2), x), x), "LeakyRelu", {"alpha": 0.2},
    ),
    "sigmoid": (sigmoid, "Sigmoid", {}),
    "sigmoid turned": (
        lambda x: op("fdiv", op("call:expf", x), op("fadd", op("call:expf", x), number(1))),
        "Sigmoid", {},
    ),
    "tanh": (lambda x: op("call:tanhf", x), "Tanh", {}),
    "gelu": (gelu, "Gelu", {"approximate": "none"}),
    "gelu by tanh": (gelu_tanh, "Gelu", {"approximate": "tanh"}),
    "absolute": (lambda x: op("fabs", x), "Abs", {}),
    "root of e": (lambda x: op("call:expf", x), "Exp", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", UNARY)
def test_functions_of_one_tensor(case: str) -> None:
    function, kind, attributes = UNARY[case]
    k = Kernels()
    i, x = flat(k)
    k.output("y", SIZE)
    k.store("y", linear(0, {i: 1}), function(x), [i])
    recovered(k.program(), network([(kind, ["x"], "y", attributes)], {"x": SHAPE}, {}, ["y"]))


def test_clip() -> None:
    k = Kernels()
    i, x = flat(k)
    k.output("y", SIZE)
    k.store("y", linear(0, {i: 1}), op("fmin", op("fmax", x, number(0)), number(6)), [i])
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    source = network([("Clip", ["x", "low", "high"], "y", {})], {"x": SHAPE}, bounds, ["y"])
    recovered(k.program(), source)


@pytest.mark.parametrize(("name", "kind"), [("fadd", "Add"), ("fmul", "Mul"), ("fsub", "Sub"),
                                            ("fdiv", "Div")])  # fmt: skip
@pytest.mark.parametrize("broadcast", [False, True])
def test_two_tensors(name: str, kind: str, broadcast: bool) -> None:
    k = Kernels()
    k.input("a", SHAPE)
    k.input("b", (1, 4, 1, 1) if broadcast else SHAPE)
    k.output("y", SIZE)
    c, p = k.counters((4, 30))
    whole = row_major([c, p], (4, 30))
    other = linear(0, {c: 1}) if broadcast else whole
    k.store("y", whole, op(name, k.load("a", whole), k.load("b", other)), [c, p])
    shapes = {"a": SHAPE, "b": (1, 4, 1, 1) if broadcast else SHAPE}
    recovered(k.program(), network([(kind, ["a", "b"], "y", {})], shapes, {}, ["y"]))


@pytest.mark.parametrize("order", ["inside", "folded"])
def test_batch_normalisation(order: str) -> None:
    draw = np.random.default_rng(3)
    scale, shift, mean = draw.standard_normal((3, 4)).astype(np.float32)
    variance = draw.uniform(0.5, 2, 4).astype(np.float32)
    k = Kernels()
    k.input("x", SHAPE)
    for name, value in (("s", scale), ("b", shift), ("m", mean), ("v", variance)):
        k.constant(name, value)
    k.output("y", SIZE)
    c, p = k.counters((4, 30))
    at, channel = row_major([c, p], (4, 30)), linear(0, {c: 1})
    s, b, m, v = (k.load(n, channel) for n in "sbmv")
    root = op("fsqrt", op("fadd", v, number(1e-5)))
    centred = op("fsub", k.load("x", at), m)
    if order == "inside":
        value = op("fadd", op("fdiv", op("fmul", s, centred), root), b)
    else:
        value = op("fma", centred, op("fdiv", s, root), b)
    k.store("y", at, value, [c, p])
    recovery = recovered(k.program(), network(
        [("BatchNormalization", ["x", "s", "b", "m", "v"], "y", {"epsilon": 1e-5})],
        {"x": SHAPE}, {"s": scale, "b": shift, "m": mean, "v": variance}, ["y"],
    ))  # fmt: skip
    assert operators(recovery) == ["BatchNormalization"]


# -- pooling ----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sampled_from(["MaxPool", "inside", "all"]), st.booleans(), st.integers(0, 10**6))
def test_random_pool_comes_back(kind: str, channels_last: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    kernel = tuple(int(v) for v in draw.integers(2, 4, 2))
    strides = tuple(int(v) for v in draw.integers(1, 4, 2))
    before = tuple(int(draw.integers(0, w)) for w in kernel)
    after = tuple(int(draw.integers(0, w)) for w in kernel)
    sizes = tuple(int(v) for v in draw.integers(6, 9, 2))
    counts = tuple(
        (n + b + a - w) // s + 1
        for n, b, a, w, s in zip(sizes, before, after, kernel, strides, strict=True)
    )
    if any((o - 1) * s >= n + b for o, s, n, b in zip(counts, strides, sizes, before, strict=True)):
        return  # a window that lies in padding alone
    channels = 3
    k = Kernels()
    shape = (1, *sizes, channels) if channels_last else (1, channels, *sizes)
    k.input("x", shape)
    k.output("y", channels * prod(counts))
    (c,) = k.counters((channels,))
    places, window = k.counters(counts), k.counters(kernel)
    at = [linear(-b, {o: s, w: 1}) for b, o, s, w in zip(before, places, strides, window,
                                                         strict=True)]  # fmt: skip
    if channels_last:
        read = row_major([*at, linear(0, {c: 1})], (*sizes, channels))
        target = row_major([*places, c], (*counts, channels))
    else:
        read = row_major([linear(0, {c: 1}), *at], (channels, *sizes))
        target = row_major([c, *places], (channels, *counts))
    skipped = -np.inf if kind == "MaxPool" else 0.0
    body: Value = k.load("x", read)
    conditions = [between(f, n) for f, n in zip(at, sizes, strict=True)]
    inside = op("iand", *conditions, width=1)
    body = op("select", inside, body, number(skipped))
    if kind == "MaxPool":
        value: Value = k.sum(window, body, number(-np.inf), "max_x86")
        attributes: dict[str, Any] = {}
    else:
        value = k.sum(window, body, number(0))
        if kind == "all":
            value = op("fmul", value, number(1 / prod(kernel)))
            attributes = {"count_include_pad": 1}
        else:
            one: Value = op("select", inside, Index(linear(1)), Index(linear(0)), width=64)
            for w in reversed(window):
                one = Reduction("iadd", w, linear(k.extents[w]), one, Index(linear(0)), 64)
            value = op("fdiv", value, op("itof", one))
            attributes = {"count_include_pad": 0}
    k.store("y", target, value, [c, *places])
    given = {"kernel_shape": kernel, "strides": strides, "pads": (*before, *after), **attributes}
    name = "MaxPool" if kind == "MaxPool" else "AveragePool"
    nodes: list[Any] = [(name, ["x"], "y", given)]
    if channels_last:
        nodes = [
            ("Transpose", ["x"], "t", {"perm": (0, 3, 1, 2)}), (name, ["t"], "p", given),
            ("Transpose", ["p"], "y", {"perm": (0, 2, 3, 1)}),
        ]  # fmt: skip
    recovered(k.program(), network(nodes, {"x": shape}, {}, ["y"]))


@pytest.mark.parametrize(("kind", "first"), [("GlobalAveragePool", True), ("GlobalMaxPool", False)])
def test_global_pools(kind: str, first: bool) -> None:
    k = Kernels()
    k.input("x", SHAPE)
    k.output("y", 4)
    c, y, x = k.counters(SHAPE[1:])
    body = k.load("x", row_major([c, y, x], SHAPE[1:]))
    if first:
        value: Value = op("fdiv", k.sum([y, x], body, number(0)), number(30))
    else:
        value = k.sum([y, x], body, number(-3.4028235e38), "max_x86")
    k.store("y", linear(0, {c: 1}), value, [c])
    recovered(k.program(), network([(kind, ["x"], "y", {})], {"x": SHAPE}, {}, ["y"]))


# -- rows ------------------------------------------------------------------------------------


def softmax_rows(k: Kernels, *, kept: str, peeled: bool) -> None:
    """Write a softmax of rows: in registers, or with every step kept in memory."""
    rows, width = 3, 10
    k.input("x", (rows, width))
    k.output("y", rows * width)
    r, i = k.counters((rows, width))
    j, m = k.counters((width, width))
    at = row_major([r, i], (rows, width))
    start = k.load("x", linear(0, {r: width})) if peeled else number(-np.inf)
    most = k.sum([m], k.load("x", row_major([r, m], (rows, width))), start, "fmax")

    def power(counter: Symbol, largest: Value) -> Value:
        return op("call:expf", op("fsub", k.load("x", row_major([r, counter], (rows, width))),
                                  largest))  # fmt: skip

    if kept == "register":
        total = k.sum([j], power(j, most), number(0))
        k.store("y", at, op("fdiv", power(i, most), total), [r, i])
    elif kept == "memory":
        k.memory("most", rows)
        k.memory("total", rows)
        one = linear(0, {r: 1})
        k.store("most", one, most, [r])
        k.store("y", at, power(i, k.load("most", one)), [r, i])
        again = k.load("y", row_major([r, j], (rows, width)))
        k.store("total", one, k.sum([j], again, number(0)), [r])
        k.store("y", at, op("fdiv", k.load("y", at), k.load("total", one)), [r, i])
    else:  # one place for all rows, used anew in each
        k.memory("scratch", width)
        here, first = linear(0, {i: 1}), k.counter(width)
        k.store("scratch", linear(0, {first: 1}), power(first, most), [r, first])
        again = k.load("scratch", linear(0, {j: 1}))
        total = k.sum([j], again, number(0))
        k.store("y", at, op("fdiv", k.load("scratch", here), total), [r, i])


@pytest.mark.parametrize("kept", ["register", "memory", "scratch"])
@pytest.mark.parametrize("peeled", [False, True])
def test_softmax(kept: str, peeled: bool) -> None:
    k = Kernels()
    softmax_rows(k, kept=kept, peeled=peeled)
    source = network([("Softmax", ["x"], "y", {"axis": 1})], {"x": (3, 10)}, {}, ["y"])
    assert operators(recovered(k.program(), source)) == ["Softmax"]


@pytest.mark.parametrize("way", ["twice", "squares"])
def test_layer_normalisation(way: str) -> None:
    rows, width = 3, 8
    draw = np.random.default_rng(5)
    scale, shift = draw.standard_normal((2, width)).astype(np.float32)
    k = Kernels()
    k.input("x", (rows, width))
    k.constant("s", scale)
    k.constant("b", shift)
    k.output("y", rows * width)
    r, i, j, m = k.counters((rows, width, width, width))

    def x(counter: Symbol) -> Value:
        return k.load("x", row_major([r, counter], (rows, width)))

    mean = op("fmul", k.sum([m], x(m), number(0)), number(1 / width))
    if way == "twice":
        off = op("fsub", x(j), mean)
        spread = op("fdiv", k.sum([j], op("fmul", off, off), number(0)), number(width))
    else:
        squares = op("fdiv", k.sum([j], op("fmul", x(j), x(j)), number(0)), number(width))
        spread = op("fsub", squares, op("fmul", mean, mean))
    root = op("fsqrt", op("fadd", spread, number(1e-5)))
    normal = op("fdiv", op("fsub", x(i), mean), root)
    channel = linear(0, {i: 1})
    value = op("fadd", op("fmul", normal, k.load("s", channel)), k.load("b", channel))
    k.store("y", row_major([r, i], (rows, width)), value, [r, i])
    source = network(
        [("LayerNormalization", ["x", "s", "b"], "y", {"axis": -1, "epsilon": 1e-5})],
        {"x": (rows, width)}, {"s": scale, "b": shift}, ["y"],
    )  # fmt: skip
    assert operators(recovered(k.program(), source)) == ["LayerNormalization"]


def test_local_response_normalisation() -> None:
    channels, places, size = 6, 5, 3
    k = Kernels()
    k.input("x", (1, channels, places, 1))
    k.output("y", channels * places)
    c, p, w = k.counters((channels, places, size))
    near = linear(-1, {c: 1, w: 1})
    read = k.load("x", near * places + linear(0, {p: 1}))
    body = op("select", between(near, channels), op("fmul", read, read), number(0))
    total = op("fmul", k.sum([w], body, number(0)), number(1e-2 / size))
    power = op("call:powf", op("fadd", total, number(2)), number(0.75))
    at = row_major([c, p], (channels, places))
    k.store("y", at, op("fdiv", k.load("x", at), power), [c, p])
    source = network(
        [("LRN", ["x"], "y", {"size": size, "alpha": 1e-2, "beta": 0.75, "bias": 2.0})],
        {"x": (1, channels, places, 1)}, {}, ["y"],
    )  # fmt: skip
    assert operators(recovered(k.program(), source)) == ["LRN"]


# -- products, movement ------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_fully_connected(turned: bool, rows: int) -> None:
    width, made = 8, 7
    draw = np.random.default_rng(2)
    w = draw.standard_normal((made, width)).astype(np.float32)
    b = draw.standard_normal(made).astype(np.float32)
    k = Kernels()
    k.input("x", (rows, width))
    k.constant("w", w.T if turned else w)
    k.constant("b", b)
    k.output("y", rows * made)
    m, n, j = k.counters((rows, made, width))
    weight = row_major([j, n], (width, made)) if turned else row_major([n, j], (made, width))
    body = op("fmul", k.load("w", weight), k.load("x", row_major([m, j], (rows, width))))
    value = k.sum([j], body, k.load("b", linear(0, {n: 1})))
    k.store("y", row_major([m, n], (rows, made)), value, [m, n])
    source = network(
        [("Gemm", ["x", "w", "b"], "y", {"transB": 1})], {"x": (rows, width)}, {"w": w, "b": b},
        ["y"],
    )  # fmt: skip
    recovery = recovered(k.program(), source)
    assert recovery.graph is not None
    assert operators(recovery) == ["Gemm"]
    node = recovery.graph.nodes[0]
    np.testing.assert_array_equal(recovery.graph.constants[node.inputs[1]].array(), w)


@pytest.mark.parametrize("turned", [False, True])
def test_product_of_two_computed_tensors(turned: bool) -> None:
    heads, m, n, width = 2, 3, 4, 5
    k = Kernels()
    k.input("a", (heads, m, width))
    second = (heads, n, width) if turned else (heads, width, n)
    k.input("b", second)
    k.output("y", heads * m * n)
    h, i, o, j = k.counters((heads, m, n, width))
    other = row_major([h, o, j] if turned else [h, j, o], second)
    body = op("fmul", k.load("a", row_major([h, i, j], (heads, m, width))), k.load("b", other))
    k.store("y", row_major([h, i, o], (heads, m, n)), k.sum([j], body, number(0)), [h, i, o])
    nodes: list[Any] = [("MatMul", ["a", "b"], "y", {})]
    if turned:
        nodes = [("Transpose", ["b"], "t", {"perm": (0, 2, 1)}), ("MatMul", ["a", "t"], "y", {})]
    source = network(nodes, {"a": (heads, m, width), "b": second}, {}, ["y"])
    recovered(k.program(), source)


def test_transpose_slice_pad_and_concat() -> None:
    k = Kernels()
    k.input("x", (4, 6))
    k.memory("turned", 24)
    k.memory("part", 12)
    k.output("y", 36)
    a, b = k.counters((6, 4))
    k.store("turned", row_major([a, b], (6, 4)), k.load("x", row_major([b, a], (4, 6))), [a, b])
    c, d = k.counters((3, 4))
    k.store("part", row_major([c, d], (3, 4)), k.load("turned", row_major([c, d], (3, 4)) + 8),
            [c, d])  # fmt: skip
    e, f = k.counters((24, 12))
    k.store("y", linear(0, {e: 1}), k.load("turned", linear(0, {e: 1})), [e])
    k.store("y", linear(24, {f: 1}), op("fneg", k.load("part", linear(0, {f: 1}))), [f])
    source = network(
        [
            ("Transpose", ["x"], "t", {"perm": (1, 0)}),
            ("Slice", ["t", "two", "five", "zero"], "s", {}), ("Neg", ["s"], "n", {}),
            ("Concat", ["t", "n"], "y", {"axis": 0}),
        ],
        {"x": (4, 6)},
        {"two": np.array([2]), "five": np.array([5]), "zero": np.array([0])}, ["y"],
    )  # fmt: skip
    assert operators(recovered(k.program(), source)) == ["Transpose", "Slice", "Neg", "Concat"]


def test_scattered_sum_is_a_transposed_convolution() -> None:
    inside, made, size, window, stride = 3, 2, 4, 3, 2
    whole = (size - 1) * stride + window
    w = np.random.default_rng(4).standard_normal((inside, made, window, window)).astype(np.float32)
    k = Kernels()
    k.input("x", (1, inside, size, size))
    k.constant("w", w)
    k.output("y", made * whole * whole)
    z = k.counter(made * whole * whole)
    k.store("y", linear(0, {z: 1}), number(0), [z])
    c, m, y, x, ky, kx = k.counters((inside, made, size, size, window, window))
    at = row_major(
        [m, linear(0, {y: stride, ky: 1}), linear(0, {x: stride, kx: 1})], (made, whole, whole)
    )
    body = op("fmul", k.load("x", row_major([c, y, x], (inside, size, size))),
              k.load("w", row_major([c, m, ky, kx], w.shape)))  # fmt: skip
    k.store("y", at, op("fadd", k.load("y", at), body), [c, y, x, m, ky, kx])
    source = network(
        [("ConvTranspose", ["x", "w"], "y", {"strides": (stride, stride)})],
        {"x": (1, inside, size, size)}, {"w": w}, ["y"],
    )  # fmt: skip
    recovered(k.program(), source)


def test_gathered_sum_is_a_transposed_convolution() -> None:
    """Written by results: weights are read backwards, which a plain convolution never does."""
    inside, made, size, window = 2, 3, 6, 3
    w = np.random.default_rng(4).standard_normal((inside, made, window)).astype(np.float32)
    k = Kernels()
    k.input("x", (1, inside, size))
    k.constant("w", w)
    k.output("y", made * size)
    m, o, c, i = k.counters((made, size, inside, window))
    place = linear(1, {o: 1, i: -1})
    body: Value = op("fmul", k.load("x", place + linear(0, {c: size})),
                     k.load("w", row_major([c, m, i], w.shape)))  # fmt: skip
    body = op("select", between(place, size), body, number(0))
    k.store("y", row_major([m, o], (made, size)), k.sum([c, i], body, number(0)), [m, o])
    source = network(
        [("ConvTranspose", ["x", "w"], "y", {"pads": (1, 1)})], {"x": (1, inside, size)},
        {"w": w}, ["y"],
    )  # fmt: skip
    recovery = recovered(k.program(), source)
    assert operators(recovery) == ["ConvTranspose"]


@pytest.mark.parametrize("op_name", ["ReduceSum", "ReduceMean", "ReduceMax"])
def test_reductions(op_name: str) -> None:
    k = Kernels()
    k.input("x", (3, 4, 5))
    k.output("y", 15)
    a, b, c = k.counters((3, 4, 5))
    body = k.load("x", row_major([a, b, c], (3, 4, 5)))
    if op_name == "ReduceMax":
        value: Value = k.sum([b], body, number(-np.inf), "fmax")
    else:
        value = k.sum([b], body, number(0))
    if op_name == "ReduceMean":
        value = op("fdiv", value, number(4))
    k.store("y", row_major([a, c], (3, 5)), value, [a, c])
    source = network(
        [(op_name, ["x", "axes"], "y", {"keepdims": 0})], {"x": (3, 4, 5)},
        {"axes": np.array([1])}, ["y"],
    )  # fmt: skip
    recovered(k.program(), source)


def test_two_loops_in_one_are_no_hindrance() -> None:
    k = Kernels()
    i, j = k.counters((4, 30))
    k.input("x", SHAPE)
    k.output("y", SIZE)
    at = row_major([i, j], (4, 30))
    k.store("y", at, op("fmax", k.load("x", at), number(0)), [i, j])
    k.steps = [fused(step) for step in k.steps]
    recovered(k.program(), network([("Relu", ["x"], "y", {})], {"x": SHAPE}, {}, ["y"]))


def test_a_maximum_taken_downwards() -> None:
    k = Kernels()
    k.input("x", (3, 10))
    k.output("y", 3)
    r, i = k.counters((3, 10))
    body = k.load("x", linear(9, {r: 10, i: -1}))
    k.store("y", linear(0, {r: 1}), k.sum([i], body, number(-np.inf), "max_x86"), [r])
    source = network(
        [("ReduceMax", ["x", "axes"], "y", {"keepdims": 0})], {"x": (3, 10)},
        {"axes": np.array([1])}, ["y"],
    )  # fmt: skip
    recovered(k.program(), source)
