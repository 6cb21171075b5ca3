"""Attributes between ONNX messages and Python values, and the check of nodes by their schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orrery.errors import ModelError, did_you_mean

from .._graph import Node
from ._tensors import TensorSource

# AttributeProto.AttributeType
FLOAT, INT, STRING, TENSOR, GRAPH = 1, 2, 3, 4, 5
FLOATS, INTS, STRINGS, TENSORS, GRAPHS = 6, 7, 8, 9, 10
SPARSE, SPARSES, TYPE, TYPES = 11, 12, 13, 14

_NAMES = {
    FLOAT: "a number", INT: "a whole number", STRING: "text", TENSOR: "a tensor", GRAPH: "a graph",
    FLOATS: "numbers", INTS: "whole numbers", STRINGS: "texts", TENSORS: "tensors",
    GRAPHS: "graphs", SPARSE: "a sparse tensor", SPARSES: "sparse tensors", TYPE: "a type",
    TYPES: "types",
}  # fmt: skip


def real(value: float) -> float:
    """Return the shortest decimal that rounds to a 32-bit float: 0.1, not 0.10000000149.

    ONNX stores attributes in 32 bits; this is what their author most likely wrote, and what makes
    writing and reading an attribute give the same Python number.
    """
    return float(str(np.float32(value)))


def attribute_value(proto: Any, source: TensorSource, where: str) -> Any:
    """Return an attribute other than a graph as a Python value."""
    where = f"{where}, attribute {proto.name!r}"
    kind = proto.type
    if kind == FLOAT:
        return real(proto.f)
    if kind == INT:
        return proto.i
    if kind == STRING:
        return _text(proto.s, where)
    if kind == TENSOR:
        return source.constant(proto.t, proto.name).array()
    if kind == FLOATS:
        return tuple(real(value) for value in proto.floats)
    if kind == INTS:
        return tuple(proto.ints)
    if kind == STRINGS:
        return tuple(_text(value, where) for value in proto.strings)
    if kind == TENSORS:
        return tuple(source.constant(tensor, proto.name).array() for tensor in proto.tensors)
    if kind == TYPE:  # only operators on sequences and optionals have it; reported by name later
        return str(proto.tp)
    raise ModelError(where, found=_NAMES.get(kind, f"kind {kind}"),
                     wanted="a number, text, tensor or graph, or several",
                     fix="export the network without it")  # fmt: skip


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(where, found="bytes that are no UTF-8", wanted="text in UTF-8",
                         fix="save the model again") from None  # fmt: skip


def fill_attribute(proto: Any, name: str, value: Any, kind: int | None, where: str) -> None:
    """Write a Python value other than a graph into an attribute message.

    Parameters
    ----------
    kind : the attribute's kind in the operator's schema; None when there is none
    """
    proto.name = name
    kind = _kind(value) if kind is None else kind
    where = f"{where}, attribute {name!r}"
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else None
    try:
        if kind == INT:
            proto.i = int(value)
        elif kind == FLOAT:
            proto.f = float(value)
        elif kind == STRING:
            proto.s = value.encode("utf-8")
        elif kind == INTS and values is not None:
            proto.ints.extend(int(v) for v in values)
        elif kind == FLOATS and values is not None:
            proto.floats.extend(float(v) for v in values)
        elif kind == STRINGS and values is not None:
            proto.strings.extend(v.encode("utf-8") for v in values)
        else:
            raise TypeError
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ModelError(where, found=f"{value!r}", wanted=_NAMES.get(kind or 0, "a known kind"),
                         fix="correct the attribute") from None  # fmt: skip
    proto.type = kind


def _kind(value: Any) -> int | None:
    if isinstance(value, bool | int | np.integer):
        return INT
    if isinstance(value, float | np.floating):
        return FLOAT
    if isinstance(value, str):
        return STRING
    if isinstance(value, tuple | list):
        kinds = {_kind(v) for v in value}
        if kinds <= {INT}:
            return INTS
        if kinds <= {INT, FLOAT}:
            return FLOATS
        if kinds == {STRING}:
            return STRINGS
    return None


def check_node(node: Node, kinds: Mapping[str, int], schema: Any, where: str) -> None:
    """Refuse a node that does not fit its operator's schema.

    Parameters
    ----------
    kinds : kind of each attribute as stored
    schema : ``onnx.defs.OpSchema`` of the node's opset

    Raises
    ------
    ModelError : too few or too many inputs or outputs, an attribute that is unknown, missing or of
        another kind
    """
    for what, names, least, most in (
        ("inputs", node.inputs, schema.min_input, schema.max_input),
        ("outputs", node.outputs, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise ModelError(where, found=f"{len(names)} {what}", wanted=wanted,
                             fix="export the model again")  # fmt: skip
    required = sum(
        1 for formal in schema.inputs[: schema.min_input] if int(formal.option.value) == 0
    )
    for index, name in enumerate(node.inputs[:required]):
        if not name and int(schema.inputs[index].option.value) == 0:
            raise ModelError(where, found=f"no input {schema.inputs[index].name!r}",
                             wanted="a tensor: it is not optional",
                             fix="export the model again")  # fmt: skip
    for name, kind in kinds.items():
        formal = schema.attributes.get(name)
        if formal is None:
            raise ModelError(where, found=f"attribute {name!r}",
                             wanted=f"one of {', '.join(sorted(schema.attributes)) or '(none)'}",
                             fix=f"remove it{did_you_mean(name, schema.attributes)}")  # fmt: skip
        if int(formal.type.value) != kind:
            raise ModelError(f"{where}, attribute {name!r}", found=_NAMES.get(kind, kind),
                             wanted=_NAMES[int(formal.type.value)],
                             fix="export the model again")  # fmt: skip
    for name, formal in schema.attributes.items():
        if formal.required and name not in kinds:
            raise ModelError(where, found=f"no attribute {name!r}",
                             wanted=_NAMES[int(formal.type.value)],
                             fix="export the model again")  # fmt: skip
    parts = node.attributes.get("num_outputs", len(node.outputs)) if node.op == "Split" else None
    if parts is not None and parts != len(node.outputs):  # a damaged one may ask for billions
        raise ModelError(
            where,
            found=f"num_outputs {parts}",
            wanted=f"{len(node.outputs)}, as many as it names",
            fix="export the model again",
        )
