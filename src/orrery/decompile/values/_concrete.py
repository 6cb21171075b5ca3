"""Integer operations on known bits: what a value is when the one unknown in it is known."""

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
)


def known_bits(value: Value | Symbol, leaf: object, bits: int) -> int | None:
    """Return a value's bits where ``leaf`` (a symbol or an operation) is known to be ``bits``.

    None where something else in it is unknown.
    """
    if value == leaf:
        return bits
    if isinstance(value, Constant):
        return value.bits
    if isinstance(value, Index):
        number = known_linear(value.value, leaf, bits)
        return None if number is None else number & _ones(value.width)
    if isinstance(value, (Load, Reduction, Symbol)):
        return None
    inputs: list[int] = []
    for item in value.inputs:
        if value.name == "select" and len(inputs) == 1:
            taken = value.inputs[1] if inputs[0] & 1 else value.inputs[2]
            return known_bits(taken, leaf, bits)
        found = known_bits(item, leaf, bits)
        if found is None:
            return None
        inputs.append(found)
    return _apply(value, inputs)


def known_linear(form: Linear, leaf: object, bits: int) -> int | None:
    """Return the number that a linear form is where one term is known."""
    total = form.constant
    for term, factor in form.terms:
        found = known_bits(term, leaf, bits)
        if found is None:
            return None
        if isinstance(term, Operation) and term.name not in ("uextend", "umod", "udiv"):
            found = _signed(found, term.width)
        total += factor * found
    return total


def _ones(width: int) -> int:
    return (1 << width) - 1


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) & 1 else bits


def _apply(operation: Operation, inputs: list[int]) -> int | None:
    name, ones = operation.name, _ones(operation.width)
    inner = operation.inputs[0].width
    a = inputs[0]
    b = inputs[1] if len(inputs) > 1 else 0
    x, y = _signed(a, inner), _signed(b, inner)
    if name in ("iand", "ior") and len(inputs) > 2:
        result = inputs[0]
        for more in inputs[1:]:
            result = result & more if name == "iand" else result | more
        return result
    if name in ("idiv", "udiv", "imod", "umod") and b == 0:
        return None
    if name == "iconcat":
        result, at = 0, 0
        for piece, number in zip(operation.inputs, inputs, strict=True):
            result |= (number & _ones(piece.width)) << at
            at += piece.width
        return result
    simple = {
        "iadd": lambda: a + b, "isub": lambda: a - b, "imul": lambda: a * b, "iand": lambda: a & b,
        "ior": lambda: a | b, "ixor": lambda: a ^ b, "inot": lambda: ~a, "ishl": lambda: a << b,
        "ishr": lambda: (a & _ones(inner)) >> b, "isar": lambda: x >> b,
        "iclz": lambda: inner - (a & _ones(inner)).bit_length(),
        "ieq": lambda: int(a == b), "ilt": lambda: int(x < y), "ile": lambda: int(x <= y),
        "ult": lambda: int(a < b), "ule": lambda: int(a <= b), "itruncate": lambda: a,
        "uextend": lambda: a & _ones(inner), "iextend": lambda: x, "udiv": lambda: a // b,
        "umod": lambda: a % b, "idiv": lambda: _quotient(x, y),
        "imod": lambda: x - y * _quotient(x, y),
    }  # fmt: skip
    act = simple.get(name)
    return None if act is None else act() & ones
