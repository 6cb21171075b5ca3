"""How often is a network right? Labelled data, a score per sample, intervals that hold."""

from ._data import LabelledData, read_labelled
from ._density import measure_densities
from ._intervals import CONFIDENCE, exact_share, mean_interval, paired, wilson
from ._running import answers, chained, usual_backend
from ._scores import TASK_METRICS, TaskMetric, task_metric

__all__ = [
    "CONFIDENCE",
    "TASK_METRICS",
    "LabelledData",
    "TaskMetric",
    "answers",
    "chained",
    "exact_share",
    "mean_interval",
    "measure_densities",
    "paired",
    "read_labelled",
    "task_metric",
    "usual_backend",
    "wilson",
]
