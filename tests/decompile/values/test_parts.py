"""Every part of a value is met, however many of them are made while walking."""

from __future__ import annotations

from orrery.decompile.forms import (
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
    linear,
)
from orrery.decompile.values import contains, symbols_of, walk


def nested(turns: int) -> tuple[Value, set[Symbol]]:
    """Return sums over loops in one another, whose turns are read from memory, and all symbols."""
    value: Value = Constant(0, 32)
    symbols = set()
    for k in range(turns):
        counter, turn = Symbol(f"k{k}", "counter"), Symbol(f"n{k}", "argument")
        symbols |= {counter, turn}
        there = Load(linear(0, {counter: 4}), 32)
        value = Reduction(
            "fadd", counter, linear(0, {Load(Linear(8 * k, ((turn, 1),)), 64): 1}),
            Operation("fadd", (there, value), 32), Constant(0, 32), 32,
        )  # fmt: skip
    return value, symbols


def test_all_parts_are_met_once() -> None:
    value, symbols = nested(200)
    met = list(walk(value))
    assert len({id(part) for part in met}) == len(met)
    assert symbols_of(value) == symbols
    assert sum(isinstance(part, Load) for part in met) == 400
    assert sum(isinstance(part, Index) for part in met) == 200


def test_each_of_them_can_be_looked_for() -> None:
    value, _ = nested(60)
    for k in range(60):
        wanted = linear(8 * k, {Symbol(f"n{k}", "argument"): 1})
        assert contains(
            value, lambda part, wanted=wanted: isinstance(part, Load) and part.address == wanted
        )
    assert not contains(value, lambda part: part == Constant(1, 32))
