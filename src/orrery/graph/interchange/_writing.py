"""From a `Graph` to an ONNX message: the reverse of `_reading`.

Writes the smallest opset from 21 on in which every node can be said, so that run times that know
fewer opsets than we do can load the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant, FileConstant
from .._graph import Graph, Node, bodies_of
from .._operator import CANONICAL_OPSET
from .._types import ELEMENT_CODES, TensorType
from ._attributes import GRAPH, TENSOR, TENSORS, fill_attribute
from ._reading import EMBEDDED_ELEMENTS, STATES_KEY
from ._scope import Names
from ._tensors import pack_bytes

#: From this opset on every version of an operator can be said in the semantics of today.
FIRST_WRITTEN_OPSET = 21

#: element type -> first IR version that has it, where that is later than opset 21's
IR_OF_TYPE = {"float4e2m1": 11, "float8e8m0": 12, "uint2": 13, "int2": 13}

#: The first IR version whose nodes carry metadata.
IR_OF_NODE_METADATA = 10

#: A protobuf message can hold 2 GiB; some room is left for the structure.
_MOST_EMBEDDED_BYTES = (1 << 31) - (1 << 26)

#: Constants below this stay in the model file even when the others go beside it.
_LEAST_EXTERNAL_BYTES = 1024

Schema = Callable[[str, int], Any]


@dataclass(slots=True)
class ExternalFile:
    """The data file beside a model, filled one constant at a time."""

    handle: BinaryIO
    name: str
    position: int = 0

    def append(self, constant: Constant) -> tuple[int, int]:
        """Write a constant's bytes; returns (offset, length)."""
        alignment = 4096 if constant.type.size_bytes >= 1 << 16 else 64
        padding = -self.position % alignment
        self.handle.write(b"\0" * padding)
        offset = self.position + padding
        length = 0
        for chunk in raw_chunks(constant):
            length += self.handle.write(chunk)
        self.position = offset + length
        return offset, length


def raw_chunks(constant: Constant) -> Iterator[Any]:
    """Yield a constant's stored bytes; a constant in a file is never in memory whole."""
    if isinstance(constant, FileConstant):
        left = constant.type.size_bytes
        with constant.path.open("rb") as handle:
            handle.seek(constant.offset)
            while left > 0:
                chunk = handle.read(min(left, 1 << 22))
                if not chunk:
                    raise ModelError(
                        f"constant in {constant.path.name}", found="the end of the file",
                        wanted=f"{left} bytes more", fix="restore the file it was read from",
                    )  # fmt: skip
                left -= len(chunk)
                yield chunk
        return
    yield pack_bytes(constant.array(), constant.type.dtype)


def constants_of(graph: Graph) -> Iterator[Constant]:
    """Yield all constants of a graph and of the bodies in it."""
    for part in (graph, *bodies_of(graph.nodes)):
        yield from part.constants.values()


def opset_for(graph: Graph, schema: Schema) -> int:
    """Return the smallest opset from 21 on that can say every node of the graph."""
    needed = FIRST_WRITTEN_OPSET
    for part in (graph, *bodies_of(graph.nodes)):
        for node in part.nodes:
            while needed < CANONICAL_OPSET and not _says(node, part.types, schema, needed):
                needed += 1
    return needed


def _says(node: Node, types: Mapping[str, TensorType], schema: Schema, opset: int) -> bool:
    """Return whether an opset has the operator, its attributes, inputs and their types."""
    if node.domain:
        return True
    now, then = schema(node.op, CANONICAL_OPSET), schema(node.op, opset)
    if now is None:
        return True  # nobody knows it: no opset is better than another
    if then is None:
        return False
    if now.since_version == then.since_version:
        return True
    attributes = set(node.attributes) - {"captured"}
    if not attributes <= set(then.attributes) or len(node.inputs) > then.max_input:
        return False
    for names, formals_now, formals_then in (
        (node.inputs, now.inputs, then.inputs), (node.outputs, now.outputs, then.outputs),
    ):  # fmt: skip
        for index, name in enumerate(names):
            if not formals_then:
                return False
            was = formals_then[min(index, len(formals_then) - 1)].types
            is_ = formals_now[min(index, len(formals_now) - 1)].types
            if name in types:
                text = f"tensor({_ONNX_NAMES.get(types[name].dtype, types[name].dtype)})"
                if text in is_ and text not in was:
                    return False
    return True


_ONNX_NAMES = {"float32": "float", "float64": "double"}


@dataclass(slots=True, kw_only=True)
class Writer:
    """Fills the messages of one model.

    Attributes
    ----------
    schema : (operator, opset) -> schema or None
    opset : the version to write
    external : where large constants go; None keeps them in the message
    domains : other operator domains met on the way
    notes : metadata of nodes of the outermost graph, by name
    """

    schema: Schema
    opset: int
    external: ExternalFile | None = None
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    ir_version: int = 0

    def model(self, proto: Any, graph: Graph) -> None:
        """Fill a ModelProto; opsets and IR version are the caller's."""
        size = sum(constant.type.size_bytes for constant in constants_of(graph))
        if self.external is None and size > _MOST_EMBEDDED_BYTES:
            raise ModelError(
                f"{graph.name}: constants", found=f"{size} bytes",
                wanted=f"at most {_MOST_EMBEDDED_BYTES} bytes in one ONNX file",
                fix="write them to a file beside the model: external_data=True",
            )  # fmt: skip
        for tensor in (*graph.inputs, *graph.outputs):
            graph.type(tensor)  # the outermost graph must declare these
        taken = {"", *graph.inputs, *graph.constants}
        taken.update(t for node in graph.nodes for t in node.outputs)
        self._graph(proto.graph, graph, {}, Names(taken), {})
        for node in proto.graph.node:
            for key, value in self.notes.get(node.name, {}).items():
                pair = node.metadata_props.add()
                pair.key, pair.value = key, value
                self.ir_version = max(self.ir_version, IR_OF_NODE_METADATA)
        metadata = dict(graph.metadata)
        if graph.states:
            metadata[STATES_KEY] = json.dumps(dict(graph.states), sort_keys=True)
        for key, value in metadata.items():
            pair = proto.metadata_props.add()
            pair.key, pair.value = key, value

    def _graph(
        self, proto: Any, graph: Graph, renamed: Mapping[str, str], names: Names,
        around: Mapping[str, Constant], captured: int = 0,
    ) -> None:  # fmt: skip
        """Fill a GraphProto; `renamed` maps names of the graph to those written."""

        def written(name: str) -> str:
            return renamed.get(name, name)

        proto.name = graph.name or "graph"
        formal = graph.inputs[: len(graph.inputs) - captured]
        outside = set(graph.inputs[len(formal) :])
        for name in formal:
            _fill_value(proto.input.add(), written(name), graph.types.get(name))
        for name in graph.outputs:
            _fill_value(proto.output.add(), written(name), graph.types.get(name))
        own: dict[str, Constant] = {}
        for name, constant in graph.constants.items():
            if around.get(written(name)) is not constant:
                own[written(name)] = constant
                self._tensor(proto.initializer.add(), written(name), constant)
        visible = {**around, **own}
        for name in (*formal, *(t for node in graph.nodes for t in node.outputs)):
            visible.pop(written(name), None)
        said = {*formal, *graph.outputs, *graph.constants, ""}
        tensors = (t for node in graph.nodes for t in (*node.inputs, *node.outputs))
        for name in dict.fromkeys((*outside, *tensors)):
            if name in graph.types and name not in said:
                _fill_value(proto.value_info.add(), written(name), graph.types[name])
        for node in graph.nodes:
            self._node(proto.node.add(), node, graph, written, names, visible)

    def _node(
        self, proto: Any, node: Node, graph: Graph, written: Callable[[str], str], names: Names,
        visible: Mapping[str, Constant],
    ) -> None:  # fmt: skip
        where = f"{graph.name}: node {node.name!r} ({node.operator})"
        captured = int(node.attributes.get("captured", 0)) if _has_body(node) else 0
        inputs = [written(t) for t in node.inputs]
        outer = inputs[len(inputs) - captured :]
        proto.name, proto.op_type, proto.domain = node.name, node.op, node.domain
        proto.input.extend(inputs[: len(inputs) - captured])
        proto.output.extend(written(t) for t in node.outputs)
        if node.domain:
            self.domains.add(node.domain)
        schema = self.schema(node.op, self.opset) if not node.domain else None
        for name, value in node.attributes.items():
            if name == "captured" and _has_body(node):
                continue
            attribute = proto.attribute.add()
            if isinstance(value, Graph):
                attribute.name, attribute.type = name, GRAPH
                renamed = _renamed(value, outer, names, visible, where)
                self._graph(attribute.g, value, renamed, names, visible, captured)
            elif isinstance(value, np.ndarray | np.generic):
                attribute.name, attribute.type = name, TENSOR
                self._tensor(attribute.t, "", ArrayConstant(np.asarray(value)), embed=True)
            elif isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
                attribute.name, attribute.type = name, TENSORS
                for item in value:
                    self._tensor(attribute.tensors.add(), "", ArrayConstant(item), embed=True)
            else:
                formal = schema.attributes.get(name) if schema is not None else None
                kind = int(formal.type.value) if formal is not None else None
                fill_attribute(attribute, name, value, kind, where)

    def _tensor(self, proto: Any, name: str, constant: Constant, *, embed: bool = False) -> None:
        type_ = constant.type
        proto.name, proto.data_type = name, ELEMENT_CODES[type_.dtype]
        proto.dims.extend(type_.sizes)
        self.ir_version = max(self.ir_version, IR_OF_TYPE.get(type_.dtype, 0))
        if type_.dtype == "string":
            proto.string_data.extend(str(s).encode("utf-8") for s in constant.array().ravel())
        elif self.external is None or embed or type_.size_bytes < _LEAST_EXTERNAL_BYTES:
            proto.raw_data = b"".join(bytes(chunk) for chunk in raw_chunks(constant))
        else:
            offset, length = self.external.append(constant)
            proto.data_location = 1
            for key, value in (
                ("location", self.external.name), ("offset", str(offset)), ("length", str(length)),
            ):  # fmt: skip
                entry = proto.external_data.add()
                entry.key, entry.value = key, value


def _has_body(node: Node) -> bool:
    return any(isinstance(value, Graph) for value in node.attributes.values())


def _renamed(
    body: Graph, outer: list[str], names: Names, visible: Mapping[str, Constant], where: str
) -> dict[str, str]:
    """Return new names for a body's tensors: captures as outside, all others unlike outside."""
    captured = len(outer)
    if captured > len(body.inputs):
        raise ModelError(where, found=f"{captured} captured tensors",
                         wanted=f"at most the body's {len(body.inputs)} inputs",
                         fix="correct the attribute 'captured'")  # fmt: skip
    formal = body.inputs[: len(body.inputs) - captured]
    renamed = dict(zip(body.inputs[len(formal) :], outer))
    read = {t for node in body.nodes for t in node.inputs} | set(body.outputs)
    for name in dict.fromkeys(
        (*formal, *body.constants, *(t for node in body.nodes for t in node.outputs))
    ):
        constant = body.constants.get(name)
        if (
            constant is not None and name in read and name in visible
            and constant.type.elements <= EMBEDDED_ELEMENTS
            and (visible[name] is constant or visible[name].digest() == constant.digest())
        ):  # fmt: skip
            continue  # the reader copied it from the surrounding graph
        if name:
            renamed[name] = names.fresh(name)
    return renamed


def _fill_value(proto: Any, name: str, type_: TensorType | None) -> None:
    proto.name = name
    if type_ is None:
        return
    tensor = proto.type.tensor_type
    tensor.elem_type = ELEMENT_CODES[type_.dtype]
    tensor.shape.SetInParent()
    for size in type_.shape:
        dim = tensor.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
