"""Derivatives of element-wise operators of several tensors, with broadcasting.

Judge: PyTorch's gradients. Among equal extremes the gradient is shared alike, as PyTorch does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._derive import DerivativeContext, derivative
from .._types import numpy_dtype


@derivative("Add", "Sum")
def add(c: DerivativeContext) -> list[str | None]:
    return [c.summed(c.gradient, i) for i in range(len(c.inputs))]


@derivative("Mean")
def mean(c: DerivativeContext) -> list[str | None]:
    share = c.emit("Div", c.gradient, float(len(c.inputs)))
    return [c.summed(share, i) for i in range(len(c.inputs))]


@derivative("Sub")
def sub(c: DerivativeContext) -> list[str | None]:
    db = c.summed(c.emit("Neg", c.gradient), 1) if c.needs(1) else None
    return [c.summed(c.gradient, 0), db]


@derivative("Mul")
def mul(c: DerivativeContext) -> list[str | None]:
    a, b = c.inputs
    da = c.summed(c.emit("Mul", c.gradient, b), 0) if c.needs(0) else None
    return [da, c.summed(c.emit("Mul", c.gradient, a), 1) if c.needs(1) else None]


@derivative("Div")
def div(c: DerivativeContext) -> list[str | None]:
    share = c.emit("Div", c.gradient, c.inputs[1])
    if not c.needs(1):
        return [c.summed(share, 0), None]
    falling = c.emit("Neg", c.emit("Mul", share, c.outputs[0]))
    return [c.summed(share, 0), c.summed(falling, 1)]


@derivative("Mod")
def mod(c: DerivativeContext) -> list[str | None]:
    """a = q b + y with a whole q, so dy/db = -q = (y - a) / b."""
    a, b = c.inputs
    if not c.needs(1):
        return [c.summed(c.gradient, 0), None]
    quotient = c.emit("Div", c.emit("Sub", c.outputs[0], a), b)
    return [c.summed(c.gradient, 0), c.summed(c.emit("Mul", c.gradient, quotient), 1)]


@derivative("Pow")
def power(c: DerivativeContext) -> list[str | None]:
    """b a^(b-1), which is 0 for b = 0; y log(a), which is 0 for a = 0."""
    a, b = c.inputs
    g, known = c.gradient, c.value(1)
    da = db = None
    if c.needs(0):
        number = None if known is None or known.size != 1 else float(known.ravel()[0])
        if number == 2:
            slope = c.emit("Mul", a, 2.0)
        elif number is not None:
            rest = c.constant(
                np.asarray(known).reshape(()) - np.asarray(1, np.asarray(known).dtype)
            )
            slope = c.emit("Mul", c.emit("Pow", a, rest), number) if number else c.zeros_like(a)
        else:
            exponent = b if c.type(b).dtype == c.type(a).dtype else c.emit("CastLike", b, a)
            lower = c.emit("Pow", a, c.emit("Sub", exponent, 1.0))
            slope = c.emit("Mul", exponent, lower)
            flat = c.emit("Equal", exponent, 0.0)
            slope = c.emit("Where", flat, c.constant(np.zeros((), _dtype(c, slope))), slope)
        da = c.summed(c.emit("Mul", g, slope), 0)
    if c.needs(1):
        growth = c.emit("Mul", c.outputs[0], c.emit("Log", a))
        growth = c.emit("Where", c.emit("Equal", a, 0.0),
                        c.constant(np.zeros((), _dtype(c, growth))), growth)  # fmt: skip
        db = c.emit("Mul", g, growth)
        if c.type(b).dtype != c.type(db).dtype:
            db = c.emit("CastLike", db, b)
        db = c.summed(db, 1)
    return [da, db]


def _dtype(c: DerivativeContext, tensor: str) -> np.dtype[Any]:
    return numpy_dtype(c.type(tensor).dtype)


@derivative("Max", "Min")
def extreme(c: DerivativeContext) -> list[str | None]:
    """The gradient goes to the inputs that are the extreme, in equal shares."""
    g, y = c.gradient, c.outputs[0]
    masks = [c.emit("CastLike", c.emit("Equal", x, y), g) for x in c.inputs]
    if len(masks) > 1:
        g = c.emit("Div", g, c.emit("Sum", *masks))
    return [
        c.summed(c.emit("Mul", g, mask), i) if c.needs(i) else None for i, mask in enumerate(masks)
    ]  # fmt: skip


@derivative("Where")
def where(c: DerivativeContext) -> list[str | None]:
    condition, g = c.inputs[0], c.gradient
    zero = c.constant(np.zeros((), _dtype(c, g)))
    dx = c.summed(c.emit("Where", condition, g, zero), 1) if c.needs(1) else None
    dy = c.summed(c.emit("Where", condition, zero, g), 2) if c.needs(2) else None
    return [None, dx, dy]


@derivative("Clip")
def clip(c: DerivativeContext) -> list[str | None]:
    """Values inside pass the gradient on; a bound gets it from the values beyond."""
    x, g = c.inputs[0], c.gradient
    result: list[str | None] = []
    low = c.inputs[1] if c.has(1) else None
    high = c.inputs[2] if c.has(2) else None
    # Bounds may be tensors of one element and rank 1.
    low = low and c.reshape(low, ())
    high = high and c.reshape(high, ())
    above = c.emit("GreaterOrEqual", x, low) if low else None
    below = c.emit("LessOrEqual", x, high) if high else None
    inside = c.emit("And", above, below) if above and below else above or below
    result.append(c.where(inside, g) if inside else g)
    for index, beyond in ((1, above), (2, below)):
        if beyond is None or not c.needs(index):
            result.append(None)
            continue
        outside = c.emit("Not", beyond)
        if index == 1 and high:  # where low > high, the result is high
            outside = c.emit("And", outside, c.emit("Less", low, high))
        total = c.sum(c.where(outside, g), range(len(c.shape(x))))
        result.append(c.reshape(total, c.shape(c.inputs[index])))
    return result
