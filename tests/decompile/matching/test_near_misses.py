"""What looks like an operator and is none must not be taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.decompile._recovery import Recovery, recover_program
from orrery.decompile.forms import Call, Routine, Symbol, Value, linear

from .kernels import Kernels, between, number, op, row_major


def refused(k: Kernels) -> Recovery:
    """Insist that the output is not recovered and that the reason stands at its address."""
    recovery = recover_program(k.program())
    assert recovery.unmatched
    assert any(u.address >= 0x1000 for u in recovery.unmatched)
    assert all(u.reason for u in recovery.unmatched)
    if recovery.graph is not None:  # what was understood on the way; never the output
        assert set(recovery.graph.outputs).isdisjoint(k.outputs)
    return recovery


def rows(k: Kernels) -> tuple[Symbol, Symbol]:
    k.input("x", (3, 10))
    k.output("y", 30)
    r, i = k.counters((3, 10))
    return r, i


def test_stencil_that_reads_what_it_stores() -> None:
    k = Kernels()
    k.output("y", 32)
    k.input("x", (32,))
    i, j = k.counter(32), k.counter(30)
    k.store("y", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    left, right = k.load("y", linear(0, {j: 1})), k.load("y", linear(2, {j: 1}))
    k.store("y", linear(1, {j: 1}), op("fmul", op("fadd", left, right), number(0.5)), [j])
    refused(k)


@pytest.mark.parametrize("divisor", [0.0, -0.0])
def test_a_division_by_nothing(divisor: float) -> None:
    """No network does that: a constant of the code was lost on the way."""
    k = Kernels()
    r, i = rows(k)
    quotient = op("fdiv", k.load("x", row_major([r, i], (3, 10))), number(divisor))
    k.store("y", row_major([r, i], (3, 10)), quotient, [r, i])
    assert any("constant 0" in u.reason for u in refused(k).unmatched)


def test_product_with_an_index_that_is_squared() -> None:
    k = Kernels()
    k.input("x", (1, 100))
    k.constant("w", np.ones((4, 10), np.float32))
    k.output("y", 4)
    n, j = k.counters((4, 10))
    square = op("imul", _index(j), _index(j), width=64)
    address = k.at("x", linear(0, {square: 1}))
    from orrery.decompile.forms import Load

    body = op("fmul", Load(address, 32), k.load("w", row_major([n, j], (4, 10))))
    k.store("y", linear(0, {n: 1}), k.sum([j], body, number(0)), [n])
    refused(k)


def _index(symbol: Symbol) -> Value:
    from orrery.decompile.forms import Index

    return Index(linear(0, {symbol: 1}))


def test_softmax_without_the_sum() -> None:
    k = Kernels()
    r, i = rows(k)
    m = k.counter(10)
    most = k.sum([m], k.load("x", row_major([r, m], (3, 10))), number(-np.inf), "fmax")
    at = row_major([r, i], (3, 10))
    k.store("y", at, op("call:expf", op("fsub", k.load("x", at), most)), [r, i])
    recovery = recover_program(k.program())
    assert recovery.graph is not None
    assert [n.op for n in recovery.graph.nodes] == ["ReduceMax", "Sub", "Exp"]


def test_softmax_with_the_sum_of_another_axis() -> None:
    k = Kernels()
    r, i = rows(k)
    j = k.counter(3)
    at = row_major([r, i], (3, 10))
    other = k.sum([j], op("call:expf", k.load("x", row_major([j, i], (3, 10)))), number(0))
    k.store("y", at, op("fdiv", op("call:expf", k.load("x", at)), other), [r, i])
    recovery = recover_program(k.program())
    assert recovery.graph is not None
    (softmax,) = [n for n in recovery.graph.nodes if n.op == "Softmax"]
    assert softmax.attributes["axis"] == 0


@pytest.mark.parametrize("shift", [0.7, 0.71])
def test_gelu_of_another_constant(shift: float) -> None:
    k = Kernels()
    k.input("x", (40,))
    k.output("y", 40)
    i = k.counter(40)
    x = k.load("x", linear(0, {i: 1}))
    inside = op("call:erff", op("fmul", x, number(shift)))
    value = op("fmul", op("fmul", number(0.5), x), op("fadd", inside, number(1)))
    k.store("y", linear(0, {i: 1}), value, [i])
    recovery = recover_program(k.program())
    assert recovery.graph is not None
    assert "Gelu" not in [n.op for n in recovery.graph.nodes]
    assert "Erf" in [n.op for n in recovery.graph.nodes]


def test_normalisation_with_another_mean() -> None:
    """The variance is taken around the mean of something else: no layer's normalisation."""
    k = Kernels()
    r, i = rows(k)
    j, m = k.counters((10, 10))
    k.input("z", (3, 10))

    def mean(name: str, c: Symbol) -> Value:
        return op("fmul", k.sum([c], k.load(name, row_major([r, c], (3, 10))), number(0)),
                  number(0.1))  # fmt: skip

    off = op("fsub", k.load("x", row_major([r, j], (3, 10))), mean("z", m))
    spread = op("fmul", k.sum([j], op("fmul", off, off), number(0)), number(0.1))
    top = op("fsub", k.load("x", row_major([r, i], (3, 10))), mean("x", k.counter(10)))
    value = op("fdiv", top, op("fsqrt", op("fadd", spread, number(1e-5))))
    k.store("y", row_major([r, i], (3, 10)), value, [r, i])
    recovery = recover_program(k.program())
    assert recovery.graph is not None
    assert "LayerNormalization" not in [n.op for n in recovery.graph.nodes]


def test_average_divided_by_another_number() -> None:
    k = Kernels()
    k.input("x", (1, 2, 6, 6))
    k.output("y", 2 * 3 * 3)
    c, y, x, a, b = k.counters((2, 3, 3, 2, 2))
    body = k.load("x", row_major([c, linear(0, {y: 2, a: 1}), linear(0, {x: 2, b: 1})], (2, 6, 6)))
    k.store("y", row_major([c, y, x], (2, 3, 3)),
            op("fmul", k.sum([a, b], body, number(0)), number(0.2)), [c, y, x])  # fmt: skip
    recovery = recover_program(k.program())
    assert recovery.graph is not None
    # A mean of four, times four fifths: said as it is, not as a mean.
    assert "Mul" in [n.op for n in recovery.graph.nodes]
    given = np.random.default_rng(0).standard_normal((1, 2, 6, 6)).astype(np.float32)
    want = given.reshape(2, 3, 2, 3, 2).sum((2, 4)) * np.float32(0.2)
    have = recovery.graph.evaluate({"x": given.reshape(recovery.graph.type("x").sizes)})
    np.testing.assert_allclose(have["y"].reshape(want.shape), want, rtol=1e-5)


def test_a_row_that_reads_what_the_next_turn_writes() -> None:
    k = Kernels()
    r, i = rows(k)
    k.memory("scratch", 10)
    j = k.counter(10)
    at = row_major([r, i], (3, 10))
    k.store("scratch", linear(0, {i: 1}), op("call:expf", k.load("x", at)), [r, i])
    total = k.sum([j], k.load("scratch", linear(0, {j: 1})), number(0))
    k.store("y", at, op("fdiv", k.load("scratch", linear(0, {i: 1})), total), [r, i])
    refused(k)


def test_guard_with_alternatives() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i = k.counter(20)
    inside = op("ior", between(linear(0, {i: 1}), 3), between(linear(-9, {i: 1}), 5), width=1)
    value = op("select", inside, op("fneg", k.load("x", linear(0, {i: 1}))), number(0))
    k.store("y", linear(0, {i: 1}), value, [i])
    refused(k)


def test_memory_that_nothing_wrote() -> None:
    k = Kernels()
    k.memory("t", 8)
    k.output("y", 8)
    i = k.counter(8)
    k.store("y", linear(0, {i: 1}), k.load("t", linear(0, {i: 1})), [i])
    recovery = refused(k)
    assert any("nothing wrote" in u.reason for u in recovery.unmatched)


def test_calls_of_others_are_listed() -> None:
    k = Kernels()
    k.input("x", (8,))
    k.output("y", 8)
    i = k.counter(8)
    k.store("y", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    program = k.program()
    (invocation,) = program.invocations
    from dataclasses import replace

    routine: Routine = replace(
        invocation.routine,
        steps=(*invocation.routine.steps,
               Call(target="cblas_sgemm", arguments=(), instruction=0x2000)),
    )  # fmt: skip
    program = replace(program, invocations=(replace(invocation, routine=routine),))
    recovery = recover_program(program)
    assert [(u.address, "cblas_sgemm" in u.reason) for u in recovery.unmatched] == [(0x2000, True)]
