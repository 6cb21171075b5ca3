"""Constants, ranges, identity matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._translation import Operand, Translation, Value, is_float, translates


def filled(t: Translation, value: Operand, sizes: list[Operand]) -> Value:
    """Return a tensor of the result's type with one value everywhere."""
    one = t.operand(value, t.result.dtype)
    made = t.op("Expand", one, t.ints(sizes, "shape")) if sizes else one
    if isinstance(value, int | float):
        t.uniform[made.name] = float(value)
    return made


@translates("full", "new_full")
def full(t: Translation, *operands: Operand, **_: Operand) -> Value:
    sizes, value = operands[-2], operands[-1]
    return filled(t, value, sizes)


@translates("zeros", "empty.memory_format", "new_zeros", "new_empty", "zeros_like", "empty_like")
def zeros(t: Translation, *operands: Operand, **_: Operand) -> Value:
    return _same(t, operands, 0)


@translates("ones", "new_ones", "ones_like")
def ones(t: Translation, *operands: Operand, **_: Operand) -> Value:
    return _same(t, operands, 1)


@translates("full_like", "fill.Scalar", "fill.Tensor")
def full_like(t: Translation, x: Value, value: Operand, **_: Operand) -> Value:
    return _like(t, x, value)


def _same(t: Translation, operands: tuple[Operand, ...], value: int) -> Value:
    if isinstance(operands[-1], list):
        return filled(t, value, operands[-1])
    return _like(t, operands[0], value)


def _like(t: Translation, x: Value, value: Operand) -> Value:
    if t.result.is_bound:
        return filled(t, value, list(t.result.shape))
    made = t.op("Expand", t.operand(value, t.result.dtype), t.op("Shape", x))
    if isinstance(value, int | float):
        t.uniform[made.name] = float(value)
    return made


@translates("scalar_tensor")
def scalar_tensor(t: Translation, value: Operand, **_: Operand) -> Value:
    return t.operand(value, t.result.dtype)


@translates("arange.start_step", "arange.start", "arange")
def arange(t: Translation, *operands: Operand, **_: Operand) -> Value:
    start, end, step = {1: (0, *operands, 1), 2: (*operands, 1)}.get(len(operands), operands)
    dtype = t.result.dtype
    if not any(isinstance(v, Value) for v in (start, end, step)):
        count = math.ceil((end - start) / step)
        if is_float(dtype):  # PyTorch computes each element in double precision
            return t.constant(start + np.arange(count) * float(step), dtype, "range")
        return t.constant(int(start) + np.arange(count) * int(step), dtype, "range")
    whole = "int64" if not any(isinstance(v, float) for v in operands) else dtype
    made = t.op("Range", *(t.operand(v, whole) for v in (start, end, step)))
    return t.cast(made, dtype)


@translates("eye", "eye.m")
def eye(t: Translation, rows: Any, columns: Any = None, **_: Operand) -> Value:
    rows = t.number(rows, "a number of rows")
    columns = rows if columns is None else t.number(columns, "a number of columns")
    return t.constant(np.eye(rows, columns), t.result.dtype, "eye")


@translates("linspace")
def linspace(t: Translation, start: Any, end: Any, steps: int, **_: Operand) -> Value:
    return t.constant(np.linspace(start, end, steps), t.result.dtype, "range")
