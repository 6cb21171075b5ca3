"""What is to be computed? One immutable graph from ONNX, PyTorch or the model library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._constant import ArrayConstant, Constant, FileConstant, SeededConstant, dtype_name
from ._derive import gradient_graph
from ._evaluate import check_inputs, evaluate_node
from ._graph import Graph, Node, Region
from ._measure import Statistics, measure_statistics
from ._onnx_io import (
    OperatorRow,
    graph_from_bytes,
    onnx_bytes,
    operator_table,
    read_onnx,
    write_onnx,
)
from ._operator import (
    CANONICAL_OPSET,
    RANDOM_OPERATORS,
    TRAINING_DOMAIN,
    Operations,
    Operator,
    TypeContext,
    find_operator,
    operator_names,
)
from ._precision import PRECISION_KEY, in_precision
from ._subgraph import subgraph
from ._training import initial_states, learned_tensors, phase_nodes, saved_tensors
from ._types import TensorType, numpy_dtype
from ._weights import read_safetensors, with_weights
from .models import (
    MODELS,
    Model,
    build_model,
    count_macs,
    count_parameters,
    example_inputs,
)

if TYPE_CHECKING:
    from ._from_torch import from_torch

__all__ = [
    "CANONICAL_OPSET",
    "MODELS",
    "PRECISION_KEY",
    "RANDOM_OPERATORS",
    "TRAINING_DOMAIN",
    "ArrayConstant",
    "Constant",
    "FileConstant",
    "Graph",
    "Model",
    "Node",
    "Operations",
    "Operator",
    "OperatorRow",
    "Region",
    "SeededConstant",
    "Statistics",
    "TensorType",
    "TypeContext",
    "build_model",
    "check_inputs",
    "count_macs",
    "count_parameters",
    "dtype_name",
    "evaluate_node",
    "example_inputs",
    "find_operator",
    "from_torch",
    "gradient_graph",
    "graph_from_bytes",
    "in_precision",
    "initial_states",
    "learned_tensors",
    "measure_statistics",
    "numpy_dtype",
    "onnx_bytes",
    "operator_names",
    "operator_table",
    "phase_nodes",
    "read_onnx",
    "read_safetensors",
    "saved_tensors",
    "subgraph",
    "with_weights",
    "write_onnx",
]


def __getattr__(name: str) -> object:
    if name == "from_torch":  # the reader and its tables are loaded when somebody has a module
        from ._from_torch import from_torch

        return from_torch
    raise AttributeError(f"module 'orrery.graph' has no attribute {name!r}")
