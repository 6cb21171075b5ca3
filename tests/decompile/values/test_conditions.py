"""Conditions put together and simplified mean what they meant: judged case by case."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile.forms import Index, Load, Operation, Symbol, Value, linear
from orrery.decompile.values import Builder, UnknownOperatorError, condition_call

Truth = Callable[[dict[Symbol, int]], bool]
FLAGS = [Symbol(f"p{n}", "argument") for n in range(4)]
FLOATS = [Load(linear(0, {Symbol(name, "argument"): 1}), 32) for name in "xy"]
#: Less, equal, greater, and unordered in three ways.
PAIRS = [(1.0, 2.0), (2.0, 2.0), (2.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (math.nan,) * 2]
COMPARED: dict[str, Callable[[float, float], bool]] = {
    "flt": lambda a, b: a < b, "fle": lambda a, b: a <= b, "feq": lambda a, b: a == b,
    "funordered": lambda a, b: a != a or b != b,
}  # fmt: skip

# An expression: a leaf's number, or (name, parts).
TREES = st.recursive(
    st.integers(0, 7),
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(("and", "or", "xor")), inner, inner)
        | st.tuples(st.just("select"), inner, inner, inner)
    ),
    max_leaves=12,
)
JOINED: dict[str, Callable[..., bool]] = {
    "not": lambda a: not a, "and": lambda a, b: a and b, "or": lambda a, b: a or b,
    "xor": lambda a, b: a != b, "select": lambda c, a, b: a if c else b,
}  # fmt: skip


def built(build: Builder, tree: object, leaf: Callable[[int], Value]) -> Value:
    """Return a tree as the builder simplifies it while it grows."""
    if isinstance(tree, int):
        return leaf(tree)
    assert isinstance(tree, tuple)
    parts = [built(build, part, leaf) for part in tree[1:]]
    if tree[0] == "select":
        return build.select(parts[0], parts[1], parts[2], 1)
    act = {"and": build.both, "or": build.either, "xor": build.unequal, "not": build.negate}
    return act[str(tree[0])](*parts)


def meant(tree: object, leaf: Callable[[int], bool]) -> bool:
    """Return what a tree is, nothing simplified."""
    if isinstance(tree, int):
        return leaf(tree)
    assert isinstance(tree, tuple)
    return JOINED[str(tree[0])](*(meant(part, leaf) for part in tree[1:]))


@settings(deadline=None, max_examples=150)
@given(TREES)
def test_conditions_on_numbers(tree: object) -> None:
    build = Builder()
    for flag in FLAGS:
        build.ranges[flag] = (0, 1)

    def leaf(number: int) -> Value:
        value = Index(linear(0, {FLAGS[number % 4]: 1}), 32)
        return build.compare("ieq" if number < 4 else "ilt", value, build.number(1, 32))

    value = built(build, tree, leaf)
    for bits in itertools.product((0, 1), repeat=4):
        known: dict[Symbol, Value] = {
            s: build.number(b, 32) for s, b in zip(FLAGS, bits, strict=True)
        }
        found = build.constant(build.replace(value, known))
        wanted = meant(tree, lambda n, bits=bits: bits[n % 4] == (1 if n < 4 else 0))
        assert found is not None and found & 1 == wanted


def holds(value: Value, pair: tuple[float, float]) -> bool:
    """Return whether a condition on two floats holds."""
    if isinstance(value, Index):
        return bool(value.value.constant & 1)
    assert isinstance(value, Operation)
    if value.name in COMPARED:
        x, y = (pair[FLOATS.index(v)] for v in value.inputs if isinstance(v, Load))
        return COMPARED[value.name](x, y)
    names = {"inot": "not", "iand": "and", "ior": "or", "ixor": "xor", "select": "select"}
    parts = [holds(v, pair) for v in value.inputs]
    if value.name in ("iand", "ior"):
        return all(parts) if value.name == "iand" else any(parts)
    return JOINED[names[value.name]](*parts)


@settings(deadline=None, max_examples=150)
@given(TREES)
def test_comparisons_of_floats(tree: object) -> None:
    """Each is one of four cases, NaN among them, however comparisons are joined."""
    build = Builder()
    names = list(COMPARED)

    def leaf(number: int) -> Value:
        one, two = FLOATS if number < 4 else FLOATS[::-1]
        return build.float_compare(names[number % 4], one, two)

    value = built(build, tree, leaf)
    for pair in PAIRS:

        def truth(number: int, pair: tuple[float, float] = pair) -> bool:
            return COMPARED[names[number % 4]](*(pair if number < 4 else pair[::-1]))

        assert holds(value, pair) == meant(tree, truth)


def test_flags_after_a_multiplication_are_not_known() -> None:
    """VEX numbers more operations than flags are known of; counting up keeps their carry."""
    build = Builder()
    x = Index(linear(0, {FLAGS[0]: 1}), 64)
    for operation in (48, 52, 55, 60, 66):
        given: list[Value] = [build.number(2, 64), build.number(operation, 64), x, x, x]
        with pytest.raises(UnknownOperatorError):
            condition_call(build, "amd64g_calculate_condition", given, 64)
    # And with the complement sets flags as a plain one does.
    given = [build.number(4, 64), build.number(54, 64), x, build.number(0, 64), x]
    found = condition_call(build, "amd64g_calculate_condition", given, 64)
    assert found == build.extend(build.compare("ieq", x, build.number(0, 64)), 64, signed=False)
