"""Values written in one way, whichever of many a compiler chose.

Models:  sums and products with their sides in one order; a choice written with masks and exclusive
         ors as a choice; a choice of the larger or the smaller of two as that; exp written out
         as a call of it.
Ignores: which of two numbers is taken where one of them is no number (NaN).
Judge:   evaluated on random bits, written one way and the other (tests/decompile/values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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

from ._choices import is_no_number
from ._exponential import exponential

_Found = tuple[Value, Value, tuple[Any, ...]]
#: What differs only where one of two numbers is none.
_PLAIN = {"fmaximum": "fmax", "fminimum": "fmin"}
_LEAST = {("fmax", 32): 0xFF800000, ("fmin", 32): 0x7F800000}


class Canonical:
    """Writes values anew, parts that are shared once."""

    def __init__(self) -> None:
        self._done: dict[int, _Found] = {}

    def value(self, value: Value) -> Value:
        """Return a value as it is written here."""
        return self._both(value)[1]

    def _both(self, value: Value) -> _Found:
        """Return a value, how it is written here, and what it is sorted by."""
        found = self._done.get(id(value))
        if found is None:
            found = (value, *self._written(value))
            self._done[id(value)] = found
            self._done.setdefault(id(found[1]), (found[1], found[1], found[2]))
        return found

    def _written(self, value: Value) -> tuple[Value, tuple[Any, ...]]:
        if isinstance(value, Load):
            names = [t.name for t, _ in value.address.terms
                     if isinstance(t, Symbol) and t.kind in ("memory", "argument")]  # fmt: skip
            factors = tuple(sorted(f for _, f in value.address.terms))
            return value, (1, "load", tuple(names), factors)
        if isinstance(value, Reduction):
            body, start = self._both(value.body), self._both(value.start)
            name = _PLAIN.get(value.operation, value.operation)
            nothing = _LEAST.get((name, value.width))
            begin = start[1]
            if nothing is not None and is_no_number(begin):  # a number is taken before it
                begin = Constant(nothing, value.width)
            made: Value = replace(value, operation=name, body=body[1], start=begin)
            return made, _key(f"loop {name}", (body[2], start[2]))
        if not isinstance(value, Operation):
            return _narrow(value), (1, type(value).__name__, (), ())
        piece = _piece(value) or exponential(value)
        if piece is not None:
            return self._both(piece)[1:]
        if value.name in _PLAIN:
            value = replace(value, name=_PLAIN[value.name])
        parts = [self._both(part) for part in value.inputs]
        if value.name in ("fadd", "fmul", "fma"):
            parts[:2] = sorted(parts[:2], key=lambda part: part[2])
        inputs = tuple(part[1] for part in parts)
        plain = value if inputs == value.inputs else replace(value, inputs=inputs)
        if plain.name == "ior" and any(map(is_zero, inputs)):
            return parts[is_zero(inputs[0])][1:]
        chosen = _chosen(plain)
        if chosen is not None:
            plain = _extreme(chosen) or chosen
        elif plain.name == "select":
            plain = _extreme(plain) or plain
        return plain, _key(plain.name, [part[2] for part in parts])


def _narrow(value: Value) -> Value:
    """Drop from a whole number what lies above the bits that are kept of it."""
    if not isinstance(value, Index):
        return value
    kept = {t: f for t, f in value.value.terms if f % (1 << value.width)}
    if len(kept) == len(value.value.terms):
        return value
    return replace(value, value=linear(value.value.constant, kept))


def _piece(value: Operation) -> Value | None:
    """Return `x` of ``(x << k) >> k``, as lanes of a vector are put together and taken apart."""
    if value.name != "itruncate" or not isinstance(value.inputs[0], Operation):
        return None
    shift = value.inputs[0]
    if shift.name != "ishr" or not isinstance(shift.inputs[0], Index):
        return None
    places, form = shift.inputs[1], shift.inputs[0].value
    if isinstance(places, Constant):
        count = places.bits
    elif isinstance(places, Index) and places.value.is_constant:
        count = places.value.constant
    else:
        return None
    if form.constant or len(form.terms) != 1:
        return None
    ((term, factor),) = form.terms
    if isinstance(term, Symbol) or term.width > shift.width or factor != 1 << count:
        return None
    inner = term.inputs[0] if isinstance(term, Operation) and term.name == "uextend" else term
    return inner if inner.width == value.width <= shift.width - count else None


def _key(name: str, parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return what a value sorts by: how large it is, its operator, memories that it reads."""
    names = sorted({name for part in parts for name in part[2]})
    return 1 + sum(part[0] for part in parts), name, tuple(names), ()


def _chosen(value: Operation) -> Operation | None:
    """Return ``a ^ (c ? a ^ b : 0)`` as a choice between `b` and `a`."""
    if value.name != "ixor" or len(value.inputs) != 2:
        return None
    for a, masked in (value.inputs, value.inputs[::-1]):
        if not (isinstance(masked, Operation) and masked.name == "select"):
            continue
        condition, then, otherwise = masked.inputs
        for change, none, holds in ((then, otherwise, True), (otherwise, then, False)):
            if not is_zero(none):
                continue
            b = _other_side(change, a)
            if b is not None:
                sides = (b, a) if holds else (a, b)
                return Operation("select", (condition, *sides), value.width)
    return None


def _other_side(value: Value, known: Value) -> Value | None:
    """Return `b` of ``a ^ b`` where `a` is known."""
    if isinstance(value, Operation) and value.name == "ixor" and len(value.inputs) == 2:
        one, two = value.inputs
        if one == known:
            return two
        if two == known:
            return one
    return None


def _extreme(value: Operation) -> Operation | None:
    """Return a choice of the larger or the smaller of two as ``fmax`` or ``fmin``."""
    condition, then, otherwise = value.inputs
    found = comparison_of(condition)
    if found is None or found[0] == "feq":
        return None
    a, b = (_as_number(v) for v in found[1:])
    then, otherwise = _as_number(then), _as_number(otherwise)
    if (then, otherwise) == (b, a):
        return Operation("fmax", (otherwise, then), value.width)
    if (then, otherwise) == (a, b):
        return Operation("fmin", (otherwise, then), value.width)
    return None


def _as_number(value: Value) -> Value:
    """Return bits that stand as a whole number as a constant."""
    if isinstance(value, Index) and value.value.is_constant:
        return Constant(value.value.constant & ((1 << value.width) - 1), value.width)
    return value


def is_zero(value: Value | None) -> bool:
    """Return whether all bits of a value are 0."""
    if isinstance(value, Constant):
        return value.bits == 0
    return isinstance(value, Index) and value.value == Linear(0)


def comparison_of(value: Value) -> tuple[str, Value, Value] | None:
    """Return a comparison of two numbers as one of ``flt fle feq``; NaN is left to either side."""
    if not isinstance(value, Operation):
        return None
    if value.name in ("flt", "fle", "feq"):
        return value.name, value.inputs[0], value.inputs[1]
    if value.name == "inot":
        inner = comparison_of(value.inputs[0])
        if inner is None or inner[0] == "feq":
            return None
        return ("fle" if inner[0] == "flt" else "flt"), inner[2], inner[1]
    if value.name in ("ior", "iand"):
        left = [
            part for part in value.inputs
            if not (isinstance(part, Operation) and _about_order(part))
        ]  # fmt: skip
        if len(left) == 1:
            return comparison_of(left[0])
        both = [comparison_of(part) for part in left]
        if len(both) == 2 and both[0] and both[1] and value.name == "ior":
            kinds = {both[0][0], both[1][0]}
            if kinds == {"flt", "feq"}:
                less = both[0] if both[0][0] == "flt" else both[1]
                return "fle", less[1], less[2]
    return None


def _about_order(value: Operation) -> bool:
    if value.name == "inot":
        inner = value.inputs[0]
        return isinstance(inner, Operation) and _about_order(inner)
    return value.name == "funordered"
