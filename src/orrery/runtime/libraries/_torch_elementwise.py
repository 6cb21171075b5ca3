"""Element-wise operators in PyTorch."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from orrery.graph import Node, TensorType

from ._torch_table import DTYPES, operation, register, torch_dtype

_SAME_NAME = (
    "Abs", "Neg", "Sign", "Reciprocal", "Sqrt", "Exp", "Log", "Sin", "Cos", "Tan",
    "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh", "Erf", "Relu",
    "Sigmoid",
)  # fmt: skip
_UNARY = {name: name.lower() for name in _SAME_NAME} | {
    "Round": "round", "BitwiseNot": "bitwise_not", "Not": "logical_not", "IsNaN": "isnan",
    "Ceil": "ceil", "Floor": "floor",
}  # fmt: skip


@operation("Identity")
def identity(t: Any, x: Any) -> Any:
    return x


@operation("IsInf")
def is_inf(t: Any, x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    if detect_negative and detect_positive:
        return t.isinf(x)
    if detect_negative:
        return t.isneginf(x)
    return t.isposinf(x) if detect_positive else t.zeros_like(x, dtype=t.bool)


@operation("Clip")
def clip(t: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    if low is not None:
        x = t.maximum(x, low.reshape(()))
    return x if high is None else t.minimum(x, high.reshape(()))


# -- two tensors ------------------------------------------------------------------------------


def _divide(t: Any, a: Any, b: Any) -> Any:
    """Divide; whole numbers truncate, and by zero give zero."""
    if a.is_floating_point():
        return t.div(a, b)
    zero = b == 0
    return t.div(a, t.where(zero, 1, b), rounding_mode="trunc").masked_fill(zero, 0)


_BINARY: dict[str, str] = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "And": "logical_and", "Or": "logical_or",
    "Xor": "logical_xor", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor", "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge",
    "Less": "lt", "LessOrEqual": "le",
}  # fmt: skip


def _register_plain(name: str, function: str) -> None:
    register(name, lambda t, *tensors: getattr(t, function)(*tensors))


for _name, _function in {**_UNARY, **_BINARY}.items():
    _register_plain(_name, _function)
register("Div", _divide)


@operation("Mod")
def mod(t: Any, a: Any, b: Any, *, fmod: int = 0) -> Any:
    if a.is_floating_point():
        return t.fmod(a, b) if fmod else t.remainder(a, b)
    zero = b == 0
    safe = t.where(zero, 1, b)
    return (t.fmod(a, safe) if fmod else t.remainder(a, safe)).masked_fill(zero, 0)


def _refuse_power(node: Node, types: Mapping[str, TensorType]) -> str | None:
    kinds = {types[name].dtype for name in node.inputs if name in types}
    if any("int" in kind for kind in kinds):
        return "powers of, or by, whole numbers"
    return None


@operation("Pow", refuse=_refuse_power, wide=True)
def power(t: Any, x: Any, y: Any) -> Any:
    if x.dtype == y.dtype:
        return t.pow(x, y)
    return t.pow(x.double(), y.double()).to(x.dtype)


def _register_fold(name: str, function: str) -> None:
    register(name, lambda t, *tensors: functools.reduce(getattr(t, function), tensors))


_register_fold("Sum", "add")
_register_fold("Max", "maximum")
_register_fold("Min", "minimum")


@operation("Mean", wide=True)
def mean(t: Any, *tensors: Any) -> Any:
    return functools.reduce(t.add, tensors) / len(tensors)


@operation("Where")
def where(t: Any, condition: Any, x: Any, y: Any) -> Any:
    return t.where(condition, x, y)


# -- activations ------------------------------------------------------------------------------


def _register_alpha(name: str, function: str, usual: float) -> None:
    def run(t: Any, x: Any, *, alpha: float = usual) -> Any:
        return getattr(t.nn.functional, function)(x, alpha)

    register(name, run, wide=True)


_register_alpha("LeakyRelu", "leaky_relu", 0.01)
_register_alpha("Elu", "elu", 1.0)
_register_alpha("Celu", "celu", 1.0)


@operation("PRelu", wide=True)
def prelu(t: Any, x: Any, slope: Any) -> Any:
    return t.where(x < 0, slope * x, x)


@operation("Selu", wide=True)
def selu(t: Any, x: Any, *, alpha: float = 1.67326319217681884765625,
         gamma: float = 1.05070102214813232421875) -> Any:  # fmt: skip
    return gamma * t.where(x <= 0, alpha * t.expm1(x.clamp(max=0)), x)


@operation("Gelu", wide=True)
def gelu(t: Any, x: Any, *, approximate: str = "none") -> Any:
    return t.nn.functional.gelu(x, approximate=approximate)


@operation("HardSigmoid", wide=True)
def hard_sigmoid(t: Any, x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return (alpha * x + beta).clamp(0, 1)


@operation("HardSwish", wide=True)
def hard_swish(t: Any, x: Any) -> Any:
    return x * (x / 6 + 0.5).clamp(0, 1)


@operation("Softplus", wide=True)
def softplus(t: Any, x: Any) -> Any:
    return x.clamp(min=0) + t.log1p(t.exp(-x.abs()))


@operation("Mish", wide=True)
def mish(t: Any, x: Any) -> Any:
    return x * t.tanh(softplus(t, x))


@operation("Softsign", wide=True)
def softsign(t: Any, x: Any) -> Any:
    return x / (1 + x.abs())


@operation("Swish", wide=True)
def swish(t: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return t.nn.functional.silu(x) if alpha == 1.0 else x * t.sigmoid(alpha * x)


@operation("SwiGLU", wide=True)
def swiglu(t: Any, gate: Any, value: Any, *, alpha: float = 1.0) -> Any:
    return swish(t, gate, alpha=alpha) * value


@operation("ThresholdedRelu", wide=True)
def thresholded_relu(t: Any, x: Any, *, alpha: float = 1.0) -> Any:
    return t.where(x > alpha, x, t.zeros_like(x))


@operation("Shrink", wide=True)
def shrink(t: Any, x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    real = x if x.is_floating_point() else x.float()
    low = t.where(real < -lambd, real + bias, t.zeros_like(real))
    return t.where(real > lambd, real - bias, low).to(x.dtype)


# -- conversions ------------------------------------------------------------------------------


def _refuse_cast(node: Node, types: Mapping[str, TensorType]) -> str | None:
    source, target = (types.get(names[0]) for names in (node.inputs, node.outputs))
    for type_ in (source, target):
        if type_ is not None and type_.dtype not in DTYPES:
            return f"to or from {type_.dtype}"
    return None


@operation("Cast", refuse=_refuse_cast)
def cast(t: Any, x: Any, *, to: int = 1, saturate: int = 1, round_mode: str = "up") -> Any:
    return x.to(torch_dtype(t, to))


@operation("CastLike", refuse=_refuse_cast)
def cast_like(t: Any, x: Any, like: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return x.to(like.dtype)


def _refuse_quantised(node: Node, types: Mapping[str, TensorType]) -> str | None:
    if node.attributes.get("block_size", 0):
        return "blocks"
    scale = types.get(node.inputs[1])
    if scale is None or scale.rank > 1 or scale.dtype != "float32":
        return "scales other than one, or one a channel, in float32"
    if node.attributes.get("precision", 0) not in (0, 1):
        return "another precision of the division"
    output = types.get(node.outputs[0])
    if output is None or output.dtype not in ("int8", "uint8", "float32"):
        return "element types other than int8 and uint8"
    return None


def _along(values: Any, axis: int, rank: int) -> Any:
    if values.numel() == 1:
        return values.reshape(())
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


@operation("QuantizeLinear", refuse=_refuse_quantised)
def quantize_linear(
    t: Any, x: Any, scale: Any, zero_point: Any = None, *, axis: int = 1, saturate: int = 1,
    block_size: int = 0, output_dtype: int = 0, precision: int = 0,
) -> Any:  # fmt: skip
    to = torch_dtype(t, output_dtype) if output_dtype else t.uint8
    y = t.round(x.float() / _along(scale, axis, x.dim()))
    if zero_point is not None:
        to = zero_point.dtype
        y = y + _along(zero_point, axis, x.dim())
    limits = t.iinfo(to)
    return y.clamp(limits.min, limits.max).to(to)


@operation("DequantizeLinear", refuse=_refuse_quantised)
def dequantize_linear(
    t: Any, x: Any, scale: Any, zero_point: Any = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: int = 0,
) -> Any:  # fmt: skip
    shifted = x.to(t.int64)
    if zero_point is not None:
        shifted = shifted - _along(zero_point.to(t.int64), axis, x.dim())
    return shifted.to(scale.dtype) * _along(scale, axis, x.dim())


# -- made from nothing ------------------------------------------------------------------------


def _refuse_nothing_known(node: Node, types: Mapping[str, TensorType]) -> str | None:
    output = types.get(node.outputs[0])
    return None if output is None or output.dtype in DTYPES else f"element type {output.dtype}"


@operation("ConstantOfShape", host=(0,), refuse=_refuse_nothing_known)
def constant_of_shape(t: Any, shape: Any, *, value: Any = None) -> Any:
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return t.full(
        [int(n) for n in shape], fill.reshape(()).item(), dtype=torch_dtype(t, fill.dtype)
    )


@operation("Range", host=(0, 1, 2), refuse=_refuse_nothing_known)
def range_(t: Any, start: Any, limit: Any, delta: Any, *, stash_type: int = 1) -> Any:
    first, last, step = (v.reshape(()).item() for v in (start, limit, delta))
    count = max(0, math.ceil((last - first) / step))
    dtype = torch_dtype(t, start.dtype)
    work = dtype if start.dtype.kind in "iu" or dtype == t.float64 else t.float32
    return (first + t.arange(count).to(work) * step).to(dtype)


@operation("EyeLike", refuse=_refuse_nothing_known)
def eye_like(t: Any, x: Any, *, dtype: int | None = None, k: int = 0) -> Any:
    rows, columns = x.shape
    offsets = t.arange(columns, device=x.device) - t.arange(rows, device=x.device)[:, None]
    return (offsets == k).to(x.dtype if dtype is None else torch_dtype(t, dtype))
