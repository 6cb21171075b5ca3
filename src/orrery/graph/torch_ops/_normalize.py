"""Normalisations in inference: stored statistics where a layer has them.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import numpy_dtype
from ._translation import Operand, Refusal, Translation, Value, translates


def _fill(t: Translation, given: Value | None, size: int, value: float, dtype: str) -> Value:
    return given if given is not None else t.constant(np.full(size, value), dtype, "filled")


@translates("batch_norm", "native_batch_norm")
def batch_norm(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, mean: Value | None,
    variance: Value | None, training: bool, momentum: float, eps: float, *_: Operand,
) -> Any:  # fmt: skip
    if training or mean is None or variance is None:
        return _with_batch_statistics(t, x, weight, bias, eps)
    return _result(t, _stored(t, x, weight, bias, mean, variance, eps))


@translates("_native_batch_norm_legit_no_training")
def batch_norm_inference(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, mean: Value,
    variance: Value, momentum: float, eps: float,
) -> Any:  # fmt: skip
    return _result(t, _stored(t, x, weight, bias, mean, variance, eps))


@translates("_native_batch_norm_legit.no_stats")
def batch_norm_without_statistics(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, training: bool,
    momentum: float, eps: float,
) -> Any:  # fmt: skip
    return _with_batch_statistics(t, x, weight, bias, eps)


def _result(t: Translation, y: Value) -> Any:
    if t.wanted - {0}:
        raise Refusal("the statistics of a normalisation")
    return [y, *[None] * (len(t.results) - 1)] if len(t.results) > 1 else y


def _stored(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, mean: Value,
    variance: Value, eps: float,
) -> Value:  # fmt: skip
    channels = t.static(x, 1)
    scale = _fill(t, weight, channels, 1, mean.dtype)
    shift = _fill(t, bias, channels, 0, mean.dtype)
    return t.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=float(eps))


def _with_batch_statistics(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, eps: float
) -> Any:  # fmt: skip
    """Normalise with the statistics of the batch at hand, written out."""
    channels = t.static(x, 1)
    axes = t.ints([0, *range(2, x.rank)], "axes")
    centred = t.op("Sub", x, t.op("ReduceMean", x, axes, keepdims=1))
    variance = t.op("ReduceMean", t.op("Mul", centred, centred), axes, keepdims=1)
    spread = t.op("Sqrt", t.op("Add", variance, t.constant(eps, x.dtype)))
    y = t.op("Div", centred, spread)
    shape = [channels, *[1] * (x.rank - 2)]
    if weight is not None:
        y = t.op("Mul", y, t.reshape(weight, shape))
    return _result(t, y if bias is None else t.op("Add", y, t.reshape(bias, shape)))


@translates("layer_norm", "native_layer_norm")
def layer_norm(
    t: Translation, x: Value, shape: list[Operand], weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, *_: Operand,
) -> Any:  # fmt: skip
    if weight is None:
        sizes = [t.number(size, "a normalised size") for size in shape]
        weight = t.constant(np.ones(sizes, numpy_dtype(x.dtype)), x.dtype, "ones")
    y = t.op("LayerNormalization", x, weight, bias, axis=-len(shape), epsilon=float(eps))
    return _result(t, y)


@translates("rms_norm", "_fused_rms_norm")
def rms_norm(
    t: Translation, x: Value, shape: list[Operand], weight: Value | None = None,
    eps: float | None = None,
) -> Any:  # fmt: skip
    if eps is None:
        eps = float(np.finfo(np.float32 if x.dtype in ("float16", "bfloat16") else x.dtype).eps)
    if weight is None:
        sizes = [t.number(size, "a normalised size") for size in shape]
        weight = t.constant(np.ones(sizes), x.dtype, "ones")
    return _result(t, t.op("RMSNormalization", x, weight, axis=-len(shape), epsilon=float(eps)))


@translates("group_norm")
def group_norm(
    t: Translation, x: Value, groups: int, weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, *_: Operand,
) -> Value:  # fmt: skip
    channels = t.static(x, 1)
    scale = _fill(t, weight, channels, 1, x.dtype)
    shift = _fill(t, bias, channels, 0, x.dtype)
    return t.op("GroupNormalization", x, scale, shift, num_groups=groups, epsilon=float(eps))


@translates("native_group_norm")
def native_group_norm(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, batch: Operand,
    channels: Operand, area: Operand, groups: int, eps: float,
) -> Any:  # fmt: skip
    return _result(t, group_norm(t, x, groups, weight, bias, eps))


@translates("instance_norm")
def instance_norm(
    t: Translation, x: Value, weight: Value | None, bias: Value | None, mean: Value | None,
    variance: Value | None, use_input_stats: bool, momentum: float, eps: float, *_: Operand,
) -> Value:  # fmt: skip
    if not use_input_stats:
        if mean is None or variance is None:
            raise Refusal("stored statistics that are absent")
        return _stored(t, x, weight, bias, mean, variance, eps)
    channels = t.static(x, 1)
    scale = _fill(t, weight, channels, 1, x.dtype)
    shift = _fill(t, bias, channels, 0, x.dtype)
    return t.op("InstanceNormalization", x, scale, shift, epsilon=float(eps))


@translates("linalg_vector_norm")
def vector_norm(
    t: Translation, x: Value, order: Any = 2, dim: list[int] | None = None,
    keepdim: bool = False, **_: Operand,
) -> Value:  # fmt: skip
    x = t.cast(x, t.result.dtype)
    axes = t.ints(dim if dim else range(x.rank), "axes")
    keep = int(keepdim)
    if order == 2:
        return t.op("ReduceL2", x, axes, keepdims=keep)
    if order == 1:
        return t.op("ReduceL1", x, axes, keepdims=keep)
    size = t.op("Abs", x)
    if order in (float("inf"), float("-inf")):
        return t.op("ReduceMax" if order > 0 else "ReduceMin", size, axes, keepdims=keep)
    if order == 0:
        present = t.op("Not", t.op("Equal", x, t.constant(0, x.dtype)))
        return t.op("ReduceSum", t.cast(present, x.dtype), axes, keepdims=keep)
    powers = t.op("Pow", size, t.constant(order, x.dtype))
    total = t.op("ReduceSum", powers, axes, keepdims=keep)
    return t.op("Pow", total, t.constant(1 / order, x.dtype))
