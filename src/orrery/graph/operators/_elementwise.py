"""Element-wise arithmetic, functions, comparisons, logic and bits, with broadcasting.

Models:  ONNX's element-wise operators; integers wrap, narrow floats are computed in float32 and
         rounded once.
Ignores: floating-point flags and NaN payloads; x / 0 and x mod 0 of integers give 0.
Judge:   ONNX's node tests; `math.erf`; NumPy's broadcasting.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._operator import Array, Operations, TypeContext, operator
from .._types import TensorType
from ._rules import (
    broadcast,
    broadcast_shapes,
    in_float32,
    nothing,
    per_output,
    quiet,
    same_type,
    with_dtype,
)

# -- shape rules and counts -------------------------------------------------------------------


def _alike(context: TypeContext) -> list[TensorType | None]:
    """Inputs broadcast and must have one element type."""
    first = context.input(0).dtype
    for type_ in context.inputs[1:]:
        if type_ is not None and type_.dtype != first:
            raise context.error(
                f"inputs of {first} and {type_.dtype}", "one element type", "cast one of them"
            )
    return broadcast(context)


def _alike_to_bool(context: TypeContext) -> list[TensorType | None]:
    return [with_dtype(t, "bool") for t in _alike(context) if t is not None]


def _to_bool(context: TypeContext) -> list[TensorType | None]:
    return [with_dtype(context.input(0), "bool")]


def _count_fold(context: TypeContext) -> Operations:
    """One operation for each input after the first, per output element."""
    return Operations(others=(len(context.inputs) - 1) * context.output().elements)


def _count_mean(context: TypeContext) -> Operations:
    return Operations(others=len(context.inputs) * context.output().elements)


def _count_clip(context: TypeContext) -> Operations:
    bounds = context.has(1) + context.has(2)
    return Operations(others=bounds * context.output().elements)


# -- functions of one tensor ------------------------------------------------------------------


_CELLS = 32  #: expansion points of `erf` in a unit
_LIMIT = 6  #: erf(6) is 1 in float64


def erf(x: Array) -> Array:
    """Return the error function in float64.

    Taylor series around the nearest multiple of 1/32, where ``erf`` comes from the standard
    library. The result is exact to about 1e-15, for narrower input types to about 1e-9.
    """
    x = np.asarray(x)
    order = 9 if x.dtype == np.float64 else 4
    inside = np.fmin(np.fmax(x, -_LIMIT), _LIMIT).astype(np.float64)
    cell = np.rint(inside * _CELLS)
    offset = inside - cell / _CELLS
    place = cell.astype(np.intp) + _CELLS * _LIMIT
    terms = _erf_terms(order)
    total = terms[order][place]
    for n in range(order - 1, -1, -1):
        total = total * offset + terms[n][place]
    return np.asarray(np.where(np.isnan(x), np.nan, total))


@functools.cache
def _erf_terms(order: int) -> tuple[Array, ...]:
    """Taylor coefficients at all expansion points, by degree.

    Derivatives of ``erf`` are Hermite polynomials times a Gaussian.
    """
    centre = np.arange(-_CELLS * _LIMIT, _CELLS * _LIMIT + 1) / _CELLS
    terms = [np.array([math.erf(c) for c in centre])]
    factor = 2 / math.sqrt(math.pi) * np.exp(-centre * centre)
    previous, hermite = np.zeros_like(centre), np.ones_like(centre)
    for n in range(order):
        terms.append(factor * hermite)
        previous, hermite = hermite, 2 * centre * hermite - 2 * n * previous
        factor = factor / -(n + 2)
    return tuple(terms)


def _sqrt(x: Array) -> Array:
    return np.sqrt(x)


def _reciprocal(x: Array) -> Array:
    return np.divide(np.ones((), x.dtype), x)


def _erf(x: Array) -> Array:
    return erf(x).astype(x.dtype)


def _register_unary(name: str, function: Callable[..., Any]) -> None:
    """Register a function of one tensor: one operation an element."""

    def evaluate(x: Array) -> Array:
        return np.asarray(function(x))

    operator(name, infer=same_type, count=per_output(1))(quiet(in_float32(evaluate)))


_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Sign": np.sign, "Ceil": np.ceil, "Floor": np.floor,
    "Round": np.rint, "Reciprocal": _reciprocal, "Sqrt": _sqrt, "Exp": np.exp, "Log": np.log,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos,
    "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh, "Tanh": np.tanh, "Asinh": np.arcsinh,
    "Acosh": np.arccosh, "Atanh": np.arctanh, "Erf": _erf, "BitwiseNot": np.bitwise_not,
}  # fmt: skip
for _name, _function in _UNARY.items():
    _register_unary(_name, _function)


@operator("Identity", infer=same_type, count=nothing)
def identity(x: Any) -> Any:
    return x


@operator("Not", infer=same_type, count=per_output(1))
def logical_not(x: Array) -> Array:
    return np.logical_not(x)


@operator("IsNaN", infer=_to_bool, count=per_output(1))
@in_float32
def is_nan(x: Array) -> Array:
    return np.isnan(x)


@operator("IsInf", infer=_to_bool, count=per_output(1))
@in_float32
def is_inf(x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    found = np.isinf(x)
    if not detect_negative:
        found &= x > 0
    if not detect_positive:
        found &= x < 0
    return found


def _infer_clip(context: TypeContext) -> list[TensorType | None]:
    for index in (1, 2):
        if context.has(index) and context.input(index).rank > 1:
            raise context.error(f"a bound of shape {context.input(index)}", "a scalar")
    return same_type(context)


@operator("Clip", infer=_infer_clip, count=_count_clip)
@in_float32
def clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    # minimum last: where low > high, the result is high
    if low is not None:
        x = np.maximum(x, low.reshape(()))
    if high is not None:
        x = np.minimum(x, high.reshape(()))
    return x


# -- functions of two tensors -----------------------------------------------------------------


def _register_binary(name: str, function: Callable[..., Any]) -> None:
    """Register a function of two tensors of one type: one operation an output element."""

    def evaluate(a: Array, b: Array) -> Array:
        return np.asarray(function(a, b))

    operator(name, infer=_alike, count=per_output(1))(quiet(in_float32(evaluate)))


def _divide(a: Array, b: Array) -> Array:
    """Divide; integers truncate towards zero, as in C."""
    if a.dtype.kind not in "iu":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    if a.dtype.kind == "i":
        inexact = (quotient * b != a) & (b != 0)
        quotient = quotient + (inexact & ((a < 0) != (b < 0))).astype(a.dtype)
    return np.asarray(quotient)


_BINARY: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip
for _name, _function in _BINARY.items():
    _register_binary(_name, _function)


def _register_comparison(name: str, function: Callable[..., Any]) -> None:
    def evaluate(a: Array, b: Array) -> Array:
        return np.asarray(function(a, b)).astype(np.bool_)

    operator(name, infer=_alike_to_bool, count=per_output(1))(in_float32(evaluate))


for _name, _function in {
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Less": np.less, "LessOrEqual": np.less_equal,
}.items():  # fmt: skip
    _register_comparison(_name, _function)


@operator("Mod", infer=_alike, count=per_output(1))
@quiet
@in_float32
def mod(a: Array, b: Array, *, fmod: int = 0) -> Array:
    """Remainder with the sign of the divisor, or of the dividend when `fmod`."""
    return np.asarray(np.fmod(a, b) if fmod else np.mod(a, b))


@operator("BitShift", infer=_alike, count=per_output(1))
@quiet
def bit_shift(x: Array, y: Array, *, direction: str = "") -> Array:
    """Shift; by a negative amount or by the width or more, all bits leave."""
    width = 8 * x.dtype.itemsize
    outside = (y < 0) | (y >= width)
    amount = np.where(outside, 0, y).astype(y.dtype)
    if direction == "LEFT":
        return np.where(outside, 0, np.left_shift(x, amount)).astype(x.dtype)
    fill = np.where(x < 0, -1, 0) if x.dtype.kind == "i" else 0
    return np.where(outside, fill, np.right_shift(x, amount)).astype(x.dtype)


def wide_power(x: Array, y: Array) -> Array:
    """Raise to a power; the result has the type of the base, whatever that of the exponent."""
    result_type = x.dtype
    if x.dtype.kind in "iu" and y.dtype.kind in "iu":
        exponent = np.where(y < 0, 0, y).astype(np.uint64)
        wide = np.int64 if x.dtype.kind == "i" else np.uint64
        powers = np.power(x.astype(wide).view(np.uint64), exponent)  # wraps modulo 2^64
        powers = powers.astype(result_type)
        if y.dtype.kind == "u":
            return powers
        # a negative power truncates to 0, except of 1 and -1
        odd = (y % 2 != 0) & (x == np.array(-1).astype(x.dtype)) & (x.dtype.kind == "i")
        unit = (x == 1) | ((x.dtype.kind == "i") & (np.abs(x) == 1))
        inverse = np.where(unit, np.where(odd, -1, 1), 0).astype(result_type)
        return np.where(y < 0, inverse, powers).astype(result_type)
    if x.dtype == y.dtype:
        return np.asarray(np.power(x, y))
    return np.power(x.astype(np.float64), y.astype(np.float64)).astype(result_type)


@operator("Pow", infer=broadcast, count=per_output(1))
@quiet
@in_float32
def power(x: Array, y: Array) -> Array:
    return wide_power(x, y)


# -- functions of any number of tensors -------------------------------------------------------


def _register_fold(name: str, function: Callable[..., Any]) -> None:
    def evaluate(*tensors: Array) -> Array:
        return np.asarray(functools.reduce(function, tensors))

    operator(name, infer=_alike, count=_count_fold)(quiet(in_float32(evaluate)))


for _name, _function in {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}.items():
    _register_fold(_name, _function)


@operator("Mean", infer=_alike, count=_count_mean)
@quiet
@in_float32
def mean(*tensors: Array) -> Array:
    total = functools.reduce(np.add, tensors)
    return np.asarray(total / np.asarray(len(tensors), total.dtype))


def _infer_where(context: TypeContext) -> list[TensorType | None]:
    chosen, other = context.input(1), context.input(2)
    if chosen.dtype != other.dtype:
        raise context.error(f"{chosen.dtype} and {other.dtype}", "one element type")
    shape = broadcast_shapes(context, [context.input(0).shape, chosen.shape, other.shape])
    return [TensorType(dtype=chosen.dtype, shape=shape)]


@operator("Where", infer=_infer_where, count=per_output(1))
def where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)
