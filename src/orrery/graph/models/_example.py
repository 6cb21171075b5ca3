"""Inputs to run a network on when nobody has given any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError
from orrery.units import format_quantity

from .._graph import Graph
from .._types import TensorType, numpy_dtype
from ._builder import BELOW


def example_inputs(graph: Graph, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return seeded inputs that a network accepts: normal numbers, valid indices.

    Whole numbers lie below the bound that the graph's metadata notes (``below.<input>``); without
    a note they are zeros and ones, which index any table of two rows. Truth values are random.

    Raises
    ------
    ModelError : a dimension of an input is not bound, a noted bound is no whole number above
        zero, or no array can be so large here
    """
    draw = np.random.default_rng(seed)
    inputs: dict[str, NDArray[Any]] = {}
    for name in graph.inputs:
        type_, noted = graph.type(name), graph.metadata.get(f"{BELOW}{name}", "2")
        size_bytes = type_.size_bytes  # refuses unbound dimensions
        if not (noted.isascii() and noted.isdigit() and len(noted) < 19 and int(noted) > 0):
            raise ModelError(
                f"{graph.name}: metadata {BELOW + name!r}", found=noted,
                wanted="a whole number above zero", fix="correct or remove it",
            )  # fmt: skip
        try:
            inputs[name] = _drawn(draw, type_, int(noted))
        except (MemoryError, ValueError) as error:  # ValueError: more than NumPy can address
            raise ModelError(
                f"{graph.name}: input {name!r}",
                found=f"{type_}, {format_quantity(size_bytes, 'bytes')}",
                wanted="an array that this machine can hold",
                fix="bind smaller sizes, or run it where there is more memory",
            ) from error
    return inputs


def _drawn(draw: np.random.Generator, type_: TensorType, below: int) -> NDArray[Any]:
    dtype = numpy_dtype(type_.dtype)
    if type_.dtype == "string":
        return np.full(type_.sizes, "text", dtype=object)
    if type_.dtype == "bool" or "int" in type_.dtype:
        return np.asarray(draw.integers(0, below, type_.sizes)).astype(dtype)
    return np.asarray(draw.standard_normal(type_.sizes)).astype(dtype)
