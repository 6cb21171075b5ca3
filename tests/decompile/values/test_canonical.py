"""Values written one way and the other are the same bits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.forms import Constant, Index, Load, Operation, Symbol, Value, linear
from orrery.decompile.values import Canonical, walk


def op(name: str, *inputs: Value, width: int = 32) -> Operation:
    return Operation(name, inputs, width)


def read(name: str) -> Load:
    return Load(linear(0, {Symbol(name, "memory"): 1}), 32)


def masked(condition: Value, a: Value, b: Value, *, turned: bool, side: bool) -> Value:
    """Return ``condition ? b : a`` as exclusive ors with a mask, in one of several ways."""
    change = op("ixor", b, a) if side else op("ixor", a, b)
    zero = Constant(0, 32)
    chosen = op("select", condition, change, zero) if turned else op(
        "select", op("inot", condition, width=1), zero, change
    )  # fmt: skip
    return op("ixor", chosen, a) if side else op("ixor", a, chosen)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.booleans(), st.booleans(), st.booleans())
def test_a_choice_by_exclusive_ors_is_a_choice(turned: bool, side: bool, less: bool) -> None:
    a, b, c, d = (read(n) for n in "abcd")
    condition = op("flt" if less else "fle", c, d, width=1)
    made = Canonical().value(masked(condition, a, b, turned=turned, side=side))
    assert isinstance(made, Operation)
    assert made.name == "select"
    assert not any(isinstance(p, Operation) and p.name == "ixor" for p in walk(made))
    test, then, otherwise = made.inputs
    if test == condition:
        assert (then, otherwise) == (b, a)
    else:
        assert test == op("inot", condition, width=1)
        assert (then, otherwise) == (a, b)


def test_a_maximum_by_exclusive_ors_is_a_maximum() -> None:
    """Four numbers, each compared with what the ones before it left."""
    most: Value = read("a")
    for name in "bcd":
        x = read(name)
        most = op("ixor", most, op("select", op("flt", most, x, width=1), op("ixor", most, x),
                                   Constant(0, 32)))  # fmt: skip
    made = Canonical().value(most)
    names = {p.name for p in walk(made) if isinstance(p, Operation)}
    assert names == {"fmax"}
    loads = [p for p in walk(made) if isinstance(p, Load)]
    assert len(loads) == 4


def test_exclusive_ors_of_something_else_stay() -> None:
    a, b, c, d = (read(n) for n in "abcd")
    condition = op("flt", a, b, width=1)
    odd = op("ixor", a, op("select", condition, op("ixor", c, d), Constant(0, 32)))
    assert Canonical().value(odd) == odd
    kept = op("ixor", a, op("select", condition, op("ixor", a, b), Constant(1, 32)))
    assert Canonical().value(kept) == kept


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.permutations("abc"), st.booleans())
def test_sums_and_products_have_one_order(names: list[str], swapped: bool) -> None:
    one, two, three = sorted(names)
    product = [read(two), read(three)]
    sides = [read(one), op("fmul", *(product[::-1] if swapped else product))]
    given_way = op("fadd", *(sides[::-1] if swapped else sides))
    plain = op("fadd", read(one), op("fmul", read(two), read(three)))
    canonical = Canonical()
    assert canonical.value(given_way) == canonical.value(plain)


def test_a_difference_keeps_its_order() -> None:
    one = op("fsub", read("b"), read("a"))
    assert Canonical().value(one) == one


def test_lanes_that_are_put_together_and_taken_apart_are_themselves() -> None:
    """Two copies of a number in 64 bits, its lower half and its upper half."""
    x = op("fdiv", read("a"), read("b"))
    lower = op("ior", Index(linear(0, {x: 1 << 32}), 32), x)
    assert Canonical().value(lower) == x
    wide = Index(linear(0, {op("uextend", x, width=64): 1 << 32}))
    upper = op("itruncate", op("ishr", wide, Constant(32, 8), width=64))
    assert Canonical().value(upper) == x


def test_lanes_that_overlap_stay() -> None:
    x = op("fdiv", read("a"), read("b"))
    wide = Index(linear(0, {op("uextend", x, width=64): 1 << 24}))
    odd = op("itruncate", op("ishr", wide, Constant(32, 8), width=64))
    assert Canonical().value(odd) == odd
    kept = Index(linear(0, {x: 1 << 31}), 32)
    assert Canonical().value(kept) == kept
