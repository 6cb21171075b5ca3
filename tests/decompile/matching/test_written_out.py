"""Loops that a compiler wrote out, peeled or split, in nests of their own, must come back whole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile._recovery import recover_program
from orrery.decompile.forms import Constant, Index, Linear, Symbol, Value, linear
from orrery.decompile.matching._integers import lattice

from .judging import operators, recovered, same_numbers
from .kernels import Kernels, between, network, number, op, row_major


def cut(draw: np.random.Generator, size: int, *, most: int) -> list[range]:
    """Return an axis in parts, each a stretch."""
    count = int(draw.integers(0, min(most, size)))
    inner = np.sort(draw.choice(np.arange(1, size), count, replace=False)).tolist()
    return [range(a, b) for a, b in pairwise([0, *inner, size])]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_convolution_in_pieces(seed: int) -> None:
    """Channels written out, rows and columns peeled, sums added to afterwards in other pieces."""
    draw = np.random.default_rng(seed)
    inside, made, sizes, window = 2, int(draw.integers(2, 5)), (6, 7), (int(draw.integers(1, 4)), 2)
    counts = tuple(n - w + 1 for n, w in zip(sizes, window, strict=True))
    w = draw.standard_normal((made, inside, *window)).astype(np.float32)
    b = draw.standard_normal(made).astype(np.float32)
    k = Kernels()
    k.input("x", (1, inside, *sizes))
    k.constant("w", w)
    k.constant("b", b)
    k.output("y", made * prod(counts))

    def nests(most: int) -> list[tuple[range, ...]]:
        channels = [range(c, c + 1) for c in range(made)]
        if draw.integers(2):
            channels = [range(made)]
        parts = list(product(channels, cut(draw, counts[0], most=most),
                             cut(draw, counts[1], most=most)))  # fmt: skip
        return [parts[n] for n in draw.permutation(len(parts))]

    def walked(part: tuple[range, ...]) -> tuple[list[Linear], list]:  # type: ignore[type-arg]
        loops = [k.counter(len(r)) for r in part]
        return [linear(r[0], {s: 1}) for r, s in zip(part, loops, strict=True)], loops

    for part in nests(2):
        (c, row, column), loops = walked(part)
        i, ky, kx = k.counters((inside, *window))
        data = row_major(
            [linear(0, {i: 1}), row + linear(0, {ky: 1}), column + linear(0, {kx: 1})],
            (inside, *sizes),
        )
        weight = row_major([c, linear(0, {i: 1}), linear(0, {ky: 1}), linear(0, {kx: 1})], w.shape)
        sides = [k.load("x", data), k.load("w", weight)]
        body = op("fmul", *(sides if draw.integers(2) else sides[::-1]))
        k.store("y", row_major([c, row, column], (made, *counts)),
                k.sum([i, ky, kx], body, number(0)), loops)  # fmt: skip
    for part in nests(1):
        (c, row, column), loops = walked(part)
        at = row_major([c, row, column], (made, *counts))
        both: list[Value] = [k.load("y", at), k.load("b", c)]
        k.store("y", at, op("fadd", *(both if draw.integers(2) else both[::-1])), loops)
    source = network(
        [("Conv", ["x", "w", "b"], "y", {})], {"x": (1, inside, *sizes)}, {"w": w, "b": b}, ["y"]
    )
    recovery = recovered(k.program(), source, seed=seed)
    assert [kind for kind in operators(recovery) if kind != "Reshape"] == ["Conv"]


@settings(max_examples=16, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_turns_of_a_window_each_under_bounds_of_its_own(seed: int) -> None:
    """Written out, a turn is not asked what always holds for it: at the border, or never."""
    draw = np.random.default_rng(seed)
    made, sizes, window = 3, (6, 7), tuple(int(n) for n in draw.integers(2, 6, 2))
    stride = int(draw.integers(1, 3))
    pads = [int(draw.integers(0, n)) for n in window]
    rows = bool(draw.integers(2))  # whether rows are written out as well
    counts = [(n + 2 * p - w) // stride + 1 for n, p, w in zip(sizes, pads, window, strict=True)]
    w = draw.standard_normal((made, 1, *window)).astype(np.float32)
    b = draw.standard_normal(made).astype(np.float32)
    k = Kernels()
    k.input("x", (1, 1, *sizes))
    k.constant("w", w)
    k.constant("b", b)
    k.output("y", made * prod(counts))
    c, *place = k.counters((made, *counts))
    ky = k.counter(window[0])

    def bounds(axis: int, turn: int) -> list[Value]:
        first = -(-(pads[axis] - turn) // stride)
        end = -(-(sizes[axis] + pads[axis] - turn) // stride)
        at = Index(linear(0, {place[axis]: 1}))
        low = op("ile", Constant(first, 64), at, width=1)
        if first == 1 and draw.integers(2):
            low = op("inot", op("ieq", at, Constant(0, 64), width=1), width=1)
        high = op("inot", op("ile", Constant(end, 64), at, width=1), width=1)
        return [*([low] if first > 0 else []), *([high] if end < counts[axis] else [])]

    value: Value = k.load("b", linear(0, {c: 1}))
    turns = list(product(range(window[0]) if rows else [ky], range(window[1])))
    body: Value | None = None
    for row, column in turns:
        step = linear(row) if isinstance(row, int) else linear(0, {row: 1})
        at = linear(-pads[0], {place[0]: stride}) + step
        if isinstance(row, int):
            held = bounds(0, row)
        else:
            held = [between(at, sizes[0], unsigned=bool(draw.integers(2)))]
        held += bounds(1, column)
        data = row_major([at, linear(column - pads[1], {place[1]: stride})], sizes)
        weight = row_major([Linear(0, ((c, 1),)), step, Linear(column)], (made, *window))
        part: Value = op("fmul", k.load("x", data), k.load("w", weight))
        if held:
            condition = held[0] if len(held) == 1 else op("iand", *held, width=1)
            part = op("select", condition, part, number(-0.0))
        if rows:
            value = op("fadd", value, part)
        else:
            body = part if body is None else op("fadd", body, part)
    if body is not None:
        value = k.sum([ky], body, value)
    k.store("y", row_major([c, *place], (made, *counts)), value, [c, *place])
    given_ = {"pads": [*pads, *pads], "strides": [stride] * 2}
    source = network(
        [("Conv", ["x", "w", "b"], "y", given_)], {"x": (1, 1, *sizes)}, {"w": w, "b": b}, ["y"]
    )
    recovered(k.program(), source, seed=seed)


@pytest.mark.parametrize("order", [range(6), (5, 0, 3, 1, 4, 2)])
def test_numbers_written_out_are_a_table(order: Iterable[int]) -> None:
    """A bias in the code, each number in a store of its own."""
    draw = np.random.default_rng(2)
    w, b = (draw.standard_normal(shape).astype(np.float32) for shape in ((6, 8), 6))
    k = Kernels()
    k.input("x", (1, 8))
    k.constant("w", w)
    k.output("y", 6)
    for row in order:
        i = k.counter(8)
        both = op("fmul", k.load("x", linear(0, {i: 1})), k.load("w", linear(8 * row, {i: 1})))
        value = op("fadd", k.sum([i], both, number(0)), number(b[row]))
        k.store("y", linear(row), op("max_x86", value, number(0)), [])
    source = network(
        [("Gemm", ["x", "w", "b"], "h", {"transB": 1}), ("Relu", ["h"], "y", {})],
        {"x": (1, 8)}, {"w": w, "b": b}, ["y"],
    )  # fmt: skip
    assert operators(recovered(k.program(), source)) == ["Gemm", "Relu"]


def test_filters_written_out_are_no_table() -> None:
    """Numbers that what was read is multiplied with: a transform of a codec has such."""
    k = Kernels()
    k.input("x", (1, 8))
    k.output("y", 8)
    for row in range(8):
        value: Value = number(0)
        for i in range(8):
            value = op("fadd", value, op("fmul", k.load("x", linear(i)), number(row * i + 0.5)))
        k.store("y", linear(row), value, [])
    recovery = recover_program(k.program())
    found = [] if recovery.graph is None else operators(recovery)
    assert not {"Gemm", "MatMul", "Conv"} & set(found)


def test_nests_that_need_their_order_are_left_in_it() -> None:
    """The second half reads what the first has stored; together they would read too early."""
    k = Kernels()
    k.input("x", (8,))
    k.output("y", 8)
    i, j = k.counters((4, 4))
    k.store("y", linear(0, {i: 1}), op("fneg", k.load("x", linear(0, {i: 1}))), [i])
    k.store("y", linear(4, {j: 1}), op("fneg", k.load("y", linear(0, {j: 1}))), [j])
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    source = network(
        [("Slice", ["x", "zero", "four"], "h", {}), ("Neg", ["h"], "n", {}),
         ("Concat", ["n", "h"], "y", {"axis": 0})],
        {"x": (8,)}, {"zero": np.array([0]), "four": np.array([4])}, ["y"],
    )  # fmt: skip
    same_numbers(recovery.graph, source)


def test_a_loop_with_its_bounds_in_two_guards() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i, j = k.counters((20, 20))
    k.store("y", linear(0, {j: 1}), number(0), [j])
    low = op("ile", Constant(0, 64), Index(linear(-3, {i: 1})), width=1)
    high = op("ilt", Index(linear(-3, {i: 1})), Constant(9, 64), width=1)
    inside = linear(0, {i: 1})
    k.store("y", inside, op("fneg", k.load("x", inside)), [i], guards=[low, high])
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    x = np.arange(1, 21, dtype=np.float32)
    wanted = np.where((np.arange(20) >= 3) & (np.arange(20) < 12), -x, 0)
    have = recovery.graph.evaluate({recovery.graph.inputs[0]: x})
    np.testing.assert_array_equal(have[recovery.graph.outputs[0]].reshape(-1), wanted)


@pytest.mark.parametrize("turned", [False, True])
def test_a_choice_by_two_masks(turned: bool) -> None:
    """``(0 < x ? 0 : 0.2 x) | max(x, 0)``, as vector code without a blend has it."""
    k = Kernels()
    k.input("x", (1, 3, 4))
    k.output("y", 12)
    i = k.counter(12)
    at = linear(0, {i: 1})
    x = k.load("x", at)
    positive = op("flt", number(0), x, width=1)
    small = op("select", positive, Index(Linear(0), 32), op("fmul", number(0.2), x))
    sides = [small, op("max_x86", x, number(0))]
    k.store("y", at, op("ior", *(sides[::-1] if turned else sides)), [i])
    source = network([("LeakyRelu", ["x"], "y", {"alpha": 0.2})], {"x": (1, 3, 4)}, {}, ["y"])
    assert operators(recovered(k.program(), source)) == ["LeakyRelu"]


def test_masks_that_overlap_are_no_choice() -> None:
    k = Kernels()
    k.input("x", (12,))
    k.output("y", 12)
    i = k.counter(12)
    x = k.load("x", linear(0, {i: 1}))
    positive = op("flt", number(1), x, width=1)
    small = op("select", positive, Index(Linear(0), 32), op("fmul", number(0.2), x))
    k.store("y", linear(0, {i: 1}), op("ior", small, op("max_x86", x, number(0))), [i])
    recovery = recover_program(k.program())
    assert any("ior" in u.reason for u in recovery.unmatched)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_loops_of_points(seed: int) -> None:
    """Points are walked by loops exactly where some loops walk through them."""
    draw = np.random.default_rng(seed)
    rank = int(draw.integers(1, 4))
    turns = draw.integers(1, 5, rank)
    steps = draw.integers(-20, 20, (rank, 2))
    grid = np.indices(tuple(turns)).reshape(rank, -1).T
    points = grid @ steps + draw.integers(-9, 9, 2)
    if len(np.unique(points, axis=0)) < len(points):
        return
    found = lattice(points)
    if found is not None:
        again = [()] if not found else list(product(*(range(n) for n, _ in found)))
        walked = [points[0] + sum((np.array(s) * t for t, (_, s) in zip(at, found, strict=True)),
                                  np.zeros(2, np.int64)) for at in again]  # fmt: skip
        np.testing.assert_array_equal(walked, points)
    if rank == 1:
        assert found is not None
    far = np.array([[7919, 1], [7920, 5]])
    odd = np.concatenate([points, points[-1:] + far])
    if len(points) > 2:
        assert lattice(odd) is None


def test_a_softmax_over_the_lanes_that_are_inside() -> None:
    """Twenty numbers, eight at a time: the last turn has four, what lies beyond them is nothing."""
    k = Kernels()
    k.input("x", (3, 20))
    k.output("y", 60)

    def inside(value: Value, nothing: float, at: Linear) -> Value:
        return op("select", op("ilt", Index(at), Constant(20, 64), width=1), value, number(nothing))

    def reduced(kind: str, row: Symbol, most: Value | None, nothing: float) -> Value:
        turn, lane = k.counters((3, 8))
        at = linear(0, {turn: 8, lane: 1})
        value: Value = k.load("x", linear(0, {row: 20}) + at)
        if most is not None:
            value = op("call:expf", op("fsub", value, most))
        return k.sum([turn, lane], inside(value, nothing, at), number(nothing), kind)

    row, i = k.counters((3, 20))
    most = reduced("fmax", row, None, -np.inf)
    at = linear(0, {row: 20, i: 1})
    above = op("call:expf", op("fsub", k.load("x", at), most))
    k.store("y", at, op("fdiv", above, reduced("fadd", row, most, 0)), [row, i])
    source = network([("Softmax", ["x"], "y", {"axis": 1})], {"x": (3, 20)}, {}, ["y"])
    assert operators(recovered(k.program(), source)) == ["Softmax"]
