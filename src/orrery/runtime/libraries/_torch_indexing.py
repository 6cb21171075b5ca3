"""Gathering and scattering at places that data tells, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orrery.graph import Node, TensorType

from ._torch_shape import take
from ._torch_table import operation


def _front(t: Any, indices: Any, size: int) -> Any:
    """Return indices counted from the front; those outside stay outside, and are refused later."""
    places = indices.to(t.int64)
    return t.where(places < 0, places + size, places)


@operation("Gather")
def gather(t: Any, x: Any, indices: Any, *, axis: int = 0) -> Any:
    axis %= x.dim()
    places = _front(t, indices, x.shape[axis])
    y = take(t, x, axis, places.reshape(-1))
    return y.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@operation("GatherElements")
def gather_elements(t: Any, x: Any, indices: Any, *, axis: int = 0) -> Any:
    return t.gather(x, axis, _front(t, indices, x.shape[axis]))


@operation("GatherND")
def gather_nd(t: Any, x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    extra = indices.dim() - 1 - batch_dims
    index = []
    for axis in range(batch_dims):
        size = indices.shape[axis]
        shape = [1] * (batch_dims + extra)
        shape[axis] = size
        index.append(t.arange(size, device=x.device).reshape(shape))
    for i in range(indices.shape[-1]):
        index.append(_front(t, indices[..., i], x.shape[batch_dims + i]))
    return x[tuple(index)]


_REDUCTIONS = {"add": "sum", "mul": "prod", "min": "amin", "max": "amax"}


def _refuse_reduction(node: Node, types: Mapping[str, TensorType]) -> str | None:
    reduction = node.attributes.get("reduction", "none")
    if reduction not in ("none", *_REDUCTIONS):
        return f"reduction {reduction!r}"
    return None


@operation("ScatterElements", refuse=_refuse_reduction)
def scatter_elements(
    t: Any, x: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none"
) -> Any:
    places = _front(t, indices, x.shape[axis])
    if reduction == "none":
        return t.scatter(x, axis, places, updates)
    return t.scatter_reduce(x, axis, places, updates, _REDUCTIONS[reduction])


@operation("ScatterND", refuse=_refuse_reduction)
def scatter_nd(t: Any, x: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    depth = indices.shape[-1]
    lead, inner = x.shape[:depth], x.shape[depth:]
    flat = t.zeros(indices.shape[:-1], dtype=t.int64, device=x.device)
    for i in range(depth):
        flat = flat * lead[i] + _front(t, indices[..., i], lead[i])
    rows = 1
    for n in lead:
        rows *= n
    width = 1
    for n in inner:
        width *= n
    table = x.reshape(rows, width)
    places = flat.reshape(-1, 1).expand(-1, width)
    new = updates.reshape(-1, width)
    if reduction == "none":
        # Each place is written once: where a place repeats, the last update stands.
        result = table.index_copy(0, flat.reshape(-1), new)
    else:
        result = t.scatter_reduce(table, 0, places, new, _REDUCTIONS[reduction])
    return result.reshape(x.shape)


@operation("TensorScatter")
def tensor_scatter(
    t: Any, cache: Any, update: Any, write_indices: Any = None, *, axis: int = -2,
    mode: str = "linear",
) -> Any:  # fmt: skip
    axis %= cache.dim()
    steps = t.arange(update.shape[axis], device=cache.device)
    batch = cache.shape[0]
    starts = (
        t.zeros(batch, dtype=t.int64, device=cache.device)
        if write_indices is None
        else write_indices.to(t.int64)
    )
    places = starts[:, None] + steps
    if mode == "circular":
        places = places % cache.shape[axis]
    shape = [1] * cache.dim()
    shape[0], shape[axis] = batch, update.shape[axis]
    return t.scatter(cache, axis, places.reshape(shape).expand(update.shape), update)


@operation("OneHot", host=(1,))
def one_hot(t: Any, indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    size = int(depth.reshape(()))
    places = indices.to(t.int64)
    places = t.where((places < 0) & (places >= -size), places + size, places)
    axis %= places.dim() + 1
    line = t.arange(size, device=indices.device).reshape([size] + [1] * (places.dim() - axis))
    return t.where(places.unsqueeze(axis) == line, values[1], values[0])


@operation("Compress", host=(1,))
def compress(t: Any, x: Any, condition: Any, *, axis: int | None = None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    kept = [i for i, c in enumerate(condition[: x.shape[axis]]) if c]
    return take(t, x, axis, t.tensor(kept, dtype=t.int64, device=x.device))


@operation("NonZero")
def non_zero(t: Any, x: Any) -> Any:
    return t.nonzero(x.reshape(1) if x.dim() == 0 else x).T.contiguous()
