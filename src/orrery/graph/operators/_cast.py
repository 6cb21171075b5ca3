"""Conversions between element types: casts, reinterpretation, linear quantisation.

Models:  every pair of ONNX's element types; saturation and the rounding modes of 8-bit floats;
         quantisation per tensor, per axis and per block.
Ignores: nothing of the definition; what it leaves undefined (NaN to an integer) follows NumPy.
Judge:   ONNX's node tests; exhaustive 8-bit and 4-bit round trips.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._constant import dtype_name, unpack_codes
from .._operator import Array, Operations, TypeContext, operator
from .._types import BITS, TensorType, numpy_dtype
from ._rules import (
    axis_of,
    element_type,
    is_narrow,
    nothing,
    outer_type,
    per_output,
    quiet,
    with_dtype,
)

_RANGES = {
    "uint16": (0, 65535), "int16": (-32768, 32767), "uint8": (0, 255), "int8": (-128, 127),
    "uint4": (0, 15), "int4": (-8, 7), "uint2": (0, 3), "int2": (-2, 1),
    "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip


# -- casts ------------------------------------------------------------------------------------


def convert(x: Array, to: str, *, saturate: bool = True, round_mode: str = "up") -> Array:
    """Convert elements to another type as ONNX's Cast does.

    Parameters
    ----------
    x : any shape
    to : element type, e.g. ``float8e4m3fn``
    saturate : for 8-bit floats, give the largest value instead of infinity or NaN
    round_mode : of float8e8m0: ``up``, ``down`` or ``nearest``
    """
    if x.dtype == object:
        x = _parse(x, to)
    target = numpy_dtype(to)
    if x.dtype == target:
        return x
    if to == "string":
        return _print(x)
    if x.dtype.kind == "c" and not to.startswith("complex"):
        x = x.real
    with np.errstate(all="ignore"):
        if is_narrow(x.dtype):
            x = x.astype(np.float32)
        if to == "bool":
            return np.asarray(x != 0)
        if to == "float8e8m0":
            return _to_exponent(x, saturate, round_mode)
        if to.startswith("float8"):
            return _to_float8(x, target, saturate)
        if BITS[to] < 8 and "int" in to:
            codes = x.astype(np.int64) & ((1 << BITS[to]) - 1)
            return unpack_codes(codes.astype(np.uint8), to)
        if x.dtype.kind == "V" or str(x.dtype).startswith(("int4", "uint4", "int2", "uint2")):
            x = x.astype(np.int8)
        if x.dtype.kind == "f" and target.kind in "iu":
            return _float_to_integer(x, target)
        if x.dtype.kind == "b" and is_narrow(target):
            x = x.astype(np.float32)
        return x.astype(target)


def _float_to_integer(x: Array, target: np.dtype[Any]) -> Array:
    """Truncate; what is out of range of int64 is undefined, the rest keeps its low bits."""
    if target == np.uint64:
        return x.astype(target)
    return x.astype(np.int64).astype(target)


def _parse(x: Array, to: str) -> Array:
    if to == "string":
        return x
    numbers: list[Any] = []
    for text in x.ravel():
        text = text.decode() if isinstance(text, bytes) else str(text)
        try:
            whole = to.lstrip("u").startswith("int") and text.strip().lstrip("+-").isdigit()
            numbers.append(int(text) if whole else float(text))
        except ValueError:
            raise ModelError(
                "Cast", found=text, wanted="a number", fix="correct the text"
            ) from None
    if "int" in to:
        return np.array([int(n) for n in numbers], np.int64).reshape(x.shape)
    return np.array(numbers, np.float64).reshape(x.shape)


def _print(x: Array) -> Array:
    if is_narrow(x.dtype):
        x = x.astype(np.float32)
    texts = [str(v) if x.dtype.kind in "fc" else str(int(v)) for v in x.ravel()]
    texts = [t.replace("nan", "NaN").replace("inf", "INF") for t in texts]
    return np.array(texts, object).reshape(x.shape)


def _to_float8(x: Array, target: np.dtype[Any], saturate: bool) -> Array:
    result = x.astype(target)
    if saturate:
        back = result.astype(np.float32)
        lost = ~np.isfinite(back) & ~np.isnan(x)
        finite = np.arange(256, dtype=np.uint8).view(target).astype(np.float32)
        largest = np.float32(np.nanmax(np.where(np.isfinite(finite), finite, np.nan)))
        result = np.where(lost, np.copysign(largest, x), back).astype(target)
    return result


def _to_exponent(x: Array, saturate: bool, round_mode: str) -> Array:
    """Round to a power of two, the only values of float8e8m0; what is negative gives NaN."""
    modes = {"up": 0.5, "down": 1.0, "nearest": 0.75}
    if round_mode not in modes:
        raise ModelError("Cast", found=f"round_mode {round_mode!r}",
                         wanted=f"one of {', '.join(modes)}", fix="correct it")  # fmt: skip
    x = np.asarray(x, np.float64)
    mantissa, exponent = np.frexp(np.where(np.isfinite(x), x, 1.0))
    higher = mantissa > 0.5 if round_mode == "up" else mantissa >= modes[round_mode]
    code = exponent - 1 + higher + 127
    code = np.where(x == 0, -1, code)
    code = np.where(np.isposinf(x), 255, code)
    code = np.clip(code, 0, 254) if saturate else np.where((code < 0) | (code > 254), 255, code)
    code = np.where(np.isnan(x) | (x < 0), 255, code)
    return code.astype(np.uint8).view(numpy_dtype("float8e8m0"))


def _infer_cast(context: TypeContext) -> list[TensorType | None]:
    code = context.attribute("to")
    if code is None:
        raise context.error("no attribute 'to'", "the number of an element type")
    return [with_dtype(context.input(0), element_type(code))]


@operator("Cast", infer=_infer_cast, count=per_output(1))
def cast(x: Array, *, to: int = 1, saturate: int = 1, round_mode: str = "up") -> Array:
    return convert(x, element_type(to), saturate=bool(saturate), round_mode=round_mode)


def _infer_cast_like(context: TypeContext) -> list[TensorType | None]:
    return [with_dtype(context.input(0), context.input(1).dtype)]


@operator("CastLike", infer=_infer_cast_like, count=per_output(1))
def cast_like(x: Array, like: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    return convert(x, dtype_name(like.dtype), saturate=bool(saturate), round_mode=round_mode)


def _infer_bit_cast(context: TypeContext) -> list[TensorType | None]:
    result = with_dtype(context.input(0), element_type(context.attribute("to", 0)))
    if BITS[result.dtype] != BITS[context.input(0).dtype]:
        raise context.error(f"{context.input(0).dtype} to {result.dtype}", "types of equal width")
    return [result]


@operator("BitCast", infer=_infer_bit_cast, count=nothing)
def bit_cast(x: Array, *, to: int = 0) -> Array:
    source, target = dtype_name(x.dtype), element_type(to)
    if BITS[target] < 8:
        codes = x.view(np.uint8) if source.startswith("float") else x.astype(np.int8)
        mask = (1 << BITS[target]) - 1
        return unpack_codes((codes.view(np.uint8) & mask).astype(np.uint8), target)
    return np.ascontiguousarray(x).view(numpy_dtype(target)).reshape(x.shape)


# -- linear quantisation ----------------------------------------------------------------------


def spread(parameter: Array, shape: tuple[int, ...], axis: int, block_size: int) -> Array:
    """Return a scale or zero point in a form that broadcasts over a tensor.

    One element stands for the whole tensor, a vector for an axis, and with a block size each
    element for so many along the axis: ``[2, 3]`` with block size 2 becomes ``[2, 2, 3, 3]``.

    Raises
    ------
    ModelError : the parameter fits neither
    """
    if block_size:
        if parameter.ndim == len(shape):
            wide = np.repeat(parameter, block_size, axis)
            return np.take(wide, np.arange(shape[axis]), axis) if shape else wide
    elif parameter.size == 1:
        return parameter.reshape(())
    elif parameter.ndim == 1 and parameter.size == shape[axis]:
        line = [1] * len(shape)
        line[axis] = parameter.size
        return parameter.reshape(line)
    raise ModelError(
        "scale", found=f"shape {parameter.shape}, axis {axis}, block size {block_size}",
        wanted=f"one element, one per step of the axis or one per block of shape {shape}",
        fix="correct the scale or the axis",
    )  # fmt: skip


@quiet
def quantize(scaled: Array, zero_point: Array | None, to: str, *, saturate: bool = True) -> Array:
    """Round scaled values half to even, shift them by the zero point and clip to the type."""
    if to not in _RANGES:
        shifted = scaled if zero_point is None else scaled + zero_point.astype(scaled.dtype)
        return convert(shifted, to, saturate=saturate)
    low, high = _RANGES[to]
    whole = np.rint(scaled).astype(np.float64)
    if zero_point is not None:
        whole = whole + zero_point.astype(np.float64)
    whole = np.clip(np.where(np.isnan(whole), 0, whole), low, high)
    return convert(whole.astype(np.int64), to)


def _infer_quantize(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    axis_of(context, context.attribute("axis", 1), max(x.rank, 2))
    if context.has(2):
        dtype = context.input(2).dtype
    elif context.attribute("output_dtype", 0):
        dtype = outer_type(context, "output_dtype", "uint8")
    else:
        dtype = "uint8"
    return [with_dtype(x, dtype)]


def _count_quantize(context: TypeContext) -> Operations:
    """Divide, round, saturate, and add the zero point if there is one: for each element."""
    return Operations(others=(3 + context.has(2)) * context.output().elements)


@operator("QuantizeLinear", infer=_infer_quantize, count=_count_quantize)
@quiet
def quantize_linear(
    x: Array, scale: Array, zero_point: Array | None = None, *, axis: int = 1, saturate: int = 1,
    block_size: int = 0, output_dtype: int = 0, precision: int = 0,
) -> Array:  # fmt: skip
    to = element_type(output_dtype) if output_dtype else "uint8"
    if zero_point is not None:
        to = dtype_name(zero_point.dtype)
        zero_point = spread(zero_point, x.shape, axis, block_size)
    work = numpy_dtype(element_type(precision)) if precision else scale.dtype
    if dtype_name(work).startswith("float8"):  # a scale type nobody divides in
        work = np.dtype(np.float32)
    divisor = spread(scale, x.shape, axis, block_size).astype(work)
    scaled = np.asarray(x.astype(work) / divisor)
    return quantize(scaled, zero_point, to, saturate=bool(saturate))


def _infer_dequantize(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    axis_of(context, context.attribute("axis", 1), max(x.rank, 2))
    code = context.attribute("output_dtype", 0)
    return [with_dtype(x, element_type(code) if code else context.input(1).dtype)]


def _count_dequantize(context: TypeContext) -> Operations:
    """Multiply, and subtract the zero point if there is one: for each element."""
    return Operations(others=(1 + context.has(2)) * context.output().elements)


@operator("DequantizeLinear", infer=_infer_dequantize, count=_count_dequantize)
@quiet
def dequantize_linear(
    x: Array, scale: Array, zero_point: Array | None = None, *, axis: int = 1,
    block_size: int = 0, output_dtype: int = 0,
) -> Array:  # fmt: skip
    to = numpy_dtype(element_type(output_dtype)) if output_dtype else scale.dtype
    # int64 holds every integer type and its difference; the 8- and 4-bit floats fit float32
    wide = np.float32 if is_narrow(x.dtype) else np.int64
    shifted = x.astype(wide)
    if zero_point is not None:
        shifted = shifted - spread(zero_point, x.shape, axis, block_size).astype(wide)
    factor = spread(scale, x.shape, axis, block_size).astype(np.float32)
    if to == np.float64:
        return np.asarray(shifted.astype(to) * factor.astype(to))
    return np.asarray(shifted.astype(np.float32) * factor).astype(to)


def _infer_dynamic(context: TypeContext) -> list[TensorType | None]:
    return [
        with_dtype(context.input(0), "uint8"),
        TensorType(dtype="float32", shape=()),
        TensorType(dtype="uint8", shape=()),
    ]


def _count_dynamic(context: TypeContext) -> Operations:
    """Smallest and largest, then divide, round, add and saturate: for each element."""
    return Operations(others=6 * context.input(0).elements)


@operator("DynamicQuantizeLinear", infer=_infer_dynamic, count=_count_dynamic)
@quiet
def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """Quantise to uint8 with a scale that covers the data and zero."""
    low = np.minimum(np.float32(0), x.min(initial=0))
    high = np.maximum(np.float32(0), x.max(initial=0))
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    divisor = np.where(scale == 0, np.float32(1), scale)
    zero_point = np.clip(np.rint(-low / divisor), 0, 255).astype(np.uint8)
    return quantize(x / divisor, zero_point, "uint8"), scale, zero_point
