"""Run one operator on arrays and hold its shape rule against what came out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from orrery.graph import Node, Operations, Operator, TensorType, TypeContext, dtype_name
from orrery.graph import find_operator as _find

_SYMBOLIC = re.compile(r"[n0-9+*()]+")


def make_node(op: str, inputs: int, outputs: int = 1, **attributes: Any) -> Node:
    return Node(
        name="node",
        op=op,
        inputs=tuple(f"x{i}" for i in range(inputs)),
        outputs=tuple(f"y{i}" for i in range(outputs)),
        attributes=attributes,
    )


def operator_of(node: Node) -> Operator:
    operator = _find(node)
    assert operator is not None, node.op
    return operator


def type_of(array: np.ndarray | None) -> TensorType | None:
    if array is None:
        return None
    return TensorType(dtype=dtype_name(array.dtype), shape=array.shape)


def context_of(node: Node, arrays: list[np.ndarray | None], *, known: bool) -> TypeContext:
    values = [a if known and a is not None and a.dtype != object else None for a in arrays]
    return TypeContext(
        node=node, inputs=tuple(type_of(a) for a in arrays), values=tuple(values), graph_name="kit"
    )


def infer(op: str, *types: TensorType | None, values: tuple = (), outputs: int = 1, **attributes):
    """Shape rule on types alone; `values` by position, None where unknown."""
    node = make_node(op, len(types), outputs, **attributes)
    padded = tuple(values) + (None,) * (len(types) - len(values))
    return list(
        operator_of(node).infer(
            TypeContext(node=node, inputs=types, values=padded, graph_name="kit")
        )
    )


def apply(op: str, *arrays: Any, outputs: int = 1, **attributes: Any) -> Any:
    """Evaluate; check the shape rule with values known, unknown and with named dimensions."""
    inputs = [None if a is None else np.asarray(a) for a in arrays]
    node = make_node(op, len(inputs), outputs, **attributes)
    operator = operator_of(node)
    results = operator.run(node, inputs)
    for known in (True, False):
        inferred = operator.infer(context_of(node, inputs, known=known))
        check_types(inferred, results, complete=known)
    context = context_of(node, inputs, known=True)
    named = tuple(t and replace(t, shape=tuple(_name(d) for d in t.shape)) for t in context.inputs)
    check_types(operator.infer(replace(context, inputs=named)), results, complete=False)
    return results[0] if outputs == 1 else results


def _name(size: int) -> int | str:
    """Every size but 1 gets a name that tells it: 3 -> "n3" (size 0 stays: nothing binds to it)."""
    return f"n{size}" if size > 1 else size


def check_types(inferred: Any, results: Any, *, complete: bool) -> None:
    assert len(inferred) >= len(results)
    for type_, result in zip(inferred, results, strict=False):
        if type_ is None:
            assert not complete
            continue
        assert type_.dtype == dtype_name(result.dtype)
        assert type_.rank == result.ndim, (str(type_), result.shape)
        for said, actual in zip(type_.shape, result.shape, strict=True):
            if isinstance(said, str) and _SYMBOLIC.fullmatch(said):
                said = eval(said.replace("n", ""))
            assert isinstance(said, str) or said == actual, (str(type_), result.shape)


def count(op: str, *arrays: Any, outputs: int = 1, **attributes: Any) -> Operations:
    """Operations of one node on these arrays."""
    inputs = [None if a is None else np.asarray(a) for a in arrays]
    node = make_node(op, len(inputs), outputs, **attributes)
    operator = operator_of(node)
    results = operator.run(node, inputs)
    context = context_of(node, inputs, known=True)
    return operator.count(replace(context, outputs=tuple(type_of(r) for r in results)))
