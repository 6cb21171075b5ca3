"""Arithmetic, comparison, logic and rounding, with PyTorch's promotion of element types.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

import math
from typing import Any

from ._translation import Operand, Translation, Value, is_float, translates

_RANKS = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
)  # fmt: skip


def _kind(dtype: str) -> int:
    return 0 if dtype == "bool" else 2 if is_float(dtype) else 1


def promoted(*operands: Operand) -> str:
    """Return the element type in which PyTorch computes on these operands.

    Tensors of rank 0 and plain numbers count only when they are of a higher kind (bool < integer <
    real), as PyTorch's documentation of type promotion says.
    """
    levels: list[list[str]] = [[], [], []]  # tensors, rank-0 tensors, numbers
    for operand in operands:
        if isinstance(operand, Value) and not operand.size:
            levels[0 if operand.rank else 1].append(operand.dtype)
        elif isinstance(operand, Value) or (
            isinstance(operand, int) and not isinstance(operand, bool)
        ):
            levels[2].append("int64")
        elif isinstance(operand, float):
            levels[2].append("float32")
        elif isinstance(operand, bool):
            levels[2].append("bool")
    found = ""
    for level in levels:
        for dtype in level:
            same = [d for d in level if _kind(d) == _kind(dtype)]
            if not found or _kind(dtype) > _kind(found):
                found = _join(same)
    return found


def _join(dtypes: list[str]) -> str:
    kinds = set(dtypes)
    if kinds == {"float16", "bfloat16"}:
        return "float32"
    if kinds == {"uint8", "int8"}:
        return "int16"
    return max(dtypes, key=_RANKS.index)


def _unary(onnx: str, *names: str, whole: bool = False) -> None:
    """Register operators with one operand; `whole`: integers stay as they are."""

    def translate(t: Translation, x: Value) -> Value:
        if whole and not is_float(x.dtype):
            return x
        return t.op(onnx, t.cast(x, t.result.dtype))

    translates(*names)(translate)


for _name, _onnx in {
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf",
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "sgn": "Sign", "sigmoid": "Sigmoid",
    "reciprocal": "Reciprocal", "special_erf": "Erf",
}.items():  # fmt: skip
    _unary(_onnx, _name)
_unary("Ceil", "ceil", whole=True)
_unary("Floor", "floor", whole=True)
_unary("Round", "round", whole=True)


def _special(onnx: str, name: str) -> None:
    def translate(t: Translation, x: Value) -> Value:
        if not is_float(x.dtype):
            return t.op("Expand", t.constant(False, "bool"), t.op("Shape", x))
        return t.op(onnx, x)

    translates(name)(translate)


_special("IsNaN", "isnan")
_special("IsInf", "isinf")


def _real(t: Translation, x: Operand) -> Value:
    return t.operand(x, t.result.dtype)


@translates("isfinite")
def isfinite(t: Translation, x: Value) -> Value:
    if not is_float(x.dtype):
        return t.op("Expand", t.constant(True, "bool"), t.op("Shape", x))
    return t.op("Not", t.op("Or", t.op("IsNaN", x), t.op("IsInf", x)))


@translates("rsqrt")
def rsqrt(t: Translation, x: Value) -> Value:
    return t.op("Reciprocal", t.op("Sqrt", _real(t, x)))


def _log_base(name: str, base: float) -> None:
    def translate(t: Translation, x: Value) -> Value:
        factor = t.constant(1 / math.log(base), t.result.dtype)
        return t.op("Mul", t.op("Log", _real(t, x)), factor)

    translates(name)(translate)


_log_base("log2", 2)
_log_base("log10", 10)


@translates("log1p")
def log1p(t: Translation, x: Value) -> Value:
    return t.op("Log", t.op("Add", _real(t, x), t.constant(1, t.result.dtype)))


@translates("expm1")
def expm1(t: Translation, x: Value) -> Value:
    return t.op("Sub", t.op("Exp", _real(t, x)), t.constant(1, t.result.dtype))


@translates("exp2")
def exp2(t: Translation, x: Value) -> Value:
    return t.op("Pow", t.constant(2, t.result.dtype), _real(t, x))


@translates("erfc")
def erfc(t: Translation, x: Value) -> Value:
    return t.op("Sub", t.constant(1, t.result.dtype), t.op("Erf", _real(t, x)))


@translates("trunc")
def trunc(t: Translation, x: Value) -> Value:
    return _truncated(t, x) if is_float(x.dtype) else x


def _truncated(t: Translation, x: Value) -> Value:
    return t.op("Mul", t.op("Sign", x), t.op("Floor", t.op("Abs", x)))


@translates("round.decimals")
def round_decimals(t: Translation, x: Value, *, decimals: int = 0) -> Value:
    factor = t.constant(10.0**decimals, x.dtype)
    return t.op("Div", t.op("Round", t.op("Mul", x, factor)), factor)


@translates("atan2")
def atan2(t: Translation, y: Value, x: Value) -> Value:
    dtype = t.result.dtype
    y, x = t.cast(y, dtype), t.cast(x, dtype)
    zero, pi = t.constant(0, dtype), t.constant(math.pi, dtype)
    plain = t.op("Atan", t.op("Div", y, x))
    turn = t.op("Where", t.op("Less", y, zero), t.op("Neg", pi), pi)
    left = t.op("Where", t.op("Less", x, zero), t.op("Add", plain, turn), plain)
    origin = t.op("And", t.op("Equal", y, zero), t.op("Equal", x, zero))
    return t.op("Where", origin, zero, left)


@translates("signbit")
def signbit(t: Translation, x: Value) -> Value:
    zero = t.constant(0, x.dtype)
    negative = t.op("Less", x, zero)
    if not is_float(x.dtype):
        return negative
    minus_zero = t.op("Less", t.op("Reciprocal", x), zero)  # of both, only -0.0 turns to -inf
    return t.op("Or", negative, t.op("And", t.op("Equal", x, zero), minus_zero))


@translates("hypot")
def hypot(t: Translation, x: Value, y: Value) -> Value:
    a, b = _real(t, x), _real(t, y)
    return t.op("Sqrt", t.op("Add", t.op("Mul", a, a), t.op("Mul", b, b)))


# -- two operands -------------------------------------------------------------------------------


def _sum(onnx: str, *names: str, swap: bool = False) -> None:
    def translate(t: Translation, x: Operand, y: Operand, alpha: Any = 1) -> Value:
        dtype = t.result.dtype
        if dtype == "bool" and onnx == "Add":
            return t.op("Or", t.operand(x, dtype), t.operand(y, dtype))
        a, b = t.operand(x, dtype), t.operand(y, dtype)
        if alpha != 1:
            b = t.op("Mul", b, t.operand(alpha, dtype)) if not swap else b
            a = t.op("Mul", a, t.operand(alpha, dtype)) if swap else a
        return t.op(onnx, b, a) if swap else t.op(onnx, a, b)

    translates(*names)(translate)


_sum("Add", "add.Tensor", "add.Scalar")
_sum("Sub", "sub.Tensor", "sub.Scalar")
_sum("Sub", "rsub.Tensor", "rsub.Scalar", swap=True)


@translates("mul.Tensor", "mul.Scalar")
def mul(t: Translation, x: Operand, y: Operand) -> Value:
    dtype = t.result.dtype
    return t.op("And" if dtype == "bool" else "Mul", t.operand(x, dtype), t.operand(y, dtype))


@translates("div.Tensor", "div.Scalar")
def div(t: Translation, x: Operand, y: Operand) -> Value:
    return t.op("Div", _real(t, x), _real(t, y))


@translates("div.Tensor_mode", "div.Scalar_mode")
def div_mode(t: Translation, x: Operand, y: Operand, *, rounding_mode: str | None) -> Value:
    dtype = t.result.dtype
    a, b = t.operand(x, dtype), t.operand(y, dtype)
    if rounding_mode is None:
        return t.op("Div", a, b)
    if rounding_mode == "floor":
        if is_float(dtype):
            return t.op("Floor", t.op("Div", a, b))
        return t.op("Div", t.op("Sub", a, t.op("Mod", a, b)), b)
    return _truncated(t, t.op("Div", a, b)) if is_float(dtype) else t.op("Div", a, b)


@translates("floor_divide", "floor_divide.Scalar")
def floor_divide(t: Translation, x: Operand, y: Operand) -> Value:
    return div_mode(t, x, y, rounding_mode="floor")


@translates("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
def remainder(t: Translation, x: Operand, y: Operand) -> Value:
    dtype = t.result.dtype
    a, b = t.operand(x, dtype), t.operand(y, dtype)
    if not is_float(dtype):
        return t.op("Mod", a, b)
    return t.op("Sub", a, t.op("Mul", t.op("Floor", t.op("Div", a, b)), b))


@translates("fmod.Tensor", "fmod.Scalar")
def fmod(t: Translation, x: Operand, y: Operand) -> Value:
    return t.op("Mod", _real(t, x), _real(t, y), fmod=1)


@translates("pow.Tensor_Tensor", "pow.Tensor_Scalar", "pow.Scalar")
def power(t: Translation, x: Operand, y: Operand) -> Value:
    dtype = t.result.dtype
    base = t.operand(x, dtype)
    if isinstance(y, int | float) and not isinstance(y, bool):
        if y == 1:
            return base
        if y == 2:
            return t.op("Mul", base, base)
        if is_float(dtype) and y in (0.5, -0.5, -1):
            root = t.op("Sqrt", base) if y != -1 else base
            return root if y == 0.5 else t.op("Reciprocal", root)
    return t.op("Pow", base, t.operand(y, dtype))


def _extreme(onnx: str, *names: str) -> None:
    def translate(t: Translation, x: Value, y: Value) -> Value:
        return t.op(onnx, _real(t, x), _real(t, y))

    translates(*names)(translate)


_extreme("Max", "maximum", "fmax")
_extreme("Min", "minimum", "fmin")


@translates("lerp.Scalar", "lerp.Tensor")
def lerp(t: Translation, start: Value, end: Value, weight: Operand) -> Value:
    return t.op("Add", start, t.op("Mul", _real(t, weight), t.op("Sub", end, start)))


def _fused(onnx: str, name: str) -> None:
    def translate(t: Translation, x: Value, a: Value, b: Value, *, value: Any = 1) -> Value:
        inner = t.op(onnx, _real(t, a), _real(t, b))
        if value != 1:
            inner = t.op("Mul", inner, _real(t, value))
        return t.op("Add", _real(t, x), inner)

    translates(name)(translate)


_fused("Mul", "addcmul")
_fused("Div", "addcdiv")


# -- comparison and logic -----------------------------------------------------------------------


def _comparison(onnx: str, name: str, *, negate: bool = False) -> None:
    def translate(t: Translation, x: Operand, y: Operand) -> Value:
        dtype = promoted(x, y)
        if dtype == "bool" and onnx != "Equal":  # ONNX orders numbers only
            dtype = "int32"
        found = t.op(onnx, t.operand(x, dtype), t.operand(y, dtype))
        return t.op("Not", found) if negate else found

    translates(f"{name}.Tensor", f"{name}.Scalar")(translate)


_comparison("Equal", "eq")
_comparison("Equal", "ne", negate=True)
_comparison("Less", "lt")
_comparison("LessOrEqual", "le")
_comparison("Greater", "gt")
_comparison("GreaterOrEqual", "ge")


def _logical(onnx: str, name: str) -> None:
    def translate(t: Translation, x: Value, y: Value) -> Value:
        return t.op(onnx, t.cast(x, "bool"), t.cast(y, "bool"))

    translates(f"logical_{name}")(translate)

    def bitwise(t: Translation, x: Operand, y: Operand) -> Value:
        dtype = t.result.dtype
        form = onnx if dtype == "bool" else f"Bitwise{onnx}"
        return t.op(form, t.operand(x, dtype), t.operand(y, dtype))

    translates(f"bitwise_{name}.Tensor", f"bitwise_{name}.Scalar")(bitwise)


_logical("And", "and")
_logical("Or", "or")
_logical("Xor", "xor")


@translates("logical_not")
def logical_not(t: Translation, x: Value) -> Value:
    return t.op("Not", t.cast(x, "bool"))


@translates("bitwise_not")
def bitwise_not(t: Translation, x: Value) -> Value:
    return t.op("Not" if x.dtype == "bool" else "BitwiseNot", x)


@translates("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(t: Translation, condition: Value, x: Operand, y: Operand) -> Value:
    return t.op("Where", t.cast(condition, "bool"), _real(t, x), _real(t, y))


@translates("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(t: Translation, x: Value, mask: Value, value: Operand) -> Value:
    return t.op("Where", mask, t.operand(value, x.dtype), x)


@translates("clamp", "clamp.Tensor", "clip", "clip.Tensor")
def clamp(t: Translation, x: Value, low: Operand = None, high: Operand = None) -> Value:
    dtype = t.result.dtype
    y = t.cast(x, dtype)
    if low is not None and high is not None and not isinstance(low, Value | list):
        if isinstance(high, Value):
            return t.op("Min", t.op("Max", y, t.operand(low, dtype)), t.operand(high, dtype))
        # PyTorch lets the upper bound win; ONNX's Clip does the same.
        return t.op("Clip", y, t.operand(low, dtype), t.operand(high, dtype))
    if low is not None:
        y = t.op("Max", y, t.operand(low, dtype))
    return y if high is None else t.op("Min", y, t.operand(high, dtype))


@translates("hardtanh")
def hardtanh(t: Translation, x: Value, low: Operand = -1.0, high: Operand = 1.0) -> Value:
    return clamp(t, x, low, high)


@translates("clamp_min", "clamp_min.Tensor")
def clamp_min(t: Translation, x: Value, low: Operand) -> Value:
    return clamp(t, x, low)


@translates("clamp_max", "clamp_max.Tensor")
def clamp_max(t: Translation, x: Value, high: Operand) -> Value:
    return clamp(t, x, None, high)


@translates("_to_copy", "to.dtype", "to.dtype_layout", "type_as")
def to_copy(t: Translation, x: Value, *_: Operand, **__: Operand) -> Value:
    return t.cast(x, t.result.dtype)


@translates(
    "bitwise_left_shift.Tensor",
    "bitwise_left_shift.Tensor_Scalar",
    "__lshift__.Scalar",
    "__lshift__.Tensor",
)
def left_shift(t: Translation, x: Operand, y: Operand) -> Value:
    dtype = t.result.dtype
    factor = t.op("Pow", t.constant(2, dtype), t.operand(y, dtype))
    return t.op("Mul", t.operand(x, dtype), factor)


@translates(
    "bitwise_right_shift.Tensor",
    "bitwise_right_shift.Tensor_Scalar",
    "__rshift__.Scalar",
    "__rshift__.Tensor",
)
def right_shift(t: Translation, x: Operand, y: Operand) -> Value:
    dtype = t.result.dtype
    factor = t.op("Pow", t.constant(2, dtype), t.operand(y, dtype))
    return div_mode(t, x, factor, rounding_mode="floor")
