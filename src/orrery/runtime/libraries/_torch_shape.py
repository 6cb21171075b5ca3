"""Operators that move elements without computing, in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orrery.graph import Node, TensorType

from ._torch_table import operation


def _list(values: Any) -> list[int]:
    return [int(v) for v in values.ravel()]


@operation("Shape")
def shape(t: Any, x: Any, *, start: int = 0, end: int | None = None) -> Any:
    return t.tensor(list(x.shape)[start:end], dtype=t.int64, device=x.device)


@operation("Size")
def size(t: Any, x: Any) -> Any:
    return t.tensor(x.numel(), dtype=t.int64, device=x.device)


@operation("Reshape", host=(1,))
def reshape(t: Any, x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    wanted = _list(shape)
    if not allowzero:
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if -1 in wanted:  # the library cannot tell when another size is zero
        rest = math.prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = x.numel() // rest if rest else 0
    return x.reshape(wanted)


@operation("Flatten")
def flatten(t: Any, x: Any, *, axis: int = 1) -> Any:
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operation("Squeeze", host=(1,))
def squeeze(t: Any, x: Any, axes: Any = None) -> Any:
    gone = [a for a, n in enumerate(x.shape) if n == 1]
    if axes is not None:
        gone = [a % x.dim() for a in _list(axes)]
    return x.reshape([n for a, n in enumerate(x.shape) if a not in gone])


@operation("Unsqueeze", host=(1,))
def unsqueeze(t: Any, x: Any, axes: Any) -> Any:
    rank = x.dim() + axes.size
    new = {a % rank for a in _list(axes)}
    old = iter(x.shape)
    return x.reshape([1 if a in new else next(old) for a in range(rank)])


@operation("Transpose")
def transpose(t: Any, x: Any, *, perm: Sequence[int] | None = None) -> Any:
    return x.permute(*(perm if perm is not None else reversed(range(x.dim()))))


@operation("DepthToSpace")
def depth_to_space(t: Any, x: Any, *, blocksize: int = 0, mode: str = "DCR") -> Any:
    n, c, h, w = x.shape
    b, channels = blocksize, c // (blocksize * blocksize)
    if mode == "DCR":
        parts = x.reshape(n, b, b, channels, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, channels, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels, h * b, w * b)


@operation("SpaceToDepth")
def space_to_depth(t: Any, x: Any, *, blocksize: int = 0, mode: str = "DCR") -> Any:
    n, c, h, w = x.shape
    b = blocksize
    parts = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.permute(*order).reshape(n, c * b * b, h // b, w // b)


@operation("ReverseSequence")
def reverse_sequence(
    t: Any, x: Any, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0
) -> Any:
    moved = t.movedim(x, (batch_axis, time_axis), (0, 1))
    line = t.arange(moved.shape[1], device=x.device)
    ends = lengths.to(t.int64)[:, None]
    places = t.where(line < ends, ends - 1 - line, line)
    rows = t.arange(moved.shape[0], device=x.device)[:, None]
    return t.movedim(moved[rows, places], (0, 1), (batch_axis, time_axis))


@operation("Trilu", host=(1,))
def trilu(t: Any, x: Any, k: Any = None, *, upper: int = 1) -> Any:
    diagonal = 0 if k is None else int(k.reshape(()))
    return t.triu(x, diagonal) if upper else t.tril(x, diagonal)


@operation("Concat")
def concat(t: Any, *tensors: Any, axis: int = 0) -> Any:
    # The library takes [0] for nothing in any rank; ONNX's tensors all have one rank.
    return t.cat(tensors, axis)


@operation("Split", host=(1,), counts_outputs=True)
def split(
    t: Any, x: Any, split: Any = None, *, axis: int = 0, num_outputs: int | None = None,
    output_count: int = 0,
) -> Any:  # fmt: skip
    if split is not None:
        sizes = _list(split)
    else:
        parts, left = num_outputs or output_count, x.shape[axis]
        chunk = -(-left // parts)
        sizes = [max(0, min(chunk, left - i * chunk)) for i in range(parts)]
    return tuple(t.split(x, sizes, axis))


@operation("Slice", host=(1, 2, 3, 4))
def slice_(t: Any, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    chosen = _list(axes) if axes is not None else list(range(starts.size))
    strides = _list(steps) if steps is not None else [1] * len(chosen)
    for axis, start, end, step in zip(chosen, _list(starts), _list(ends), strides, strict=True):
        span = range(x.shape[axis])[_bound(start) : _bound(end) : step]
        if step == 1:
            x = x.narrow(axis, span.start if span else 0, len(span))
        elif step > 0:
            index = [slice(None)] * x.dim()
            index[axis] = slice(span.start, span.stop, step)
            x = x[tuple(index)]
        else:
            x = take(t, x, axis, t.tensor(list(span), dtype=t.int64, device=x.device))
    return x


def _bound(value: int) -> int:
    """Return a bound that Python's slices take as ONNX does: far below means before the start."""
    return max(min(value, 1 << 62), -(1 << 62))


def take(t: Any, x: Any, axis: int, places: Any) -> Any:
    """Return the slices of an axis at these places, counted from the front."""
    return t.index_select(x, axis, places)


def _pad_modes(node: Node, types: Mapping[str, TensorType]) -> str | None:
    mode = node.attributes.get("mode", "constant")
    if mode in ("constant", "edge", "reflect", "wrap"):
        return None
    return f"mode {mode!r}"


@operation("Pad", host=(1, 2, 3), refuse=_pad_modes)
def pad(
    t: Any, x: Any, pads: Any, constant: Any = None, axes: Any = None, *, mode: str = "constant"
) -> Any:
    rank = x.dim()
    chosen = [a % rank for a in _list(axes)] if axes is not None else list(range(rank))
    values, half = _list(pads), len(chosen)
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(chosen):
        pairs[axis] = (values[i], values[half + i])
    if mode == "constant":
        fill = 0 if constant is None or constant.size == 0 else constant.reshape(()).item()
        flat = [n for pair in reversed(pairs) for n in pair]
        if x.dtype == t.bool:
            return t.nn.functional.pad(x.to(t.uint8), flat, value=int(fill)).to(t.bool)
        return t.nn.functional.pad(x, flat, value=fill)
    for axis, (before, after) in enumerate(pairs):
        n = x.shape[axis]
        if before or after:
            kept = range(max(0, -before), max(0, n + min(0, after)))
            length, shift = len(kept), kept.start
            line = range(-max(0, before), length + max(0, after))
            places = [shift + _inside(i, length, mode) for i in line]
            x = take(t, x, axis, t.tensor(places, dtype=t.int64, device=x.device))
    return x


def _inside(place: int, length: int, mode: str) -> int:
    """Return the place within 0..length-1 that a place outside repeats."""
    if mode == "edge":
        return min(max(place, 0), length - 1)
    if mode == "wrap":
        return place % length
    if length == 1:
        return 0
    period = 2 * (length - 1)
    place %= period
    return place if place < length else period - place


@operation("Tile", host=(1,))
def tile(t: Any, x: Any, repeats: Any) -> Any:
    return x.repeat(_list(repeats))


@operation("Expand", host=(1,))
def expand(t: Any, x: Any, shape: Any) -> Any:
    return x.expand(t.broadcast_shapes(tuple(x.shape), tuple(_list(shape))))


@operation("CenterCropPad", host=(1,))
def center_crop_pad(t: Any, x: Any, shape: Any, *, axes: Sequence[int] | None = None) -> Any:
    chosen = [int(a) % x.dim() for a in axes] if axes else list(range(x.dim()))
    for axis, wanted in zip(chosen, _list(shape), strict=True):
        have = x.shape[axis]
        if wanted <= have:
            x = x.narrow(axis, (have - wanted) // 2, wanted)
        else:
            before = (wanted - have) // 2
            flat = [0, 0] * (x.dim() - 1 - axis) + [before, wanted - have - before]
            x = t.nn.functional.pad(x, flat)
    return x
