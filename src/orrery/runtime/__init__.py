"""What does happen on this machine? The only room that executes networks."""

from ._backend import BACKENDS, Backend, Executable, Measurement, Tensors, measure
from ._executor import DeviceFailedError, Evaluator, Execution, execute
from ._onnxruntime import OnnxRuntimeBackend, region_evaluator
from ._reference import ReferenceBackend, reference_evaluator

__all__ = [
    "BACKENDS",
    "Backend",
    "DeviceFailedError",
    "Evaluator",
    "Executable",
    "Execution",
    "Measurement",
    "OnnxRuntimeBackend",
    "ReferenceBackend",
    "Tensors",
    "execute",
    "measure",
    "reference_evaluator",
    "region_evaluator",
]
