"""Integers that compilers write in roundabout ways are the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.decompile.forms import Constant, Index, Operation, Symbol, linear
from orrery.decompile.matching._integers import evaluate_integers
from orrery.decompile.values import Builder, operate


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("by", [3, 5, 6, 7, 9, 10, 11, 25, 100, 641])
def test_a_division_by_the_upper_half_of_a_product(by: int, bounded: bool) -> None:
    """Unsigned, in 64 bits: a shift follows where the divisor's reciprocal is shorter."""
    build, i = Builder(), Symbol("i", "counter")
    if bounded:
        build.ranges[i] = (0, 2000)
    places = by.bit_length() - 1
    factor = (1 << (64 + places)) // by + 1
    pair = operate(
        build, "MullU64", [Index(linear(0, {i: 1}), 64), build.number(factor, 64)], x86=True
    )
    assert isinstance(pair, tuple)
    made = build.shift_right(pair[1], build.number(places, 8), 64, arithmetic=False)
    turns = np.arange(2001)
    values = evaluate_integers(made, {i: turns})
    assert values is not None
    assert (values == turns // by).all()


def test_bits_set_in_an_aligned_address_are_added() -> None:
    build, stack = Builder(), Symbol("stack", "memory")
    build.pointers.add(stack)
    row = Index(linear(-0x60, {stack: 1}), 64)
    assert build.bit_or(row, build.number(12, 64), 64) == Index(linear(-0x54, {stack: 1}), 64)
    # A bit that may be set already adds nothing then.
    odd = Index(linear(-0x5C, {stack: 1}), 64)
    assert isinstance(build.bit_or(odd, build.number(4, 64), 64), Operation)
    far = Index(linear(0, {Symbol("i", "counter"): 8}), 64)
    assert isinstance(build.bit_or(far, build.number(12, 64), 64), Operation)


def test_registers_of_floats_beside_zero_are_two_values() -> None:
    """An argument that is no number of ours is not widened: its neighbour is still there."""
    build, zero = Builder(), Constant(0, 32)
    for name in ("f7", "f0"):
        held = Index(linear(0, {Symbol(name, "argument"): 1}), 32)
        pair = build.concat([held, zero])
        assert build.extract(pair, 0, 32) == held
        assert build.constant(build.extract(pair, 32, 32)) == 0
