"""Execution traces in Chakra's file format (``.et``), written and read by its schema.

A file is a `GlobalMetadata` message and then one `Node` message per node, each after its length as
a varint; messages are protocol buffers by Chakra's ``et_def.proto`` (package ChakraProtoMsg).
Fields that this schema does not have are skipped, as protocol buffers ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from orrery.errors import SpecError
from orrery.store import open_plain

NODE_TYPES = ("INVALID", "METADATA", "MEM_LOAD", "MEM_STORE", "COMP", "COMM_SEND", "COMM_RECV",
              "COMM_COLL", "STORAGE", "BATCH", "CHECKPOINT")  # fmt: skip
COLLECTIVES = ("ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
               "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER")  # fmt: skip

Scalar = bool | int | float | str | bytes
Value = Scalar | tuple[Scalar, ...]

#: messages but `AttributeProto`: number -> name and type, ``*`` for many. Attributes of the head
#: were field 1 at first, where now the version is: its bytes tell which it is.
_SCHEMA = {
    "GlobalMetadata": {1: ("version", "bytes*"), 2: ("attr", "AttributeProto*")},
    "IOInfo": {1: ("values", "string"), 2: ("shapes", "string"), 3: ("types", "string")},
    "Node": {
        1: ("id", "uint64"), 2: ("name", "string"), 3: ("type", "int32"),
        4: ("ctrl_deps", "uint64*"), 5: ("data_deps", "uint64*"),
        6: ("start_time_micros", "uint64"), 7: ("duration_micros", "uint64"),
        8: ("inputs", "IOInfo"), 9: ("outputs", "IOInfo"), 10: ("attr", "AttributeProto*"),
    },
}  # fmt: skip
#: types of attribute values in the order of the schema: scalar at field 3 + 2 i, list at 4 + 2 i
_KINDS = ("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
          "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes")  # fmt: skip
#: the types that simulators read these attributes by; others go by the value's own type
_OF = {"comm_src": "int32", "comm_dst": "int32", "comm_tag": "int32", "comm_priority": "int32",
       "tensor_size": "uint64"}  # fmt: skip
_VERSION = "0.0.4"
_MOST_BYTES = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraNode:
    """A node of a trace.

    Attributes
    ----------
    type : one of `NODE_TYPES`
    ctrl_deps, data_deps : ids of nodes of the same trace that come before
    start_micros, duration_micros : whole microseconds, as the format has them
    inputs, outputs : values, shapes and types as text, where a recorder wrote them
    """

    id: int
    name: str
    type: str
    ctrl_deps: tuple[int, ...] = ()
    data_deps: tuple[int, ...] = ()
    start_micros: int = 0
    duration_micros: int = 0
    inputs: tuple[str, str, str] = ("", "", "")
    outputs: tuple[str, str, str] = ("", "", "")
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraTrace:
    """What one rank does."""

    nodes: tuple[ChakraNode, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)
    version: str = _VERSION


@cache
def _messages() -> Mapping[str, Any]:
    """Return the schema's messages as classes of protocol buffers, by name."""
    from google.protobuf import (  # type: ignore[import-untyped]  # no stubs
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="et_def.proto", package="ChakraProtoMsg", syntax="proto3"
    )

    def add(message: Any, number: int, name: str, kind: str, *, oneof: bool = False) -> None:
        field = message.field.add(name=name, number=number)
        field.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
        kind = kind.removesuffix("*")
        if kind in _KINDS:
            field.type = getattr(kinds, f"TYPE_{kind.upper()}")
        else:
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".ChakraProtoMsg.{kind}"
        if oneof:
            field.oneof_index = 0

    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, said in fields.items():
            add(message, number, *said)
    attribute = file.message_type.add(name="AttributeProto")
    add(attribute, 1, "name", "string")
    attribute.oneof_decl.add(name="value")
    for i, kind in enumerate(_KINDS):
        add(file.message_type.add(name=f"{kind}List"), 1, "values", f"{kind}*")
        add(attribute, 3 + 2 * i, f"{kind}_val", kind, oneof=True)
        add(attribute, 4 + 2 * i, f"{kind}_list", f"{kind}List", oneof=True)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"ChakraProtoMsg.{message.name}")
        )
        for message in file.message_type
    }


def encode_chakra(trace: ChakraTrace) -> bytes:
    """Return a trace as the bytes of a file."""
    kinds = _messages()
    head = kinds["GlobalMetadata"](version=[trace.version.encode()])
    _put(head.attr, trace.attributes)
    bodies = [head]
    for node in trace.nodes:
        body = kinds["Node"](
            id=node.id, name=node.name, type=NODE_TYPES.index(node.type), ctrl_deps=node.ctrl_deps,
            data_deps=node.data_deps, start_time_micros=node.start_micros,
            duration_micros=node.duration_micros,
        )  # fmt: skip
        for info, said in ((body.inputs, node.inputs), (body.outputs, node.outputs)):
            if any(said):
                info.values, info.shapes, info.types = said
        _put(body.attr, node.attributes)
        bodies.append(body)
    return b"".join(_sized(body.SerializeToString()) for body in bodies)


def _put(found: Any, attributes: Mapping[str, Value]) -> None:
    """Add attributes; a value is written even when it is zero: it is one of many."""
    for name, value in attributes.items():
        attribute = found.add(name=name)
        first = (value[0] if value else 0) if isinstance(value, tuple) else value
        kind = _OF.get(name) or {bool: "bool", int: "int64", float: "double", str: "string",
                                 bytes: "bytes"}[type(first)]  # fmt: skip
        if isinstance(value, tuple):
            values = getattr(attribute, f"{kind}_list")
            values.SetInParent()
            values.values.extend(value)
        else:
            setattr(attribute, f"{kind}_val", value)


def _sized(body: bytes) -> bytes:
    size, out = len(body), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes((*out, size)) + body


def read_chakra(path: Path) -> ChakraTrace:
    """Read a trace from its file.

    Raises
    ------
    SpecError : no such file; bytes that are no trace, or one that ends too early
    """
    try:
        with open_plain(path) as handle:
            raw = handle.read(_MOST_BYTES)
    except OSError as error:
        raise SpecError(str(path), found=error.strerror or str(error), wanted="a readable file",
                        fix="check the path") from None  # fmt: skip
    return decode_chakra(raw, str(path))


def decode_chakra(raw: bytes, file: str = "trace") -> ChakraTrace:
    """Read a trace from bytes; `file` stands in messages."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

    kinds = _messages()
    try:
        first, *others = list(_bodies(raw)) or [b""]
        if not raw:
            raise ValueError("an empty file")
        head = kinds["GlobalMetadata"].FromString(first)
        version, attributes = b"", list(head.attr)
        for said in head.version:
            if said[:1] == b"\n":  # an attribute, which begins with its name's field: 0x0a
                attributes.append(kinds["AttributeProto"].FromString(said))
            else:
                version = said
        return ChakraTrace(
            version=version.decode(), attributes=_said(attributes),
            nodes=tuple(_node(kinds["Node"].FromString(body)) for body in others),
        )  # fmt: skip
    except (ValueError, DecodeError) as error:
        raise SpecError(file, found=str(error), wanted="an execution trace of Chakra (.et)",
                        fix="give a file that its tools wrote, uncompressed") from None  # fmt: skip


def _bodies(raw: bytes) -> Iterator[bytes]:
    """Yield the messages of a file, each after its length."""
    at = 0
    while at < len(raw):
        size = shift = 0
        more = True
        while more:
            if at >= len(raw) or shift > 63:
                raise ValueError(f"a number that does not end, at byte {at}")
            size |= (raw[at] & 127) << shift
            more, at, shift = raw[at] > 127, at + 1, shift + 7
        if at + size > len(raw):
            raise ValueError(f"a message of {size} bytes at byte {at}, {len(raw) - at} are left")
        yield raw[at : at + size]
        at += size


def _node(body: Any) -> ChakraNode:
    if not 0 <= body.type < len(NODE_TYPES):
        raise ValueError(f"a node of type {body.type}")
    inputs, outputs = (
        (info.values, info.shapes, info.types) for info in (body.inputs, body.outputs)
    )
    return ChakraNode(
        id=body.id, name=body.name, type=NODE_TYPES[body.type], ctrl_deps=tuple(body.ctrl_deps),
        data_deps=tuple(body.data_deps), start_micros=body.start_time_micros,
        duration_micros=body.duration_micros, inputs=inputs, outputs=outputs,
        attributes=_said(body.attr),
    )  # fmt: skip


def _said(attributes: Iterable[Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for attribute in attributes:
        kind = attribute.WhichOneof("value")
        if kind is None:
            raise ValueError(f"attribute {attribute.name!r} without a value")
        value = getattr(attribute, kind)
        found[attribute.name] = tuple(value.values) if kind.endswith("_list") else value
    return found
