"""Derivatives of element-wise functions of one tensor, activations included.

Judge: PyTorch's gradients. At a kink the derivative is PyTorch's choice (0 for Relu at 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .._derive import DerivativeContext, derivative

#: (context, input, output, gradient of the output) -> gradient of the input
Slope = Callable[[DerivativeContext, str, str, str], str]


def _register(name: str, slope: Slope) -> None:
    @derivative(name)
    def rule(c: DerivativeContext) -> list[str | None]:
        return [slope(c, c.inputs[0], c.outputs[0], c.gradient)]


def _one_minus_square(c: DerivativeContext, x: str) -> str:
    return c.emit("Neg", c.emit("Sub", c.emit("Mul", x, x), 1.0))


def _square_plus(c: DerivativeContext, x: str, number: float) -> str:
    return c.emit("Add", c.emit("Mul", x, x), number)


def _exp_of_minus_square(c: DerivativeContext, x: str, divisor: float) -> str:
    return c.emit("Exp", c.emit("Neg", c.emit("Div", c.emit("Mul", x, x), divisor)))


def sigmoid_slope(c: DerivativeContext, y: str) -> str:
    """Return y (1 - y), the slope of a logistic function at its value y."""
    return c.emit("Sub", y, c.emit("Mul", y, y))


# -- functions ------------------------------------------------------------------------------------


_SLOPES: dict[str, Slope] = {
    "Identity": lambda c, x, y, g: g,
    "Neg": lambda c, x, y, g: c.emit("Neg", g),
    "Abs": lambda c, x, y, g: c.emit("Mul", g, c.emit("Sign", x)),
    "Reciprocal": lambda c, x, y, g: c.emit("Neg", c.emit("Mul", g, c.emit("Mul", y, y))),
    "Sqrt": lambda c, x, y, g: c.emit("Div", c.emit("Mul", g, 0.5), y),
    "Exp": lambda c, x, y, g: c.emit("Mul", g, y),
    "Log": lambda c, x, y, g: c.emit("Div", g, x),
    "Sin": lambda c, x, y, g: c.emit("Mul", g, c.emit("Cos", x)),
    "Cos": lambda c, x, y, g: c.emit("Neg", c.emit("Mul", g, c.emit("Sin", x))),
    "Tan": lambda c, x, y, g: c.emit("Mul", g, _square_plus(c, y, 1.0)),
    "Asin": lambda c, x, y, g: c.emit("Div", g, c.emit("Sqrt", _one_minus_square(c, x))),
    "Acos": lambda c, x, y, g: c.emit(
        "Neg", c.emit("Div", g, c.emit("Sqrt", _one_minus_square(c, x)))
    ),
    "Atan": lambda c, x, y, g: c.emit("Div", g, _square_plus(c, x, 1.0)),
    "Sinh": lambda c, x, y, g: c.emit("Mul", g, c.emit("Cosh", x)),
    "Cosh": lambda c, x, y, g: c.emit("Mul", g, c.emit("Sinh", x)),
    "Tanh": lambda c, x, y, g: c.emit("Mul", g, _one_minus_square(c, y)),
    "Asinh": lambda c, x, y, g: c.emit("Div", g, c.emit("Sqrt", _square_plus(c, x, 1.0))),
    "Acosh": lambda c, x, y, g: c.emit("Div", g, c.emit("Sqrt", _square_plus(c, x, -1.0))),
    "Atanh": lambda c, x, y, g: c.emit("Div", g, _one_minus_square(c, x)),
    "Erf": lambda c, x, y, g: c.emit(
        "Mul", g, c.emit("Mul", _exp_of_minus_square(c, x, 1.0), 2 / math.sqrt(math.pi))
    ),
    "Relu": lambda c, x, y, g: c.where(c.emit("Greater", y, 0.0), g),
    "Sigmoid": lambda c, x, y, g: c.emit("Mul", g, sigmoid_slope(c, y)),
    "Softplus": lambda c, x, y, g: c.emit("Mul", g, c.emit("Sigmoid", x)),
}  # fmt: skip
for _name, _slope in _SLOPES.items():
    _register(_name, _slope)


@derivative("Sign", "Ceil", "Floor", "Round", "Hardmax")
def flat(c: DerivativeContext) -> list[str | None]:
    """Constant almost everywhere: no gradient flows."""
    return [None]


@derivative("Cast", "CastLike")
def cast(c: DerivativeContext) -> list[str | None]:
    """A conversion between floating-point types is undone."""
    return [c.emit("CastLike", c.gradient, c.inputs[0]), None]


# -- activations ----------------------------------------------------------------------------------


@derivative("LeakyRelu")
def leaky_relu(c: DerivativeContext) -> list[str | None]:
    g = c.gradient
    falling = c.emit("Mul", g, float(c.attribute("alpha")))
    return [c.where(c.emit("Greater", c.inputs[0], 0.0), g, falling)]


@derivative("PRelu")
def prelu(c: DerivativeContext) -> list[str | None]:
    x, slope = c.inputs
    g, below = c.gradient, c.emit("Less", x, 0.0)
    dx = c.where(below, c.emit("Mul", g, slope), g) if c.needs(0) else None
    ds = c.summed(c.where(below, c.emit("Mul", g, x)), 1) if c.needs(1) else None
    return [dx, ds]


@derivative("Elu")
def elu(c: DerivativeContext) -> list[str | None]:
    """Below zero alpha exp(x), which is y + alpha."""
    g = c.gradient
    low = c.emit("Mul", g, c.emit("Add", c.outputs[0], float(c.attribute("alpha"))))
    return [c.where(c.emit("Greater", c.inputs[0], 0.0), g, low)]


@derivative("Celu")
def celu(c: DerivativeContext) -> list[str | None]:
    """Below zero exp(x / alpha), which is y / alpha + 1."""
    g, alpha = c.gradient, float(c.attribute("alpha"))
    low = c.emit("Mul", g, c.emit("Add", c.emit("Div", c.outputs[0], alpha), 1.0))
    return [c.where(c.emit("Greater", c.inputs[0], 0.0), g, low)]


@derivative("Selu")
def selu(c: DerivativeContext) -> list[str | None]:
    """Below zero gamma alpha exp(x), which is y + gamma alpha."""
    g, alpha, gamma = c.gradient, float(c.attribute("alpha")), float(c.attribute("gamma"))
    low = c.emit("Mul", g, c.emit("Add", c.outputs[0], alpha * gamma))
    return [c.where(c.emit("Greater", c.inputs[0], 0.0), c.emit("Mul", g, gamma), low)]


@derivative("Gelu")
def gelu(c: DerivativeContext) -> list[str | None]:
    """Exact: Phi(x) + x phi(x). Tanh form: the product rule on its definition."""
    x, g = c.inputs[0], c.gradient
    if c.attribute("approximate") == "tanh":
        root, cubic = math.sqrt(2 / math.pi), 0.044715
        square = c.emit("Mul", x, x)
        shape = c.emit("Add", c.emit("Mul", square, cubic), 1.0)
        t = c.emit("Tanh", c.emit("Mul", c.emit("Mul", shape, x), root))
        inner = c.emit("Mul", c.emit("Add", c.emit("Mul", square, 3 * cubic), 1.0), root)
        bend = c.emit("Mul", c.emit("Mul", x, _one_minus_square(c, t)), inner)
        slope = c.emit("Mul", c.emit("Add", c.emit("Add", t, 1.0), bend), 0.5)
        return [c.emit("Mul", g, slope)]
    share = c.emit("Add", c.emit("Erf", c.emit("Mul", x, math.sqrt(0.5))), 1.0)
    bell = c.emit("Mul", _exp_of_minus_square(c, x, 2.0), 1 / math.sqrt(2 * math.pi))
    slope = c.emit("Add", c.emit("Mul", share, 0.5), c.emit("Mul", x, bell))
    return [c.emit("Mul", g, slope)]


@derivative("HardSigmoid")
def hard_sigmoid(c: DerivativeContext) -> list[str | None]:
    y, g = c.outputs[0], c.gradient
    inside = c.emit("And", c.emit("Greater", y, 0.0), c.emit("Less", y, 1.0))
    return [c.where(inside, c.emit("Mul", g, float(c.attribute("alpha"))))]


@derivative("HardSwish")
def hard_swish(c: DerivativeContext) -> list[str | None]:
    x, g = c.inputs[0], c.gradient
    middle = c.emit("Mul", g, c.emit("Add", c.emit("Div", x, 3.0), 0.5))
    high = c.where(c.emit("Less", x, 3.0), middle, g)
    return [c.where(c.emit("Greater", x, -3.0), high)]


@derivative("Mish")
def mish(c: DerivativeContext) -> list[str | None]:
    x = c.inputs[0]
    t = c.emit("Tanh", c.emit("Softplus", x))
    bend = c.emit("Mul", c.emit("Mul", x, _one_minus_square(c, t)), c.emit("Sigmoid", x))
    return [c.emit("Mul", c.gradient, c.emit("Add", t, bend))]


@derivative("Softsign")
def softsign(c: DerivativeContext) -> list[str | None]:
    wide = c.emit("Add", c.emit("Abs", c.inputs[0]), 1.0)
    return [c.emit("Div", c.gradient, c.emit("Mul", wide, wide))]


def _swish(c: DerivativeContext, x: str, alpha: float) -> tuple[str, str]:
    """Return x s and its slope s + alpha x s (1 - s), with s = sigmoid(alpha x)."""
    s = c.emit("Sigmoid", x if alpha == 1 else c.emit("Mul", x, alpha))
    value = c.emit("Mul", x, s)
    bend = c.emit("Mul", x, sigmoid_slope(c, s))
    bend = bend if alpha == 1 else c.emit("Mul", bend, alpha)
    return value, c.emit("Add", s, bend)


@derivative("Swish")
def swish(c: DerivativeContext) -> list[str | None]:
    _, slope = _swish(c, c.inputs[0], float(c.attribute("alpha")))
    return [c.emit("Mul", c.gradient, slope)]


@derivative("SwiGLU")
def swiglu(c: DerivativeContext) -> list[str | None]:
    gate, value = c.inputs
    gated, slope = _swish(c, gate, float(c.attribute("alpha")))
    d_gate = c.emit("Mul", c.emit("Mul", c.gradient, value), slope) if c.needs(0) else None
    return [d_gate, c.emit("Mul", c.gradient, gated) if c.needs(1) else None]


@derivative("ThresholdedRelu")
def thresholded_relu(c: DerivativeContext) -> list[str | None]:
    above = c.emit("Greater", c.inputs[0], float(c.attribute("alpha")))
    return [c.where(above, c.gradient)]


@derivative("Shrink")
def shrink(c: DerivativeContext) -> list[str | None]:
    outside = c.emit("Greater", c.emit("Abs", c.inputs[0]), float(c.attribute("lambd")))
    return [c.where(outside, c.gradient)]


@derivative("Dropout")
def dropout(c: DerivativeContext) -> list[str | None]:
    """Gradients pass where the forward pass let values pass, scaled alike."""
    mode, ratio = c.value(2), c.value(1)
    if c.has(2) and mode is None:
        raise c.error("a training_mode that only running tells", "one known beforehand",
                      "make it a constant")  # fmt: skip
    if not c.has(2) or mode is None or not bool(mode.ravel()[0]):
        return [c.gradient]
    if c.has(1) and ratio is None:
        raise c.error("a ratio that only running tells", "one known beforehand",
                      "make it a constant")  # fmt: skip
    share = 0.5 if ratio is None else float(ratio.ravel()[0])
    if share == 0:
        return [c.gradient]
    return [c.where(c.output(1), c.emit("Div", c.gradient, 1 - share))]
