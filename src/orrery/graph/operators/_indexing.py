"""Gathering from, and scattering to, places that data tells.

Models:  ONNX's gather and scatter family, one-hot vectors and selections.
Ignores: the order in which a machine applies updates of one place: here it is the given one.
Judge:   ONNX's node tests; NumPy on random indices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._rules import agree, axis_of, known_integers, nothing, per_input, same_type


def _positions(indices: Array, size: int, where: str) -> Array:
    """Return indices counted from the front.

    Raises
    ------
    ModelError : an index outside of the axis
    """
    places = np.asarray(indices).astype(np.int64)
    if places.size and (places.min() < -size or places.max() >= size):
        worst = places.min() if places.min() < -size else places.max()
        raise ModelError(where, found=f"index {worst}", wanted=f"one from {-size} to {size - 1}",
                         fix="correct the indices")  # fmt: skip
    return np.where(places < 0, places + size, places)


# -- gather -----------------------------------------------------------------------------------


def _infer_gather(context: TypeContext) -> list[TensorType | None]:
    data, indices = context.input(0), context.input(1)
    axis = axis_of(context, context.attribute("axis", 0), data.rank)
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    return [TensorType(dtype=data.dtype, shape=shape)]


@operator("Gather", infer=_infer_gather, count=nothing)
def gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.take(x, _positions(indices, x.shape[axis], "Gather"), axis)


def _infer_gather_elements(context: TypeContext) -> list[TensorType | None]:
    data, indices = context.input(0), context.input(1)
    if data.rank != indices.rank:
        raise context.error(f"{data} and indices {indices}", "equal ranks")
    return [TensorType(dtype=data.dtype, shape=indices.shape)]


def _element_index(indices: Array, axis: int, size: int, where: str) -> tuple[Array, ...]:
    """Return the NumPy index of ``x[i][j][indices[i][j][k]]``-like element access."""
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[axis] = _positions(indices, size, where)
    return tuple(grid)


@operator("GatherElements", infer=_infer_gather_elements, count=nothing)
def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return x[_element_index(indices, axis, x.shape[axis], "GatherElements")]


def _infer_gather_nd(context: TypeContext) -> list[TensorType | None]:
    data, indices = context.input(0), context.input(1)
    batch = context.attribute("batch_dims", 0)
    depth = indices.shape[-1] if indices.shape else None
    if not isinstance(depth, int):
        return [None]
    if depth < 1 or batch + depth > data.rank:
        raise context.error(f"indices {indices}", f"1 to {data.rank - batch} numbers an index")
    shape = (*indices.shape[:-1], *data.shape[batch + depth :])
    return [TensorType(dtype=data.dtype, shape=shape)]


@operator("GatherND", infer=_infer_gather_nd, count=nothing)
def gather_nd(x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    grid = np.ogrid[tuple(slice(n) for n in indices.shape[:batch_dims])] if batch_dims else ()
    extra = indices.ndim - 1 - batch_dims
    index: list[Any] = [g.reshape(g.shape + (1,) * extra) for g in grid]
    for i in range(indices.shape[-1]):
        index.append(_positions(indices[..., i], x.shape[batch_dims + i], "GatherND"))
    return np.asarray(x[tuple(index)])


# -- scatter ----------------------------------------------------------------------------------


def _count_updates(context: TypeContext) -> Operations:
    """One operation for each update that is reduced with what is there; plain writes are free."""
    if context.attribute("reduction", "none") == "none":
        return Operations()
    return Operations(others=context.input(2).elements)


def _update(target: Array, index: tuple[Array, ...], updates: Array, reduction: str) -> None:
    if reduction == "none":
        target[index] = updates
        return
    functions = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
    if reduction not in functions:
        raise ModelError("scatter", found=f"reduction {reduction!r}",
                         wanted=f"none, {', '.join(functions)}", fix="correct it")  # fmt: skip
    functions[reduction].at(target, index, updates)


@operator("ScatterElements", infer=same_type, count=_count_updates)
def scatter_elements(
    x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    result = x.copy()
    index = _element_index(indices, axis, x.shape[axis], "ScatterElements")
    _update(result, tuple(np.broadcast_arrays(*index)), updates, reduction)
    return result


@operator("ScatterND", infer=same_type, count=_count_updates)
def scatter_nd(x: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    result = x.copy()
    index = tuple(
        _positions(indices[..., i], x.shape[i], "ScatterND") for i in range(indices.shape[-1])
    )
    _update(result, index, updates, reduction)
    return result


def _infer_tensor_scatter(context: TypeContext) -> list[TensorType | None]:
    cache, update = context.input(0), context.input(1)
    axis = axis_of(context, context.attribute("axis", -2), cache.rank)
    if cache.rank != update.rank or axis == 0:
        raise context.error(f"{cache} and {update}", "equal ranks and an axis behind the batch")
    for i, (have, new) in enumerate(zip(cache.shape, update.shape)):
        if i != axis:
            agree(context, have, new, f"axis {i}")
    return [cache]


@operator("TensorScatter", infer=_infer_tensor_scatter, count=nothing)
def tensor_scatter(
    cache: Array, update: Array, write_indices: Array | None = None, *,
    axis: int = -2, mode: str = "linear",
) -> Array:  # fmt: skip
    """Write new steps into a cache, each sample of the batch at its own place."""
    result = cache.copy()
    axis %= cache.ndim
    size, steps = cache.shape[axis], update.shape[axis]
    for sample in range(cache.shape[0]):
        start = 0 if write_indices is None else int(write_indices[sample])
        places = start + np.arange(steps)
        if mode == "circular":
            places %= size
        places = _positions(places, size, "TensorScatter")
        np.moveaxis(result[sample], axis - 1, 0)[places] = np.moveaxis(update[sample], axis - 1, 0)
    return result


# -- selecting --------------------------------------------------------------------------------


def _infer_one_hot(context: TypeContext) -> list[TensorType | None]:
    indices = context.input(0)
    axis = axis_of(context, context.attribute("axis", -1), indices.rank + 1)
    depth = known_integers(context, 1)
    size: Dimension = depth[0] if depth is not None else context.fresh("depth")
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])
    return [TensorType(dtype=context.input(2).dtype, shape=shape)]


@operator("OneHot", infer=_infer_one_hot, count=nothing)
def one_hot(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    size = int(np.asarray(depth).reshape(()))
    places = np.asarray(indices).astype(np.int64)
    places = np.where((places < 0) & (places >= -size), places + size, places)
    axis %= places.ndim + 1
    line = np.arange(size).reshape((size,) + (1,) * (places.ndim - axis))
    hot = np.expand_dims(places, axis) == line
    return np.asarray(np.where(hot, values[1], values[0]), values.dtype)


def _infer_compress(context: TypeContext) -> list[TensorType | None]:
    data, axis = context.input(0), context.attribute("axis")
    condition = context.value(1)
    kept: Dimension = context.fresh("kept") if condition is None else int(condition.sum())
    if axis is None:
        return [TensorType(dtype=data.dtype, shape=(kept,))]
    along = axis_of(context, axis, data.rank)
    shape = (*data.shape[:along], kept, *data.shape[along + 1 :])
    return [TensorType(dtype=data.dtype, shape=shape)]


@operator("Compress", infer=_infer_compress, count=nothing)
def compress(x: Array, condition: Array, *, axis: int | None = None) -> Array:
    size = x.size if axis is None else x.shape[axis]
    return np.compress(condition[:size], x, axis)


def _infer_non_zero(context: TypeContext) -> list[TensorType | None]:
    rank = max(context.input(0).rank, 1)
    return [TensorType(dtype="int64", shape=(rank, context.fresh("nonzero")))]


@operator("NonZero", infer=_infer_non_zero, count=per_input(1))
def non_zero(x: Array) -> Array:
    places = np.flatnonzero(np.asarray(x) != np.zeros((), x.dtype))
    shape = x.shape or (1,)
    if math.prod(shape) == 0:
        return np.zeros((len(shape), 0), np.int64)
    return np.array(np.unravel_index(places, shape), np.int64).reshape(len(shape), -1)


# -- selecting boxes --------------------------------------------------------------------------


def _infer_suppression(context: TypeContext) -> list[TensorType | None]:
    boxes, scores = context.input(0), context.input(1)
    if boxes.rank != 3 or scores.rank != 3:
        raise context.error(f"{boxes} and {scores}", "(N, boxes, 4) and (N, classes, boxes)")
    agree(context, boxes.shape[1], scores.shape[2], "number of boxes")
    return [TensorType(dtype="int64", shape=(context.fresh("selected"), 3))]


def _count_suppression(context: TypeContext) -> Operations:
    """The most it can take: 3 for each area and 13 for the overlap of each pair, per class."""
    batch, classes, boxes = context.input(1).sizes
    pairs = boxes * (boxes - 1) // 2
    return Operations(others=batch * (3 * boxes + classes * 13 * pairs))


def _corners(boxes: Array, center_point_box: int) -> tuple[Array, Array]:
    """Return the low and the high corner of boxes in either format."""
    first, second = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    if center_point_box:
        return first - second / 2, first + second / 2
    return np.minimum(first, second), np.maximum(first, second)


def _overlap(low: Array, high: Array, chosen: int, others: Array) -> Any:
    """Return intersection over union of one box with others; 0 where nothing is covered."""
    sides = np.minimum(high[chosen], high[others]) - np.maximum(low[chosen], low[others])
    shared = np.maximum(sides, 0).prod(axis=1)
    area = (high - low).prod(axis=1)
    union = area[chosen] + area[others] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


@operator("NonMaxSuppression", infer=_infer_suppression, count=_count_suppression)
def non_max_suppression(boxes: Array, scores: Array,
                        max_output_boxes_per_class: Array | None = None,
                        iou_threshold: Array | None = None,
                        score_threshold: Array | None = None, *,
                        center_point_box: int = 0) -> Any:  # fmt: skip
    """Return (image, class, box) of the boxes kept, best first, per image and class."""

    def number(value: Array | None, default: float) -> float:
        return default if value is None else float(np.asarray(value).ravel()[0])

    most = int(number(max_output_boxes_per_class, 0))
    limit, least = number(iou_threshold, 0.0), number(score_threshold, -math.inf)
    selected: list[tuple[int, int, int]] = []
    for image in range(scores.shape[0]):
        low, high = _corners(boxes[image], center_point_box)
        for label in range(scores.shape[1]):
            score = scores[image, label]
            left = np.argsort(-score.astype(np.float64), kind="stable")
            left = left[score[left] > least]
            for _ in range(most):
                if not left.size:
                    break
                best, left = int(left[0]), left[1:]
                selected.append((image, label, best))
                left = left[_overlap(low, high, best, left) <= limit]
    return np.array(selected, np.int64).reshape(-1, 3)


# -- counting runs of items -------------------------------------------------------------------


def _n_grams(context: TypeContext, length: int) -> int:
    """Return how many runs of items are looked up in a row of this length."""
    shortest, longest = (int(context.attribute(f"{m}_gram_length", 1)) for m in ("min", "max"))
    skips = int(context.attribute("max_skip_count", 0))
    return sum(
        max(0, length - (n - 1) * (skip + 1))
        for n in range(shortest, longest + 1)
        for skip in range(skips + 1 if n > 1 else 1)
    )


def _infer_tf_idf(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    if data.rank not in (1, 2):
        raise context.error(f"{data}", "items [C] or rows of items [N, C]")
    columns = context.attribute("ngram_indexes")
    if not columns:
        raise context.error("no ngram_indexes", "an output column for each run of items")
    return [TensorType(dtype="float32", shape=(*data.shape[:-1], max(columns) + 1))]


def _count_tf_idf(context: TypeContext) -> Operations:
    """One look-up for each run, and one weighting for each output."""
    sizes = context.input(0).sizes
    rows = sizes[0] if len(sizes) == 2 else 1
    weighted = context.attribute("mode", "TF") != "TF"
    return Operations(
        others=rows * _n_grams(context, sizes[-1]) + weighted * context.output().elements
    )


@operator("TfIdfVectorizer", infer=_infer_tf_idf, count=_count_tf_idf)
def tf_idf_vectorizer(
    x: Array, *, mode: str = "TF", min_gram_length: int = 1, max_gram_length: int = 1,
    max_skip_count: int = 0, ngram_counts: Sequence[int] = (), ngram_indexes: Sequence[int] = (),
    pool_int64s: Sequence[int] | None = None, pool_strings: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> Array:  # fmt: skip
    """Count runs of n items, with items skipped between them, that stand in a pool.

    The pool holds all single items, then all pairs, …; `ngram_counts` says where each starts.
    """
    pool: Sequence[Any] = (pool_strings if pool_strings is not None else pool_int64s) or ()
    ends = [*ngram_counts[1:], len(pool)]
    listed = [
        (n, *pool[place : place + n])
        for n, (start, end) in enumerate(zip(ngram_counts, ends, strict=True), 1)
        for place in range(start, end, n)
    ]
    runs = {run: index for index, run in enumerate(listed)}
    rows = np.atleast_2d(x)
    counts = np.zeros((len(rows), max(ngram_indexes) + 1), np.float32)
    for row, items in zip(counts, rows.tolist(), strict=True):
        for n in range(min_gram_length, max_gram_length + 1):
            for step in range(1, (max_skip_count + 1 if n > 1 else 1) + 1):
                for start in range(len(items) - (n - 1) * step):
                    run = runs.get((n, *items[start : start + (n - 1) * step + 1 : step]))
                    if run is not None:
                        row[ngram_indexes[run]] += 1
    if mode != "TF":
        column_weights = np.ones(counts.shape[1], np.float32)
        if weights is not None:
            column_weights[list(ngram_indexes)] = weights
        counts = (counts > 0 if mode == "IDF" else counts) * column_weights
    return np.asarray(counts, np.float32).reshape(*x.shape[:-1], counts.shape[1])
