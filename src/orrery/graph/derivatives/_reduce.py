"""Derivatives of reductions, scans and selections along axes.

Judge: PyTorch's gradients. Equal extremes share the gradient alike, as PyTorch's `amax` does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._derive import DerivativeContext, derivative


def _axes(c: DerivativeContext) -> tuple[int, ...]:
    rank = len(c.shape(c.inputs[0]))
    axes = c.known(1, "axes") if c.has(1) else ()
    if not axes:
        return () if c.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(a % rank for a in axes))


def _kept(c: DerivativeContext, tensor: str, axes: tuple[int, ...]) -> str:
    """Return a reduced tensor with the reduced axes at size 1."""
    shape = c.shape(c.inputs[0])
    return c.reshape(tensor, [1 if i in axes else n for i, n in enumerate(shape)])


#: (context, x, y, gradient of y, axes), the reduced ones with axes kept -> gradient of x, or of a
#: shape that broadcasts to x
Rule = Callable[[DerivativeContext, str, str, str, tuple[int, ...]], str]


def _register(name: str, rule: Rule) -> None:
    @derivative(name)
    def reduction(c: DerivativeContext) -> list[str | None]:
        axes = _axes(c)
        y, g = _kept(c, c.outputs[0], axes), _kept(c, c.gradient, axes)
        return [c.expand(rule(c, c.inputs[0], y, g, axes), c.shape(c.inputs[0])), None]


def _mean(c: DerivativeContext, x: str, y: str, g: str, axes: tuple[int, ...]) -> str:
    shape = c.shape(x)
    return c.emit("Div", g, float(np.prod([shape[a] for a in axes])))


def _extreme(c: DerivativeContext, x: str, y: str, g: str, axes: tuple[int, ...]) -> str:
    mask = c.emit("CastLike", c.emit("Equal", x, y), g)
    return c.emit("Mul", mask, c.emit("Div", g, c.sum(mask, axes, keepdims=True)))


def _product(c: DerivativeContext, x: str, y: str, g: str, axes: tuple[int, ...]) -> str:
    """Products of all others: with one zero only that one has any, with two nobody has."""
    if not axes:
        return g
    null = c.emit("Equal", x, 0.0)
    zeros = c.sum(c.emit("CastLike", null, x), axes, keepdims=True)
    safe = c.emit("Where", null, c.emit("CastLike", c.constant(np.float32(1)), x), x)
    rest = c.emit("ReduceProd", safe, np.array(axes, np.int64), keepdims=1)
    at_zero = c.where(c.emit("Equal", zeros, 1.0), rest)
    elsewhere = c.where(c.emit("Equal", zeros, 0.0), c.emit("Div", rest, safe))
    return c.emit("Mul", g, c.emit("Where", null, at_zero, elsewhere))


def _l2(c: DerivativeContext, x: str, y: str, g: str, axes: tuple[int, ...]) -> str:
    share = c.emit("Div", c.emit("Mul", g, x), y)
    return c.where(c.emit("Not", c.emit("Equal", y, 0.0)), share)


_RULES: dict[str, Rule] = {
    "ReduceSum": lambda c, x, y, g, axes: g,
    "ReduceMean": _mean,
    "ReduceMax": _extreme,
    "ReduceMin": _extreme,
    "ReduceProd": _product,
    "ReduceL1": lambda c, x, y, g, axes: c.emit("Mul", g, c.emit("Sign", x)),
    "ReduceL2": _l2,
    "ReduceSumSquare": lambda c, x, y, g, axes: c.emit("Mul", c.emit("Mul", g, 2.0), x),
    "ReduceLogSum": lambda c, x, y, g, axes: c.emit("Div", g, c.emit("Exp", y)),
    "ReduceLogSumExp": lambda c, x, y, g, axes: c.emit(
        "Mul", g, c.emit("Exp", c.emit("Sub", x, y))
    ),
}  # fmt: skip
for _name, _rule in _RULES.items():
    _register(_name, _rule)


@derivative("CumSum")
def cumulative_sum(c: DerivativeContext) -> list[str | None]:
    """The same sum from the other end."""
    return [
        c.emit("CumSum", c.gradient, c.inputs[1], exclusive=int(c.attribute("exclusive", 0)),
               reverse=1 - int(c.attribute("reverse", 0))),
        None,
    ]  # fmt: skip


@derivative("TopK")
def top_k(c: DerivativeContext) -> list[str | None]:
    """Gradients go back to where the values came from."""
    if c.gradients[0] is None:
        return [None, None]
    places = c.output(1)
    axis = int(c.attribute("axis", -1))
    return [
        c.emit("ScatterElements", c.zeros_like(c.inputs[0]), places, c.gradient, axis=axis),
        None,
    ]  # fmt: skip
