"""Operators that move or rename elements without computing: shapes, slices, pads, permutations.

Models:  ONNX's shape operators with all attributes; dimensions may be names that are not bound.
Ignores: nothing of the definition; all of it counts no operation, moving is a cost of memory.
Judge:   ONNX's node tests; the shape rule against the evaluated result on random inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._operator import Array, TypeContext, operator
from .._types import Dimension, TensorType
from ._rules import (
    Shape,
    agree,
    axes_of,
    axis_of,
    broadcast_shapes,
    divide_out,
    formula,
    integers,
    known_integers,
    known_sizes,
    nothing,
    plus,
    same_type,
    times,
)

_END = 2**31 - 1  #: slice ends from here on mean "to the end"


def _unknown(context: TypeContext, rank: Dimension, dtype: str) -> list[TensorType | None]:
    """A tensor of known rank whose sizes only running tells; None when the rank is not known."""
    if isinstance(rank, str):
        return [None]
    return [TensorType(dtype=dtype, shape=context.fresh_shape(rank))]


def _length(context: TypeContext, index: int) -> Dimension:
    """Number of elements in a 1-D (or scalar) integer input."""
    shape = context.input(index).shape
    return shape[0] if shape else 1


# -- asking for shapes ------------------------------------------------------------------------


def _infer_shape(context: TypeContext) -> list[TensorType | None]:
    rank = context.input(0).rank
    window = slice(context.attribute("start", 0), context.attribute("end"))
    return [TensorType(dtype="int64", shape=(len(range(*window.indices(rank))),))]


@operator("Shape", infer=_infer_shape, count=nothing)
def shape(x: Array, *, start: int = 0, end: int | None = None) -> Array:
    return np.array(x.shape[start:end], np.int64)


def _infer_size(context: TypeContext) -> list[TensorType | None]:
    return [TensorType(dtype="int64", shape=())]


@operator("Size", infer=_infer_size, count=nothing)
def size(x: Array) -> Array:
    return np.array(x.size, np.int64)


# -- new shapes for the same elements ---------------------------------------------------------


def _resolve(shape: Shape, target: Sequence[Dimension], allowzero: int) -> list[Dimension] | None:
    """Return the new shape: 0 keeps a size (unless `allowzero`), -1 takes what is left.

    ``_resolve(("n", 6, 4), (0, 3, -1), 0) == ["n", 3, 8]``. None: what is left is not whole.

    Raises
    ------
    ModelError : the target is no shape, or keeps a size that does not exist
    """
    result: list[Dimension] = []
    kept = set()
    for position, wanted in enumerate(target):
        if wanted == 0 and not allowzero:
            if position >= len(shape):
                raise ModelError(
                    "Reshape", found=f"0 at position {position} of {tuple(target)}",
                    wanted=f"a position below {len(shape)}", fix="correct the shape",
                )  # fmt: skip
            kept.add(position)
            result.append(shape[position])
        else:
            result.append(wanted)
    if result.count(-1) > 1 or any(isinstance(d, int) and d < -1 for d in result):
        raise ModelError(
            "Reshape", found=f"shape {tuple(target)}",
            wanted="sizes, 0 to keep one, and at most one -1", fix="correct the shape",
        )  # fmt: skip
    if -1 in result:
        hole = result.index(-1)
        # what is kept cancels, so that a kept size of zero leaves no doubt about the rest
        total = [d for i, d in enumerate(shape) if i not in kept]
        others = [d for i, d in enumerate(result) if i not in kept and i != hole]
        found = divide_out(total, others)
        if found is None:
            return None
        result[hole] = found
    return result


def _infer_reshape(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    target = known_sizes(context, 1)
    if target is None:
        return _unknown(context, _length(context, 1), data.dtype)
    numbers = data.is_bound and all(isinstance(d, int) for d in target)
    result = _resolve(data.shape, target, context.attribute("allowzero", 0))
    if result is None and not numbers:
        result = [context.fresh("rest") if d == -1 else data.shape[i] if d == 0 else d
                  for i, d in enumerate(target)]  # fmt: skip
    elif result is None:
        raise context.error(f"shape {target} for {data}", "sizes that divide the elements")
    new = TensorType(dtype=data.dtype, shape=tuple(result))
    if new.is_bound and data.is_bound and new.elements != data.elements:
        raise context.error(f"shape {target} for {data}", f"{data.elements} elements")
    return [new]


@operator("Reshape", infer=_infer_reshape, count=nothing)
def reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    target = _resolve(x.shape, integers(shape), allowzero)
    if target is None or math.prod(int(d) for d in target) != x.size:
        raise ModelError(
            "Reshape", found=f"shape {integers(shape)} for {x.shape}",
            wanted="sizes that divide the elements", fix="correct the shape",
        )  # fmt: skip
    return x.reshape([int(d) for d in target])


def _infer_flatten(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    axis = context.attribute("axis", 1)
    if not -data.rank <= axis <= data.rank:
        raise context.error(f"axis {axis}", f"an axis from {-data.rank} to {data.rank}")
    axis = axis + data.rank if axis < 0 else axis
    parts = (times(*data.shape[:axis]), times(*data.shape[axis:]))
    return [TensorType(dtype=data.dtype, shape=parts)]


@operator("Flatten", infer=_infer_flatten, count=nothing)
def flatten(x: Array, *, axis: int = 1) -> Array:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _infer_squeeze(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    if not context.has(1):
        if any(isinstance(d, str) and "." in d for d in data.shape):
            return [None]  # a size that only running tells may be 1, and then goes
        return [TensorType(dtype=data.dtype, shape=tuple(d for d in data.shape if d != 1))]
    axes = known_integers(context, 1)
    if axes is None:
        count = _length(context, 1)
        rank = data.rank - count if isinstance(count, int) else count
        return _unknown(context, rank, data.dtype)
    gone = axes_of(context, axes, data.rank)
    for axis in gone:
        if isinstance(data.shape[axis], int) and data.shape[axis] != 1:
            raise context.error(f"axis {axis} of {data}", "an axis of size 1")
    kept = tuple(d for i, d in enumerate(data.shape) if i not in gone)
    return [TensorType(dtype=data.dtype, shape=kept)]


@operator("Squeeze", infer=_infer_squeeze, count=nothing)
def squeeze(x: Array, axes: Array | None = None) -> Array:
    return x.squeeze() if axes is None else x.squeeze(integers(axes))


def _infer_unsqueeze(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    axes = known_integers(context, 1)
    if axes is None:
        count = _length(context, 1)
        rank = data.rank + count if isinstance(count, int) else count
        return _unknown(context, rank, data.dtype)
    new = axes_of(context, axes, data.rank + len(axes))
    old = iter(data.shape)
    result = tuple(1 if i in new else next(old) for i in range(data.rank + len(axes)))
    return [TensorType(dtype=data.dtype, shape=result)]


@operator("Unsqueeze", infer=_infer_unsqueeze, count=nothing)
def unsqueeze(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, integers(axes))


# -- permutations -----------------------------------------------------------------------------


def _infer_transpose(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    order = context.attribute("perm") or tuple(reversed(range(data.rank)))
    if sorted(order) != list(range(data.rank)):
        raise context.error(f"perm {tuple(order)}", f"each axis of {data} once")
    return [TensorType(dtype=data.dtype, shape=tuple(data.shape[i] for i in order))]


@operator("Transpose", infer=_infer_transpose, count=nothing)
def transpose(x: Array, *, perm: Sequence[int] | None = None) -> Array:
    return x.transpose(perm or None)


def _infer_depth_to_space(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    if data.rank != 4:
        raise context.error(f"{data}", "a tensor [N, C, H, W]")
    n, c, h, w = data.shape
    block = context.attribute("blocksize", 0)
    if block < 1 or (isinstance(c, int) and c % (block * block)):
        raise context.error(f"blocksize {block}", f"a block whose square divides {c} channels")
    channels = formula(f"({{}})/{block * block}", lambda x: x // (block * block), c)
    return [
        TensorType(dtype=data.dtype, shape=(n, channels, times(h, block), times(w, block)))
    ]  # fmt: skip


@operator("DepthToSpace", infer=_infer_depth_to_space, count=nothing)
def depth_to_space(x: Array, *, blocksize: int = 0, mode: str = "DCR") -> Array:
    n, c, h, w = x.shape
    channels = c // (blocksize * blocksize)
    if mode == "DCR":
        parts = x.reshape(n, blocksize, blocksize, channels, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, channels, blocksize, blocksize, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels, h * blocksize, w * blocksize)


def _infer_space_to_depth(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    if data.rank != 4:
        raise context.error(f"{data}", "a tensor [N, C, H, W]")
    n, c, h, w = data.shape
    block = context.attribute("blocksize", 0)
    if block < 1 or any(isinstance(d, int) and d % block for d in (h, w)):
        raise context.error(f"blocksize {block}", f"a block that divides {h} and {w}")
    parts = [formula(f"({{}})/{block}", lambda x: x // block, d) for d in (h, w)]
    return [TensorType(dtype=data.dtype, shape=(n, times(c, block * block), *parts))]


@operator("SpaceToDepth", infer=_infer_space_to_depth, count=nothing)
def space_to_depth(x: Array, *, blocksize: int = 0, mode: str = "DCR") -> Array:
    n, c, h, w = x.shape
    rows, columns = h // blocksize, w // blocksize
    parts = x.reshape(n, c, rows, blocksize, columns, blocksize)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.transpose(order).reshape(n, c * blocksize * blocksize, rows, columns)


@operator("ReverseSequence", infer=same_type, count=nothing)
def reverse_sequence(x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    """Reverse the first `lengths[b]` steps of each sequence b."""
    moved = np.moveaxis(x, (batch_axis, time_axis), (0, 1)).copy()
    for row, length in zip(moved, integers(lengths), strict=True):
        row[:length] = row[:length][::-1].copy()
    return np.moveaxis(moved, (0, 1), (batch_axis, time_axis))


@operator("Trilu", infer=same_type, count=nothing)
def trilu(x: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    diagonal = 0 if k is None else int(k.reshape(()))
    return np.triu(x, diagonal) if upper else np.tril(x, diagonal)


# -- joining and cutting ----------------------------------------------------------------------


def _infer_concat(context: TypeContext) -> list[TensorType | None]:
    types = [context.input(i) for i in range(len(context.inputs))]
    first = types[0]
    axis = axis_of(context, context.attribute("axis", 0), first.rank)
    result = list(first.shape)
    for type_ in types[1:]:
        if type_.rank != first.rank or type_.dtype != first.dtype:
            raise context.error(f"{first} and {type_}", "inputs of one rank and element type")
        for i, d in enumerate(type_.shape):
            if i != axis:
                result[i] = agree(context, result[i], d, f"axis {i}")
    result[axis] = plus(*(t.shape[axis] for t in types))
    return [TensorType(dtype=first.dtype, shape=tuple(result))]


@operator("Concat", infer=_infer_concat, count=nothing)
def concat(*tensors: Array, axis: int = 0) -> Array:
    return np.concatenate(tensors, axis)


def _split_sizes(size: int, parts: int) -> list[int]:
    """Equal parts, the last one smaller when it does not divide."""
    chunk = -(-size // parts)
    return [max(0, min(chunk, size - i * chunk)) for i in range(parts)]


def _infer_split(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    axis = axis_of(context, context.attribute("axis", 0), data.rank)
    have = data.shape[axis]
    parts = context.attribute("num_outputs") or len(context.node.outputs)
    sizes: Sequence[Dimension]
    if context.has(1):
        known = known_integers(context, 1)
        sizes = known if known is not None else [context.fresh(f"part{i}") for i in range(parts)]
        if known is not None and isinstance(have, int) and sum(known) != have:
            raise context.error(f"parts {known}", f"parts that add up to {have}")
    elif isinstance(have, int):
        sizes = _split_sizes(have, parts)
    else:
        sizes = [f"({have})/{parts}"] * parts
    return [
        TensorType(dtype=data.dtype, shape=(*data.shape[:axis], s, *data.shape[axis + 1 :]))
        for s in sizes
    ]


@operator("Split", infer=_infer_split, count=nothing)
def split(
    x: Array, split: Array | None = None, *, axis: int = 0, num_outputs: int | None = None,
    output_count: int = 0,
) -> tuple[Array, ...]:  # fmt: skip
    if split is None:
        sizes: Sequence[int] = _split_sizes(x.shape[axis], num_outputs or output_count)
    else:
        sizes = integers(split)
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def window_of(size: int, start: int, end: int, step: int) -> slice:
    """Return the Python slice of ONNX's bounds.

    They differ walking backwards: a start before the tensor means its first element.
    """
    if step > 0:
        return slice(start, end, step)
    first = min(max(start + size if start < 0 else start, 0), size - 1)
    last = min(max(end + size if end < 0 else end, -1), size - 1)
    return slice(first, None if last < 0 else last, step)


def _sliced(size: Dimension, start: int, end: int, step: int) -> Dimension:
    """Return the size of a slice; of a named size it is a name, except in the plain cases."""
    if isinstance(size, int):
        return len(range(*window_of(size, start, end, step).indices(size)))
    if step == 1 and end >= _END:
        if start == 0:
            return size
        if start == -1:
            return 1
        return f"({size})[{start}:]"
    if step == 1 and start == 0 and end == 1:
        return 1  # a named size is at least 1; nothing further in is certain to be there
    return f"({size})[{start}:{end}:{step}]"


def slices(
    rank: int, starts: Array, ends: Array, axes: Array | None, steps: Array | None
) -> list[tuple[int, int, int, int]]:
    """Return (axis, start, end, step) per sliced axis."""
    first, last = integers(starts), integers(ends)
    along = tuple(range(len(first))) if axes is None else integers(axes)
    stride = (1,) * len(first) if steps is None else integers(steps)
    return [
        (a % rank, s, e, t) for a, s, e, t in zip(along, first, last, stride, strict=True)
    ]  # fmt: skip


def _infer_slice(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    values = [context.value(i) for i in range(1, 5)]
    starts, ends, axes, steps = values
    unknown_axes = context.has(3) and axes is None
    if starts is None or ends is None or unknown_axes or (context.has(4) and steps is None):
        # sizes of axes that are certainly not sliced stay
        touched = set(range(data.rank))
        if axes is not None:
            touched = set(axes_of(context, integers(axes), data.rank))
        elif not unknown_axes and isinstance(count := _length(context, 1), int):
            touched = set(range(count))
        mixed = tuple(context.fresh(f"d{i}") if i in touched else d
                      for i, d in enumerate(data.shape))  # fmt: skip
        return [TensorType(dtype=data.dtype, shape=mixed)]
    if axes is not None:
        axes_of(context, integers(axes), data.rank)
    result = list(data.shape)
    for axis, start, end, step in slices(data.rank, starts, ends, axes, steps):
        if step == 0:
            raise context.error("step 0", "a step forwards or backwards")
        result[axis] = _sliced(result[axis], start, end, step)
    return [TensorType(dtype=data.dtype, shape=tuple(result))]


@operator("Slice", infer=_infer_slice, count=nothing)
def slice_(
    x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in slices(x.ndim, starts, ends, axes, steps):
        index[axis] = window_of(x.shape[axis], start, end, step)
    return np.asarray(x[tuple(index)])


# -- growing ----------------------------------------------------------------------------------


def pad_pairs(rank: int, pads: Array, axes: Array | None) -> list[tuple[int, int]]:
    """Return (before, after) for every axis."""
    numbers = integers(pads)
    chosen = tuple(range(rank)) if axes is None else tuple(a % rank for a in integers(axes))
    if len(numbers) != 2 * len(chosen):
        raise ModelError("Pad", found=f"{len(numbers)} pads", wanted=f"{2 * len(chosen)} of them",
                         fix="give a begin and an end for each axis")  # fmt: skip
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(chosen):
        pairs[axis] = (numbers[i], numbers[i + len(chosen)])
    return pairs


def _infer_pad(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    pads, axes = context.value(1), context.value(3)
    if pads is None or (context.has(3) and axes is None):
        return _unknown(context, data.rank, data.dtype)
    pairs = pad_pairs(data.rank, pads, axes)
    result = tuple(plus(d, before + after) for d, (before, after) in zip(data.shape, pairs))
    return [TensorType(dtype=data.dtype, shape=result)]


@operator("Pad", infer=_infer_pad, count=nothing)
def pad(
    x: Array, pads: Array, constant: Array | None = None, axes: Array | None = None,
    *, mode: str = "constant",
) -> Array:  # fmt: skip
    """Pad each axis before and after; negative pads cut, before anything is added."""
    pairs = pad_pairs(x.ndim, pads, axes)
    x = x[tuple(slice(max(0, -b), max(0, n + min(0, a))) for n, (b, a) in zip(x.shape, pairs))]
    grown = [(max(0, b), max(0, a)) for b, a in pairs]
    if mode != "constant":
        padded: Array = np.pad(x, grown, mode=mode)  # type: ignore[call-overload]  # any mode
        return padded
    fill: Any = "" if x.dtype == object else np.zeros((), x.dtype)
    if constant is not None:
        fill = constant.reshape(())
    result = np.full([n + b + a for n, (b, a) in zip(x.shape, grown)], fill, x.dtype)
    result[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, grown))] = x
    return result


def _infer_tile(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    repeats = known_integers(context, 1)
    if repeats is None:
        return _unknown(context, data.rank, data.dtype)
    if len(repeats) != data.rank:
        raise context.error(f"repeats {repeats}", f"one number for each axis of {data}")
    result = tuple(times(d, r) for d, r in zip(data.shape, repeats))
    return [TensorType(dtype=data.dtype, shape=result)]


@operator("Tile", infer=_infer_tile, count=nothing)
def tile(x: Array, repeats: Array) -> Array:
    return np.tile(x, integers(repeats))


def _infer_expand(context: TypeContext) -> list[TensorType | None]:
    data = context.input(0)
    target = known_sizes(context, 1)
    if target is not None:
        wide: Shape = broadcast_shapes(context, [data.shape, target])
        return [TensorType(dtype=data.dtype, shape=wide)]
    length = _length(context, 1)
    return _unknown(
        context, max(data.rank, length) if isinstance(length, int) else length, data.dtype
    )


@operator("Expand", infer=_infer_expand, count=nothing)
def expand(x: Array, shape: Array) -> Array:
    target = np.broadcast_shapes(x.shape, integers(shape))
    return np.broadcast_to(x, target).copy()
