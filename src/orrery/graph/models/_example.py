"""Inputs to run a network on when nobody has given any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._graph import Graph
from .._types import numpy_dtype
from ._builder import BELOW

__all__ = ["example_inputs"]


def example_inputs(graph: Graph, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return seeded inputs that a network accepts: normal numbers, valid indices.

    Whole numbers lie below the bound that the graph's metadata notes (``below.<input>``); without
    a note they are zeros and ones, which index any table of two rows. Truth values are random.

    Raises
    ------
    ModelError : a dimension of an input is not bound
    """
    draw = np.random.default_rng(seed)
    inputs: dict[str, NDArray[Any]] = {}
    for name in graph.inputs:
        type_ = graph.type(name)
        dtype = numpy_dtype(type_.dtype)
        if type_.dtype == "string":
            inputs[name] = np.full(type_.sizes, "text", dtype=object)
        elif type_.dtype == "bool" or "int" in type_.dtype:
            below = int(graph.metadata.get(f"{BELOW}{name}", 2))
            inputs[name] = draw.integers(0, below, type_.sizes).astype(dtype)
        else:
            inputs[name] = draw.standard_normal(type_.sizes).astype(dtype)
    return inputs
