"""Softmax, normalisations and losses in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orrery.graph import Node, TensorType

from ._torch_table import operation


@operation("Softmax", wide=True)
def softmax(t: Any, x: Any, *, axis: int = -1) -> Any:
    return t.softmax(x, axis)


@operation("LogSoftmax", wide=True)
def log_softmax(t: Any, x: Any, *, axis: int = -1) -> Any:
    return t.log_softmax(x, axis)


@operation("Hardmax")
def hardmax(t: Any, x: Any, *, axis: int = -1) -> Any:
    if x.numel() == 0:
        return x
    size = x.shape[axis]
    line = t.arange(size, device=x.device).reshape(
        [-1 if a == axis % x.dim() else 1 for a in range(x.dim())]
    )
    first = t.where(x == x.amax(axis, keepdim=True), line, size).amin(axis, keepdim=True)
    return (line == first).to(x.dtype)


def _wide(t: Any, x: Any) -> Any:
    return x if x.dtype == t.float64 else x.float()


def _channels(values: Any, rank: int) -> Any:
    return values.reshape(1, -1, *[1] * (rank - 2)) if rank > 1 else values


def _refuse_training(node: Node, types: Mapping[str, TensorType]) -> str | None:
    return "training mode" if node.attributes.get("training_mode", 0) else None


@operation("BatchNormalization", refuse=_refuse_training)
def batch_normalization(
    t: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float = 1e-5,
    momentum: float = 0.9, training_mode: int = 0,
) -> Any:  # fmt: skip
    kinds = {v.dtype for v in (x, scale, bias, mean, variance)}
    if x.dim() > 1 and len(kinds) == 1 and x.dtype in (t.float32, t.float64):
        return t.nn.functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
    wide = _wide(t, x)
    factor = scale.to(wide.dtype) / t.sqrt(variance.to(wide.dtype) + epsilon)
    shift = bias.to(wide.dtype) - mean.to(wide.dtype) * factor
    return (wide * _channels(factor, x.dim()) + _channels(shift, x.dim())).to(x.dtype)


def _standard(t: Any, x: Any, axes: Sequence[int], epsilon: float) -> tuple[Any, Any, Any]:
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = t.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
    return centred * inverse, mean, inverse


@operation("InstanceNormalization", wide=True)
def instance_normalization(t: Any, x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    normal, _, _ = _standard(t, x, tuple(range(2, x.dim())), epsilon)
    return normal * _channels(scale, x.dim()) + _channels(bias, x.dim())


def _refuse_stash(node: Node, types: Mapping[str, TensorType]) -> str | None:
    if node.attributes.get("stash_type", 1) != 1:
        return "statistics in another type than float32"
    return None


@operation("GroupNormalization", refuse=_refuse_stash)
def group_normalization(
    t: Any, x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5, num_groups: int = 1,
    stash_type: int = 1,
) -> Any:  # fmt: skip
    parts = _wide(t, x).reshape(x.shape[0], num_groups, -1)
    normal = _standard(t, parts, (2,), epsilon)[0].reshape(x.shape).to(x.dtype)
    return normal * _channels(scale, x.dim()) + _channels(bias, x.dim())


@operation("LayerNormalization", refuse=_refuse_stash, counts_outputs=True)
def layer_normalization(
    t: Any, x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5,
    stash_type: int = 1, output_count: int = 1,
) -> Any:  # fmt: skip
    axes = tuple(range(axis % x.dim(), x.dim()))
    inner = tuple(x.shape[axes[0] :])
    plain = tuple(scale.shape) == inner and (bias is None or tuple(bias.shape) == inner)
    if output_count == 1 and plain and x.dtype in (t.float32, t.float64) and x.numel():
        return t.nn.functional.layer_norm(x, inner, scale, bias, epsilon)
    normal, mean, inverse = _standard(t, _wide(t, x), axes, epsilon)
    y = normal.to(x.dtype) * scale
    y = y if bias is None else y + bias
    return y.to(x.dtype), mean.float(), inverse.float()


@operation("RMSNormalization", refuse=_refuse_stash)
def rms_normalization(
    t: Any, x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    axes = tuple(range(axis % x.dim(), x.dim()))
    wide = _wide(t, x)
    normal = wide * t.rsqrt((wide * wide).mean(axes, keepdim=True) + epsilon)
    return (normal.to(x.dtype) * scale).to(scale.dtype)


@operation("LpNormalization", wide=True)
def lp_normalization(t: Any, x: Any, *, axis: int = -1, p: int = 2) -> Any:
    size = x.abs() if p == 1 else x * x
    norm = size.sum(axis, keepdim=True)
    norm = t.sqrt(norm) if p == 2 else norm
    return t.where(norm == 0, t.zeros_like(x), x / norm)


@operation("MeanVarianceNormalization", wide=True)
def mean_variance_normalization(t: Any, x: Any, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    chosen = tuple(int(a) for a in axes)
    centred = x - x.mean(chosen, keepdim=True)
    deviation = t.sqrt((centred * centred).mean(chosen, keepdim=True))
    return centred / (deviation + 1e-9)


@operation("LRN", wide=True)
def lrn(
    t: Any, x: Any, *, alpha: float = 0.0001, beta: float = 0.75, bias: float = 1.0, size: int = 1
) -> Any:
    before, after = (size - 1) // 2, size // 2
    squares = t.nn.functional.pad(x * x, [0, 0] * (x.dim() - 2) + [before, after])
    total = sum(squares.narrow(1, shift, x.shape[1]) for shift in range(size))
    return x / (bias + alpha / size * total) ** beta


def _refuse_dropout(node: Node, types: Mapping[str, TensorType]) -> str | None:
    return "training mode" if len(node.inputs) > 2 and node.inputs[2] else None


@operation("Dropout", refuse=_refuse_dropout, host=(1, 2))
def dropout(
    t: Any, x: Any, ratio: Any = None, training_mode: Any = None, *, seed: int | None = None
) -> Any:
    return x, t.ones_like(x, dtype=t.bool)


# -- losses --------------------------------------------------------------------------------------


def _loss(
    t: Any, log_prob: Any, labels: Any, weights: Any, reduction: str, ignore_index: int | None
) -> Any:
    labels = labels.to(t.int64)
    kept = t.ones_like(labels, dtype=t.bool) if ignore_index is None else labels != ignore_index
    safe = t.where(kept, labels, 0)
    safe = t.where(safe < 0, safe + log_prob.shape[1], safe)
    zero = t.zeros((), dtype=log_prob.dtype, device=log_prob.device)
    each = t.ones_like(log_prob[0, :].reshape(log_prob.shape[1], -1)[:, 0])
    each = each if weights is None else weights
    weight = t.where(kept, each[safe], zero)
    picked = t.gather(log_prob, 1, safe[:, None])[:, 0]
    loss = t.where(kept, -picked, zero) * weight
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / weight.sum()


@operation("NegativeLogLikelihoodLoss", wide=True)
def negative_log_likelihood(
    t: Any, x: Any, labels: Any, weights: Any = None, *, ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    return _loss(t, x, labels, weights, reduction, ignore_index)


@operation("SoftmaxCrossEntropyLoss", wide=True)
def cross_entropy(
    t: Any, scores: Any, labels: Any, weights: Any = None, *, ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    log_prob = t.log_softmax(scores, 1)
    return _loss(t, log_prob, labels, weights, reduction, ignore_index), log_prob
