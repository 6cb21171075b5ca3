"""Derivatives of convolutions and pooling, through the operators of the training domain.

Judge: PyTorch's gradients on random strides, dilations, groups and padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._derive import DerivativeContext, derivative
from .._operator import TRAINING_DOMAIN
from ..operators._conv import transpose_window


def _bias(c: DerivativeContext) -> str | None:
    """Add up over batch and space."""
    if not c.needs(2):
        return None
    rank = len(c.shape(c.gradient))
    return c.sum(c.gradient, [0, *range(2, rank)])


def _shape(c: DerivativeContext, tensor: str) -> Any:
    return np.array(c.shape(tensor), np.int64)


@derivative("Conv")
def conv(c: DerivativeContext) -> list[str | None]:
    """As many MACs for each factor as the convolution has."""
    x, w = c.inputs[0], c.inputs[1]
    attributes = {**c.node.attributes, "kernel_shape": c.shape(w)[2:]}
    dx = dw = None
    if c.needs(0):
        dx = c.emit("ConvGradInput", c.gradient, w, _shape(c, x), domain=TRAINING_DOMAIN,
                    **attributes)  # fmt: skip
    if c.needs(1):
        dw = c.emit("ConvGradWeight", x, c.gradient, domain=TRAINING_DOMAIN, **attributes)
    return [dx, dw, _bias(c)]


@derivative("ConvTranspose")
def conv_transpose(c: DerivativeContext) -> list[str | None]:
    """A convolution of the gradient with the same filters, and its weight gradient."""
    x, w = c.inputs[0], c.inputs[1]
    kernel = c.shape(w)[2:]
    window = transpose_window(
        c.shape(x)[2:], kernel, strides=c.attribute("strides"), dilations=c.attribute("dilations"),
        pads=c.attribute("pads"), auto_pad=c.attribute("auto_pad"),
        output_padding=c.attribute("output_padding"), output_shape=c.attribute("output_shape"),
    )  # fmt: skip
    if any(p < 0 for p in window.begins):
        raise c.error(f"padding {window.begins} before", "zero or more", "correct the pads")
    # Where the last window ends, in cells of the output: what lies behind (output padding) got
    # nothing from x and is cut off; what the output lacks is padding.
    ends = [(o - 1) * s + d * (k - 1) + 1 - b for o, s, d, k, b in zip(
        window.outputs, window.strides, window.dilations, window.kernel, window.begins,
        strict=True)]  # fmt: skip
    g, sizes = c.gradient, c.shape(c.gradient)[2:]
    spatial = len(sizes)
    if any(end < n for end, n in zip(ends, sizes, strict=True)):
        cut = np.array([min(end, n) for end, n in zip(ends, sizes, strict=True)], np.int64)
        g = c.emit("Slice", g, np.zeros(spatial, np.int64), cut,
                   np.arange(2, 2 + spatial, dtype=np.int64))  # fmt: skip
    behind = tuple(max(end - n, 0) for end, n in zip(ends, sizes, strict=True))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel, "strides": window.strides, "dilations": window.dilations,
        "pads": (*window.begins, *behind), "group": int(c.attribute("group")),
    }  # fmt: skip
    dx = c.emit("Conv", g, w, **attributes) if c.needs(0) else None
    dw = None
    if c.needs(1):
        dw = c.emit("ConvGradWeight", g, x, domain=TRAINING_DOMAIN, **attributes)
    return [dx, dw, _bias(c)]


# -- pooling --------------------------------------------------------------------------------------


@derivative("MaxPool")
def max_pool(c: DerivativeContext) -> list[str | None]:
    return [
        c.emit("MaxPoolGrad", c.gradient, c.inputs[0], domain=TRAINING_DOMAIN, **c.node.attributes)
    ]


def _average_pool_gradient(c: DerivativeContext, g: str, **attributes: Any) -> str:
    return c.emit("AveragePoolGrad", g, _shape(c, c.inputs[0]), domain=TRAINING_DOMAIN,
                  **attributes)  # fmt: skip


@derivative("AveragePool")
def average_pool(c: DerivativeContext) -> list[str | None]:
    return [_average_pool_gradient(c, c.gradient, **c.node.attributes)]


def _power_slope(c: DerivativeContext, x: str, p: int) -> str:
    """Return |x|^(p-1) sign(x)."""
    if p == 1:
        return c.emit("Sign", x)
    if p == 2:
        return x
    return c.emit("Mul", c.emit("Pow", c.emit("Abs", x), float(p - 1)), c.emit("Sign", x))


def _root_slope(c: DerivativeContext, y: str, g: str, p: int) -> str:
    """Return g y^(1-p), zero where y is zero."""
    if p == 1:
        return g
    return c.where(c.emit("Greater", y, 0.0), c.emit("Mul", g, c.emit("Pow", y, float(1 - p))))


@derivative("LpPool")
def lp_pool(c: DerivativeContext) -> list[str | None]:
    """y = (sum |x|^p)^(1/p): |x|^(p-1) sign(x) times the windows' sums of g y^(1-p)."""
    if c.attribute("ceil_mode", 0):
        raise c.error("ceil_mode", "windows inside the padded image", "pad instead")
    p = int(c.attribute("p", 2))
    attributes = {k: v for k, v in c.node.attributes.items() if k not in ("p", "ceil_mode")}
    cells = float(np.prod(c.attribute("kernel_shape")))
    share = c.emit("Mul", _root_slope(c, c.outputs[0], c.gradient, p), cells)
    spread = _average_pool_gradient(c, share, count_include_pad=1, **attributes)
    return [c.emit("Mul", spread, _power_slope(c, c.inputs[0], p))]


@derivative("GlobalAveragePool")
def global_average_pool(c: DerivativeContext) -> list[str | None]:
    shape = c.shape(c.inputs[0])
    share = c.emit("Div", c.gradient, float(np.prod(shape[2:])))
    return [c.expand(share, shape)]


@derivative("GlobalMaxPool")
def global_max_pool(c: DerivativeContext) -> list[str | None]:
    """Equal maxima share alike."""
    x, y = c.inputs[0], c.outputs[0]
    mask = c.emit("CastLike", c.emit("Equal", x, y), x)
    count = c.sum(mask, range(2, len(c.shape(x))), keepdims=True)
    return [c.emit("Mul", mask, c.emit("Div", c.gradient, count))]


@derivative("GlobalLpPool")
def global_lp_pool(c: DerivativeContext) -> list[str | None]:
    p = int(c.attribute("p", 2))
    share = _root_slope(c, c.outputs[0], c.gradient, p)
    return [c.emit("Mul", share, _power_slope(c, c.inputs[0], p))]
