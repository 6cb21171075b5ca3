"""The NumPy reference as a back end: slow, plain, the definition of what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from orrery.errors import ModelError
from orrery.graph import Graph, Region, evaluate_node, find_operator

from ._backend import Executable, Tensors, memory_guard, memory_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceBackend:
    """Runs a graph node by node with NumPy."""

    name: ClassVar[str] = "reference"

    def refuses(self, graph: Graph) -> str | None:
        """Refuse operators without a reference, all named, and more than this machine's memory."""
        unknown = sorted({n.operator for n in graph.nodes if find_operator(n) is None})
        return f"no reference for: {', '.join(unknown)}" if unknown else memory_problem(graph)

    def prepare(self, graph: Graph) -> Executable:
        """Return the graph ready to run.

        Raises
        ------
        ModelError : the graph is one that `refuses` refuses
        """
        reason = self.refuses(graph)
        if reason is not None:
            raise ModelError(graph.name, found=reason, wanted="known operators",
                             fix="see `orrery show --operators`")  # fmt: skip
        return _Reference(graph=graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    graph: Graph

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        with memory_guard(self.graph):
            return self.graph.evaluate(inputs)


def reference_evaluator(region: Region, inputs: Tensors) -> dict[str, NDArray[Any]]:
    """Evaluate one region with NumPy: the evaluator that fits any device."""
    values: dict[str, Any] = dict(inputs)
    for node in region.members:
        values.update(evaluate_node(region.graph, node, values))
    return {name: values[name] for name in region.outputs}
