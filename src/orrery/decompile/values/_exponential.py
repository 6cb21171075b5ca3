"""The exponential function, written out as a polynomial and a power of two.

Compilers that have no library put 2ⁿ together from bits: ``(n << 23) + (127 << 23)`` read as a
float. What is multiplied with such a number is evaluated, and compared with the function.

Models:  exp in single precision.
Ignores: what it gives for numbers that are none.
Judge:   the polynomials of IREE's compiler; others close by must not be taken (tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.decompile.forms import Constant, Index, Linear, Operation, Value

from ._parts import children

Floats = NDArray[np.float32]

_NEAR = np.concatenate([np.linspace(-86, 88, 697), np.linspace(-1, 1, 201)]).astype(np.float32)
_FAR = np.array([92, 130, 1e3, 1e6, 1e30], np.float32)
_POINTS = np.concatenate([_NEAR, -_FAR, _FAR])
#: Largest difference, relative to the number: a polynomial in single precision is off by 2e-7.
_TOLERANCE = 2e-6
_MANTISSA, _ONE = 23, 0x3F800000
_MOST_PARTS = 200

_COMPUTE: dict[str, Any] = {
    "fadd": np.add, "fsub": np.subtract, "fmul": np.multiply, "fdiv": np.divide,
    "fneg": np.negative, "fabs": np.abs, "ffloor": np.floor, "fceil": np.ceil, "fround": np.rint,
    "ftrunc": np.trunc, "fmax": np.fmax, "fmin": np.fmin, "fmaximum": np.maximum,
    "fminimum": np.minimum, "max_x86": lambda a, b: np.where(a > b, a, b),
    "min_x86": lambda a, b: np.where(a < b, a, b), "fwiden": lambda a: a, "fnarrow": lambda a: a,
    "fma": lambda a, b, c: (a.astype(np.float64) * b + c).astype(np.float32),
}  # fmt: skip


def exponential(value: Operation) -> Operation | None:
    """Return a product that is exp of something as a call of that function."""
    if value.name != "fmul" or value.width != 32 or not any(map(_is_power, value.inputs)):
        return None
    for x in _narrow_places(value):
        with np.errstate(all="ignore"):
            found = _evaluated(value, x, {})
        if found is not None and found.shape == _POINTS.shape and _is_exponential(found):
            return Operation("call:expf", (x,), 32)
    return None


def _is_exponential(found: Floats) -> bool:
    near, low, high = np.split(found, [_NEAR.size, _NEAR.size + _FAR.size])
    wanted = np.exp(_NEAR.astype(np.float64))
    return bool(
        (np.abs(near - wanted) <= _TOLERANCE * wanted).all()
        and (np.abs(low) < 1e-37).all() and (high > 1e38).all()
    )  # fmt: skip


def _is_power(value: Value) -> bool:
    """Return whether a value is 2 to the power of a number that was made whole."""
    if not isinstance(value, Index) or value.value.constant != _ONE:
        return False
    ((term, factor), *more) = value.value.terms or ((None, 0),)
    whole = isinstance(term, Operation) and term.name == "ftoi"
    return whole and not more and factor == 1 << _MANTISSA


def _narrow_places(value: Operation) -> Iterator[Value]:
    """Yield what all of a value is made of and numbers besides, the nearest first."""
    order: list[Value] = []
    seen: set[Value] = set()
    stack: list[tuple[Value, bool]] = [(value, False)]
    while stack:
        part, ready = stack.pop()
        if ready:
            order.append(part)
        elif part not in seen and not isinstance(part, Constant):
            seen.add(part)
            if len(seen) > _MOST_PARTS:
                return
            stack.append((part, True))
            stack += [(inner, False) for inner in _inputs(part)]
    open_: set[Value] = {value}
    for part in reversed(order):
        if len(open_) == 1 and part is not value:
            yield part
        open_.discard(part)
        inner = _inputs(part)
        if not inner and not _is_number(part):
            open_.add(part)  # nothing beyond it is looked at: it stays among them
        open_.update(one for one in inner if not _is_number(one))


def _is_number(value: Value) -> bool:
    return isinstance(value, Constant) or (isinstance(value, Index) and value.value.is_constant)


def _inputs(value: Value) -> list[Value]:
    """Return what a value is evaluated from; nothing where it is not evaluated."""
    if isinstance(value, Operation) and (value.name in _COMPUTE or value.name == "ftoi"):
        return [v for v in value.inputs if not _is_number(v)]
    if isinstance(value, Index):
        return [t for t in children(value) if isinstance(t, Operation)]
    return []


def _evaluated(value: Value, x: Value, done: dict[Value, Floats | None]) -> Floats | None:
    """Return a value where `x` runs over the points; None where something else is in it."""
    if value == x:
        return _POINTS
    if value not in done:
        done[value] = _once(value, x, done)
    return done[value]


def _once(value: Value, x: Value, done: dict[Value, Floats | None]) -> Floats | None:
    if isinstance(value, Constant):
        return np.array(value.bits & 0xFFFFFFFF, np.uint32).view(np.float32)
    if isinstance(value, Index):
        whole = _whole(value.value, x, done)
        return None if whole is None else (whole & 0xFFFFFFFF).astype(np.uint32).view(np.float32)
    if not isinstance(value, Operation) or value.name not in _COMPUTE:
        return None
    inputs = [_evaluated(part, x, done) for part in value.inputs]
    if any(one is None for one in inputs):
        return None
    return np.asarray(_COMPUTE[value.name](*inputs), np.float32)


def _whole(form: Linear, x: Value, done: dict[Value, Floats | None]) -> NDArray[np.int64] | None:
    total = np.asarray(form.constant, np.int64)
    for term, factor in form.terms:
        if not (isinstance(term, Operation) and term.name == "ftoi"):
            return None
        number = _evaluated(term.inputs[0], x, done)
        if number is None:
            return None
        cut = np.nan_to_num(np.clip(np.trunc(number), -(2.0**31), 2.0**31))
        total = total + cut.astype(np.int64) * factor
    return total
