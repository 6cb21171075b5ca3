"""Sums, means and extremes over axes, and what normalises by them: plain loops in C."""

from __future__ import annotations

import math
from typing import Any

from ._c_text import Step, Writer, emitter, flat, number
from ._style import CStyle

#: operator -> start, what one more value does to `sum`, and the end
_REDUCE = {
    "ReduceSum": ("0.0f", "sum += v;", "sum"),
    "ReduceMean": ("0.0f", "sum += v;", "sum / {count}"),
    "ReduceMax": ("-INFINITY", "if (v > sum) sum = v;", "sum"),
    "ReduceMin": ("INFINITY", "if (v < sum) sum = v;", "sum"),
    "ReduceProd": ("1.0f", "sum *= v;", "sum"),
    "ReduceL1": ("0.0f", "sum += fabsf(v);", "sum"),
    "ReduceL2": ("0.0f", "sum += v * v;", "sqrtf(sum)"),
    "ReduceSumSquare": ("0.0f", "sum += v * v;", "sum"),
}


@emitter(*_REDUCE)
def _reduce(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    rank = len(x.shape)
    given: tuple[Any, ...] | None = step.values(1, "axes")
    if not given and step.attribute("noop_with_empty_axes", 0):
        raise step.refusal("a reduction over nothing")
    axes = {int(axis) % rank for axis in given} if given else set(range(rank))
    start, add, end = _REDUCE[step.node.op]
    kept = [axis for axis in range(rank) if axis not in axes]
    gone = sorted(axes)
    with w.loops([f"i{a}" for a in kept], [x.shape[a] for a in kept]) as outer:
        w.line(f"float sum = {start};")
        with w.loops([f"i{a}" for a in gone], [x.shape[a] for a in gone]) as inner:
            at = dict(zip([*kept, *gone], [*outer, *inner], strict=True))
            w.line(f"float v = {x.at(*(at[a] for a in range(rank)))};")
            w.line(add)
        count = number(math.prod(x.shape[a] for a in gone))
        place = flat(outer, [x.shape[a] for a in kept])
        w.line(f"{y.name}[{place}] = {end.format(count=count)};")


def _lines(step: Step, default: int) -> tuple[tuple[int, int, int], int]:
    """Return (before, along, after) the axis, and the axis."""
    shape = step.input(0).shape
    axis = int(step.attribute("axis", default)) % len(shape)
    return (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])), axis


@emitter("Softmax", "LogSoftmax")
def _softmax(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    shape, _ = _lines(step, -1)
    logarithm = step.node.op == "LogSoftmax"
    with w.loops(["n", "m"], (shape[0], shape[2])) as (n, m):
        place = flat((n, "k", m), shape)
        first = flat((n, "0", m), shape)
        loop = f"for (int k = 0; k < {shape[1]}; k++)"
        w.line(f"float top = {x.name}[{first}];")
        with w.block(loop):
            w.line(f"if ({x.name}[{place}] > top) top = {x.name}[{place}];")
        w.line("float sum = 0.0f;")
        with w.block(loop):
            if logarithm:
                w.line(f"sum += expf({x.name}[{place}] - top);")
            else:
                w.line(f"{y.name}[{place}] = expf({x.name}[{place}] - top);")
                w.line(f"sum += {y.name}[{place}];")
        if logarithm:
            w.line("float shift = top + logf(sum);")
        with w.block(loop):
            if logarithm:
                w.line(f"{y.name}[{place}] = {x.name}[{place}] - shift;")
            else:
                w.line(f"{y.name}[{place}] = {y.name}[{place}] / sum;")


@emitter("LayerNormalization")
def _layer_norm(w: Writer, step: Step, style: CStyle) -> None:
    x, scale, bias, y = step.input(0), step.input(1), step.optional(2), step.output
    if len([name for name in step.node.outputs if name]) > 1:
        raise step.refusal("a second output")
    _, axis = _lines(step, -1)
    rows, wide = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
    for operand in (scale, bias):
        if operand is not None and operand.elements != wide:
            raise step.refusal("a scale that is broadcast")
    epsilon = number(step.attribute("epsilon", 1e-5))
    loop = f"for (int i = 0; i < {wide}; i++)"
    with w.loops(["n"], [rows]) as (n,):
        place = flat((n, "i"), (rows, wide))
        w.line("float mean = 0.0f;")
        w.line(f"{loop} mean += {x.name}[{place}];")
        w.line(f"mean = mean / {number(wide)};")
        w.line("float variance = 0.0f;")
        with w.block(loop):
            w.line(f"float d = {x.name}[{place}] - mean;")
            w.line("variance += d * d;")
        w.line(f"variance = variance / {number(wide)};")
        w.line(f"float factor = 1.0f / sqrtf(variance + {epsilon});")
        shift = f" + {bias.name}[i]" if bias is not None else ""
        w.line(
            f"{loop} {y.name}[{place}] = "
            f"({x.name}[{place}] - mean) * factor * {scale.name}[i]{shift};"
        )
