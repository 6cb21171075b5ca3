"""Whole networks from an entry that calls kernels, and from a container's list of calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from orrery.decompile._recovery import recover_program
from orrery.decompile.containers import Kernel, KernelCall, Place, Sequence
from orrery.decompile.forms import (
    Buffer,
    Call,
    Index,
    Invocation,
    Linear,
    Program,
    Routine,
    Symbol,
    View,
    linear,
)
from orrery.decompile.topology import differences, program_of_calls, program_of_routines
from orrery.graph import Graph

from ..matching.judging import recovered, same_numbers
from ..matching.kernels import Kernels, between, network, number, op, row_major


def kernel(k: Kernels, address: int, *arguments: str) -> Routine:
    """Return the stores put down so far as a function of its arguments."""
    steps = tuple(replace(s, instruction=address + 4 * n) for n, s in enumerate(k.steps))
    return Routine(
        address=address, arguments=tuple(Symbol(a, "argument") for a in arguments), steps=steps
    )


def convolution() -> Routine:
    k = Kernels()
    m, y, x, c, a, b = k.counters((4, 6, 6, 3, 3, 3))
    read = row_major([c, linear(0, {y: 1, a: 1}), linear(0, {x: 1, b: 1})], (3, 8, 8))
    body = op("fmul", k.load("x", read), k.load("w", row_major([m, c, a, b], (4, 3, 3, 3))))
    value = k.sum([c, a, b], body, k.load("b", linear(0, {m: 1})))
    k.store("y", row_major([m, y, x], (4, 6, 6)), value, [m, y, x])
    return kernel(k, 0x2000, "x", "w", "b", "y")


def relu(size: int) -> Routine:
    k = Kernels()
    i = k.counter(size)
    at = linear(0, {i: 1})
    k.store("y", at, op("fmax", k.load("x", at), number(0)), [i])
    return kernel(k, 0x3000, "x", "y")


def product(width: int, made: int) -> Routine:
    k = Kernels()
    n, j = k.counters((made, width))
    body = op("fmul", k.load("x", linear(0, {j: 1})), k.load("w", row_major([n, j], (made, width))))
    k.store("y", linear(0, {n: 1}), k.sum([j], body, number(0)), [n])
    return kernel(k, 0x4000, "x", "w", "y")


DRAW = np.random.default_rng(8)
W, B = (DRAW.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (4,)))
V = DRAW.standard_normal((5, 144)).astype(np.float32)


def source() -> Graph:
    nodes: list[Any] = [
        ("Conv", ["x", "w", "b"], "c", {}), ("Relu", ["c"], "r", {}),
        ("Flatten", ["r"], "f", {}), ("Gemm", ["f", "v"], "y", {"transB": 1}),
    ]  # fmt: skip
    return network(nodes, {"x": (1, 3, 8, 8)}, {"w": W, "b": B, "v": V}, ["y"])


def test_an_entry_that_calls_kernels_on_the_same_buffer() -> None:
    """Globals of the binary hold weights and one buffer; Relu works in place in it."""
    weights, scratch = 0x8000, 0x20000
    data = W.tobytes() + B.tobytes() + V.tobytes()

    def pointer(address: int) -> Index:
        return Index(Linear(address))

    given, made = Symbol("in", "argument"), Symbol("out", "argument")
    inside, outside = Index(linear(0, {given: 1})), Index(linear(0, {made: 1}))
    after = weights + W.nbytes
    entry = Routine(
        address=0x1000, arguments=(given, made),
        steps=(
            Call(target=0x2000, arguments=(inside, pointer(weights), pointer(after),
                                           pointer(scratch))),
            Call(target=0x3000, arguments=(pointer(scratch), pointer(scratch))),
            Call(target=0x4000, arguments=(pointer(scratch), pointer(after + B.nbytes), outside)),
        ),
    )  # fmt: skip
    routines = {r.address: r for r in (convolution(), relu(144), product(144, 5))}
    program = program_of_routines(entry, routines)
    assert (program.inputs, program.outputs) == (("in",), ("out",))
    buffers = {
        **program.buffers,
        "image@0x8000": Buffer(name="image@0x8000", role="constant", data=data, origin=".rodata",
                               size_bytes=len(data)),
    }  # fmt: skip
    recovery = recover_program(replace(program, buffers=buffers), routines)
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    assert differences(recovery.graph, source()) == ()
    same_numbers(recovery.graph, source())
    origins = {w.tensor: w.origin for w in recovery.weights}
    assert origins["conv_0.weight"].startswith(".rodata+0x0")
    assert origins["conv_0.bias"].startswith(f".rodata+{W.nbytes:#x}")
    (found,) = [n for n in recovery.nodes if n.operator == "Relu"]
    assert found.address == 0x3000


def test_a_list_of_calls_on_reused_buffers() -> None:
    buffers = {
        "x": Buffer(name="x", role="input", shape=(1, 3, 8, 8), size_bytes=768),
        "y": Buffer(name="y", role="output", shape=(1, 5), size_bytes=20),
        "pool": Buffer(name="pool", role="temporary", size_bytes=2048),
        "w": Buffer(
            name="w", role="constant", data=W.tobytes(), shape=W.shape, size_bytes=W.nbytes
        ),
        "b": Buffer(name="b", role="constant", data=B.tobytes(), shape=B.shape, size_bytes=16),
        "v": Buffer(
            name="v", role="constant", data=V.tobytes(), shape=V.shape, size_bytes=V.nbytes
        ),
    }

    def call(number_: int, *places: Place) -> KernelCall:
        return KernelCall(kernel=Kernel(name="", number=number_), arguments=places)

    one, two = Place(buffer="pool"), Place(buffer="pool", offset=1024)
    sequence = Sequence(
        entry="main", buffers=buffers, inputs=("x",), outputs=("y",),
        calls=(
            call(0, Place(buffer="x"), Place(buffer="w"), Place(buffer="b"), one),
            call(1, one, two), call(2, two, Place(buffer="v"), Place(buffer="y")),
        ),
    )  # fmt: skip
    made = (convolution(), relu(144), product(144, 5))
    kernels = {one.key: routine for one, routine in zip(sequence.calls, made, strict=True)}
    recovery = recover_program(program_of_calls(sequence, kernels))
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    assert differences(recovery.graph, source()) == ()


def test_a_kernel_that_is_missing_leaves_the_rest() -> None:
    buffers = {
        "x": Buffer(name="x", role="input", shape=(144,), size_bytes=576),
        "t": Buffer(name="t", role="temporary", size_bytes=576),
        "y": Buffer(name="y", role="output", size_bytes=20),
    }
    sequence = Sequence(
        entry="main", buffers=buffers, inputs=("x",), outputs=("y",),
        calls=(
            KernelCall(kernel=Kernel(name="", number=1),
                       arguments=(Place(buffer="x"), Place(buffer="t"))),
            KernelCall(kernel=Kernel(name="mystery", number=7),
                       arguments=(Place(buffer="t"), Place(buffer="y"))),
        ),
    )  # fmt: skip
    recovery = recover_program(program_of_calls(sequence, {sequence.calls[0].key: relu(144)}))
    assert any("mystery, which was not read" in u.reason for u in recovery.unmatched)
    assert recovery.graph is not None
    assert [n.op for n in recovery.graph.nodes] == ["Relu"]
    assert any("output y" in u.reason for u in recovery.unmatched)


def test_a_kernel_that_is_missing_is_not_bridged() -> None:
    """Its result lies where an older one lay, which the next kernel must not get."""
    buffers = {
        "x": Buffer(name="x", role="input", shape=(144,), size_bytes=576),
        "s": Buffer(name="s", role="temporary", size_bytes=576),
        "t": Buffer(name="t", role="temporary", size_bytes=576),
        "y": Buffer(name="y", role="output", size_bytes=576),
    }

    def call(number_: int, *names: str) -> KernelCall:
        return KernelCall(kernel=Kernel(name="", number=number_),
                          arguments=tuple(Place(buffer=name) for name in names))  # fmt: skip

    sequence = Sequence(
        entry="main", buffers=buffers, inputs=("x",), outputs=("y",),
        calls=(call(1, "x", "s"), call(1, "s", "t"), call(7, "t", "s"), call(1, "s", "y")),
    )  # fmt: skip
    recovery = recover_program(program_of_calls(sequence, {sequence.calls[0].key: relu(144)}))
    assert any("number 7, which was not read" in u.reason for u in recovery.unmatched)
    assert recovery.graph is None or "y" not in recovery.graph.outputs
    doubtful = replace(sequence, calls=(call(1, "x", "y"),), doubts=("a branch",))
    recovery = recover_program(program_of_calls(doubtful, {sequence.calls[0].key: relu(144)}))
    assert [u.reason for u in recovery.unmatched] == ["a branch"]


def test_weights_that_are_elsewhere_are_absent_and_the_graph_stands() -> None:
    names = ("x", "w", "y")
    buffers = {
        "x": Buffer(name="x", role="input", shape=(1, 144), size_bytes=576),
        "w": Buffer(name="w", role="constant", shape=(5, 144), size_bytes=V.nbytes),
        "y": Buffer(name="y", role="output", size_bytes=20),
    }
    bindings = {Symbol(n, "argument"): View(buffer=n) for n in names}
    program = Program(
        buffers=buffers, inputs=("x",), outputs=("y",),
        invocations=(Invocation(routine=product(144, 5), bindings=bindings),),
    )  # fmt: skip
    recovery = recover_program(program)
    assert recovery.graph is not None
    assert [n.op for n in recovery.graph.nodes] == ["Gemm"]
    assert [(w.tensor, w.present) for w in recovery.weights] == [("w", False)]
    assert recovery.graph.inputs == ("x", "w")


def test_tensors_side_by_side_in_one_memory() -> None:
    """An arena: padding reaches over the border of a tensor, and a sum adds two neighbours."""
    w = DRAW.standard_normal((2, 2, 3, 3)).astype(np.float32)
    k = Kernels()
    k.input("x", (1, 2, 5, 5))
    k.constant("w", w)
    k.memory("arena", 100)
    k.output("y", 50)
    i, j = k.counter(50), k.counter(50)
    k.store("arena", linear(0, {i: 1}), op("fmax", k.load("x", linear(0, {i: 1})), number(0)), [i])
    m, y, x, c, a, b = k.counters((2, 5, 5, 2, 3, 3))
    row, column = linear(-1, {y: 1, a: 1}), linear(-1, {x: 1, b: 1})
    body: Any = op("fmul", k.load("arena", row_major([c, row, column], (2, 5, 5))),
                   k.load("w", row_major([m, c, a, b], w.shape)))  # fmt: skip
    for form in (row, column):
        body = op("select", between(form, 5), body, number(-0.0))
    target = row_major([m, y, x], (2, 5, 5))
    k.store("arena", target + 50, k.sum([c, a, b], body, number(0)), [m, y, x])
    at = linear(0, {j: 1})
    k.store("y", at, op("fadd", k.load("arena", at), k.load("arena", at + 50)), [j])
    nodes: list[Any] = [
        ("Relu", ["x"], "r", {}), ("Conv", ["r", "w"], "c", {"pads": (1, 1, 1, 1)}),
        ("Add", ["r", "c"], "y", {}),
    ]  # fmt: skip
    recovered(k.program(), network(nodes, {"x": (1, 2, 5, 5)}, {"w": w}, ["y"]))
