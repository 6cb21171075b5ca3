"""What a value is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
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


def walk(*values: Value | Symbol) -> Iterator[Value | Symbol]:
    """Yield values and all that they are made of, each object once."""
    stack = list(values)
    seen: set[int] = set()
    # Some parts are made while walking; kept, so that no other gets the number of one that is gone.
    keep: list[Value | Symbol] = []
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        keep.append(part)
        yield part
        stack.extend(children(part))


def symbols_of(value: Value | Linear) -> frozenset[Symbol]:
    """Return every symbol a value is made of; a reduction's own counter included."""
    return value.symbols


def contains(value: Value, wanted: Callable[[Value], bool]) -> bool:
    """Return whether some part of a value is what is looked for."""
    return any(not isinstance(part, Symbol) and wanted(part) for part in walk(value))


def is_named(value: Value | Symbol, name: str) -> TypeGuard[Operation]:
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


def shape_apart(
    value: Value, forms: list[Linear], region: Callable[[Load], object],
    numbers: list[Constant] | None = None,
) -> object:  # fmt: skip
    """Return what a value does without where it reads; that goes to `forms`, in order.

    Parameters
    ----------
    region : tells loads of different things apart
    numbers : where constants go, in order; without it they stay part of what the value does, and
        so do those that something read is multiplied with: filters written out in code
    """
    if isinstance(value, Constant) and numbers is not None and value.width == 32:
        numbers.append(value)
        return "number"
    if isinstance(value, Load):
        forms.append(value.address)
        return "load", value.width, region(value)
    if isinstance(value, Index):
        forms.append(value.value)
        return "index", value.width
    if isinstance(value, Operation):
        inputs = [
            shape_apart(x, forms, region, numbers if has_numbers(value, at) else None)
            for at, x in enumerate(value.inputs)
        ]
        return value.name, value.width, tuple(inputs)
    if isinstance(value, Reduction):
        return (
            "loop", value.operation, value.counter, value.extent, value.width, value.fused,
            shape_apart(value.body, forms, region, numbers),
            shape_apart(value.start, forms, region, numbers),
        )  # fmt: skip
    return value


def has_numbers(value: Operation, at: int) -> bool:
    """Return whether numbers in an input may be of a table: no filter written out in code is."""
    multiplied = value.name in ("fmul", "fma") and at < 2
    return not (multiplied and any(isinstance(part, Load) for part in value.inputs[:2]))


def with_forms(value: Value, form: Callable[[Linear], Linear]) -> Value:
    """Return a value with its forms replaced, in the order of `shape_apart`."""
    if isinstance(value, Load):
        return replace(value, address=form(value.address))
    if isinstance(value, Index):
        return replace(value, value=form(value.value))
    if isinstance(value, Operation):
        return replace(value, inputs=tuple(with_forms(part, form) for part in value.inputs))
    if isinstance(value, Reduction):
        body = with_forms(value.body, form)  # in the order in which `shape_apart` went
        return replace(value, body=body, start=with_forms(value.start, form))
    return value
