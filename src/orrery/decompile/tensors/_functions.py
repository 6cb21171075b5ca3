"""Functions of one number, known by their values.

A compiler may write a sigmoid in many ways. What a chain of elementwise operators computes from
one tensor is evaluated on points over the range where it matters and compared with functions that
networks use.

Models:  functions of one tensor and numbers.
Ignores: which of two functions that agree on all points was meant.
Judge:   each is written in several ways in the tests; functions close by must not be taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._rewriting import noted
from ._tensors import ELEMENTWISE, Tensor, Tensors

Array = NDArray[Any]

#: Far out as well, where another function may be cut off; what is no number there in float64 (a
#: quotient of two overflows) says nothing.
_FAR = np.array([9.6, 12.5, 20, 50, 100, 1e3, 1e5])
_POINTS = np.concatenate([np.linspace(-9, 9, 721), np.linspace(-0.02, 0.02, 41), _FAR, -_FAR])
_MOST_OPERATORS = 24
#: Largest difference, relative to numbers of size 1: constants are rounded to 24 bits.
_TOLERANCE = 2e-6

_erf = np.vectorize(math.erf, otypes=[np.float64])

#: No function that is looked for does without one of these.
_CURVED = frozenset({"Exp", "Tanh", "Erf", "Min", "Max", "Clip", "Where", "Relu", "Log"})

_COMPUTE: dict[str, Callable[..., Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Max": np.maximum,
    "Min": np.minimum, "Pow": np.power, "Neg": np.negative, "Abs": np.abs, "Sqrt": np.sqrt,
    "Exp": np.exp, "Log": np.log, "Tanh": np.tanh, "Erf": _erf,
    "Relu": lambda x: np.maximum(x, 0), "Clip": lambda x, a, b: np.clip(x, a, b),
    "Where": np.where, "Less": np.less, "LessOrEqual": np.less_equal, "Equal": np.equal,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Floor": np.floor, "Ceil": np.ceil,
}  # fmt: skip


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


#: operator, attributes, function
_KNOWN: tuple[tuple[str, dict[str, Any], Callable[[Array], Array]], ...] = (
    ("Sigmoid", {}, lambda x: 1 / (1 + np.exp(-x))),
    ("Tanh", {}, np.tanh),
    ("Gelu", {"approximate": "none"}, lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2)))),
    ("Gelu", {"approximate": "tanh"}, _gelu_tanh),
    ("HardSwish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("HardSigmoid", {"alpha": float(np.float32(0.2)), "beta": 0.5},
     lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ("HardSigmoid", {"alpha": float(np.float32(1 / 6)), "beta": 0.5},
     lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("Softplus", {}, lambda x: np.logaddexp(0, x)),
    ("Elu", {"alpha": 1.0}, lambda x: np.where(x > 0, x, np.expm1(x))),
    ("Erf", {}, _erf),
)  # fmt: skip


def known_function(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Return a chain of elementwise operators as one known function."""
    if t.op == "Mul":
        for x, gate in (t.inputs, t.inputs[::-1]):
            if gate.op == "HardSigmoid" and gate.inputs[0] is x and _is_sixth(gate):
                return noted(tensors.apply("HardSwish", x), gate)
    if t.op not in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Where", "Log", "Clip"):
        return None
    inside = _inside(t)
    if inside is None or not any(part.op in _CURVED for part in inside):
        return None
    # From the nearest tensor that everything is a function of, to the furthest.
    for root in sorted(inside, key=lambda x: -x.number):
        if root is t or root.shape != t.shape or root.value is not None:
            continue
        values = _evaluated(t, root)
        if values is None:
            continue
        for op, attributes, function in _KNOWN:
            with np.errstate(all="ignore"):
                wanted = function(_POINTS)
                near = np.abs(values - wanted) <= _TOLERANCE * (1 + np.abs(wanted))
            if np.all(near | ~np.isfinite(values) & (np.abs(_POINTS) > 40)):
                made = tensors.apply(op, root, **attributes)
                return noted(made, because=f"its values on {_POINTS.size} points are {op}'s")
    return None


def _is_sixth(t: Tensor) -> bool:
    return bool(abs(t.attribute("alpha") - 1 / 6) < _TOLERANCE and t.attribute("beta") == 0.5)


def _inside(t: Tensor) -> list[Tensor] | None:
    """Return what a tensor is computed from by elementwise operators, leaves included."""
    found: list[Tensor] = []
    seen: set[int] = set()
    stack = [t]
    while stack:
        part = stack.pop()
        if part.number in seen:
            continue
        seen.add(part.number)
        found.append(part)
        if len(found) > _MOST_OPERATORS:
            return found
        if part.op in ELEMENTWISE:
            stack.extend(part.inputs)
    return found


def _evaluated(t: Tensor, root: Tensor) -> Array | None:
    """Return a tensor's values where `root` runs over the points; None if more decides it."""
    done: dict[int, Array | None] = {root.number: _POINTS}

    def walk(part: Tensor, depth: int) -> Array | None:
        if part.number in done:
            return done[part.number]
        result: Array | None = None
        number = part.scalar()
        if number is not None:
            result = np.asarray(number, np.float64)
        elif part.op in _COMPUTE and depth < _MOST_OPERATORS:
            inputs = [walk(x, depth + 1) for x in part.inputs]
            if all(x is not None for x in inputs):
                with np.errstate(all="ignore"):
                    result = _COMPUTE[part.op](*inputs)
        done[part.number] = result
        return result

    found = walk(t, 0)
    return None if found is None or found.shape != _POINTS.shape else found
