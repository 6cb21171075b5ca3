"""Whether a subgraph fits a worker's memory: known ahead, or said by the library.

Models:  weights, and the tensors that are alive at once when nodes run in the graph's order and
         each is dropped after its last reader. What only renames a tensor takes nothing.
Ignores: what a library needs to work in; fusion, which needs less. So a subgraph that is said not
         to fit may just do so where a library fuses its largest tensors away.
Judge:   counted by hand and by running step by step (tests/runtime/together/test_capacity.py).
"""

from __future__ import annotations

from orrery.errors import OrreryError
from orrery.graph import Graph
from orrery.plan import Infeasible

#: Operators whose output is their first input under another shape.
_RENAMES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}

_REMEDIES = ("bind a smaller batch or smaller sizes", "place it on another worker")


class DoesNotFitError(OrreryError):
    """A subgraph does not fit a worker's memory; `infeasible` says how much is short."""

    def __init__(self, infeasible: Infeasible) -> None:
        self.infeasible = infeasible
        super().__init__(str(infeasible))


def weight_bytes(graph: Graph) -> int:
    """Return the bytes of all constants of a graph."""
    return sum(constant.type.size_bytes for constant in graph.all_constants())


def needed_bytes(graph: Graph) -> int:
    """Return the bytes that a graph takes in a memory: weights, and the most that is alive at once.

    Tensors whose size only running tells count as nothing.
    """
    alias: dict[str, str] = {}
    for node in graph.nodes:
        if node.operator in _RENAMES and node.inputs[0] not in graph.constants:
            alias[node.outputs[0]] = alias.get(node.inputs[0], node.inputs[0])
    last: dict[str, int] = {}
    for number, node in enumerate(graph.nodes):
        for tensor in (*node.inputs, *node.outputs):
            last[alias.get(tensor, tensor)] = number
    for tensor in (*graph.inputs, *graph.outputs):  # the border is kept by whoever asked
        last[alias.get(tensor, tensor)] = len(graph.nodes)
    now = most = sum(graph.known_bytes(name) or 0 for name in graph.inputs)
    ending: dict[int, list[str]] = {}
    for tensor, number in last.items():
        if tensor not in graph.constants and tensor:
            ending.setdefault(number, []).append(tensor)
    for number, node in enumerate(graph.nodes):
        now += sum(graph.known_bytes(t) or 0 for t in node.outputs if t and t not in alias)
        most = max(most, now)
        now -= sum(graph.known_bytes(t) or 0 for t in ending.get(number, ()))
    return weight_bytes(graph) + most


def misfit(what: str, graph: Graph, free_bytes: int | None) -> Infeasible | None:
    """Return why a graph does not fit into so much memory, or None; `what` names both."""
    if free_bytes is None or (need := needed_bytes(graph)) <= free_bytes:
        return None
    return Infeasible(what=what, need=need, have=free_bytes, unit="bytes", remedies=_REMEDIES)


def shortage(what: str, graph: Graph, free_bytes: int | None) -> Infeasible:
    """Return what to say when a library reports too little memory, whatever was worked out."""
    return Infeasible(
        what=f"{what}, as the library says", need=needed_bytes(graph),
        have=0 if free_bytes is None else free_bytes, unit="bytes", remedies=_REMEDIES,
        proved=False,
    )  # fmt: skip


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, is too little memory.

    PyTorch has a class of its own for GPUs and says it in words on the CPU; it is not loaded here.
    """
    while error is not None:
        if isinstance(error, (MemoryError, DoesNotFitError)) or (
            isinstance(error, RuntimeError)
            and (type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error))
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
