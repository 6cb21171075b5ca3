"""What does happen on this machine? The only room that executes networks."""

from ._backend import BACKENDS, Backend, Executable, Measurement, Tensors, measure
from ._evaluator import DeviceFailedError, Evaluator
from ._executor import Execution, execute
from ._machine import Gpu, Machine, describe_machine
from ._onnxruntime import OnnxRuntimeBackend, region_evaluator
from ._parties import PartyFailedError, PartyPool, Traffic
from ._probe import probe_machine, this_machine
from ._reference import ReferenceBackend, reference_evaluator
from ._sharded import ShardedLayer, ShardedRun, run_sharded
from ._workers import usable_cores, worker_processes

__all__ = [
    "BACKENDS",
    "Backend",
    "DeviceFailedError",
    "Evaluator",
    "Executable",
    "Execution",
    "Gpu",
    "Machine",
    "Measurement",
    "OnnxRuntimeBackend",
    "PartyFailedError",
    "PartyPool",
    "ReferenceBackend",
    "ShardedLayer",
    "ShardedRun",
    "Tensors",
    "Traffic",
    "describe_machine",
    "execute",
    "measure",
    "probe_machine",
    "reference_evaluator",
    "region_evaluator",
    "run_sharded",
    "this_machine",
    "usable_cores",
    "worker_processes",
]
