"""What does happen on this machine? The only room that executes networks."""

from ._backend import BACKENDS, Backend, Executable, Measurement, Tensors, measure
from ._evaluator import DeviceFailedError, Evaluator
from ._executor import Execution, execute
from ._machine import Gpu, Machine, describe_machine
from ._onnxruntime import OnnxRuntimeBackend, layer_times, region_evaluator
from ._parties import PartyFailedError, PartyPool, Traffic
from ._probe import probe_machine, this_machine
from ._reference import ReferenceBackend, reference_evaluator
from ._sharded import ShardedLayer, ShardedRun, run_sharded
from ._workers import usable_cores, worker_processes
from .accuracy import (
    CONFIDENCE,
    TASK_METRICS,
    LabelledData,
    TaskMetric,
    answers,
    chained,
    measure_densities,
    paired,
    read_labelled,
    task_metric,
    usual_backend,
)

__all__ = [
    "BACKENDS",
    "CONFIDENCE",
    "TASK_METRICS",
    "Backend",
    "DeviceFailedError",
    "Evaluator",
    "Executable",
    "Execution",
    "Gpu",
    "LabelledData",
    "Machine",
    "Measurement",
    "OnnxRuntimeBackend",
    "PartyFailedError",
    "PartyPool",
    "ReferenceBackend",
    "ShardedLayer",
    "ShardedRun",
    "TaskMetric",
    "Tensors",
    "Traffic",
    "answers",
    "chained",
    "describe_machine",
    "execute",
    "layer_times",
    "measure",
    "measure_densities",
    "paired",
    "probe_machine",
    "read_labelled",
    "reference_evaluator",
    "region_evaluator",
    "run_sharded",
    "task_metric",
    "this_machine",
    "usable_cores",
    "usual_backend",
    "worker_processes",
]
