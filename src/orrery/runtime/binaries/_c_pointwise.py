"""Element by element, per channel, and moving data about: plain loops in C."""

from __future__ import annotations

import math

import numpy as np

from ._c_matrix import broadcast
from ._c_text import Step, Writer, emitter, flat, number
from ._style import CStyle

#: operator -> C expression of v
_UNARY = {
    "Relu": "v > 0.0f ? v : 0.0f",
    "Sigmoid": "1.0f / (1.0f + expf(-v))",
    "Tanh": "tanhf(v)",
    "Erf": "erff(v)",
    "Exp": "expf(v)",
    "Log": "logf(v)",
    "Sqrt": "sqrtf(v)",
    "Abs": "fabsf(v)",
    "Neg": "-v",
    "Reciprocal": "1.0f / v",
    "Softplus": "logf(1.0f + expf(v))",
}
_BINARY = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}


def _names(rank: int) -> list[str]:
    return [f"i{axis}" for axis in range(rank)]


def _map(w: Writer, step: Step, expression: str) -> None:
    with w.loops(["i"], [step.output.elements]) as (i,):
        w.line(f"float v = {step.input(0).name}[{i}];")
        w.line(f"{step.output.name}[{i}] = {expression};")


@emitter(*_UNARY)
def _unary(w: Writer, step: Step, style: CStyle) -> None:
    _map(w, step, _UNARY[step.node.op])


@emitter("LeakyRelu")
def _leaky(w: Writer, step: Step, style: CStyle) -> None:
    _map(w, step, f"v > 0.0f ? v : {number(step.attribute('alpha', 0.01))} * v")


@emitter("Elu")
def _elu(w: Writer, step: Step, style: CStyle) -> None:
    _map(w, step, f"v > 0.0f ? v : {number(step.attribute('alpha', 1.0))} * (expf(v) - 1.0f)")


@emitter("HardSigmoid")
def _hard_sigmoid(w: Writer, step: Step, style: CStyle) -> None:
    alpha, beta = step.attribute("alpha", 0.2), step.attribute("beta", 0.5)
    _map(w, step, f"fmaxf(0.0f, fminf(1.0f, {number(alpha)} * v + {number(beta)}))")


@emitter("HardSwish")
def _hard_swish(w: Writer, step: Step, style: CStyle) -> None:
    _map(w, step, f"v * fmaxf(0.0f, fminf(1.0f, {number(1 / 6)} * v + 0.5f))")


@emitter("Clip")
def _clip(w: Writer, step: Step, style: CStyle) -> None:
    low, high = (step.values(index, name) for index, name in ((1, "min"), (2, "max")))
    text = "v"
    if low is not None:
        text = f"({text} < {number(low[0])} ? {number(low[0])} : {text})"
    if high is not None:
        text = f"({text} > {number(high[0])} ? {number(high[0])} : {text})"
    _map(w, step, text)


@emitter("Gelu")
def _gelu(w: Writer, step: Step, style: CStyle) -> None:
    if step.attribute("approximate", "none") == "tanh":
        inner = f"{number(math.sqrt(2 / math.pi))} * (v + 0.044715f * v * v * v)"
        _map(w, step, f"0.5f * v * (1.0f + tanhf({inner}))")
    else:
        _map(w, step, f"0.5f * v * (1.0f + erff(v * {number(math.sqrt(0.5))}))")


@emitter(*_BINARY)
def _binary(w: Writer, step: Step, style: CStyle) -> None:
    a, b, y = step.input(0), step.input(1), step.output
    sign = _BINARY[step.node.op]
    if a.shape == b.shape:
        with w.loops(["i"], [y.elements]) as (i,):
            w.line(f"{y.name}[{i}] = {a.name}[{i}] {sign} {b.name}[{i}];")
        return
    with w.loops(_names(len(y.shape)), y.shape) as at:
        w.line(f"{y.at(*at)} = {broadcast(a, at)} {sign} {broadcast(b, at)};")


@emitter("BatchNormalization")
def _batch_norm(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    gamma, beta, mean, variance = (step.input(index) for index in range(1, 5))
    epsilon = float(step.attribute("epsilon", 1e-5))
    area = math.prod(x.shape[2:])
    held = [operand.value for operand in (gamma, beta, mean, variance)]
    if style.fold and all(value is not None for value in held):
        g, b, m, v = (np.asarray(value, np.float64) for value in held)
        scale = g / np.sqrt(v + epsilon)
        for name, values in (("scale", scale), ("shift", b - m * scale)):
            text = ", ".join(number(float(value)) for value in values)
            w.line(f"static const float {name}[{len(values)}] = {{{text}}};")
        formula = "scale[{c}] * v + shift[{c}]"
    else:
        formula = (
            f"{gamma.name}[{{c}}] * (v - {mean.name}[{{c}}]) / "
            f"sqrtf({variance.name}[{{c}}] + {number(epsilon)}) + {beta.name}[{{c}}]"
        )  # fmt: skip
    shape = (*x.shape[:2], area)
    with w.loops(["n", "c", "i"], shape) as (n, c, i):
        place = flat((n, c, i), shape)
        w.line(f"float v = {x.name}[{place}];")
        w.line(f"{y.name}[{place}] = {formula.format(c=c)};")


@emitter("Concat")
def _concat(w: Writer, step: Step, style: CStyle) -> None:
    y = step.output
    axis, begin = int(step.attribute("axis", 0)) % len(y.shape), 0
    for index in range(len(step.inputs)):
        x = step.input(index)
        with w.loops(_names(len(x.shape)), x.shape) as at:
            moved = list(at)
            if begin:
                moved[axis] = str(begin) if at[axis] == "0" else f"{at[axis]} + {begin}"
            w.line(f"{y.at(*moved)} = {x.at(*at)};")
        begin += x.shape[axis]


@emitter("Transpose")
def _transpose(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    order = tuple(step.attribute("perm", tuple(reversed(range(len(x.shape))))))
    with w.loops(_names(len(y.shape)), y.shape) as at:
        source = ["0"] * len(order)
        for axis, of in enumerate(order):
            source[of] = at[axis]
        w.line(f"{y.at(*at)} = {x.at(*source)};")


@emitter("Pad")
def _pad(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    if step.attribute("mode", "constant") != "constant" or step.optional(3) is not None:
        raise step.refusal("padding by other than a constant on all axes")
    pads, fill = step.values(1, "pads") or (), step.values(2)
    if any(p < 0 for p in pads):
        raise step.refusal("negative padding")
    value = number(float(fill[0]) if fill else 0.0)
    w.line(f"for (int i = 0; i < {y.elements}; i++) {y.name}[i] = {value};")
    with w.loops(_names(len(x.shape)), x.shape) as at:
        moved = [c if not p else str(p) if c == "0" else f"{c} + {p}" for c, p in zip(at, pads)]
        w.line(f"{y.at(*moved)} = {x.at(*at)};")


@emitter("Slice")
def _slice(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    starts, axes = step.values(1, "starts") or (), step.values(3, "axes")
    strides = step.values(4) or (1,) * len(starts)
    begin, pace = [0] * len(x.shape), [1] * len(x.shape)
    for start, axis, stride in zip(starts, axes or range(len(starts)), strides):
        size = x.shape[axis]
        if stride < 1:
            raise step.refusal("a backward slice")
        begin[axis] = min(max(start + size if start < 0 else start, 0), size)
        pace[axis] = stride
    with w.loops(_names(len(y.shape)), y.shape) as at:
        source = []
        for c, first, stride in zip(at, begin, pace):
            moved = c if stride == 1 or c == "0" else f"{c} * {stride}"
            source.append(moved if not first else str(first) if c == "0" else f"{moved} + {first}")
        w.line(f"{y.at(*at)} = {x.at(*source)};")


@emitter("Copy")
def _copy(w: Writer, step: Step, style: CStyle) -> None:
    """Move a tensor as it is: a view of an input that is an output."""
    _map(w, step, "v")
