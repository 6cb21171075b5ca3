"""Exp as a polynomial is exp; what is close to it is not."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.decompile.forms import Constant, Index, Linear, Load, Operation, Symbol, Value, linear
from orrery.decompile.values import Canonical, walk

X = Operation("fsub", tuple(Load(linear(0, {Symbol(n, "argument"): 1}), 32) for n in "xm"), 32)


def number(value: float) -> Constant:
    return Constant(int(np.float32(value).view(np.uint32)), 32)


def op(name: str, *inputs: Value) -> Operation:
    return Operation(name, inputs, 32)


def polynomial(
    x: Value, *, lowest: float = -87.8, scale: float = 1.4426950216293335, last: float = 0.5,
    places: int = 23, highest: float = 88.8,
) -> Operation:  # fmt: skip
    """Return exp as IREE's compiler writes it, with other numbers where the caller wants them."""
    inside = op("min_x86", number(highest), op("max_x86", number(lowest), x))
    whole = op("ffloor", op("fma", inside, number(scale), number(0.5)))
    whole = op("min_x86", number(127), op("max_x86", number(-127), whole))
    rest = op("fma", whole, number(-0.693359375), inside)
    rest = op("fma", whole, number(2.12194440e-4), rest)
    terms: Value = number(1.9875691e-4)
    for factor in (1.3981999e-3, 8.3334519e-3, 4.1665795e-2, 0.16666665, last):
        terms = op("fma", terms, rest, number(factor))
    total = op("fadd", op("fma", terms, op("fmul", rest, rest), rest), number(1))
    power = Index(Linear(0x3F800000, ((op("ftoi", whole), 1 << places),)), 32)
    return op("fmul", total, power)


@pytest.mark.parametrize("x", [X, op("fneg", X), X.inputs[0]])
def test_a_polynomial_is_exp(x: Value) -> None:
    assert Canonical().value(polynomial(x)) == op("call:expf", Canonical().value(x))


def test_it_is_found_inside_of_others() -> None:
    made = Canonical().value(op("fdiv", polynomial(X), op("fadd", polynomial(X), number(2))))
    names = [part.name for part in walk(made) if isinstance(part, Operation)]
    assert sorted(names) == ["call:expf", "fadd", "fdiv", "fsub"]


@pytest.mark.parametrize(
    "change", [{"lowest": -20.0}, {"scale": 1.4}, {"last": 0.5001}, {"places": 22},
               {"highest": 20.0}],
)  # fmt: skip
def test_what_is_close_is_not(change: dict[str, float]) -> None:
    value = polynomial(X, **change)  # type: ignore[arg-type]  # places is whole
    made = Canonical().value(value)
    assert not any(isinstance(p, Operation) and p.name.startswith("call:") for p in walk(made))


def test_two_numbers_are_none() -> None:
    """What is added at the end is no part of it."""
    value = polynomial(X)
    other = op("fmul", op("fadd", value.inputs[0], X.inputs[0]), value.inputs[1])
    made = Canonical().value(other)
    assert not any(isinstance(p, Operation) and p.name.startswith("call:") for p in walk(made))
