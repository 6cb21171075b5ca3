"""What a network's answers are worth, one number per sample, and what all of them say together.

Models:  the k likeliest classes, squared errors, the likelihood of the right token.
Ignores: weights of classes, several right answers.
Judge:   scikit-learn's and PyTorch's definitions (tests/runtime/test_accuracy.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph

from ._data import LabelledData, result_of
from ._intervals import CONFIDENCE, mean_interval, wilson

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetric:
    """One way to judge answers.

    Attributes
    ----------
    figure, unit : as the scorecard knows it
    score : (outputs [n, …], labels [n, …]) -> [n]; of a share whether each sample is right
    share : whether the figure is the share of samples that are right; else their mean
    of_mean : from the mean to the figure
    interval : name of the interval's construction
    """

    name: str
    figure: str
    unit: str
    score: Callable[[Array, Array], Array]
    share: bool = False
    of_mean: Callable[[float], float] = float
    interval: str = "normal, of the mean"

    def figures(self, scores: Array) -> tuple[float, tuple[float, float] | None]:
        """Return the figure in its unit and its interval (None: too few samples for one)."""
        if self.share:
            low, high = wilson(int(scores.sum()), len(scores), CONFIDENCE)
            return 100 * float(scores.mean()), (100 * low, 100 * high)
        between = mean_interval(scores)
        value = self.of_mean(float(scores.mean()))
        return value, between and (self.of_mean(between[0]), self.of_mean(between[1]))


def _top(count: int) -> Callable[[Array, Array], Array]:
    def right(outputs: Array, labels: Array) -> Array:
        """Say whether fewer than `count` classes come before the right one; ties by number.

        An answer that holds a NaN is wrong.
        """
        mine = np.take_along_axis(outputs, labels[:, None].astype(np.int64), 1)
        before = outputs > mine
        before |= (outputs == mine) & (np.arange(outputs.shape[1]) < labels[:, None])
        found: Array = (before.sum(1) < count) & ~np.isnan(outputs).any(1)
        return found

    return right


def _squared(outputs: Array, labels: Array) -> Array:
    errors = np.square(outputs.astype(np.float64) - labels.astype(np.float64))
    return np.asarray(errors.reshape(len(outputs), -1).mean(1))


def _surprise(outputs: Array, labels: Array) -> Array:
    """Return the mean negative log-likelihood of a sample's tokens, from logits."""
    wide = outputs.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    picked = np.take_along_axis(wide, labels[..., None].astype(np.int64), -1)[..., 0]
    values = np.log(np.exp(wide).sum(-1)) - picked
    return np.asarray(values.reshape(len(outputs), -1).mean(1))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


TASK_METRICS: Mapping[str, TaskMetric] = {
    metric.name: metric
    for metric in (
        TaskMetric(name="top1", figure="top-1 accuracy", unit="%", score=_top(1), share=True,
                   interval="Wilson's score"),
        TaskMetric(name="top5", figure="top-5 accuracy", unit="%", score=_top(5), share=True,
                   interval="Wilson's score"),
        TaskMetric(name="mse", figure="mean squared error", unit="", score=_squared),
        TaskMetric(name="perplexity", figure="perplexity", unit="", score=_surprise, of_mean=_exp),
    )
}  # fmt: skip


def task_metric(name: str, graph: Graph, data: LabelledData) -> TaskMetric:
    """Return a metric by name, when the data's labels are labels for it.

    Raises
    ------
    UnknownNameError : no such metric
    SpecError : labels of another shape or type, or beyond the network's classes
    """
    if name not in TASK_METRICS:
        raise UnknownNameError("metric", name, TASK_METRICS)
    metric, labels, where = TASK_METRICS[name], data.labels, f"{data.name}: labels for {name}"
    shape = tuple(int(s) for s in graph.type(result_of(graph)).shape)[1:]
    index = name != "mse"
    wanted_shape = shape[:-1] if index else shape
    if labels.shape[1:] != wanted_shape or (metric.share and len(shape) != 1):
        raise SpecError(
            where, found=f"{labels.dtype}{list(labels.shape)}; the network gives {list(shape)} "
            "a sample", wanted=f"{list(wanted_shape)} a sample" if not metric.share or
            len(shape) == 1 else "one row of classes a sample", fix="reshape the labels, or take "
            f"another of {', '.join(TASK_METRICS)}",
        )  # fmt: skip
    if labels.dtype.kind not in ("iu" if index else "iuf"):
        raise SpecError(where, found=labels.dtype, wanted="whole numbers" if index else "numbers",
                        fix="convert the labels")  # fmt: skip
    if not index and not np.isfinite(labels).all():
        raise SpecError(where, found="NaN or infinity", wanted="finite numbers",
                        fix="correct or leave out the samples")  # fmt: skip
    if index and (labels.min() < 0 or labels.max() >= shape[-1]):
        raise SpecError(where, found=f"{labels.min()} to {labels.max()}",
                        wanted=f"0 to {shape[-1] - 1}: the network has {shape[-1]} classes",
                        fix="number the classes as in training")  # fmt: skip
    if name == "top5" and shape[-1] <= 5:
        raise SpecError(where, found=f"{shape[-1]} classes", wanted="more than five: any answer "
                        "would be right", fix="use top1")  # fmt: skip
    return metric
