"""Activations, softmax and what inference leaves out.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

import math
from typing import Any

from ._translation import Operand, Refusal, Translation, Value, translates

#: Klambauer et al. 2017, the fixed point of self-normalising networks, as PyTorch rounds it.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@translates("relu")
def relu(t: Translation, x: Value) -> Value:
    return t.op("Relu", x)


@translates("relu6")
def relu6(t: Translation, x: Value) -> Value:
    return t.op("Clip", x, t.constant(0, x.dtype), t.constant(6, x.dtype))


@translates("gelu")
def gelu(t: Translation, x: Value, *, approximate: str = "none") -> Value:
    return t.op("Gelu", x, approximate=None if approximate == "none" else approximate)


@translates("silu")
def silu(t: Translation, x: Value) -> Value:
    return t.op("Mul", x, t.op("Sigmoid", x))


@translates("hardswish")
def hardswish(t: Translation, x: Value) -> Value:
    return t.op("HardSwish", x)


@translates("hardsigmoid")
def hardsigmoid(t: Translation, x: Value) -> Value:
    return t.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@translates("leaky_relu")
def leaky_relu(t: Translation, x: Value, slope: float = 0.01) -> Value:
    return t.op("LeakyRelu", x, alpha=float(slope))


@translates("rrelu_with_noise_functional")
def rrelu(
    t: Translation, x: Value, noise: Value, lower: Any = 1 / 8, upper: Any = 1 / 3,
    training: bool = False, *_: Operand,
) -> list[Value | None]:  # fmt: skip
    if training or 1 in t.wanted:
        raise Refusal("slopes drawn at random")
    return [t.op("LeakyRelu", x, alpha=(lower + upper) / 2), None]


@translates("elu")
def elu(t: Translation, x: Value, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Value:
    if math.isclose(scale, _SELU_SCALE, rel_tol=1e-9) and math.isclose(alpha, _SELU_ALPHA):
        return t.op("Selu", x)
    if input_scale != 1:
        if scale != 1 or not math.isclose(alpha * input_scale, 1, rel_tol=1e-9):
            raise Refusal("an input scale that is not CELU's")
        return t.op("Celu", x, alpha=float(alpha))
    y = t.op("Elu", x, alpha=float(alpha))
    return y if scale == 1 else t.op("Mul", y, t.constant(scale, x.dtype))


@translates("selu")
def selu(t: Translation, x: Value) -> Value:
    return t.op("Selu", x)


@translates("celu")
def celu(t: Translation, x: Value, alpha: Any = 1) -> Value:
    return t.op("Celu", x, alpha=float(alpha))


@translates("softplus")
def softplus(t: Translation, x: Value, beta: Any = 1, threshold: Any = 20) -> Value:
    scaled = x if beta == 1 else t.op("Mul", x, t.constant(beta, x.dtype))
    y = t.op("Softplus", scaled)
    if beta != 1:
        y = t.op("Div", y, t.constant(beta, x.dtype))
    if threshold >= 15:  # beyond it the two forms differ by less than float32 can tell
        return y
    return t.op("Where", t.op("Greater", scaled, t.constant(threshold, x.dtype)), x, y)


@translates("mish")
def mish(t: Translation, x: Value) -> Value:
    return t.op("Mish", x)


@translates("log_sigmoid")
def log_sigmoid(t: Translation, x: Value) -> Value:
    return t.op("Neg", t.op("Softplus", t.op("Neg", x)))


@translates("log_sigmoid_forward")
def log_sigmoid_forward(t: Translation, x: Value) -> list[Value | None]:
    return [log_sigmoid(t, x), None]


@translates("prelu", "_prelu_kernel")
def prelu(t: Translation, x: Value, weight: Value) -> Value:
    if weight.rank == 1 and weight.shape != (1,) and x.rank > 2:
        weight = t.reshape(weight, [-1, *[1] * (x.rank - 2)])
    elif weight.rank > x.rank:
        weight = t.reshape(weight, [-1])
    return t.op("PRelu", x, weight)


@translates("threshold")
def threshold(t: Translation, x: Value, limit: Any, value: Any) -> Value:
    above = t.op("Greater", x, t.constant(limit, x.dtype))
    return t.op("Where", above, x, t.constant(value, x.dtype))


@translates("hardshrink")
def hardshrink(t: Translation, x: Value, limit: Any = 0.5) -> Value:
    return t.op("Shrink", x, lambd=float(limit), bias=0.0)


@translates("softshrink")
def softshrink(t: Translation, x: Value, limit: Any = 0.5) -> Value:
    return t.op("Shrink", x, lambd=float(limit), bias=float(limit))


@translates("softsign")
def softsign(t: Translation, x: Value) -> Value:
    return t.op("Softsign", x)


@translates("glu")
def glu(t: Translation, x: Value, dim: int = -1) -> Value:
    value, gate = t.ops("Split", 2, x, axis=dim, num_outputs=2)
    return t.op("Mul", value, t.op("Sigmoid", gate))


def _softmax(onnx: str, *names: str) -> None:
    def translate(t: Translation, x: Value, dim: int, extra: Operand = None, **_: Any) -> Value:
        y = t.cast(x, t.result.dtype)
        if not y.rank:
            return t.squeeze(t.op(onnx, t.unsqueeze(y, 0), axis=0), 0)
        return t.op(onnx, y, axis=dim)

    translates(*names)(translate)


_softmax("Softmax", "softmax.int", "_softmax")
_softmax("LogSoftmax", "log_softmax.int", "_log_softmax")


@translates("_safe_softmax")
def safe_softmax(t: Translation, x: Value, dim: int, dtype: str | None = None) -> Value:
    x = t.cast(x, t.result.dtype)
    y = t.op("Softmax", x, axis=dim)
    lowest = t.op("ReduceMax", x, t.ints([dim], "axes"), keepdims=1)
    hidden = t.op("Equal", lowest, t.constant(-math.inf, x.dtype))
    return t.op("Where", hidden, t.constant(0, x.dtype), y)


@translates(
    "dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"
)
def dropout(t: Translation, x: Value, p: float, train: bool | None = False) -> Any:
    if train and p:
        raise Refusal("dropout that stays active outside training")
    return [x, None] if len(t.results) > 1 else x
