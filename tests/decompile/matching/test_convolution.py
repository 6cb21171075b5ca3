"""Convolutions of random attributes, written in many ways, must come back as they were."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.forms import Linear, Store, Symbol, linear
from orrery.graph import Graph

from .judging import operators, recovered
from .kernels import Kernels, between, fused, network, number, op, row_major, tiled, unrolled


@dataclass
class Convolution:
    """Attributes of a convolution and how it is written."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    group: int = 1
    inside: int = 2  # channels of a group
    made: int = 2  # results of a group
    bias: bool = True
    layout: str = "nchw"
    padded: str = "guard"  # or copy
    kept: str = "register"  # or memory
    relu: bool = True
    known: bool = False  # whether the input's shape is given

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(
            (n + b + a - (k - 1) * d - 1) // s + 1
            for n, b, a, k, d, s in zip(
                self.sizes, self.before, self.after, self.kernel, self.dilations, self.strides,
                strict=True,
            )
        )  # fmt: skip

    def weights(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng(seed)
        shape = (self.group * self.made, self.inside, *self.kernel)
        return (draw.standard_normal(shape).astype(np.float32),
                draw.standard_normal(shape[0]).astype(np.float32))  # fmt: skip

    def source(self) -> Graph:
        w, b = self.weights()
        nodes: list[Any] = [(
            "Conv", ["x", "w", "b"] if self.bias else ["x", "w"], "y",
            {"strides": self.strides, "dilations": self.dilations, "group": self.group,
             "pads": (*self.before, *self.after), "kernel_shape": self.kernel},
        )]  # fmt: skip
        if self.relu:
            nodes.append(("Relu", ["y"], "z", {}))
        shape = (1, self.group * self.inside, *self.sizes)
        if self.layout == "nhwc":
            rank = len(shape)
            back = (0, *range(2, rank), 1)
            nodes.insert(
                0, ("Transpose", ["in"], "x", {"perm": (0, rank - 1, *range(1, rank - 1))})
            )
            nodes.append(("Transpose", [nodes[-1][2]], "out", {"perm": back}))
            shape = (1, *self.sizes, shape[1])
        return network(
            nodes, {"in" if self.layout == "nhwc" else "x": shape},
            {"w": w, "b": b} if self.bias else {"w": w}, [nodes[-1][2]],
        )  # fmt: skip

    def written(self) -> Kernels:
        """Put the convolution down as loops."""
        k = Kernels()
        w, b = self.weights()
        channels = self.group * self.inside
        shape = (1, channels, *self.sizes) if self.layout == "nchw" else (1, *self.sizes, channels)
        k.input("x", shape if self.known else None, size=prod(shape))
        k.constant("w", w)
        k.constant("b", b)
        results = self.group * self.made
        k.output("y", results * prod(self.counts))
        g, m, c = k.counters((self.group, self.made, self.inside))
        places, window = k.counters(self.counts), k.counters(self.kernel)
        at = [
            linear(-p, {o: s, i: d}) for p, o, s, i, d in zip(
                self.before, places, self.strides, window, self.dilations, strict=True
            )
        ]  # fmt: skip
        channel = linear(0, {g: self.inside, c: 1})
        result = linear(0, {g: self.made, m: 1})
        data, sizes, guards = "x", self.sizes, []
        if self.padded == "copy" and any((*self.before, *self.after)):
            data, sizes = self._copied(k)
            at = [form + p for form, p in zip(at, self.before, strict=True)]
        else:
            guards = [
                between(form, n, unsigned=place % 2 == 1)
                for place, (form, n, p, q) in enumerate(
                    zip(at, sizes, self.before, self.after, strict=True)
                )
                if p or q
            ]
        read = self._place(channel, at, channels, sizes)
        body = op(
            "fmul", k.load(data, read),
            k.load("w", row_major([result, c, *window], (results, self.inside, *self.kernel))),
        )  # fmt: skip
        for guard in guards:
            body = op("select", guard, body, number(0.0))
        target = self._place(result, [linear(0, {o: 1}) for o in places], results, self.counts)
        start = k.load("b", result) if self.bias else number(0.0)
        loops, inner = [g, m, *places], [c, *window]
        if self.kept == "register":
            value = k.sum(inner, body, start)
            k.store("y", target, op("max_x86", value, number(0.0)) if self.relu else value, loops)
        else:
            k.store("y", target, start, loops)
            k.store("y", target, op("fadd", k.load("y", target), body), [*loops, *inner])
            if self.relu:
                k.store("y", target, op("fmax", number(0.0), k.load("y", target)), loops)
        return k

    def _place(self, channel: Linear, at: list[Linear], channels: int, sizes: Any) -> Linear:
        if self.layout == "nchw":
            return row_major([channel, *at], (channels, *sizes))
        return row_major([*at, channel], (*sizes, channels))

    def _copied(self, k: Kernels) -> tuple[str, tuple[int, ...]]:
        channels = self.group * self.inside
        sizes = tuple(
            n + p + q for n, p, q in zip(self.sizes, self.before, self.after, strict=True)
        )
        k.memory("padded", channels * prod(sizes))
        c, *places = k.counters((channels, *sizes))
        read = [linear(-p, {o: 1}) for o, p in zip(places, self.before, strict=True)]
        value: Any = k.load("x", self._place(linear(0, {c: 1}), read, channels, self.sizes))
        for form, n in zip(read, self.sizes, strict=True):
            value = op("select", between(form, n), value, number(0.0))
        to = [linear(0, {o: 1}) for o in places]
        k.store("padded", self._place(linear(0, {c: 1}), to, channels, sizes), value, [c, *places])
        return "padded", sizes


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel = tuple(draw(st.integers(2, 3)) for _ in range(rank))
    dilations = each(1, 2)
    before = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    after = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    sizes = tuple(
        (k - 1) * d + 2 + draw(st.integers(3, 5)) for k, d in zip(kernel, dilations, strict=True)
    )
    return Convolution(
        sizes=sizes, kernel=kernel, strides=each(1, 2), dilations=dilations, before=before,
        after=after, group=draw(st.sampled_from([1, 1, 3])), inside=draw(st.integers(1, 3)),
        made=draw(st.integers(1, 3)), bias=draw(st.booleans()), relu=draw(st.booleans()),
        layout=draw(st.sampled_from(["nchw", "nhwc"])),
        padded=draw(st.sampled_from(["guard", "copy"])),
        kept=draw(st.sampled_from(["register", "memory"])), known=True,
    )  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions())
def test_random_convolution_comes_back(convolution: Convolution) -> None:
    recovered(convolution.written().program(), convolution.source())


PLAIN = Convolution(
    sizes=(9, 11), kernel=(3, 2), strides=(2, 1), dilations=(1, 2), before=(1, 0), after=(0, 2),
    inside=4, made=6,
)  # fmt: skip


def test_attributes_and_weights_are_exact() -> None:
    recovery = recovered(PLAIN.written().program(), PLAIN.source())
    graph = recovery.graph
    assert graph is not None
    conv = graph.nodes[0]
    assert conv.op == "Conv"
    assert conv.attributes["strides"] == (2, 1)
    assert conv.attributes["dilations"] == (1, 2)
    w, b = PLAIN.weights()
    np.testing.assert_array_equal(graph.constants[conv.inputs[1]].array(), w)
    np.testing.assert_array_equal(graph.constants[conv.inputs[2]].array(), b)
    assert any("axis of 9" in text for text in recovery.nodes[0].evidence)
    assert recovery.weights[0].origin.startswith("w+0x0")


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("inner", [2, 3])
def test_tiled_loops(place: int, inner: int) -> None:
    case = Convolution(
        sizes=(8, 8), kernel=(3, 3), strides=(1, 1), dilations=(1, 1), before=(0, 0),
        after=(0, 0), inside=2, made=6,
    )  # fmt: skip
    k = case.written()
    k.steps = [tiled(step, place, inner) for step in k.steps]
    recovered(k.program(), case.source())


def test_one_loop_taken_apart_by_division() -> None:
    case = Convolution(
        sizes=(8, 7), kernel=(3, 3), strides=(1, 1), dilations=(1, 1), before=(1, 1),
        after=(1, 1), inside=2, made=3, known=True,
    )  # fmt: skip
    k = case.written()
    k.steps = [fused(step) for step in k.steps]
    recovered(k.program(), case.source())


@pytest.mark.parametrize("which", ["first", "last", "all"])
def test_unrolled_window(which: str) -> None:
    case = Convolution(
        sizes=(8, 7), kernel=(3, 2), strides=(1, 2), dilations=(1, 1), before=(0, 0),
        after=(0, 0), inside=2, made=3, known=True,
    )  # fmt: skip
    k = case.written()
    (step,) = k.steps
    inner = _sum_counters(step)
    chosen = {"first": inner[:1], "last": inner[-1:], "all": inner}[which]
    value = step.value
    for counter in chosen:
        value = unrolled(value, counter)
    from dataclasses import replace

    k.steps = [replace(step, value=value)]
    recovered(k.program(), case.source())


def _sum_counters(step: Store) -> list[Symbol]:
    from orrery.decompile.forms import Operation, Reduction

    value: Any = step.value
    found = []
    while isinstance(value, Operation | Reduction):
        if isinstance(value, Reduction):
            found.append(value.counter)
            value = value.body
        elif value.name == "max_x86":
            value = value.inputs[0]
        else:
            break
    return found


def test_shape_of_the_input_need_not_be_known() -> None:
    recovery = recovered(
        Convolution(
            sizes=(9, 11), kernel=(3, 3), strides=(1, 1), dilations=(1, 1), before=(1, 1),
            after=(1, 1),
        ).written().program(),
        Convolution(
            sizes=(9, 11), kernel=(3, 3), strides=(1, 1), dilations=(1, 1), before=(1, 1),
            after=(1, 1),
        ).source(),
    )  # fmt: skip
    assert recovery.graph is not None
    assert recovery.graph.type("x").shape == (1, 2, 9, 11)
    assert operators(recovery) == ["Conv", "Relu"]


def test_packed_channels() -> None:
    """Data as NCHWc, weights as OIHWio, blocks of 2 and 3: the packing is undone."""
    channels, results, block, pack, size = 4, 6, 2, 3, 7
    draw = np.random.default_rng(1)
    w = draw.standard_normal((results, channels, 3, 3)).astype(np.float32)
    laid = w.reshape(results // pack, pack, channels // block, block, 3, 3).transpose(
        0, 2, 4, 5, 3, 1
    )
    k = Kernels()
    k.input("x", (1, channels, size, size))
    k.memory("blocks", channels * size * size)
    k.constant("w", laid)
    k.memory("made", results * 25)
    k.output("y", results * 25)
    co, ci, y, x = k.counters((channels // block, block, size, size))
    k.store(
        "blocks", row_major([co, y, x, ci], (channels // block, size, size, block)),
        k.load("x", row_major([co, ci, y, x], (channels // block, block, size, size))),
        [co, y, x, ci],
    )  # fmt: skip
    oo, oi, oy, ox = k.counters((results // pack, pack, 5, 5))
    io, ii, ky, kx = k.counters((channels // block, block, 3, 3))
    row, column = linear(0, {oy: 1, ky: 1}), linear(0, {ox: 1, kx: 1})
    body = op(
        "fmul",
        k.load("blocks", row_major([io, row, column, ii], (channels // block, size, size, block))),
        k.load("w", row_major([oo, io, ky, kx, ii, oi], laid.shape)),
    )
    k.store(
        "made", row_major([oo, oy, ox, oi], (results // pack, 5, 5, pack)),
        k.sum([io, ky, kx, ii], body, number(0.0)), [oo, oy, ox, oi],
    )  # fmt: skip
    ro, ri, ry, rx = k.counters((results // pack, pack, 5, 5))
    k.store(
        "y", row_major([ro, ri, ry, rx], (results // pack, pack, 5, 5)),
        op("fmax", k.load("made", row_major([ro, ry, rx, ri], (results // pack, 5, 5, pack))),
           number(0.0)),
        [ro, ri, ry, rx],
    )  # fmt: skip
    source = network(
        [("Conv", ["x", "w"], "y", {}), ("Relu", ["y"], "z", {})],
        {"x": (1, channels, size, size)}, {"w": w}, ["z"],
    )  # fmt: skip
    recovery = recovered(k.program(), source)
    assert operators(recovery) == ["Conv", "Relu"]
