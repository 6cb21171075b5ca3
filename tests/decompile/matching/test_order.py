"""Stores whose order decides what comes out, and memory that several names lead to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.decompile._recovery import Recovery, recover_program
from orrery.decompile.forms import (
    Buffer,
    Call,
    Index,
    Invocation,
    Linear,
    Load,
    Loop,
    Program,
    Routine,
    Store,
    Symbol,
    View,
    linear,
)

from .kernels import Kernels, number, op, row_major

SIZE = 8


def answers(recovery: Recovery, **given: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    assert recovery.graph is not None
    found = recovery.graph.evaluate(
        {n: v.reshape(recovery.graph.type(n).sizes) for n, v in given.items()}
    )
    return {name: value.reshape(-1) for name, value in found.items()}


def drawn(size: int = SIZE) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(3).standard_normal(size).astype(np.float32)


def test_the_last_of_two_stores_to_one_place_is_no_guess() -> None:
    """Turn by turn, ``t[i]`` hides what the turn before stored there; one by one, it would not."""
    k = Kernels()
    k.input("x", (SIZE,))
    k.memory("t", SIZE + 1)
    k.output("y", SIZE)
    i, j = k.counters((SIZE, SIZE))
    k.store("t", linear(0, {i: 1}), op("fneg", k.load("x", linear(0, {i: 1}))), [i])
    k.store("t", linear(1, {i: 1}), op("fabs", k.load("x", linear(0, {i: 1}))), [i])
    k.store("y", linear(0, {j: 1}), k.load("t", linear(0, {j: 1})), [j])
    recovery = recover_program(k.program())
    assert any("stores where" in u.reason for u in recovery.unmatched)
    assert recovery.graph is None or "y" not in recovery.graph.outputs


def test_steps_of_unequal_loops_may_meet() -> None:
    """Rows of 5 with every second number stored: a row's last is what the next one reads."""
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i, r, c = k.counters((20, 3, 3))
    k.store("y", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    at = linear(4, {r: 5, c: 2})
    k.store("y", at, op("fneg", k.load("y", at - 1)), [r, c])
    recovery = recover_program(k.program())
    assert any("recurrence" in u.reason for u in recovery.unmatched)


def test_stores_in_turns_over_two_buffers_stay_in_order() -> None:
    """Written out, ``b`` and ``a`` are filled by turns, each from what the other has just got."""
    k = Kernels()
    k.input("x", (SIZE,))
    k.memory("a", SIZE)
    k.memory("b", SIZE)
    k.output("y", SIZE)
    i, j = k.counters((SIZE, SIZE))
    k.store("a", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    for turn in range(4):
        k.store("b", Linear(turn), op("fmul", k.load("a", Linear(turn)), number(2)), [])
        if turn < 3:
            k.store("a", Linear(turn + 1), op("fadd", k.load("b", Linear(turn)), number(3)), [])
    k.store("y", linear(0, {j: 1}), k.load("a", linear(0, {j: 1})), [j])
    recovery = recover_program(k.program())
    x = drawn()
    want = x.copy()
    for turn in range(3):
        want[turn + 1] = want[turn] * 2 + 3
    if recovery.graph is not None and "y" in recovery.graph.outputs:
        np.testing.assert_allclose(answers(recovery, x=x)["y"], want, rtol=1e-6)
    else:
        assert recovery.unmatched


@pytest.mark.parametrize("same", [False, True])
def test_two_arguments_that_lead_to_one_buffer(same: bool) -> None:
    """``t = a[i]; b[i] = t / 2; c[i] = t + 1``: the load is older than the first store."""
    a, b, c = (Symbol(name, "argument") for name in "abc")
    i = Symbol("i", "counter")
    loops = (Loop(counter=i, extent=Linear(SIZE)),)
    kept = Load(linear(0, {a: 1, i: 4}), 32)
    routine = Routine(address=0x2000, arguments=(a, b, c), steps=(
        Store(address=linear(0, {b: 1, i: 4}), value=op("fmul", kept, number(0.5)), width=32,
              loops=loops, instruction=0x2000),
        Store(address=linear(0, {c: 1, i: 4}), value=op("fadd", kept, number(1)), width=32,
              loops=loops, instruction=0x2004),
    ))  # fmt: skip
    names = ("x", "y", "x" if same else "z")
    buffers = {n: Buffer(name=n, role="temporary", size_bytes=4 * SIZE) for n in set(names)}
    buffers["x"] = replace(buffers["x"], role="input", shape=(SIZE,))
    bindings = dict(zip((a, c, b), (View(buffer=n) for n in names), strict=True))
    program = Program(
        buffers=buffers, invocations=(Invocation(routine=routine, bindings=bindings),),
        inputs=("x",), outputs=("y",),
    )  # fmt: skip
    recovery = recover_program(program)
    if same:
        assert any("the same memory" in u.reason for u in recovery.unmatched)
        assert recovery.graph is None or "y" not in recovery.graph.outputs
    else:
        assert recovery.unmatched == ()
        np.testing.assert_allclose(answers(recovery, x=drawn())["y"], drawn() + 1, rtol=1e-6)


@pytest.mark.parametrize("kept", [False, True])
def test_what_the_last_run_left_is_no_constant(kept: bool) -> None:
    """Half of a buffer is read as it stands; where the end of a run stores there, it is state."""
    k = Kernels()
    k.input("x", (SIZE,))
    k.output("y", 2 * SIZE)
    name = "image@0x4000"
    k.buffers[name] = Buffer(name=name, role="temporary", size_bytes=8 * SIZE, data=b"")
    i, j, m = k.counters((SIZE, 2 * SIZE, SIZE))
    base = Linear(0x4000)
    turn = [Loop(counter=n, extent=Linear(k.extents[n])) for n in (i, j, m)]
    k.steps.append(Store(address=base + linear(0, {i: 4}), value=k.load("x", linear(0, {i: 1})),
                         width=32, loops=(turn[0],), instruction=0x1000))  # fmt: skip
    k.store("y", linear(0, {j: 1}), Load(base + linear(0, {j: 4}), 32), [j])
    if kept:
        k.steps.append(Store(
            address=base + linear(4 * SIZE, {m: 4}), value=k.load("x", linear(0, {m: 1})),
            width=32, loops=(turn[2],), instruction=0x3000,
        ))  # fmt: skip
    program = k.program()
    (invocation,) = program.invocations
    bindings = {s: v for s, v in invocation.bindings.items() if s.name != name}
    routine = replace(invocation.routine, arguments=tuple(bindings))
    program = replace(program, invocations=(Invocation(routine=routine, bindings=bindings),))
    recovery = recover_program(program)
    assert [u.address for u in recovery.unmatched] == ([0x3000] if kept else [])
    assert all("last run" in u.reason for u in recovery.unmatched)
    want = np.concatenate([drawn(), np.zeros(SIZE, np.float32)])
    np.testing.assert_array_equal(answers(recovery, x=drawn())["y"], want)
    assert recovery.writable == ((0x4000 + 4 * SIZE, 0x4000 + 8 * SIZE),)


def test_a_call_that_was_not_read_is_not_bridged() -> None:
    """It is given the memory that the next store reads: what stands there is not known."""
    k = Kernels()
    k.input("x", (SIZE,))
    k.memory("t", SIZE)
    k.output("y", SIZE)
    i, j = k.counters((SIZE, SIZE))
    k.store("t", linear(0, {i: 1}), op("fneg", k.load("x", linear(0, {i: 1}))), [i])
    k.store("y", linear(0, {j: 1}), k.load("t", linear(0, {j: 1})), [j])
    program = k.program()
    (invocation,) = program.invocations
    given = next(s for s in invocation.routine.arguments if s.name == "t")
    call = Call(target="unknown", arguments=(Index(linear(0, {given: 1})),), instruction=0x2000)
    first, second = invocation.routine.steps
    routine = replace(invocation.routine, steps=(first, call, second))
    program = replace(program, invocations=(replace(invocation, routine=routine),))
    recovery = recover_program(program)
    assert [u.address for u in recovery.unmatched if "unknown" in u.reason] == [0x2000]
    assert recovery.graph is None or "y" not in recovery.graph.outputs


@pytest.mark.parametrize("points", [(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5), (0.49999997, -7.2, 1e9)])
def test_halves_are_rounded_as_the_library_does(points: tuple[float, ...]) -> None:
    k = Kernels()
    k.input("x", (len(points),))
    k.output("y", len(points))
    i = k.counter(len(points))
    k.store("y", linear(0, {i: 1}), op("call:roundf", k.load("x", linear(0, {i: 1}))), [i])
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    x = np.array(points, np.float32)
    want = np.sign(x) * np.floor(np.abs(x.astype(np.float64)) + 0.5)
    np.testing.assert_array_equal(answers(recovery, x=x)["y"], want.astype(np.float32))


@pytest.mark.parametrize("most", [9.5, 11.0, 200.0])
def test_an_elu_that_is_cut_off_is_none(most: float) -> None:
    k = Kernels()
    k.input("x", (4, 10))
    k.output("y", 40)
    r, i = k.counters((4, 10))
    at = row_major([r, i], (4, 10))
    x = k.load("x", at)
    positive = op("flt", number(0), x, width=1)
    elu = op("select", positive, x, op("fsub", op("call:expf", x), number(1)))
    k.store("y", at, op("fmin", elu, number(most)), [r, i])
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    given = np.linspace(-10, 2 * most, 40).astype(np.float32)
    want = np.minimum(np.where(given > 0, given, np.expm1(np.minimum(given, 0))), most)
    np.testing.assert_allclose(answers(recovery, x=given)["y"], want, rtol=1e-6, atol=1e-6)
