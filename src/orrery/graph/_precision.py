"""A network as it would stand in another precision, for pricing on machines that compute in it.

Models:  every floating-point tensor takes the new element type; constants are converted, to
         integers by symmetric scaling of each tensor to the largest magnitude.
Ignores: calibration, scales and zero points of activations: integer results are not the network's
         answers, so such a graph is for shapes, bytes and operations, not for running.
Judge:   bytes scale with the bits; integer constants are within half a step (tests).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean
from orrery.store import content_hash

from ._constant import Constant
from ._graph import Graph, Node
from ._types import BITS, TensorType, numpy_dtype

#: metadata entry of a graph whose precision was assumed
PRECISION_KEY = "assumed precision"

_FLOATS = frozenset(name for name in BITS if name.startswith(("float", "bfloat")))
_TARGETS = tuple(name for name in BITS if name in _FLOATS or name.startswith("int"))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvertedConstant:
    """Another constant, converted to an element type when it is read."""

    original: Constant
    type: TensorType

    def array(self) -> NDArray[Any]:
        values = self.original.array()
        target = numpy_dtype(self.type.dtype)
        if not self.type.dtype.startswith("int"):
            with np.errstate(over="ignore"):  # a mask's -1e38 is minus infinity in float16
                return values.astype(target)
        top = 2 ** (BITS[self.type.dtype] - 1) - 1
        wide = values.astype(np.float64)
        largest = float(np.max(np.abs(wide), initial=0.0))
        if not np.isfinite(largest):
            raise SpecError("constant", found="NaN or infinity", wanted="finite values",
                            fix="an integer precision has no code for them")  # fmt: skip
        step = largest / top if largest else 1.0
        return np.rint(wide / step).astype(target)

    def digest(self) -> str:
        return content_hash("converted", str(self.type), self.original.digest())


def in_precision(graph: Graph, dtype: str) -> Graph:
    """Return the network with every floating-point tensor in another element type.

    Raises
    ------
    SpecError : not an element type that a network can be priced in
    """
    if dtype not in _TARGETS:
        raise SpecError("precision", found=dtype, wanted=f"one of {', '.join(_TARGETS)}",
                        fix=f"correct it{did_you_mean(dtype, _TARGETS)}")  # fmt: skip

    turned = _turned(graph, dtype)
    return replace(turned, metadata={**graph.metadata, PRECISION_KEY: dtype})


def _turned(graph: Graph, dtype: str) -> Graph:
    """Return a graph, or a body, with its types and constants converted, bodies within too."""

    def type_of(old: TensorType) -> TensorType:
        return replace(old, dtype=dtype) if old.dtype in _FLOATS else old

    def node_of(node: Node) -> Node:
        bodies = {k: v for k, v in node.attributes.items() if isinstance(v, Graph)}
        if not bodies:
            return node
        inner = {name: _turned(body, dtype) for name, body in bodies.items()}
        return replace(node, attributes={**node.attributes, **inner})

    return replace(
        graph,
        nodes=tuple(node_of(node) for node in graph.nodes),
        types={name: type_of(type_) for name, type_ in graph.types.items()},
        constants={
            name: ConvertedConstant(original=c, type=type_of(c.type))
            if c.type.dtype in _FLOATS else c
            for name, c in graph.constants.items()
        },
    )  # fmt: skip
