"""Sums, means, extremes, sorting and running sums.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

import math
from typing import Any

from ._translation import Operand, Translation, Value, translates


def _axes(t: Translation, x: Value, dim: Any) -> Value:
    """Return axes to reduce; none given means all of them."""
    if dim is None or dim == []:
        return t.ints(range(x.rank), "axes")
    return t.ints(dim if isinstance(dim, list) else [dim], "axes")


def _reduce(t: Translation, onnx: str, x: Value, dim: Any, keepdim: bool) -> Value:
    if not x.rank:
        return x
    return t.op(onnx, x, _axes(t, x, dim), keepdims=int(keepdim))


def _arithmetic(onnx: str, *names: str) -> None:
    def translate(
        t: Translation, x: Value, dim: Any = None, keepdim: bool = False, **_: Operand
    ) -> Value:  # fmt: skip
        return _reduce(t, onnx, t.cast(x, t.result.dtype), dim, keepdim)

    translates(*names)(translate)


_arithmetic("ReduceSum", "sum", "sum.dim_IntList")
_arithmetic("ReduceMean", "mean", "mean.dim")
_arithmetic("ReduceProd", "prod", "prod.dim_int")
_arithmetic("ReduceMax", "amax", "max")
_arithmetic("ReduceMin", "amin", "min")
_arithmetic("ReduceLogSumExp", "logsumexp")


def _truth(onnx: str, *names: str) -> None:
    def translate(t: Translation, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
        numbers = t.cast(t.cast(x, "bool"), "int32")
        return t.cast(_reduce(t, onnx, numbers, dim, keepdim), t.result.dtype)

    translates(*names)(translate)


_truth("ReduceMax", "any", "any.dim", "any.dims")
_truth("ReduceMin", "all", "all.dim", "all.dims")


def _extreme_with_place(onnx: str, argument: str, name: str) -> None:
    def translate(t: Translation, x: Value, dim: int, keepdim: bool = False) -> list[Value | None]:
        if not x.rank:
            return [x, t.constant(0, "int64")]
        place = None
        if 1 in t.wanted:
            place = t.op(argument, x, axis=dim, keepdims=int(keepdim))
        value = _reduce(t, onnx, x, dim, keepdim) if 0 in t.wanted else None
        return [value, place]

    translates(name)(translate)


_extreme_with_place("ReduceMax", "ArgMax", "max.dim")
_extreme_with_place("ReduceMin", "ArgMin", "min.dim")


def _argument(onnx: str, name: str) -> None:
    def translate(
        t: Translation, x: Value, dim: int | None = None, keepdim: bool = False
    ) -> Value:  # fmt: skip
        if dim is None:
            flat = t.reshape(x, [-1])
            place = t.op(onnx, flat, axis=0, keepdims=0)
            return t.reshape(place, [1] * x.rank) if keepdim else place
        return t.op(onnx, x, axis=dim, keepdims=int(keepdim))

    translates(name)(translate)


_argument("ArgMax", "argmax")
_argument("ArgMin", "argmin")


def _spread(t: Translation, x: Value, dim: Any, correction: Any, keepdim: bool) -> Value:
    axes = _axes(t, x, dim)
    centred = t.op("Sub", x, t.op("ReduceMean", x, axes, keepdims=1))
    squares = t.op("Mul", centred, centred)
    correction = 1 if correction is None else correction
    if correction == 0:
        return t.op("ReduceMean", squares, axes, keepdims=int(keepdim))
    total = t.op("ReduceSum", squares, axes, keepdims=int(keepdim))
    sizes = [t.size_of(x, axis) for axis in (dim if dim else range(x.rank))]
    if all(isinstance(size, int) for size in sizes):
        return t.op("Div", total, t.constant(math.prod(sizes) - correction, x.dtype))
    count = t.operand(sizes[0], x.dtype)
    for size in sizes[1:]:
        count = t.op("Mul", count, t.operand(size, x.dtype))
    return t.op("Div", total, t.op("Sub", count, t.constant(correction, x.dtype)))


def _with_spread(name: str, *, root: bool, mean: bool) -> None:
    def translate(
        t: Translation, x: Value, dim: Any = None, *, correction: Any = 1, keepdim: bool = False
    ) -> Any:
        found = _spread(t, x, dim, correction, keepdim)
        if root:
            found = t.op("Sqrt", found)
        return [found, _reduce(t, "ReduceMean", x, dim, keepdim)] if mean else found

    translates(name)(translate)


_with_spread("var.correction", root=False, mean=False)
_with_spread("std.correction", root=True, mean=False)
_with_spread("var_mean.correction", root=False, mean=True)
_with_spread("std_mean.correction", root=True, mean=True)


# -- sorting --------------------------------------------------------------------------------------


@translates("topk")
def topk(
    t: Translation, x: Value, k: Operand, dim: int = -1, largest: bool = True, ordered: bool = True
) -> list[Value]:  # fmt: skip
    return t.ops("TopK", 2, x, t.size_operand(k), axis=dim, largest=int(largest),
                 sorted=int(ordered))  # fmt: skip


@translates("sort")
def sort(t: Translation, x: Value, dim: int = -1, descending: bool = False) -> list[Value]:
    return t.ops("TopK", 2, x, t.size_operand(t.size_of(x, dim)), axis=dim,
                 largest=int(descending))  # fmt: skip


@translates("sort.stable")
def sort_stable(
    t: Translation, x: Value, *, stable: bool | None = None, dim: int = -1,
    descending: bool = False,
) -> list[Value]:  # fmt: skip
    return sort(t, x, dim, descending)  # TopK keeps the lower index first among equals


@translates("argsort")
def argsort(t: Translation, x: Value, dim: int = -1, descending: bool = False) -> Value:
    return sort(t, x, dim, descending)[1]


@translates("kthvalue")
def kthvalue(t: Translation, x: Value, k: int, dim: int = -1, keepdim: bool = False) -> list[Value]:
    found = t.ops("TopK", 2, x, t.ints([k], "k"), axis=dim, largest=0)
    return [_pick(t, value, dim, k - 1, keepdim) for value in found]


@translates("median.dim")
def median(t: Translation, x: Value, dim: int, keepdim: bool = False) -> list[Value]:
    return kthvalue(t, x, (t.static(x, dim) + 1) // 2, dim, keepdim)


@translates("median")
def median_of_all(t: Translation, x: Value) -> Value:
    flat = t.reshape(x, [-1])
    middle = (t.static(flat, 0) + 1) // 2
    return kthvalue(t, flat, middle, 0)[0]


def _pick(t: Translation, x: Value, dim: int, place: int, keepdim: bool) -> Value:
    return t.gather(x, dim, [place] if keepdim else place)


# -- running --------------------------------------------------------------------------------------


@translates("cumsum")
def cumsum(t: Translation, x: Value, dim: int, **_: Operand) -> Value:
    x = t.cast(x, t.result.dtype)
    return t.op("CumSum", x, t.constant(dim, "int64", "axis")) if x.rank else x


@translates("cumprod")
def cumprod(t: Translation, x: Value, dim: int, **_: Operand) -> Value:
    x = t.cast(x, t.result.dtype)
    return t.op("CumProd", x, t.constant(dim, "int64", "axis")) if x.rank else x


@translates("logcumsumexp")
def logcumsumexp(t: Translation, x: Value, dim: int) -> Value:
    highest = t.op("ReduceMax", x, t.ints([dim], "axes"), keepdims=1)
    total = t.op("CumSum", t.op("Exp", t.op("Sub", x, highest)), t.constant(dim, "int64", "axis"))
    return t.op("Add", t.op("Log", total), highest)


@translates("count_nonzero", "count_nonzero.dim_IntList")
def count_nonzero(t: Translation, x: Value, dim: Any = None) -> Value:
    return _reduce(t, "ReduceSum", t.cast(t.cast(x, "bool"), "int64"), dim, keepdim=False)


@translates("diff")
def diff(
    t: Translation, x: Value, n: int = 1, dim: int = -1, before: Value | None = None,
    after: Value | None = None,
) -> Value:  # fmt: skip
    parts = [part for part in (before, x, after) if part is not None]
    if len(parts) > 1:
        x = t.op("Concat", *parts, axis=dim)
    for _ in range(n):
        later, earlier = t.slice(x, dim, 1, 2**63 - 1), t.slice(x, dim, 0, -1)
        x = t.op("Xor" if x.dtype == "bool" else "Sub", later, earlier)
    return x
