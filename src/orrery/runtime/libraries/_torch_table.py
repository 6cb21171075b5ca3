"""Which operators PyTorch runs, and how: a table that fills without loading PyTorch.

An operator module registers functions like this::

    @operation("Relu")
    def relu(t, x):
        return t.relu(x)

The first argument is the package itself, so that tables can be read before it is loaded. Tensors
follow by position as in ONNX (None for an absent optional one), attributes as keywords with ONNX's
defaults. Inputs listed under `host` arrive as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orrery.graph import Graph, Node, dtype_name, find_operator
from orrery.graph import TensorType as Type

#: Element types that PyTorch computes in as NumPy does.
DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
)  # fmt: skip

#: ONNX's numbers of these element types.
_NUMBERED = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 16: "bfloat16",
}  # fmt: skip

_NARROW = ("torch.float16", "torch.bfloat16")

#: (node, types by tensor name) -> why this node cannot run, or None
Refuse = Callable[[Node, Mapping[str, Type]], "str | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """How one operator runs.

    Attributes
    ----------
    host : positions of inputs that arrive as NumPy arrays, because their values decide shapes
    wide : compute narrow floats in float32 and round once, for what takes several steps
    counts_outputs : the function takes ``output_count``
    ready : (package, node, inputs known before running or None) -> what the function takes as
        ``ready``, e.g. weights laid out as the library wants them; None when nothing can be
    refuse : says why a node of this operator cannot run, or None
    """

    name: str
    run: Callable[..., Any]
    host: tuple[int, ...] = ()
    wide: bool = False
    counts_outputs: bool = False
    ready: Callable[[Any, Node, list[Any]], Any] | None = None
    refuse: Refuse | None = None

    def why_not(self, node: Node, types: Mapping[str, Type]) -> str | None:
        """Return why a node cannot run, or None."""
        if any(isinstance(value, Graph) for value in node.attributes.values()):
            return "a body"
        known = find_operator(node)
        if known is not None and (odd := sorted(set(node.attributes) - set(known.attributes))):
            return f"attribute {odd[0]!r}"
        return self.refuse(node, types) if self.refuse is not None else None

    def __call__(self, t: Any, node: Node, inputs: list[Any], ready: Any = None) -> tuple[Any, ...]:
        """Run a node; returns as many outputs as it names, or fewer."""
        keywords = dict(node.attributes)
        if ready is not None:
            keywords["ready"] = ready
        if self.counts_outputs:
            keywords["output_count"] = len(node.outputs)
        narrow = None
        if self.wide:
            first = next((x for x in inputs if isinstance(x, t.Tensor)), None)
            if first is not None and str(first.dtype) in _NARROW:
                narrow = first.dtype
                inputs = [
                    x.float() if isinstance(x, t.Tensor) and x.dtype == narrow else x
                    for x in inputs
                ]
        result = self.run(t, *inputs, **keywords)
        results = result if isinstance(result, tuple) else (result,)
        if narrow is not None:
            results = tuple(
                r.to(narrow) if r is not None and r.dtype == t.float32 else r for r in results
            )
        return results[: len(node.outputs)]


OPERATIONS: dict[str, Operation] = {}


def register(name: str, run: Callable[..., Any], **options: Any) -> None:
    """Put an operator into the table; twice is an error."""
    if name in OPERATIONS:
        raise ValueError(f"operator {name} has two functions")
    OPERATIONS[name] = Operation(name=name, run=run, **options)


def operation(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under operator names; `options` are those of `Operation`."""

    def keep(run: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            register(name, run, **options)
        return run

    return keep


def torch_dtype(t: Any, to: Any) -> Any:
    """Return PyTorch's element type for ONNX's number, a name or a NumPy dtype."""
    name = _NUMBERED.get(to) if isinstance(to, int) else to
    if isinstance(name, np.dtype):
        name = dtype_name(name)
    if name not in DTYPES:
        raise TypeError(f"element type {to}")
    return getattr(t, name)
