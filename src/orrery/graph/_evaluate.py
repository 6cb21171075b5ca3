"""The NumPy reference of a whole graph: slow, plain, the definition of what is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError

from ._graph import Graph, Node
from ._infer import require_known_operators
from ._operator import find_operator
from ._types import numpy_dtype


def evaluate(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a graph node by node; a tensor is dropped after its last reader.

    Raises
    ------
    SpecError : a missing or unknown input, or one of the wrong type or shape
    """
    require_known_operators(graph)
    check_inputs(graph, inputs)
    values: dict[str, Any] = dict(inputs)
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    keep = set(graph.outputs)
    for node in graph.nodes:
        values.update(evaluate_node(graph, node, values))
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name not in keep:
                values.pop(name, None)
    return {
        name: values[name] if name in values else graph.constants[name].array()
        for name in graph.outputs
    }


def evaluate_node(graph: Graph, node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """Run one node on the values at hand; returns its named outputs."""
    operator = find_operator(node)
    if operator is None:
        require_known_operators(graph)
        raise AssertionError("unreachable: the check above refuses unknown operators")

    def value(name: str) -> Any:
        if not name:
            return None
        return values[name] if name in values else graph.constants[name].array()

    results = operator.run(node, [value(name) for name in node.inputs])
    return {name: r for name, r in zip(node.outputs, results, strict=False) if name}


def check_inputs(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse inputs that do not fit the graph's input types."""
    for name in graph.inputs:
        if name not in inputs:
            raise SpecError(
                f"{graph.name}: input {name!r}",
                found="nothing",
                wanted=str(graph.type(name)),
                fix=f"give all of: {', '.join(graph.inputs)}",
            )
        want, have = graph.type(name), np.asarray(inputs[name])
        fits = have.dtype == numpy_dtype(want.dtype) or want.dtype == "string"
        fits = fits and have.ndim == want.rank
        fits = fits and all(
            isinstance(w, str) or w == h for w, h in zip(want.shape, have.shape, strict=False)
        )
        if not fits:
            raise SpecError(
                f"{graph.name}: input {name!r}",
                found=f"{have.dtype}{have.shape}",
                wanted=str(want),
                fix="convert or reshape the array",
            )
    for name in inputs:
        if name not in graph.inputs:
            raise SpecError(
                f"{graph.name}: input {name!r}",
                found="no such input",
                wanted=f"one of {', '.join(graph.inputs)}",
                fix="remove it",
            )
