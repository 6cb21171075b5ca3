"""Elementwise operators with names: Relu, Clip, LeakyRelu; numbers that change nothing.

Models:  rules from one tensor to an equal one.
Judge:   tests/decompile/matching.
"""

from __future__ import annotations

import numpy as np

from ._rewriting import Rule
from ._spreading import written_out
from ._tensors import Tensor, Tensors


def scaled(t: Tensor) -> tuple[Tensor, float]:
    """Return a tensor without the numbers that it is multiplied and divided by, and these."""
    factor = 1.0
    while True:
        if t.op == "Mul":
            a, b = t.inputs
            left, right = a.scalar(), b.scalar()
            if right is not None and a.value is None:
                t, factor = a, factor * right
                continue
            if left is not None and b.value is None:
                t, factor = b, factor * left
                continue
        if t.op == "Div":
            number = t.inputs[1].scalar()
            if number and t.inputs[0].value is None:
                t, factor = t.inputs[0], factor / number
                continue
        if t.op == "Neg":
            t, factor = t.inputs[0], -factor
            continue
        return t, factor


def _pair(t: Tensor) -> tuple[Tensor, float] | None:
    """Return the tensor and the number of an operator of both."""
    a, b = t.inputs
    number = b.scalar()
    if number is not None and a.value is None and a.shape == t.shape:
        return a, number
    number = a.scalar()
    if number is not None and b.value is None and b.shape == t.shape:
        return b, number
    return None


def _nothing_done(_: Tensors, t: Tensor) -> Tensor | None:
    if t.op in ("Add", "Mul"):
        found = _pair(t)
        if found is not None and found[1] == (0 if t.op == "Add" else 1):
            return found[0]
    if t.op in ("Sub", "Div") and t.inputs[0].shape == t.shape:
        number = t.inputs[1].scalar()
        if number == (0 if t.op == "Sub" else 1) and t.inputs[0].value is None:
            return t.inputs[0]
    return None


def _negative(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Sub" and t.inputs[0].scalar() == 0 and t.inputs[1].shape == t.shape:
        return tensors.apply("Neg", t.inputs[1])
    return None


def _relu(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Max":
        found = _pair(t)
        if found is not None and found[1] == 0:
            return tensors.apply("Relu", found[0])
    if t.op == "Where" and t.inputs[0].op in ("Less", "LessOrEqual"):
        (low, high), then, otherwise = t.inputs[0].inputs, t.inputs[1], t.inputs[2]
        if low.scalar() == 0 and then is high and otherwise.scalar() == 0:
            return tensors.apply("Relu", high)
        if high.scalar() == 0 and otherwise is low and then.scalar() == 0:
            return tensors.apply("Relu", low)
    return None


def _clip(tensors: Tensors, t: Tensor) -> Tensor | None:
    low = high = None
    x: Tensor | None = None
    if t.op in ("Min", "Max"):
        found = _pair(t)
        if found is None:
            return None
        inner, number = found
        other = "Max" if t.op == "Min" else "Min"
        if inner.op == other:
            deeper = _pair(inner)
            if deeper is None:
                return None
            x = deeper[0]
            low, high = (deeper[1], number) if t.op == "Min" else (number, deeper[1])
        elif inner.op == "Relu" and t.op == "Min":
            x, low, high = inner.inputs[0], 0.0, number
    if t.op == "Relu" and t.inputs[0].op == "Min":
        found = _pair(t.inputs[0])
        if found is not None:
            x, low, high = found[0], 0.0, found[1]
    if t.op == "Where" and t.inputs[0].op in ("Less", "LessOrEqual"):
        (a, b), then, otherwise = t.inputs[0].inputs, t.inputs[1], t.inputs[2]
        if then.scalar() is None:  # the same, asked the other way round
            a, b, then, otherwise = b, a, otherwise, then
        bound = then.scalar()
        if bound is None:
            return None
        if otherwise.op in ("Min", "Relu", "Max"):
            deeper = (otherwise.inputs[0], 0.0) if otherwise.op == "Relu" else _pair(otherwise)
            if deeper is None:
                return None
            if otherwise.op == "Min" and a is deeper[0] and b.scalar() == bound:
                x, low, high = a, bound, deeper[1]
            elif otherwise.op != "Min" and b is deeper[0] and a.scalar() == bound:
                x, low, high = b, deeper[1], bound
        if otherwise.op == "Clip":
            inner, least, most = otherwise.inputs[0], *(y.scalar() for y in otherwise.inputs[1:])
            if (a is inner and b.scalar() == bound == least) or (
                b is inner and a.scalar() == bound == most
            ):  # fmt: skip
                return otherwise
    if x is None or low is None or high is None or low > high:
        return None
    return tensors.apply("Clip", x, tensors.scalar(low), tensors.scalar(high))


def _leaky(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Max":
        for x, other in (t.inputs, t.inputs[::-1]):
            slope = _slope(other, x)
            if slope is not None and 0 < slope < 1:
                return tensors.apply("LeakyRelu", x, alpha=slope)
    if t.op == "Where" and t.inputs[0].op in ("Less", "LessOrEqual"):
        (low, high), then, otherwise = t.inputs[0].inputs, t.inputs[1], t.inputs[2]
        if high.scalar() == 0 and otherwise is low:
            slope = _slope(then, low)
            if slope is not None:
                return tensors.apply("LeakyRelu", low, alpha=slope)
        if low.scalar() == 0 and then is high:
            slope = _slope(otherwise, high)
            if slope is not None:
                return tensors.apply("LeakyRelu", high, alpha=slope)
    return None


def _slope(t: Tensor, x: Tensor) -> float | None:
    if t.op != "Mul" or t.value is not None:
        return None
    found = _pair(t)
    return found[1] if found is not None and found[0] is x else None


def _reciprocal(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a product with a quotient of one as a quotient."""
    if t.op == "Mul":
        for x, other in (t.inputs, t.inputs[::-1]):
            if other.op == "Div" and other.inputs[0].scalar() == 1 and x.value is None:
                return tensors.apply("Div", x, other.inputs[1])
            if other.op == "Reciprocal":
                return tensors.apply("Div", x, other.inputs[0])
            if other.op == "Rearrange" and other.inputs[0].op == "Div":
                one, below = other.inputs[0].inputs
                if one.scalar() == 1:
                    return (
                        tensors.apply("Div", x, tensors.reshape(below, other.shape))
                        if (other.digits.is_identity)
                        else None
                    )
    return None


def _folded(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Compute what numbers alone decide, in float32 as the machine would."""
    compute = {
        "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
        "Max": np.maximum, "Min": np.minimum, "Sqrt": np.sqrt, "Neg": np.negative,
        "Exp": np.exp, "Abs": np.abs, "Pow": np.power,
    }  # fmt: skip
    if t.op not in compute or any(x.value is None for x in t.inputs):
        return None
    with np.errstate(all="ignore"):
        value = np.asarray(compute[t.op](*(x.value for x in t.inputs)), np.float32)
    made = tensors.constant(value)
    for x in t.inputs:
        made.sources.extend(s for s in x.sources if s not in made.sources)
    return made


#: in the order in which they are tried
ACTIVATIONS: tuple[Rule, ...] = (
    _nothing_done, _negative, _leaky, _relu, _clip, _reciprocal,
)  # fmt: skip

#: applied last: rules look into constants before
FOLDING: tuple[Rule, ...] = (_folded, _nothing_done, written_out)
