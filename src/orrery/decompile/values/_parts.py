"""What a value is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

from orrery.decompile.forms import (
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
)

__all__ = [
    "children",
    "contains",
    "inner_of",
    "is_choice",
    "is_named",
    "is_small",
    "signed",
    "symbols_of",
]


def signed(bits: int, width: int) -> int:
    """Return bits read as a number in two's complement."""
    bits &= (1 << width) - 1
    return bits - (1 << width) if bits >> (width - 1) else bits


def children(value: Value | Symbol) -> tuple[Value | Symbol, ...]:
    """Return what a value is made of, one level down."""
    if isinstance(value, Operation):
        return value.inputs
    if isinstance(value, Index):
        return tuple(t for t, _ in value.value.terms)
    if isinstance(value, Load):
        return tuple(t for t, _ in value.address.terms)
    if isinstance(value, Reduction):
        return (value.body, value.start, Index(value.extent))
    return ()


def symbols_of(value: Value | Linear) -> set[Symbol]:
    """Return every symbol a value is made of; a reduction's own counter included."""
    found: set[Symbol] = set()
    seen: set[int] = set()
    first: list[Value | Symbol] = (
        [t for t, _ in value.terms] if isinstance(value, Linear) else [value]
    )
    keep = list(first)
    while first:
        item = first.pop()
        if isinstance(item, Symbol):
            found.add(item)
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        below = children(item)
        keep.extend(below)
        first.extend(below)
    return found


def contains(value: Value, wanted: Callable[[Value], bool]) -> bool:
    """Return whether some part of a value is what is looked for."""
    stack: list[Value | Symbol] = [value]
    keep: list[Value | Symbol] = []
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, Symbol) or id(item) in seen:
            continue
        seen.add(id(item))
        keep.append(item)
        if wanted(item):
            return True
        stack.extend(children(item))
    return False


def is_named(value: Value, name: str) -> TypeGuard[Operation]:
    """Return whether a value is an operation of that name."""
    return isinstance(value, Operation) and value.name == name


def inner_of(value: Value) -> Value:
    """Return the first input of an operation."""
    assert isinstance(value, Operation)
    return value.inputs[0]


def is_choice(value: Value) -> bool:
    """Return whether a value is one of two by a condition."""
    return isinstance(value, Operation) and value.name == "select"


def is_small(value: Value) -> bool:
    """Return whether a value is cheap to write out."""
    return isinstance(value, (Index, Constant, Load)) or not any(
        children(c) for c in children(value)
    )
