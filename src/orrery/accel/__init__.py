"""Which accelerators do we know? One folder each: function, cost, cycles, circuit."""

from ._evaluators import plan_evaluators
from ._record import Accelerator, Evaluator, Generator, Simulator, Tensors, Tolerance, describe
from ._registry import ACCELERATORS, parameters, resolve

__all__ = [
    "ACCELERATORS",
    "Accelerator",
    "Evaluator",
    "Generator",
    "Simulator",
    "Tensors",
    "Tolerance",
    "describe",
    "parameters",
    "plan_evaluators",
    "resolve",
]
