"""Reductions, scans, arg-extremes and the k largest in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ._torch_table import operation, register


def _axes(axes: Any, rank: int, noop: int) -> tuple[int, ...]:
    if axes is None or axes.size == 0:
        return () if noop else tuple(range(rank))
    return tuple(int(a) % rank for a in axes.ravel()) if rank else ()


def _sum(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return x.sum(axes, keepdim=True, dtype=x.dtype) if axes else x


def _mean(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
    count = math.prod(x.shape[a] for a in axes)
    if not x.is_floating_point():
        return t.trunc(_sum(t, x.double(), axes) / max(count, 1)).to(x.dtype)
    return x.mean(axes, keepdim=True) if axes else x


def _extreme(name: str, fill: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
        if not axes:
            return x
        if x.numel() == 0:  # the library refuses nothing at all; ONNX says what it is
            sizes = [1 if a in axes else n for a, n in enumerate(x.shape)]
            return t.full(sizes, fill(t, x.dtype), dtype=x.dtype, device=x.device)
        return getattr(t, name)(x, axes, keepdim=True)

    return run


def _lowest(t: Any, dtype: Any) -> Any:
    if dtype == t.bool:
        return False
    return -math.inf if dtype.is_floating_point else t.iinfo(dtype).min


def _highest(t: Any, dtype: Any) -> Any:
    if dtype == t.bool:
        return True
    return math.inf if dtype.is_floating_point else t.iinfo(dtype).max


def _product(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
    for axis in axes:
        x = x.prod(axis, keepdim=True, dtype=x.dtype)
    return x


def _l2(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
    wide = x if x.is_floating_point() else x.double()
    return t.sqrt(_sum(t, wide * wide, axes)).to(x.dtype)


def _log_sum_exp(t: Any, x: Any, axes: tuple[int, ...]) -> Any:
    wide = x if x.is_floating_point() else x.double()
    # Over no axis at all, too: log(exp(x)) is x.
    return (t.logsumexp(wide, axes, keepdim=True) if axes else wide).to(x.dtype)


def _register(name: str, function: Callable[..., Any]) -> None:
    def run(
        t: Any, x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Any:
        chosen = _axes(axes, x.dim(), noop_with_empty_axes)
        y = function(t, x, chosen)
        if keepdims or not chosen:
            return y
        return y.reshape([n for a, n in enumerate(x.shape) if a not in chosen])

    register(name, run, host=(1,), wide=True)


_register("ReduceSum", _sum)
_register("ReduceMean", _mean)
_register("ReduceMax", _extreme("amax", _lowest))
_register("ReduceMin", _extreme("amin", _highest))
_register("ReduceProd", _product)
_register("ReduceL1", lambda t, x, axes: _sum(t, x.abs(), axes))
_register("ReduceL2", _l2)
_register("ReduceSumSquare", lambda t, x, axes: _sum(t, x * x, axes))
_register("ReduceLogSum", lambda t, x, axes: t.log(_sum(t, x, axes)))
_register("ReduceLogSumExp", _log_sum_exp)


# -- arg-extremes, scans, sorting ---------------------------------------------------------------


def _register_arg(name: str, largest: bool) -> None:
    def run(t: Any, x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        # Equal elements: the library promises nothing, so the place is looked for.
        best = (x.amax if largest else x.amin)(axis, keepdim=True)
        size = x.shape[axis]
        line = t.arange(size, device=x.device).reshape(
            [-1 if a == axis % x.dim() else 1 for a in range(x.dim())]
        )
        hit = x == best
        if x.is_floating_point():
            hit = hit | t.isnan(x)
        if select_last_index:
            return t.where(hit, line, -1).amax(axis, keepdim=bool(keepdims))
        return t.where(hit, line, size).amin(axis, keepdim=bool(keepdims))

    register(name, run)


_register_arg("ArgMax", True)
_register_arg("ArgMin", False)


def _register_scan(name: str, function: str, start: int) -> None:
    def run(t: Any, x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
        along = int(axis.reshape(()))
        y = t.flip(x, (along,)) if reverse else x
        y = getattr(t, function)(y, along, dtype=x.dtype)
        if exclusive and x.shape[along]:
            first = t.full_like(y.narrow(along, 0, 1), start)
            y = t.cat([first, y.narrow(along, 0, x.shape[along] - 1)], along)
        return t.flip(y, (along,)) if reverse else y

    register(name, run, host=(1,), wide=True)


_register_scan("CumSum", "cumsum", 0)
_register_scan("CumProd", "cumprod", 1)


@operation("TopK", host=(1,))
def top_k(t: Any, x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The k largest or smallest, sorted; the lower index wins a tie, so the sort is stable."""
    values, order = t.sort(x, dim=axis, descending=bool(largest), stable=True)
    size = int(k.reshape(()))
    return values.narrow(axis, 0, size).contiguous(), order.narrow(axis, 0, size).contiguous()
