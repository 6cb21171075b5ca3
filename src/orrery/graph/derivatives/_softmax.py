"""Derivatives of softmax and of the losses on it.

Judge: PyTorch's gradients, with class weights, ignored labels and every reduction.
"""

from __future__ import annotations

import numpy as np

from .._derive import DerivativeContext, derivative
from .._types import numpy_dtype


@derivative("Softmax")
def softmax(c: DerivativeContext) -> list[str | None]:
    """y (g - sum(g y))."""
    y, g = c.outputs[0], c.gradient
    axis = int(c.attribute("axis", -1))
    inner = c.sum(c.emit("Mul", g, y), [axis], keepdims=True)
    return [c.emit("Mul", y, c.emit("Sub", g, inner))]


def _log_softmax(c: DerivativeContext, log_probability: str, g: str, axis: int) -> str:
    total = c.sum(g, [axis], keepdims=True)
    return c.emit("Sub", g, c.emit("Mul", c.emit("Exp", log_probability), total))


@derivative("LogSoftmax")
def log_softmax(c: DerivativeContext) -> list[str | None]:
    """g - softmax(x) sum(g)."""
    return [_log_softmax(c, c.outputs[0], c.gradient, int(c.attribute("axis", -1)))]


def _loss(c: DerivativeContext) -> str:
    """Return the gradient of the log-probabilities: -weight at each label, averaged if asked."""
    scores, labels = c.inputs[0], c.inputs[1]
    shape = c.shape(scores)
    dtype = numpy_dtype(c.type(scores).dtype)
    reduction, ignored = c.attribute("reduction", "mean"), c.attribute("ignore_index")
    if c.needs(2):
        raise c.error("class weights that are learned", "fixed class weights", "keep them constant")
    kept = None
    places = labels
    if ignored is not None:
        number = np.asarray(ignored, numpy_dtype(c.type(labels).dtype))
        kept = c.emit("Not", c.emit("Equal", labels, number))
        places = c.emit("Where", kept, labels, np.zeros_like(number))
    each: str | None = None
    if c.has(2):
        each = c.emit("Gather", c.inputs[2], places, axis=0)
        each = c.where(kept, each) if kept else each
    elif kept:
        each = c.emit("CastLike", kept, scores)
    g = c.gradient
    if reduction == "mean":
        if each is None:
            g = c.emit("Div", g, float(np.prod(c.shape(labels))))
        else:
            g = c.emit("Div", g, c.sum(each, range(len(c.shape(labels)))))
    weight = g if each is None else c.emit("Mul", g, each)
    weight = c.emit("Unsqueeze", c.expand(weight, c.shape(labels)), np.array([1], np.int64))
    hot = c.emit("OneHot", places, np.array(shape[1], np.int64), np.array([0, -1], dtype), axis=1)
    return c.emit("Mul", hot, weight)


@derivative("NegativeLogLikelihoodLoss")
def negative_log_likelihood(c: DerivativeContext) -> list[str | None]:
    return [_loss(c), None, None]


@derivative("SoftmaxCrossEntropyLoss")
def cross_entropy(c: DerivativeContext) -> list[str | None]:
    """softmax(x) - one-hot, weighed; the log-probabilities may have a gradient of their own."""
    g = _loss(c) if c.gradients[0] is not None else None
    extra = c.gradients[1] if len(c.gradients) > 1 else None
    if g is None or extra is not None:
        g = c.emit("Add", g, extra) if g and extra else g or extra
    if g is None:
        return [None, None, None]
    return [_log_softmax(c, c.output(1), g, 1), None, None]
