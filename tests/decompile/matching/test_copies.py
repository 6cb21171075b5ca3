"""Copies that a compiler cut up: whatever the parts, the whole must come back."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile._recovery import recover_program
from orrery.decompile.forms import Constant, Index, Symbol, Value, linear

from .judging import operators, recovered, same_numbers
from .kernels import Kernels, between, network, number, op, row_major


def inside(k: Kernels, at: list[Symbol], before: tuple[int, ...], sizes: tuple[int, ...]) -> Value:
    """Return the condition that a place of the padded tensor is one of the tensor itself."""
    bounds = [between(linear(-b, {c: 1}), n) for c, b, n in zip(at, before, sizes, strict=True)]
    return op("iand", *bounds, width=1)


def negated(value: Value) -> Value:
    return op("inot", value, width=1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_padding_cut_up_at_random(seed: int) -> None:
    """Rows, columns and single places by themselves, before or after each other, in any order."""
    draw = np.random.default_rng(seed)
    sizes = (int(draw.integers(1, 4)), int(draw.integers(2, 6)), int(draw.integers(2, 6)))
    before = (0, int(draw.integers(0, 3)), int(draw.integers(0, 3)))
    after = (0, int(draw.integers(0, 3)), int(draw.integers(0, 3)))
    whole = tuple(n + b + a for n, b, a in zip(sizes, before, after, strict=True))
    if whole == sizes:
        return
    fill = float(draw.choice([0.0, -1.5]))
    k = Kernels()
    k.input("x", (1, *sizes))
    k.output("y", prod(whole))
    columns = np.arange(whole[2])
    cuts = np.sort(draw.choice(columns[1:], int(draw.integers(0, columns.size - 1)), replace=False))
    for part in draw.permutation(np.array([*map(tuple, np.split(columns, cuts))], object)):
        first, count = part[0], len(part)
        c, row, column = k.counters((whole[0], whole[1], count))
        place = row_major([c, row, linear(first, {column: 1})], whole)
        source = row_major(
            [c, linear(-before[1], {row: 1}), linear(first - before[2], {column: 1})], sizes
        )
        shifted = linear(first, {column: 1})
        holds = op(
            "iand", between(linear(-before[1], {row: 1}), sizes[1], unsigned=True),
            between(shifted - before[2], sizes[2]), width=1,
        )  # fmt: skip
        loops = [c, row, column]
        if draw.integers(2):
            value = op("select", holds, k.load("x", source), number(fill))
            k.store("y", place, value, loops)
        else:  # by a branch: two stores, each of which leaves places out
            k.store("y", place, number(fill), loops, guards=[negated(holds)])
            k.store("y", place, k.load("x", source), loops, guards=[holds])
    pads = np.array([0, *before, 0, *after])
    source_network = network(
        [("Pad", ["x", "pads", "fill"], "y", {})], {"x": (1, *sizes)},
        {"pads": pads, "fill": np.float32(fill)}, ["y"],
    )  # fmt: skip
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    assert [op for op in operators(recovery) if op != "Reshape"] == ["Pad"]
    same_numbers(recovery.graph, source_network, seed=seed)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1)])
def test_a_transposed_copy_by_branches(order: tuple[int, int, int]) -> None:
    shape = (3, 4, 5)
    k = Kernels()
    k.input("x", shape)
    k.output("y", prod(shape))
    at = k.counters(shape)
    turned = [at[a] for a in order]
    source, place = row_major(at, shape), row_major(turned, [shape[a] for a in order])
    odd = op("ieq", op("umod", Index(linear(0, {at[1]: 1})), Constant(2, 64), width=64),
             Constant(1, 64), width=1)  # fmt: skip
    k.store("y", place, k.load("x", source), at, guards=[odd])
    k.store("y", place, k.load("x", source), at, guards=[negated(odd)])
    wanted = network([("Transpose", ["x"], "y", {"perm": order})], {"x": shape}, {}, ["y"])
    made = operators(recovered(k.program(), wanted))
    assert [kind for kind in made if kind != "Reshape"] == ["Transpose"]


def test_memory_that_was_asked_for_is_somewhere() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i = k.counter(20)
    given_memory = Index(linear(0, {Symbol("y", "argument"): 1}))
    there = negated(op("ieq", given_memory, Constant(0, 64), width=1))
    at = linear(0, {i: 1})
    k.store("y", at, op("fneg", k.load("x", at)), [i], guards=[there])
    recovered(k.program(), network([("Neg", ["x"], "y", {})], {"x": (20,)}, {}, ["y"]))


def test_a_copy_over_itself_is_none() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i, j = k.counter(20), k.counter(19)
    k.store("y", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    k.store("y", linear(1, {j: 1}), k.load("y", linear(0, {j: 1})), [j])
    recovery = recover_program(k.program())
    assert any(u.address for u in recovery.unmatched)
    assert recovery.graph is None or "y" not in recovery.graph.outputs


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_convolution_over_what_was_spread_out(seed: int) -> None:
    """Zeros between the elements, then around them, weights turned round: a transposed one."""
    draw = np.random.default_rng(seed)
    inside, made = int(draw.integers(2, 4)), int(draw.integers(1, 4))
    sizes = tuple(int(v) for v in draw.integers(2, 6, 2))
    window, steps = (int(v) for v in draw.integers(1, 4, 2)), draw.integers(1, 4, 2).tolist()
    kernel = tuple(window)
    pads = tuple(int(draw.integers(0, w)) for w in kernel)
    w = draw.standard_normal((inside, made, *kernel)).astype(np.float32)
    wide = tuple((n - 1) * s + 1 for n, s in zip(sizes, steps, strict=True))
    around = [2 * (n - 1 - p) for n, p in zip(kernel, pads, strict=True)]
    whole = tuple(n + a for n, a in zip(wide, around, strict=True))
    counts = tuple(n - w + 1 for n, w in zip(whole, kernel, strict=True))
    k = Kernels()
    k.input("x", (1, inside, *sizes))
    k.constant("w", np.flip(w, (2, 3)).swapaxes(0, 1))
    k.memory("spread", inside * prod(wide))
    k.memory("padded", inside * prod(whole))
    k.output("y", made * prod(counts))
    for name, shape in (("spread", wide), ("padded", whole)):
        z = k.counter(inside * prod(shape))
        k.store(name, linear(0, {z: 1}), number(0), [z])
    c, y, x = k.counters((inside, *sizes))
    far = [linear(0, {s: step}) for s, step in zip((y, x), steps, strict=True)]
    k.store("spread", row_major([linear(0, {c: 1}), *far], (inside, *wide)),
            k.load("x", row_major([c, y, x], (inside, *sizes))), [c, y, x])  # fmt: skip
    c, y, x = k.counters((inside, *wide))
    inner = [linear(a // 2, {s: 1}) for a, s in zip(around, (y, x), strict=True)]
    k.store("padded", row_major([linear(0, {c: 1}), *inner], (inside, *whole)),
            k.load("spread", row_major([c, y, x], (inside, *wide))), [c, y, x])  # fmt: skip
    m, oy, ox, i, ky, kx = k.counters((made, *counts, inside, *kernel))
    data = row_major(
        [linear(0, {i: 1}), linear(0, {oy: 1, ky: 1}), linear(0, {ox: 1, kx: 1})], (inside, *whole)
    )
    body = op("fmul", k.load("padded", data),
              k.load("w", row_major([m, i, ky, kx], (made, inside, *kernel))))  # fmt: skip
    k.store("y", row_major([m, oy, ox], (made, *counts)), k.sum([i, ky, kx], body, number(0)),
            [m, oy, ox])  # fmt: skip
    source = network(
        [("ConvTranspose", ["x", "w"], "y", {"strides": tuple(steps), "pads": (*pads, *pads)})],
        {"x": (1, inside, *sizes)}, {"w": w}, ["y"],
    )  # fmt: skip
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    same_numbers(recovery.graph, source, seed=seed)
    if min(steps) > 1:
        kinds = [kind for kind in operators(recovery) if kind != "Reshape"]
        assert kinds == ["ConvTranspose"]


def test_what_is_spread_out_alone_is_written_in_onnx() -> None:
    k = Kernels()
    k.input("x", (1, 2, 3, 4))
    k.output("y", 2 * 5 * 10)
    z = k.counter(100)
    k.store("y", linear(0, {z: 1}), number(0), [z])
    c, y, x = k.counters((2, 3, 4))
    k.store("y", row_major([c, linear(0, {y: 2}), linear(0, {x: 3})], (2, 5, 10)),
            k.load("x", row_major([c, y, x], (2, 3, 4))), [c, y, x])  # fmt: skip
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    given_x = np.arange(1, 25, dtype=np.float32).reshape(1, 2, 3, 4)
    wanted = np.zeros((2, 5, 10), np.float32)
    wanted[:, ::2, ::3] = given_x[0]
    found = recovery.graph.evaluate({recovery.graph.inputs[0]: given_x})
    have = found[recovery.graph.outputs[0]].reshape(wanted.shape)
    np.testing.assert_array_equal(have, wanted)


@pytest.mark.parametrize("other", [False, True])
def test_a_mean_of_what_lies_inside_in_lanes(other: bool) -> None:
    """Rows four at a time, those at the edges by themselves, as vectors of rows are divided."""
    sizes, channels = (9, 6), 3
    k = Kernels()
    k.input("x", (1, channels, *sizes))
    k.memory("sums", channels * prod(sizes))
    k.output("y", channels * prod(sizes))
    c, row, column, *window = k.counters((channels, *sizes, 3, 3))
    at = [linear(-1, {place: 1, w: 1}) for place, w in zip((row, column), window, strict=True)]
    conditions = op("iand", *(between(f, n) for f, n in zip(at, sizes, strict=True)), width=1)
    read = k.load("x", row_major([linear(0, {c: 1}), *at], (channels, *sizes)))
    k.store("sums", row_major([c, row, column], (channels, *sizes)),
            k.sum(window, op("select", conditions, read, number(0)), number(0)),
            [c, row, column])  # fmt: skip
    (channel, four) = k.counters((channels, 2))
    plane = linear(0, {channel: prod(sizes)})
    for place in range(sizes[1]):
        across = 2 if place in (0, sizes[1] - 1) else 3
        first = plane + place
        by = (op("fmul", k.load("sums", first), number(0.25)) if across == 2
              else op("fdiv", k.load("sums", first), number(6)))  # fmt: skip
        k.store("y", first, by, [channel])
        for lane in range(4):
            here = linear(1 + lane, {four: 4})
            below = op("ilt", Index(here), Constant(8, 64), width=1)
            rows: Value = Index(linear(3))
            if lane == 3:  # what is known of the others was decided beforehand
                rows = op("select", below, rows, Index(linear(2)), width=64)
            if other and (place, lane) == (2, 1):
                rows = Index(linear(4))
            count = op("itof", op("imul", rows, Index(linear(across)), width=64))
            cell = first + here * sizes[1]
            k.store("y", cell, op("fdiv", k.load("sums", cell), count), [channel, four])
    attributes = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 0}
    source = network([("AveragePool", ["x"], "y", attributes)], {"x": (1, channels, *sizes)}, {},
                     ["y"])  # fmt: skip
    if not other:
        assert operators(recovered(k.program(), source)) == ["AveragePool"]
        return
    recovery = recover_program(k.program())
    assert recovery.unmatched == () and recovery.graph is not None
    assert "Div" in operators(recovery)
    found, wanted = (g.evaluate({g.inputs[0]: np.ones((1, channels, *sizes), np.float32)})
                     for g in (recovery.graph, source))  # fmt: skip
    ratio = found[recovery.graph.outputs[0]].reshape(-1) / wanted["y"].reshape(-1)
    odd = {(r * sizes[1] + 2) for r in (2, 6)}
    np.testing.assert_allclose(
        ratio, [0.75 if k % prod(sizes) in odd else 1 for k in range(ratio.size)], rtol=1e-6
    )
