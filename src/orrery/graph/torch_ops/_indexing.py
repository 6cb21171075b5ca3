"""Picking and placing by index.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._translation import Operand, Refusal, Translation, Value, translates


@translates("embedding")
def embedding(
    t: Translation, weight: Value, indices: Value, padding: int = -1, *_: Operand
) -> Value:  # fmt: skip
    if weight.name in t.learned:  # PyTorch passes no gradient to the padding row
        t.padding.add((weight.name, padding))
    return t.op("Gather", weight, indices, axis=0)


@translates("index_select")
def index_select(t: Translation, x: Value, dim: int, index: Value) -> Value:
    return t.op("Gather", x, index, axis=dim)


@translates("gather")
def gather(t: Translation, x: Value, dim: int, index: Value, **_: Operand) -> Value:
    return t.op("GatherElements", x, index, axis=dim)


@translates("take")
def take(t: Translation, x: Value, index: Value) -> Value:
    return t.op("Gather", t.reshape(x, [-1]), index, axis=0)


@translates("index.Tensor", "_unsafe_index.Tensor")
def index(t: Translation, x: Value, indices: list[Value | None]) -> Value:
    axes = [i for i, v in enumerate(indices) if v is not None]
    chosen = [v for v in indices if v is not None]
    if chosen[0].dtype == "bool":
        if len(chosen) > 1:
            raise Refusal("a mask together with other indices")
        return _masked(t, x, chosen[0], axes[0])
    if len(chosen) == 1:
        return t.op("Gather", x, t.cast(chosen[0], "int64"), axis=axes[0])
    front, places = _front(t, x, axes, chosen)
    y = t.op("GatherND", front, places)
    if axes[-1] - axes[0] + 1 != len(axes) or axes[0] == 0:
        return y
    # Indices side by side: their axes stay where they were; else they come first.
    joint, before = places.rank - 1, axes[0]
    order = [*range(joint, joint + before), *range(joint), *range(joint + before, y.rank)]
    return t.transpose(y, order)


def _front(
    t: Translation, x: Value, axes: list[int], chosen: list[Value]
) -> tuple[Value, Value]:  # fmt: skip
    """Bring the indexed axes to the front and join their indices in a last axis."""
    rest = [a for a in range(x.rank) if a not in axes]
    front = t.transpose(x, [*axes, *rest])
    values = [t.cast(v, "int64") for v in chosen]
    if len(values) == 1:
        return front, t.unsqueeze(values[0], values[0].rank)
    shape = _joint_shape(t, values)
    spread = [v if v.shape == shape[0] else t.op("Expand", v, shape[1]) for v in values]
    return front, t.op("Concat", *(t.unsqueeze(v, v.rank) for v in spread), axis=-1)


def _joint_shape(t: Translation, values: list[Value]) -> tuple[tuple[int | str, ...], Value]:
    rank = max(v.rank for v in values)
    joint: list[int | str] = [1] * rank
    sizes: list[Operand] = [1] * rank
    for value in values:
        for axis, size in enumerate(value.shape, rank - value.rank):
            if joint[axis] == 1 and size != 1:
                joint[axis] = size
                sizes[axis] = t.size_of(value, axis - (rank - value.rank))
    return tuple(joint), t.ints(sizes, "shape")


def _masked(t: Translation, x: Value, mask: Value, axis: int) -> Value:
    """Pick where a mask is true; only running tells how many."""
    order = [*range(axis, axis + mask.rank), *range(axis)]
    order += [a for a in range(x.rank) if a not in order]
    places = t.transpose(t.op("NonZero", mask), [1, 0])
    y = t.op("GatherND", t.transpose(x, order), places)
    return t.transpose(y, [*range(1, axis + 1), 0, *range(axis + 1, y.rank)])


@translates("nonzero")
def nonzero(t: Translation, x: Value) -> Value:
    return t.transpose(t.op("NonZero", x), [1, 0])


@translates("masked_select")
def masked_select(t: Translation, x: Value, mask: Value) -> Value:
    if x.shape != mask.shape:
        raise Refusal("a mask of another shape than the tensor's")
    return t.op("Compress", t.reshape(x, [-1]), t.reshape(mask, [-1]))


@translates("index_put", "_unsafe_index_put")
def index_put(
    t: Translation, x: Value, indices: list[Value | None], values: Value,
    accumulate: bool = False,
) -> Value:  # fmt: skip
    axes = [i for i, v in enumerate(indices) if v is not None]
    chosen = [v for v in indices if v is not None]
    values = t.cast(values, x.dtype)
    if chosen[0].dtype == "bool":
        if len(chosen) > 1 or (values.rank and values.shape != (1,)) or accumulate or axes[0]:
            raise Refusal("a mask with values of their own")
        mask = chosen[0]
        more = [mask.rank + i for i in range(x.rank - mask.rank)]
        return t.op("Where", t.unsqueeze(mask, *more) if more else mask, values, x)
    front, places = _front(t, x, axes, chosen)
    joint = [t.size_of(places, a) for a in range(places.rank - 1)]
    rest = [t.size_of(front, a) for a in range(len(axes), front.rank)]
    before = axes[0] if axes[-1] - axes[0] + 1 == len(axes) else 0
    # PyTorch's values have the shape that indexing gives: indices side by side stay in place.
    spread = t.op("Expand", values, t.ints([*rest[:before], *joint, *rest[before:]], "shape"))
    inner = range(before, before + len(joint))
    outer = range(before + len(joint), spread.rank)
    spread = t.transpose(spread, [*inner, *range(before), *outer])
    y = t.op("ScatterND", front, places, spread, reduction="add" if accumulate else None)
    order = [*axes, *(a for a in range(x.rank) if a not in axes)]
    return t.transpose(y, [int(a) for a in np.argsort(order)])


def _scatter(t: Translation, x: Value, dim: int, index: Value, source: Operand, how: str) -> Value:
    if not isinstance(source, Value):
        one = t.constant(source, x.dtype)
        source = t.op("Expand", one, t.op("Shape", index))
    source = t.cast(source, x.dtype)
    if source.shape != index.shape:  # PyTorch reads only the part that has an index
        for axis, size in enumerate(index.shape):
            if source.shape[axis] != size:
                source = t.slice(source, axis, 0, t.size_of(index, axis))
    return t.op("ScatterElements", x, index, source, axis=dim, reduction=how or None)


@translates("scatter.src", "scatter.value", "scatter")
def scatter(t: Translation, x: Value, dim: int, index: Value, source: Operand) -> Value:
    return _scatter(t, x, dim, index, source, "")


@translates("scatter_add")
def scatter_add(t: Translation, x: Value, dim: int, index: Value, source: Value) -> Value:
    return _scatter(t, x, dim, index, source, "add")


@translates("scatter_reduce.two")
def scatter_reduce(
    t: Translation, x: Value, dim: int, index: Value, source: Value, reduce: str, *,
    include_self: bool = True,
) -> Value:  # fmt: skip
    how = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}.get(reduce)
    if how is None or not include_self:
        raise Refusal(f"a scatter by {reduce}" + ("" if include_self else " without the target"))
    return _scatter(t, x, dim, index, source, how)


@translates("one_hot")
def one_hot(t: Translation, x: Value, classes: Any = -1) -> Value:
    depth = t.number(t.result.shape[-1], "a number of classes")
    return t.op("OneHot", x, t.constant(depth, "int64", "depth"),
                t.constant([0, 1], "int64", "values"), axis=-1)  # fmt: skip
