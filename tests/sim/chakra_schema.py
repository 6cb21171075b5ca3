"""Chakra's published schema (``et_def.proto``) as a descriptor for Google's protobuf: the judge."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = ("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
          "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes")  # fmt: skip


def _add(message: Any, name: str, number: int, kind: str, *, many: bool = False) -> Any:
    field = message.field.add(name=name, number=number)
    field.label = _F.LABEL_REPEATED if many else _F.LABEL_OPTIONAL
    if kind[0].isupper():
        field.type, field.type_name = _F.TYPE_MESSAGE, f".ChakraProtoMsg.{kind}"
    else:
        field.type = getattr(_F, f"TYPE_{kind.upper()}")
    return field


@cache
def messages(first: bool = False) -> dict[str, Any]:
    """Return message classes by name; `first`: attributes of the head are field 1."""
    file = descriptor_pb2.FileDescriptorProto(
        name="et_def.proto", package="ChakraProtoMsg", syntax="proto3")  # fmt: skip
    for kind in _KINDS:
        _add(file.message_type.add(name=f"{kind.capitalize()}List"), "values", 1, kind, many=True)
    attribute = file.message_type.add(name="AttributeProto")
    attribute.oneof_decl.add(name="value")
    _add(attribute, "name", 1, "string")
    _add(attribute, "doc_string", 2, "string")
    for i, kind in enumerate(_KINDS):
        _add(attribute, f"{kind}_val", 3 + 2 * i, kind).oneof_index = 0
        _add(attribute, f"{kind}_list", 4 + 2 * i, f"{kind.capitalize()}List").oneof_index = 0
    head = file.message_type.add(name="GlobalMetadata")
    if not first:
        _add(head, "version", 1, "string")
    _add(head, "attr", 1 if first else 2, "AttributeProto", many=True)
    info = file.message_type.add(name="IOInfo")
    for number, name in enumerate(("values", "shapes", "types"), 1):
        _add(info, name, number, "string")
    node = file.message_type.add(name="Node")
    for number, name, kind, many in (
        (1, "id", "uint64", False), (2, "name", "string", False), (3, "type", "int32", False),
        (4, "ctrl_deps", "uint64", True), (5, "data_deps", "uint64", True),
        (6, "start_time_micros", "uint64", False), (7, "duration_micros", "uint64", False),
        (8, "inputs", "IOInfo", False), (9, "outputs", "IOInfo", False),
        (10, "attr", "AttributeProto", True), (77, "later", "string", False),
    ):  # fmt: skip
        _add(node, name, number, kind, many=many)
    pool = descriptor_pool.DescriptorPool()
    found = pool.Add(file) or pool.FindFileByName("et_def.proto")
    return {name: message_factory.GetMessageClass(described)
            for name, described in found.message_types_by_name.items()}  # fmt: skip


def split_messages(raw: bytes) -> list[bytes]:
    """Return the bodies of a file's messages, each after its length."""
    from google.protobuf.internal.decoder import _DecodeVarint32

    bodies, at = [], 0
    while at < len(raw):
        size, at = _DecodeVarint32(raw, at)
        bodies.append(raw[at : at + size])
        at += size
    return bodies


def joined(found: list[Any]) -> bytes:
    """Return messages as the bytes of a file."""
    from google.protobuf.internal.encoder import _VarintBytes

    raw = [message.SerializeToString() for message in found]
    return b"".join(_VarintBytes(len(body)) + body for body in raw)
