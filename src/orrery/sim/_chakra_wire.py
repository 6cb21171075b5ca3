"""Execution traces in Chakra's file format (``.et``), written and read without its libraries.

A file is a `GlobalMetadata` message and then one `Node` message per node, each after its length as
a varint; messages are protocol buffers by Chakra's ``et_def.proto`` (package ChakraProtoMsg).
Fields that this schema does not have are skipped, as protocol buffers ask for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orrery.errors import SpecError
from orrery.store import open_plain

__all__ = ["COLLECTIVES", "NODE_TYPES", "ChakraNode", "ChakraTrace", "decode_chakra",
           "encode_chakra", "read_chakra"]  # fmt: skip

NODE_TYPES = ("INVALID", "METADATA", "MEM_LOAD", "MEM_STORE", "COMP", "COMM_SEND", "COMM_RECV",
              "COMM_COLL", "STORAGE", "BATCH", "CHECKPOINT")  # fmt: skip
COLLECTIVES = ("ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
               "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER")  # fmt: skip

Scalar = bool | int | float | str | bytes
Value = Scalar | tuple[Scalar, ...]

#: types of attribute values in the order of the schema: scalar at field 3 + 2 i, list at 4 + 2 i
_KINDS = ("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
          "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes")  # fmt: skip
_FIXED = {"double": "<d", "float": "<f", "fixed32": "<I", "fixed64": "<Q", "sfixed32": "<i",
          "sfixed64": "<q"}  # fmt: skip
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


def encode_chakra(trace: ChakraTrace) -> bytes:
    """Return a trace as the bytes of a file."""
    head = _text(1, trace.version) + b"".join(
        _message(2, _attribute(*a)) for a in trace.attributes.items()
    )
    return b"".join(_sized(body) for body in (head, *map(_node, trace.nodes)))


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
    try:
        bodies = list(_bodies(raw))
        if not bodies:
            raise ValueError("an empty file")
        version, attributes = _metadata(bodies[0])
        return ChakraTrace(version=version, attributes=attributes,
                           nodes=tuple(_read_node(body) for body in bodies[1:]))  # fmt: skip
    except (ValueError, IndexError, struct.error) as error:
        raise SpecError(file, found=str(error), wanted="an execution trace of Chakra (.et)",
                        fix="give a file that its tools wrote, uncompressed") from None  # fmt: skip


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sized(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _sized(body)


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode()) if text else b""


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _node(node: ChakraNode) -> bytes:
    packed = [(4, node.ctrl_deps), (5, node.data_deps)]
    texts = ((8, node.inputs), (9, node.outputs))
    return b"".join((
        _number(1, node.id), _text(2, node.name), _number(3, NODE_TYPES.index(node.type)),
        *(_message(n, b"".join(map(_varint, deps))) for n, deps in packed if deps),
        _number(6, node.start_micros), _number(7, node.duration_micros),
        *(_message(n, b"".join(_text(i, t) for i, t in enumerate(said, 1)))
          for n, said in texts if any(said)),
        *(_message(10, _attribute(*a)) for a in node.attributes.items()),
    ))  # fmt: skip


def _attribute(name: str, value: Value) -> bytes:
    """Return a name with a value; a value is written even when it is zero: it is one of many."""
    first = (value[0] if value else 0) if isinstance(value, tuple) else value
    kind = _OF.get(name) or {bool: "bool", int: "int64", float: "double", str: "string",
                             bytes: "bytes"}[type(first)]  # fmt: skip
    place = 3 + 2 * _KINDS.index(kind)
    if not isinstance(value, tuple):
        body = _scalar(kind, value)
        wire = 2 if kind in ("string", "bytes") else {"double": 1}.get(kind, 0)
        return _text(1, name) + _varint(place << 3 | wire) + body
    parts = [_scalar(kind, one) for one in value]
    if kind in ("string", "bytes"):
        inner = b"".join(_varint(1 << 3 | 2) + part for part in parts)
    else:
        inner = _message(1, b"".join(parts)) if parts else b""
    return _text(1, name) + _message(place + 1, inner)


def _scalar(kind: str, value: Scalar) -> bytes:
    if isinstance(value, str | bytes):
        return _sized(value.encode() if isinstance(value, str) else value)
    return struct.pack(_FIXED[kind], value) if kind in _FIXED else _varint(int(value))


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ValueError(f"a number that does not end, at byte {at}")
        byte = raw[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _bodies(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        size, at = _read_varint(raw, at)
        if at + size > len(raw):
            raise ValueError(f"a message of {size} bytes at byte {at}, {len(raw) - at} are left")
        yield raw[at : at + size]
        at += size


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and raw value of each field: an integer, or bytes of fixed or told length."""
    at = 0
    while at < len(body):
        key, at = _read_varint(body, at)
        wire = key & 7
        if wire == 0:
            value, at = _read_varint(body, at)
            yield key >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"a field of wire type {wire}")
        size, at = _read_varint(body, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + size > len(body):
            raise ValueError(f"a field of {size} bytes where {len(body) - at} are left")
        yield key >> 3, body[at : at + size]
        at += size


def _metadata(body: bytes) -> tuple[str, dict[str, Value]]:
    """Read the head; in its first schema attributes were field 1, where now the version is."""
    version, attributes = "", {}
    for number, value in _fields(body):
        raw = _bytes(value)
        if number == 1 and raw[:1] != b"\n":  # an attribute begins with its name's field, 0x0a
            version = raw.decode()
        elif number in (1, 2):
            name, said = _read_attribute(raw)
            attributes[name] = said
    return version, attributes


def _read_node(body: bytes) -> ChakraNode:
    found: dict[int, int | bytes] = {}
    deps: dict[int, list[int]] = {4: [], 5: []}
    attributes: dict[str, Value] = {}
    for number, value in _fields(body):
        if number in deps:
            deps[number] += [value] if isinstance(value, int) else _varints(value)
        elif number == 10:
            name, said = _read_attribute(_bytes(value))
            attributes[name] = said
        else:
            found[number] = value
    kind = _whole(found.get(3, 0))
    if kind >= len(NODE_TYPES):
        raise ValueError(f"a node of type {kind}")
    return ChakraNode(
        id=_whole(found.get(1, 0)), name=_bytes(found.get(2, b"")).decode(), type=NODE_TYPES[kind],
        ctrl_deps=tuple(deps[4]), data_deps=tuple(deps[5]), attributes=attributes,
        start_micros=_whole(found.get(6, 0)), duration_micros=_whole(found.get(7, 0)),
        inputs=_texts(_bytes(found.get(8, b""))), outputs=_texts(_bytes(found.get(9, b""))),
    )  # fmt: skip


def _texts(body: bytes) -> tuple[str, str, str]:
    found = {number: _bytes(value).decode() for number, value in _fields(body)}
    return found.get(1, ""), found.get(2, ""), found.get(3, "")


def _read_attribute(body: bytes) -> tuple[str, Value]:
    name, said = "", None
    for number, value in _fields(body):
        if number == 1:
            name = _bytes(value).decode()
        elif 3 <= number < 3 + 2 * len(_KINDS):
            kind, is_list = _KINDS[(number - 3) // 2], number % 2 == 0
            said = _list(kind, _bytes(value)) if is_list else _value(kind, value)
    if said is None:
        raise ValueError(f"attribute {name!r} without a value")
    return name, said


def _list(kind: str, body: bytes) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for number, value in _fields(body):
        if number != 1:
            continue
        if isinstance(value, int) or kind in ("string", "bytes"):
            found.append(_value(kind, value))
        elif kind in _FIXED:
            found += [one for (one,) in struct.iter_unpack(_FIXED[kind], value)]
        else:
            found += [_value(kind, one) for one in _varints(value)]
    return tuple(found)


def _value(kind: str, raw: int | bytes) -> Scalar:
    if kind in _FIXED:
        (number,) = struct.unpack(_FIXED[kind], _bytes(raw))
        return float(number) if kind in ("double", "float") else int(number)
    if kind in ("string", "bytes"):
        return _bytes(raw).decode() if kind == "string" else _bytes(raw)
    made: dict[str, Callable[[int], Scalar]] = {
        "bool": bool, "int32": _signed, "int64": _signed, "sint32": _unzigzag, "sint64": _unzigzag,
    }  # fmt: skip
    return made.get(kind, int)(_whole(raw))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def _varints(raw: bytes) -> list[int]:
    found, at = [], 0
    while at < len(raw):
        value, at = _read_varint(raw, at)
        found.append(value)
    return found


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a text or a message belongs")
    return value


def _whole(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a text or a message where a number belongs")
    return value
