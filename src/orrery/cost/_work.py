"""What a region asks for: MACs by element type, other operations, bytes; counted once per shape.

Models:  compulsory traffic: every input, weight and output of a region crosses the border once;
         of a table that is only picked from, what was picked.
         A body's MACs count as often as it runs, under the types of its own nodes; constants in
         bodies are weights, once, of both branches of an If.
Ignores: reuse and spills; tensors that live and die within a body.
Judge:   closed forms of convolutions and matrix products in the tests; unrolled loops.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orrery.errors import OrreryError
from orrery.graph import Graph, Node, Region, find_operator

from ._cost import CostModel

#: Operators that only look at the same bytes another way: no data moves.
MOVES_NOTHING = frozenset(
    {"Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"}
)

#: Operators that read no more of their first operand than they put out.
_PICKS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a region asks of any machine.

    Attributes
    ----------
    macs : element type of the first operand (in bodies: of their nodes) -> multiply-accumulates
    others : all other scalar operations
    input_bytes, weight_bytes, output_bytes : what crosses the region's border once
    """

    macs: Mapping[str, int]
    others: int
    input_bytes: int
    weight_bytes: int
    output_bytes: int

    @property
    def total_macs(self) -> int:
        return sum(self.macs.values())

    @property
    def traffic_bytes(self) -> int:
        """Bytes that must cross the border at least once."""
        return self.input_bytes + self.weight_bytes + self.output_bytes


def unpriceable(region: Region) -> str | None:
    """Return why no model could price the region: unknown operators, sizes that nobody knows."""
    graph = region.graph
    unknown = [f"{n.operator} ({n.name})" for n in region.members if find_operator(n) is None]
    if unknown:
        return f"unknown operators: {', '.join(unknown)}"
    for node in region.members:
        for tensor in (*node.inputs, *node.outputs):
            if not tensor:
                continue
            if tensor not in graph.types:
                return f"the type of tensor {tensor!r} is not known; infer the graph's types"
            if graph.types[tensor].dtype == "string":
                return f"tensor {tensor!r} holds text, whose bytes only running can tell"
            if not graph.types[tensor].is_bound:
                unbound = next(d for d in graph.types[tensor].shape if isinstance(d, str))
                said = f"tensor {tensor!r} has the unbound dimension {unbound!r}; "
                if unbound not in graph.symbols:
                    return f"{said}only running can tell it, so it cannot be bound"
                return f"{said}bind it: --shape {shlex.quote(f'{unbound}=8')}"
    return None


def work_of(region: Region) -> Work:
    """Count what a region asks for; `unpriceable` must have returned None.

    Raises
    ------
    ModelError : an operator whose count fails on these shapes
    """
    graph = region.graph
    macs: dict[str, int] = {}
    others = 0
    for node in region.members:
        operations = graph.operations(node)
        others += operations.others
        for dtype, number in macs_by_type(graph, node, operations.macs).items():
            macs[dtype] = macs.get(dtype, 0) + number
    if all(moves_nothing(graph, node) for node in region.members):
        return Work(macs=macs, others=others, input_bytes=0, weight_bytes=0, output_bytes=0)
    readers: dict[str, list[Node]] = {}
    for node in region.members:
        for tensor in dict.fromkeys(node.inputs):
            readers.setdefault(tensor, []).append(node)
    return Work(
        macs=macs, others=others,
        input_bytes=sum(_read_bytes(graph, t, readers[t]) for t in region.inputs),
        weight_bytes=sum(_read_bytes(graph, t, readers[t]) for t in region.weights)
        + sum(constant.type.size_bytes for constant in region.inner_constants),
        output_bytes=sum(_written_bytes(graph, tensor) for tensor in region.outputs),
    )  # fmt: skip


def moves_nothing(graph: Graph, node: Node) -> bool:
    """Return whether a node only looks at its input otherwise: a view, no byte is moved.

    A matrix product reads an operand whose last two axes are swapped as it lies (every BLAS has a
    flag for it), so such a Transpose that only feeds matrix products is a view too.
    """
    if node.domain or not node.outputs:
        return False
    if node.op in MOVES_NOTHING:
        return True
    made = node.outputs[0]
    if node.op != "Transpose" or made in graph.outputs or made not in graph.types:
        return False
    rank = graph.types[made].rank
    swap = (*range(rank - 2), rank - 1, rank - 2)
    readers = graph.consumers(made)
    return (
        rank >= 2
        and tuple(node.attributes.get("perm", ())) == swap
        and bool(readers)
        and all(reader.op in ("MatMul", "Gemm") and not reader.domain for reader in readers)
    )


def _written_bytes(graph: Graph, tensor: str) -> int:
    """Return the bytes written to make a tensor: what is new of one that grows in place."""
    state = graph.grown_from(tensor)
    grown = graph.type(tensor).size_bytes
    return grown if state is None else grown - graph.type(state).size_bytes


def _read_bytes(graph: Graph, tensor: str, readers: Sequence[Node]) -> int:
    """Return the bytes of an outside tensor that its readers read, whole unless all only pick."""
    total, whole = 0, graph.type(tensor).size_bytes
    for node in readers:
        if graph.states.get(tensor) in node.outputs and graph.grown_from(graph.states[tensor]):
            continue  # appended to where it lies
        if node.op not in _PICKS or node.domain or tensor in node.inputs[1:]:
            return whole
        # An embedding table is not read from end to end for one token.
        total += graph.type(node.outputs[0]).size_bytes
    return min(whole, total)


def macs_by_type(graph: Graph, node: Node, total: int) -> Mapping[str, int]:
    """Return a node's MACs by element type; those of bodies under the types of their nodes."""
    if not total:
        return {}
    if any(isinstance(value, Graph) for value in node.attributes.values()):
        return graph.macs_by_type(node)
    first = next(tensor for tensor in node.inputs if tensor)
    return {graph.type(first).dtype: total}


def count_problem(region: Region) -> str | None:
    """Return why the operations of a region cannot be counted, or None."""
    try:
        for node in region.members:
            region.graph.operations(node)
    except OrreryError as error:
        return str(error)
    return None


def reads_values(models: Mapping[str, CostModel]) -> bool:
    """Whether any of them prices by what constants hold (its attribute `reads_values`)."""
    return any(getattr(model, "reads_values", False) for model in models.values())


def signature(region: Region, models: Mapping[str, CostModel]) -> str:
    """Return a text that two regions share when they ask for the same work.

    Operators, attributes, types and which operands are constants count; names do not.

    Parameters
    ----------
    models : who will price the regions: where one of them says that it `reads_values`, what the
        constants hold counts too
    """
    by_value = reads_values(models)
    graph = region.graph
    outside = set(region.outputs)
    index: dict[str, int] = {}
    parts = []
    for node in region.members:
        attributes = sorted(
            (key, value.digest if isinstance(value, Graph) else
             (str(value.dtype), value.shape, value.tobytes()) if hasattr(value, "tobytes")
             else value)
            for key, value in node.attributes.items()
        )  # fmt: skip
        grows = any(graph.grown_from(tensor) for tensor in node.outputs)
        row: list[object] = [node.operator, attributes, grows, moves_nothing(graph, node)]
        for tensor in (*node.inputs, None, *node.outputs):
            if not tensor:
                row.append(tensor)
                continue
            constant = graph.constants.get(tensor)
            # Small whole-number constants are shapes and axes: their values change the count.
            value = (
                constant.digest() if constant is not None and (by_value or
                    (constant.type.elements <= 64 and constant.type.dtype.startswith("int")))
                else constant is not None
            )  # fmt: skip
            row.append((index.setdefault(tensor, len(index)), str(graph.types.get(tensor)), value,
                        tensor in outside))  # fmt: skip
        parts.append(row)
    return repr(parts)
