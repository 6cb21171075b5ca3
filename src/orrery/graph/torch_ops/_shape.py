"""Moving without computing: views, joins, cuts, padding, reordering.

Ignores: memory layout; a view and a copy are the same tensor here.
Judge:   PyTorch on each operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._translation import Operand, Refusal, Translation, Value, translates

_TO_THE_END = 2**63 - 1


@translates(
    "clone",
    "contiguous",
    "alias",
    "lift_fresh_copy",
    "lift",
    "resolve_conj",
    "resolve_neg",
    "positive",
)
def same(t: Translation, x: Value, *_: Operand, **__: Operand) -> Value:
    return x


@translates("detach")
def detach(t: Translation, x: Value) -> Value:
    return t.stopped(x) if t.depends(x) else x


@translates("copy")
def copy(t: Translation, target: Value, source: Value, *_: Operand) -> Value:
    source = t.cast(source, target.dtype)
    if source.shape == target.shape:
        return source
    return t.op("Expand", source, t.op("Shape", target))


@translates("view", "reshape", "_unsafe_view", "view_copy", "_reshape_copy", "_reshape_alias")
def view(t: Translation, x: Value, sizes: list[Operand], *_: Operand) -> Value:
    return t.reshape(x, sizes)


@translates("view.dtype")
def reinterpret(t: Translation, x: Value, dtype: str) -> Value:
    raise Refusal("the same bits read as another element type")


@translates("flatten.using_ints")
def flatten(t: Translation, x: Value, start: int = 0, end: int = -1) -> Value:
    if not x.rank:
        return t.reshape(x, [1])
    start, end = start % x.rank, end % x.rank
    if start == end:
        return x
    kept = [t.size_of(x, axis) for axis in range(start)]
    return t.reshape(x, [*kept, -1, *(t.size_of(x, a) for a in range(end + 1, x.rank))])


@translates("permute")
def permute(t: Translation, x: Value, order: list[int]) -> Value:
    return t.transpose(x, [axis % x.rank for axis in order])


@translates("transpose.int", "swapaxes")
def transpose(t: Translation, x: Value, first: int, second: int) -> Value:
    order = list(range(x.rank))
    if order:
        order[first], order[second] = order[second], order[first]
    return t.transpose(x, order)


@translates("t", "numpy_T")
def turned(t: Translation, x: Value) -> Value:
    return t.transpose(x, list(reversed(range(x.rank))))


@translates("unsqueeze")
def unsqueeze(t: Translation, x: Value, dim: int) -> Value:
    return t.unsqueeze(x, dim)


@translates("squeeze", "squeeze.dim", "squeeze.dims")
def squeeze(t: Translation, x: Value, dim: Any = None) -> Value:
    chosen = range(x.rank) if dim is None else dim if isinstance(dim, list) else [dim]
    axes = [a % x.rank for a in chosen if x.rank and x.shape[a] == 1]
    return t.squeeze(x, *axes) if axes else x


@translates("expand")
def expand(t: Translation, x: Value, sizes: list[Operand], **_: Operand) -> Value:
    if t.result.shape == x.shape:
        return x
    made = t.op("Expand", x, t.ints([1 if _is(n, -1) else n for n in sizes], "shape"))
    if x.name in t.uniform:
        t.uniform[made.name] = t.uniform[x.name]
    return made


def _is(operand: Operand, number: int) -> bool:
    return isinstance(operand, int) and operand == number


@translates("repeat")
def repeat(t: Translation, x: Value, times: list[Operand]) -> Value:
    more = len(times) - x.rank
    if more:
        x = t.unsqueeze(x, *range(more))
    return x if all(_is(n, 1) for n in times) else t.op("Tile", x, t.ints(times, "times"))


@translates("repeat_interleave.self_int")
def repeat_interleave(t: Translation, x: Value, times: int, dim: int | None = None) -> Value:
    if dim is None:
        x, dim = t.reshape(x, [-1]), 0
    dim %= x.rank
    repeats = [times if axis == dim + 1 else 1 for axis in range(x.rank + 1)]
    spread = t.op("Tile", t.unsqueeze(x, dim + 1), t.ints(repeats, "times"))
    sizes = [t.size_of(x, axis) for axis in range(x.rank)]
    return t.reshape(spread, [*sizes[:dim], -1, *sizes[dim + 1 :]])


@translates("cat", "concat")
def cat(t: Translation, parts: list[Value], dim: int = 0) -> Value:
    # PyTorch skips tensors of shape [0] whatever the others look like.
    parts = [part for part in parts if part.shape != (0,)] or parts[:1]
    parts = [t.cast(part, t.result.dtype) for part in parts]
    return parts[0] if len(parts) == 1 else t.op("Concat", *parts, axis=dim)


@translates("stack")
def stack(t: Translation, parts: list[Value], dim: int = 0) -> Value:
    dim = dim if dim >= 0 else dim + parts[0].rank + 1
    parts = [t.unsqueeze(t.cast(part, t.result.dtype), dim) for part in parts]
    return parts[0] if len(parts) == 1 else t.op("Concat", *parts, axis=dim)


@translates("split.Tensor", "chunk", "split_with_sizes", "split.sizes", "tensor_split.sections")
def split(t: Translation, x: Value, _: Operand, dim: int = 0) -> list[Value]:
    sizes = [result.shape[dim] for result in t.results]
    if len(sizes) == 1:
        return [x]
    numbers = [t.number(size, "a part's size") for size in sizes]
    return t.ops("Split", len(sizes), x, t.ints(numbers, "parts"), axis=dim)


@translates("unbind.int")
def unbind(t: Translation, x: Value, dim: int = 0) -> list[Value | None]:
    return [
        t.gather(x, dim, i) if i in t.wanted else None for i in range(t.static(x, dim))
    ]  # fmt: skip


@translates("slice.Tensor")
def cut(
    t: Translation, x: Value, dim: int = 0, start: Operand = None, end: Operand = None,
    step: int = 1,
) -> Value:  # fmt: skip
    start = 0 if start is None else start
    end = _TO_THE_END if end is None else end
    size = x.shape[dim]
    whole = isinstance(end, int) and (
        end == _TO_THE_END or (isinstance(size, int) and end >= size)
    )  # fmt: skip
    if _is(start, 0) and whole and step == 1:
        return x
    return t.slice(x, dim, start, end, step)


@translates("narrow")
def narrow(t: Translation, x: Value, dim: int, start: int, length: int) -> Value:
    return t.slice(x, dim, start, t.number(start, "a start") + t.number(length, "a length"))


@translates("select.int")
def select(t: Translation, x: Value, dim: int, index: Operand) -> Value:
    if isinstance(index, Value):
        return t.op("Gather", x, t.operand(index, "int64"), axis=dim)
    return t.gather(x, dim, index)


@translates("slice_scatter")
def slice_scatter(
    t: Translation, x: Value, source: Value, dim: int = 0, start: int | None = None,
    end: int | None = None, step: int = 1,
) -> Value:  # fmt: skip
    source = t.cast(source, x.dtype)
    first, last = start or 0, _TO_THE_END if end is None else end
    size = x.shape[dim]
    if isinstance(size, int):
        chosen = range(size)[first:last:step]
        if len(chosen) == 0:
            return x
        first, last = chosen[0], chosen[-1] + 1
        last = last if last < size else _TO_THE_END
    if step == 1 and first >= 0 and last >= 0:
        before = [t.slice(x, dim, 0, first)] if first else []
        after = [t.slice(x, dim, last, _TO_THE_END)] if last < _TO_THE_END else []
        parts = [*before, source, *after]
        return t.op("Concat", *parts, axis=dim) if len(parts) > 1 else source
    size = t.static(x, dim)
    joined = t.op("Concat", x, source, axis=dim)
    places = np.arange(size)
    places[list(chosen)] = size + np.arange(len(chosen))
    return t.gather(joined, dim, places)


@translates("select_scatter")
def select_scatter(t: Translation, x: Value, source: Value, dim: int, index: int) -> Value:
    dim %= x.rank
    place = index if index >= 0 else index % t.static(x, dim)
    return slice_scatter(t, x, t.unsqueeze(source, dim), dim, place, place + 1)


# -- padding --------------------------------------------------------------------------------------

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(t: Translation, x: Value, pads: list[Operand], mode: str, value: Operand = None) -> Value:
    """Pad; PyTorch counts axes from the last, before and after together; negative ones cut."""
    numbers = [t.number(n, "a padding") for n in pads]
    if not any(numbers):
        return x
    axes = [x.rank - 1 - i for i in range(len(numbers) // 2)]
    before = [numbers[2 * i] for i in range(len(axes))]
    after = [numbers[2 * i + 1] for i in range(len(axes))]
    for axis, first, last in zip(axes, before, after, strict=True):
        if first < 0 or last < 0:
            size = t.static(x, axis)
            x = t.slice(x, axis, max(0, -first), size - max(0, -last))
    amounts = t.ints([max(0, n) for n in before + after], "pads")
    fill = t.operand(value, x.dtype) if mode == "constant" and value else None
    return t.op("Pad", x, amounts, fill, t.ints(axes, "axes"),
                mode=None if mode == "constant" else _MODES[mode])  # fmt: skip


@translates("constant_pad_nd")
def constant_pad(t: Translation, x: Value, pads: list[Operand], value: Operand = 0) -> Value:
    return _pad(t, x, pads, "constant", value)


@translates("pad")
def pad(
    t: Translation, x: Value, pads: list[Operand], mode: str = "constant", value: Operand = None
) -> Value:  # fmt: skip
    return _pad(t, x, pads, mode, value)


@translates("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(t: Translation, x: Value, pads: list[Operand]) -> Value:
    return _pad(t, x, pads, "reflect")


@translates("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(t: Translation, x: Value, pads: list[Operand]) -> Value:
    return _pad(t, x, pads, "replicate")


# -- reordering -----------------------------------------------------------------------------------


@translates("flip")
def flip(t: Translation, x: Value, dims: list[int]) -> Value:
    for dim in dims:
        x = t.slice(x, dim % x.rank, -1, -_TO_THE_END, -1)
    return x


@translates("roll")
def roll(t: Translation, x: Value, shifts: list[int], dims: list[int] | None = None) -> Value:
    shape = [t.size_of(x, axis) for axis in range(x.rank)] if not dims else x.shape
    if not dims:
        x, dims = t.reshape(x, [-1]), [0]
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        start = -shift % size if isinstance(size, int) and size else -shift
        if start:
            parts = [t.slice(x, dim, start, _TO_THE_END), t.slice(x, dim, 0, start)]
            x = t.op("Concat", *parts, axis=dim)
    return x if x.rank == len(shape) else t.reshape(x, shape)


def _triangle(name: str, upper: int) -> None:
    def translate(t: Translation, x: Value, diagonal: int = 0) -> Value:
        k = t.constant(diagonal, "int64", "diagonal") if diagonal else None
        if x.dtype not in ("bool", "float16", "float32", "float64", "int64", "int32"):
            return t.cast(t.op("Trilu", t.cast(x, "int64"), k, upper=upper), x.dtype)
        return t.op("Trilu", x, k, upper=upper)

    translates(name)(translate)


_triangle("tril", 0)
_triangle("triu", 1)


@translates("diagonal", "diagonal_copy")
def diagonal(t: Translation, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    first, second = dim1 % x.rank, dim2 % x.rank
    rest = [a for a in range(x.rank) if a not in (first, second)]
    x = t.transpose(x, [*rest, first, second])
    rows, columns = t.static(x, -2), t.static(x, -1)
    places = np.arange(rows * columns).reshape(rows, columns).diagonal(offset)
    kept = [t.size_of(x, a) for a in range(len(rest))]
    return t.gather(t.reshape(x, [*kept, rows * columns]), len(rest), places)


@translates("pixel_shuffle")
def pixel_shuffle(t: Translation, x: Value, factor: int) -> Value:
    if x.rank != 4:
        raise Refusal(f"a tensor of rank {x.rank} instead of 4")
    return t.op("DepthToSpace", x, blocksize=factor, mode="CRD")


@translates("unfold")
def unfold(t: Translation, x: Value, dim: int, size: int, step: int) -> Value:
    dim %= x.rank
    starts = np.arange(0, t.static(x, dim) - size + 1, step)
    windows = t.gather(x, dim, starts[:, None] + np.arange(size))
    order = [a for a in range(windows.rank) if a != dim + 1]
    return t.transpose(windows, [*order, dim + 1])
