"""Types, sizes and operation counts of a whole graph.

Shape rules see the *values* of small integer tensors that are known before running: constants,
and whatever folds from them (Shape → Gather → Concat → Reshape chains).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import (
    ModelError,
    SpecError,
    UnsupportedOperatorsError,
    did_you_mean,
)

from ._graph import Graph, Node
from ._operator import Operations, TypeContext, find_operator
from ._sizes import Sizes, propagate
from ._types import LARGEST_SIZE, TensorType

#: Tensors with more elements than this are not folded: they are data, not shapes.
_FOLD_LIMIT = 4096

#: NumPy refuses even a view with more elements.
_LARGEST_VIEW = 1 << 60


def bind(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """Return the graph with symbolic dimensions replaced by numbers, types inferred again.

    Raises
    ------
    SpecError : a name that no input has (the nearest one is offered), or a size below one or
        above 2**31 - 1
    """
    symbols = graph.symbols
    for name, size in sizes.items():
        where = f"--shape {shlex.quote(f'{name}={size}')}"
        if name not in symbols:
            known = ", ".join(map(repr, symbols)) or "(all dimensions are bound)"
            raise SpecError(
                where,
                found=f"no dimension {name!r}",
                wanted=f"one of: {known}",
                fix=f"correct the name{did_you_mean(name, symbols)}",
            )
        whole = isinstance(size, int) and not isinstance(size, bool)
        if not whole or not 1 <= size <= LARGEST_SIZE:
            raise SpecError(
                where,
                found=size,
                wanted=f"a whole number, 1 to {LARGEST_SIZE}",
                fix="correct the size",
            )
    types = {
        name: replace(type_, shape=tuple(sizes.get(str(d), d) for d in type_.shape))
        for name, type_ in graph.types.items()
        if name in graph.inputs or name in graph.constants
    }
    return infer(replace(graph, types=types))


def infer(graph: Graph) -> Graph:
    """Return the graph with the type of every tensor, computed from inputs and constants.

    Where only running tells even the rank (a body that data chooses), the type stays unknown.

    Raises
    ------
    UnsupportedOperatorsError : operators without a shape rule, all of them
    ModelError : a node whose inputs do not fit its operator
    """
    require_known_operators(graph)
    types: dict[str, TensorType] = {i: graph.type(i) for i in graph.inputs}
    types |= {name: constant.type for name, constant in graph.constants.items()}
    values: dict[str, NDArray[Any]] = {}
    sizes: dict[str, Sizes] = {}
    for name, constant in graph.constants.items():
        if constant.type.elements <= _FOLD_LIMIT and constant.type.dtype != "string":
            values[name] = constant.array()
    for node in graph.nodes:
        operator = find_operator(node)
        if operator is None or any(name and name not in types for name in node.inputs):
            continue  # what nobody knows stays unknown behind it
        context = _context(graph.name, node, types, values, sizes)
        try:
            for tensor, type_ in zip(node.outputs, operator.infer(context), strict=False):
                if tensor and type_ is not None:
                    types[tensor] = type_
            _fold(node, types, values)
            propagate(node, types, values, sizes)
        except UnsupportedOperatorsError:
            raise
        except (ModelError, SpecError) as error:
            raise _at_node(context, error) from error
        except (ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
            # What no shape rule foresaw, e.g. an axis out of range: the node is wrong, not we.
            raise context.error(
                f"{type(error).__name__}: {error}",
                f"inputs and attributes as {node.op} allows them",
            ) from error
    return replace(graph, types=types)


def known_values(graph: Graph) -> dict[str, NDArray[Any]]:
    """Return the small tensors whose values are known before running, by name.

    Large floating-point constants are left out: they are data.
    """
    values = {
        name: constant.array()
        for name, constant in graph.constants.items()
        if constant.type.dtype != "string"
        and constant.type.elements <= (64 if "float" in constant.type.dtype else _FOLD_LIMIT)
    }
    types = dict(graph.types)
    for node in graph.nodes:
        _fold(node, types, values)
    return values


def count(graph: Graph, node: Node) -> Operations:
    """Return MACs and other operations of one node; its tensors' dimensions must be bound.

    Raises
    ------
    ModelError : an unbound dimension, or an unknown operator
    """
    operator = find_operator(node)
    if operator is None:
        raise ModelError(
            f"{graph.name}: node {node.name!r}",
            found=f"unknown operator {node.operator}",
            wanted="a known operator",
            fix="see `orrery show --operators`",
        )
    count_it = operator.count

    def counted() -> tuple[Node, Operations]:
        context = _counted(graph, node)
        try:
            return node, count_it(context)
        except (ModelError, SpecError) as error:
            raise _at_node(context, error) from error

    # The answer holds on to its node, so that no other one can come to bear its identity.
    return graph.remembered("operations", id(node), counted)[1]


def macs_by_type(graph: Graph, node: Node) -> dict[str, int]:
    """Return the multiply-accumulates of one node by element type; see `Graph.macs_by_type`.

    Raises
    ------
    ModelError : as `count`
    """
    from .operators._control import CONTROL_FLOW, bodies_run

    if node.domain or node.op not in CONTROL_FLOW:
        macs = count(graph, node).macs
        if not macs:
            return {}
        first = next(tensor for tensor in node.inputs if tensor)
        return {graph.type(first).dtype: macs}
    context = _counted(graph, node)
    found: dict[str, int] = {}
    try:
        for body, times in bodies_run(context):
            for inner in body.nodes:
                for dtype, macs in macs_by_type(body, inner).items():
                    if macs * times:
                        found[dtype] = found.get(dtype, 0) + macs * times
    except (ModelError, SpecError) as error:
        raise _at_node(context, error) from error
    return found


def _counted(graph: Graph, node: Node) -> TypeContext:
    """Return what a count sees of a node."""
    values = {
        name: graph.constants[name].array()
        for name in node.inputs
        if name in graph.constants and graph.constants[name].type.elements <= _FOLD_LIMIT
    }
    context = _context(graph.name, node, graph.types, values)
    return replace(context, outputs=tuple(graph.types.get(t) if t else None for t in node.outputs))


def _at_node(context: TypeContext, error: ModelError | SpecError) -> ModelError | SpecError:
    """Return an error that says at which node it arose, if it does not say so yet."""
    node = context.node
    if f"node {node.name!r}" in error.where:
        return error
    here = f"{context.graph_name}: node {node.name!r} ({node.operator})"
    where = here if error.where == node.op else f"{here}: {error.where}"
    return type(error)(where, found=error.found, wanted=error.wanted, fix=error.fix)


def require_known_operators(graph: Graph) -> None:
    """Refuse a graph with operators this program does not know; lists all of them at once."""
    unknown: dict[str, list[str]] = {}
    for node in graph.nodes:
        if find_operator(node) is None:
            unknown.setdefault(node.operator, []).append(node.name)
    if unknown:
        raise UnsupportedOperatorsError(
            graph.name, dict(unknown), fix="`orrery show --operators` lists what is known"
        )


def _context(
    graph_name: str,
    node: Node,
    types: Mapping[str, TensorType],
    values: Mapping[str, NDArray[Any]],
    sizes: Mapping[str, Sizes] = MappingProxyType({}),
) -> TypeContext:
    return TypeContext(
        node=node,
        graph_name=graph_name,
        inputs=tuple(types.get(name) if name else None for name in node.inputs),
        values=tuple(values.get(name) if name else None for name in node.inputs),
        sizes=tuple(sizes.get(name) if name else None for name in node.inputs),
    )


def _fold(node: Node, types: dict[str, TensorType], values: dict[str, NDArray[Any]]) -> None:
    """Evaluate a node whose inputs are all known, or a Shape/Size of a bound tensor."""
    outputs = [types.get(t) for t in node.outputs if t]
    if any(
        t is None or not t.is_bound or t.elements > _FOLD_LIMIT or t.dtype == "string"
        for t in outputs
    ) or any(isinstance(a, Graph) for a in node.attributes.values()):
        return
    if node.op in ("Shape", "Size") and not node.domain:
        type_ = types.get(node.inputs[0])
        if type_ is None or not type_.is_bound or type_.elements > _LARGEST_VIEW:
            return
        inputs: list[NDArray[Any] | None] = [np.broadcast_to(np.zeros((), np.int8), type_.sizes)]
    elif node.op.startswith("Random") or node.op in ("Bernoulli", "Multinomial", "Dropout"):
        return
    elif all(not name or name in values for name in node.inputs):
        inputs = [values[name] if name else None for name in node.inputs]
    else:
        return
    operator = find_operator(node)
    if operator is not None:
        for tensor, value in zip(node.outputs, operator.run(node, inputs), strict=False):
            if tensor and value is not None:
                values[tensor] = value
