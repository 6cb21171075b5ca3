"""Reductions, scans along an axis, sorting and unique elements.

Models:  ONNX's reductions; floats below 32 bits are accumulated in float32, integers wrap.
Ignores: the order in which a machine adds: NumPy's pairwise sums stand for all.
Judge:   ONNX's node tests; NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._rules import (
    axis_of,
    in_float32,
    integers,
    known_integers,
    per_input,
    quiet,
    reduced_shape,
    same_type,
)

_Evaluate = Callable[..., Any]


# -- Reduce* ----------------------------------------------------------------------------------


def _infer_reduce(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    keep = bool(context.attribute("keepdims", 1))
    noop = bool(context.attribute("noop_with_empty_axes", 0))
    if not context.has(1) or (context.input(1).shape == (0,)):
        shape = data.shape if noop else reduced_shape(context, data.shape, range(data.rank), keep)
        return [TensorType(dtype=data.dtype, shape=shape)]
    axes = known_integers(context, 1)
    if axes is not None:
        shape = reduced_shape(context, data.shape, axes, keep)
    else:
        count = context.input(1).shape[0]
        rank = data.rank if keep else data.rank - count if isinstance(count, int) else None
        if rank is None:
            return [None]
        shape = tuple(context.fresh(f"d{i}") for i in range(rank))
    return [TensorType(dtype=data.dtype, shape=shape)]


def _register_reduction(name: str, function: _Evaluate, operations: int) -> None:
    """Register a reduction; `function` gets (x, axes) and keeps the reduced dimensions."""

    def evaluate(
        x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        if axes is None or axes.size == 0:
            chosen = () if noop_with_empty_axes else tuple(range(x.ndim))
        else:
            chosen = tuple(a % x.ndim for a in integers(axes)) if x.ndim else ()
        result = np.asarray(function(x, chosen)).astype(x.dtype, copy=False)
        return result if keepdims else result.squeeze(chosen)

    operator(name, infer=_infer_reduce, count=per_input(operations))(quiet(in_float32(evaluate)))


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(x.sum(axes, dtype=x.dtype, keepdims=True))


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    count = math.prod(x.shape[a] for a in axes)
    if x.dtype.kind in "iu":  # the division truncates, as ONNX Runtime's does
        return np.asarray(np.trunc(x.sum(axes, keepdims=True) / max(count, 1)), x.dtype)
    return np.asarray(_sum(x, axes) / np.asarray(count, x.dtype))


def _l2(x: Array, axes: tuple[int, ...]) -> Array:
    if x.dtype.kind in "iu":
        wide = x.astype(np.float64)
        return np.asarray(np.sqrt((wide * wide).sum(axes, keepdims=True))).astype(x.dtype)
    return np.asarray(np.sqrt(_sum(x * x, axes)))


def _log_sum(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.log(_sum(x, axes)))


def _log_sum_exp(x: Array, axes: tuple[int, ...]) -> Array:
    """Subtract the largest first, so that nothing overflows that need not."""
    if x.dtype.kind in "iu":
        return _log_sum_exp(x.astype(np.float64), axes).astype(x.dtype)
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    finite = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    return np.asarray(np.log(_sum(np.exp(x - finite), axes)) + finite)


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max


def _max(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.max(x, axis=axes, keepdims=True, initial=_lowest(x.dtype)))


def _min(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.min(x, axis=axes, keepdims=True, initial=_highest(x.dtype)))


_register_reduction("ReduceSum", _sum, 1)
_register_reduction("ReduceMean", _mean, 1)
_register_reduction("ReduceMax", _max, 1)
_register_reduction("ReduceMin", _min, 1)
_register_reduction("ReduceProd", lambda x, axes: x.prod(axes, dtype=x.dtype, keepdims=True), 1)
_register_reduction("ReduceL1", lambda x, axes: _sum(np.abs(x), axes), 2)  # magnitude, add
_register_reduction("ReduceL2", _l2, 2)  # square, add
_register_reduction("ReduceSumSquare", lambda x, axes: _sum(x * x, axes), 2)
_register_reduction("ReduceLogSum", _log_sum, 1)
_register_reduction("ReduceLogSumExp", _log_sum_exp, 4)  # compare, subtract, exponential, add


# -- ArgMax, ArgMin ---------------------------------------------------------------------------


def _infer_arg(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    shape = reduced_shape(
        context, data.shape, [context.attribute("axis", 0)], bool(context.attribute("keepdims", 1))
    )
    return [TensorType(dtype="int64", shape=shape)]


def _register_arg(name: str, function: _Evaluate) -> None:
    @operator(name, infer=_infer_arg, count=per_input(1))
    @in_float32
    def evaluate(
        x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Array:
        if select_last_index:
            found = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=True)
        else:
            found = function(x, axis=axis, keepdims=True)
        found = np.asarray(found).astype(np.int64)
        return found if keepdims else found.squeeze(axis)


_register_arg("ArgMax", np.argmax)
_register_arg("ArgMin", np.argmin)


# -- scans along an axis ----------------------------------------------------------------------


def _register_scan(name: str, function: _Evaluate, start: int) -> None:
    @operator(name, infer=same_type, count=per_input(1))
    @quiet
    @in_float32
    def evaluate(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
        along = int(axis.reshape(()))
        y = np.flip(x, along) if reverse else x
        y = np.asarray(function(y, axis=along, dtype=x.dtype))
        if exclusive and x.shape[along]:
            first = np.full_like(np.take(y, [0], along), start)
            y = np.concatenate([first, np.delete(y, -1, along)], along)
        return np.flip(y, along) if reverse else y


_register_scan("CumSum", np.cumsum, 0)
_register_scan("CumProd", np.cumprod, 1)


# -- sorting ----------------------------------------------------------------------------------


def _infer_top_k(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    axis = axis_of(context, context.attribute("axis", -1), data.rank)
    k = known_integers(context, 1)
    size: Dimension = k[0] if k is not None else context.fresh("k")
    have = data.shape[axis]
    if isinstance(size, int) and isinstance(have, int) and size > have:
        raise context.error(f"k = {size}", f"at most {have}, the size of axis {axis}")
    shape = (*data.shape[:axis], size, *data.shape[axis + 1 :])
    return [TensorType(dtype=data.dtype, shape=shape), TensorType(dtype="int64", shape=shape)]


def _count_top_k(context: TypeContext) -> Operations:
    """Comparisons of a selection with a heap of k: log2(k) + 1 for every element."""
    k = context.output().shape[
        axis_of(context, context.attribute("axis", -1), context.input(0).rank)
    ]
    depth = int(k).bit_length() if k else 0
    return Operations(others=depth * context.input(0).elements)


@operator("TopK", infer=_infer_top_k, count=_count_top_k)
def top_k(
    x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Array, Array]:
    """The k largest or smallest, always in sorted order; the lower index wins a tie."""
    size = int(k.reshape(()))
    keys = x.astype(np.float32) if x.dtype.kind == "V" or x.dtype.itemsize == 1 else x
    if largest:
        # a stable descending sort: sort the flipped array and flip the order back
        order = np.flip(
            x.shape[axis] - 1 - np.argsort(np.flip(keys, axis), axis=axis, kind="stable"), axis
        )
    else:
        order = np.argsort(keys, axis=axis, kind="stable")
    order = np.take(order, np.arange(size), axis=axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


def _infer_unique(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    axis = context.attribute("axis")
    found = context.fresh("unique")
    if axis is None:
        shape: tuple[Dimension, ...] = (found,)
        source: Dimension = data.elements if data.is_bound else context.fresh("elements")
    else:
        along = axis_of(context, axis, data.rank)
        shape = (*data.shape[:along], found, *data.shape[along + 1 :])
        source = data.shape[along]
    index = TensorType(dtype="int64", shape=(found,))
    inverse = TensorType(dtype="int64", shape=(source,))
    return [TensorType(dtype=data.dtype, shape=shape), index, inverse, index]


@operator("Unique", infer=_infer_unique, count=per_input(1))
def unique(
    x: Array, *, axis: int | None = None, sorted: int = 1
) -> tuple[Array, Array, Array, Array]:
    """Unique elements or slices, their first places, where each element went, and how often."""
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        values = np.take(values, order, axis or 0)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)
