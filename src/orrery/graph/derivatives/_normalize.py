"""Derivatives of normalisations, written with ONNX operators.

All are one rule: with xhat = (x - mean) r and r = 1 / sqrt(variance + epsilon) over some axes,
dx = r (d - mean(d) - xhat mean(d xhat)), where d is the gradient of xhat.

Judge: PyTorch's gradients; for statistics that are not centred, the same rule without mean(d).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .._derive import DerivativeContext, derivative
from .._types import numpy_dtype
from ..operators._rules import is_narrow

_FLOAT32 = 1  #: ONNX's number
Rule = Callable[[DerivativeContext], list[str | None]]


def _in_float32(rule: Rule) -> Rule:
    """Compute a rule in float32 where tensors are narrower, as the operators themselves do.

    Sums of squares leave the range of float16, and a small epsilon is zero there.
    """

    def wide(c: DerivativeContext, tensor: str) -> str:
        narrow = tensor and is_narrow(numpy_dtype(c.type(tensor).dtype))
        return c.emit("Cast", tensor, to=_FLOAT32) if narrow else tensor

    def wrapped(c: DerivativeContext) -> list[str | None]:
        if not any(t and is_narrow(numpy_dtype(c.type(t).dtype)) for t in c.inputs):
            return rule(c)
        node = replace(
            c.node, inputs=tuple(wide(c, t) for t in c.inputs),
            outputs=tuple(wide(c, t) for t in c.outputs),
        )  # fmt: skip
        gradients = tuple(None if g is None else wide(c, g) for g in c.gradients)
        found = rule(replace(c, node=node, gradients=gradients))
        return [
            part if part is None or c.type(part) == c.type(name) else c.emit("CastLike", part, name)
            for name, part in zip(c.inputs, found, strict=False)
        ]  # fmt: skip

    return wrapped


def _standard(c: DerivativeContext, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str]:
    """Return (x - mean) r and r, computed again from x: cheaper than keeping them."""
    centred = c.emit("Sub", x, c.mean(x, axes))
    return _scaled(c, centred, axes, epsilon)


def _scaled(c: DerivativeContext, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str]:
    """Return x r and r, with r = 1 / sqrt(mean(x²) + epsilon)."""
    power = c.mean(c.emit("Mul", x, x), axes)
    r = c.emit("Reciprocal", c.emit("Sqrt", c.emit("Add", power, epsilon)))
    return c.emit("Mul", x, r), r


def _through(
    c: DerivativeContext, d: str, normal: str, r: str, axes: Sequence[int], *, centred: bool = True
) -> str:
    """Return the gradient of x from that of xhat."""
    along = c.mean(c.emit("Mul", d, normal), axes)
    rest = c.emit("Sub", d, c.emit("Mul", normal, along))
    if centred:
        rest = c.emit("Sub", rest, c.mean(d, axes))
    return c.emit("Mul", rest, r)


def _channel(c: DerivativeContext, tensor: str, rank: int) -> str:
    """Shape a vector of channels for broadcasting with (N, C, …)."""
    if rank < 2:
        return tensor
    return c.reshape(tensor, (1, *c.shape(tensor), *[1] * (rank - 2)))


def _affine(
    c: DerivativeContext, normal: str, axes: Sequence[int]
) -> tuple[str | None, str | None]:
    """Return the gradients of scale and bias, which broadcast over `axes`."""
    ds = db = None
    if c.needs(1):
        ds = c.reshape(c.sum(c.emit("Mul", c.gradient, normal), axes), c.shape(c.inputs[1]))
    if c.needs(2):
        db = c.reshape(c.sum(c.gradient, axes), c.shape(c.inputs[2]))
    return ds, db


@derivative("BatchNormalization")
@_in_float32
def batch_normalization(c: DerivativeContext) -> list[str | None]:
    """In training the statistics are the batch's; else they are inputs like others.

    The next running statistics are no part of a loss: no gradient flows from them.
    """
    if any(g is not None for g in c.gradients[1:]):
        raise c.error("a gradient of the running statistics", "none",
                      "do not let the loss depend on them")  # fmt: skip
    x, scale, _, mean, variance = c.inputs
    rank, epsilon = len(c.shape(x)), float(c.attribute("epsilon"))
    axes = [i for i in range(rank) if i != 1]
    g = c.gradient
    factor = _channel(c, scale, rank)
    if c.attribute("training_mode", 0):
        normal, r = _standard(c, x, axes, epsilon)
        ds, db = _affine(c, normal, axes)
        dx = _through(c, c.emit("Mul", g, factor), normal, r, axes) if c.needs(0) else None
        return [dx, ds, db, None, None]
    r = c.emit("Reciprocal", c.emit("Sqrt", c.emit("Add", _channel(c, variance, rank), epsilon)))
    normal = c.emit("Mul", c.emit("Sub", x, _channel(c, mean, rank)), r)
    ds, db = _affine(c, normal, axes)
    dx = c.emit("Mul", g, c.emit("Mul", factor, r))
    d_mean = d_variance = None
    if c.needs(3):
        d_mean = c.reshape(c.emit("Neg", c.sum(dx, axes)), c.shape(mean))
    if c.needs(4):
        slope = c.emit("Mul", c.emit("Mul", dx, normal), c.emit("Mul", r, -0.5))
        d_variance = c.reshape(c.sum(slope, axes), c.shape(variance))
    return [dx if c.needs(0) else None, ds, db, d_mean, d_variance]


@derivative("InstanceNormalization")
@_in_float32
def instance_normalization(c: DerivativeContext) -> list[str | None]:
    x, scale = c.inputs[0], c.inputs[1]
    rank = len(c.shape(x))
    axes = list(range(2, rank))
    normal, r = _standard(c, x, axes, float(c.attribute("epsilon")))
    ds, db = _affine(c, normal, [i for i in range(rank) if i != 1])
    d = c.emit("Mul", c.gradient, _channel(c, scale, rank))
    return [_through(c, d, normal, r, axes) if c.needs(0) else None, ds, db]


@derivative("GroupNormalization")
@_in_float32
def group_normalization(c: DerivativeContext) -> list[str | None]:
    x, scale = c.inputs[0], c.inputs[1]
    shape = c.shape(x)
    groups = int(c.attribute("num_groups"))
    split = (shape[0], groups, int(np.prod(shape[1:])) // groups)
    normal, r = _standard(c, c.reshape(x, split), [2], float(c.attribute("epsilon")))
    whole = c.reshape(normal, shape)
    ds, db = _affine(c, whole, [i for i in range(len(shape)) if i != 1])
    if not c.needs(0):
        return [None, ds, db]
    d = c.emit("Mul", c.gradient, _channel(c, scale, len(shape)))
    return [c.reshape(_through(c, c.reshape(d, split), normal, r, [2]), shape), ds, db]


def _last_axes(c: DerivativeContext) -> list[int]:
    rank = len(c.shape(c.inputs[0]))
    return list(range(int(c.attribute("axis", -1)) % rank, rank))


@derivative("LayerNormalization")
@_in_float32
def layer_normalization(c: DerivativeContext) -> list[str | None]:
    if any(g is not None for g in c.gradients[1:]):
        raise c.error("a gradient of the statistics", "none", "compute them by ReduceMean")
    x, scale, axes = c.inputs[0], c.inputs[1], _last_axes(c)
    normal, r = _standard(c, x, axes, float(c.attribute("epsilon")))
    ds = c.summed(c.emit("Mul", c.gradient, normal), 1) if c.needs(1) else None
    db = c.summed(c.gradient, 2)
    if not c.needs(0):
        return [None, ds, db]
    return [_through(c, c.emit("Mul", c.gradient, scale), normal, r, axes), ds, db]


@derivative("RMSNormalization")
@_in_float32
def rms_normalization(c: DerivativeContext) -> list[str | None]:
    x, scale, axes = c.inputs[0], c.inputs[1], _last_axes(c)
    normal, r = _scaled(c, x, axes, float(c.attribute("epsilon")))
    ds = c.summed(c.emit("Mul", c.gradient, normal), 1) if c.needs(1) else None
    if not c.needs(0):
        return [None, ds]
    d = c.emit("Mul", c.gradient, scale)
    return [_through(c, d, normal, r, axes, centred=False), ds]


@derivative("MeanVarianceNormalization")
@_in_float32
def mean_variance_normalization(c: DerivativeContext) -> list[str | None]:
    """Divides by (deviation + 1e-9), so xhat times deviation stands for the centred input."""
    axes = [int(a) for a in c.attribute("axes")]
    centred = c.emit("Sub", c.inputs[0], c.mean(c.inputs[0], axes))
    deviation = c.emit("Sqrt", c.mean(c.emit("Mul", centred, centred), axes))
    wide = c.emit("Add", deviation, 1e-9)
    share = c.emit("Div", c.gradient, wide)
    along = c.emit(
        "Div", c.mean(c.emit("Mul", share, centred), axes), c.emit("Mul", wide, deviation)
    )
    inner = c.emit("Sub", share, c.emit("Mul", centred, along))
    return [c.emit("Sub", inner, c.mean(share, axes))]


@derivative("LpNormalization")
@_in_float32
def lp_normalization(c: DerivativeContext) -> list[str | None]:
    """y = x / n: (g - y' sum(g y)) / n, with y' = dn/dx."""
    x, y, g = c.inputs[0], c.outputs[0], c.gradient
    axis, p = int(c.attribute("axis", -1)), int(c.attribute("p", 2))
    op = "ReduceL1" if p == 1 else "ReduceL2"
    norm = c.emit(op, x, np.array([axis], np.int64), keepdims=1)
    inner = c.sum(c.emit("Mul", g, y), [axis], keepdims=True)
    bend = c.emit("Sign", x) if p == 1 else y
    dx = c.emit("Div", c.emit("Sub", g, c.emit("Mul", bend, inner)), norm)
    return [c.where(c.emit("Greater", norm, 0.0), dx)]


@derivative("LRN")
@_in_float32
def local_response(c: DerivativeContext) -> list[str | None]:
    """y = x D^-beta, D = bias + alpha/size × (squares summed over neighbouring channels).

    dx = g D^-beta - 2 alpha beta / size x S'(g x D^(-beta-1)); S' sums the mirrored window.
    """
    x, g = c.inputs[0], c.gradient
    size = int(c.attribute("size"))
    alpha, beta, bias = (float(c.attribute(n)) for n in ("alpha", "beta", "bias"))
    total = _channel_sum(c, c.emit("Mul", x, x), (size - 1) // 2, size // 2)
    d = c.emit("Add", c.emit("Mul", total, alpha / size), bias)
    share = c.emit("Mul", g, c.emit("Pow", d, -beta))
    falling = c.emit("Div", c.emit("Mul", share, x), d)
    spread = _channel_sum(c, falling, size // 2, (size - 1) // 2)
    back = c.emit("Mul", c.emit("Mul", x, spread), 2 * alpha * beta / size)
    return [c.emit("Sub", share, back)]


def _channel_sum(c: DerivativeContext, x: str, before: int, after: int) -> str:
    """Add up each channel and its neighbours: an average pool over channels, times its size."""
    shape = c.shape(x)
    size = before + after + 1
    image = c.reshape(x, (shape[0], 1, shape[1], int(np.prod(shape[2:]))))
    pooled = c.emit("AveragePool", image, kernel_shape=(size, 1), pads=(before, 0, after, 0),
                    count_include_pad=1)  # fmt: skip
    return c.reshape(c.emit("Mul", pooled, float(size)), shape)
