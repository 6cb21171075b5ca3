"""Where the large constants lie in an ONNX file, found without reading them.

An ONNX file is one protobuf message. Parsing it whole copies every weight into memory, twice.
`lean` walks the wire format instead, notes where each large ``TensorProto.raw_data`` lies, and
returns the message with those bytes replaced by short tickets, which a protobuf parser digests in
milliseconds. Only submessages larger than the threshold are walked; the rest is copied as it is.

Source: the protobuf encoding guide (wire types, varints) and field numbers of onnx.proto3.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from orrery.errors import ModelError

#: Constants of fewer bytes stay in the message: a mapping would cost more than it saves.
LARGE_BYTES = 1024

#: Protobuf parsers refuse deeper messages, and nothing honest nests control flow this deep.
_MAX_DEPTH = 90

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

#: message -> its fields that can lead to a large raw_data -> message found there
_PATHS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {9: "raw"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lean:
    """A message without its large constants.

    Attributes
    ----------
    message : protobuf bytes in which each large raw_data is a ticket
    """

    message: bytes
    _nonce: bytes
    _spans: list[tuple[int, int]] = field(repr=False)

    def span(self, raw: bytes) -> tuple[int, int] | None:
        """Return (offset, length) in the file if `raw` is a ticket, else None."""
        if len(raw) != len(self._nonce) + 8 or not raw.startswith(self._nonce):
            return None
        return self._spans[int.from_bytes(raw[len(self._nonce) :], "little")]


def lean(data: memoryview, *, where: str, large_bytes: int = LARGE_BYTES) -> Lean:
    """Return the message without the constants of at least `large_bytes`, and where those lie.

    Parameters
    ----------
    data : the whole file, usually mapped
    where : the file, for messages

    Raises
    ------
    ModelError : not well-formed protobuf: truncated, overlong or too deeply nested
    """
    # A ticket starts with a nonce, so that no crafted file can hold one.
    walker = _Walker(data, where, large_bytes, secrets.token_bytes(16))
    pieces, _ = walker.walk(0, len(data), "Model", 0)
    return Lean(message=b"".join(pieces), _nonce=walker.nonce, _spans=walker.spans)


class _Walker:
    def __init__(self, data: memoryview, where: str, large_bytes: int, nonce: bytes) -> None:
        self.data, self.where, self.large_bytes, self.nonce = data, where, large_bytes, nonce
        self.spans: list[tuple[int, int]] = []

    def walk(
        self, start: int, end: int, message: str, depth: int
    ) -> tuple[list[bytes | memoryview], int]:
        """Return the pieces of the message in data[start:end] and their total length."""
        if depth > _MAX_DEPTH:
            raise self.error(start, "messages nested too deeply", f"at most {_MAX_DEPTH} levels")
        paths = _PATHS[message]
        pieces: list[bytes | memoryview] = []
        total, copied, at = 0, start, start
        while at < end:
            field_start = at
            key, at = self.varint(at, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise self.error(field_start, "field number 0", "a field of an ONNX message")
            if wire == _VARINT:
                _, at = self.varint(at, end)
                continue
            if wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
                if at > end:
                    raise self.error(field_start, "the end of the data", "a whole field")
                continue
            if wire != _BYTES:
                raise self.error(field_start, f"wire type {wire}", "wire type 0, 1, 2 or 5")
            length, at = self.varint(at, end)
            body, at = at, at + length
            if at > end:
                raise self.error(
                    field_start, f"a field of {length} bytes where {end - body} are left",
                    "a whole field",
                )  # fmt: skip
            target = paths.get(number)
            if target is None or length < self.large_bytes:
                continue
            if target == "raw":
                inner: list[bytes | memoryview] = [
                    self.nonce,
                    len(self.spans).to_bytes(8, "little"),
                ]
                size = len(self.nonce) + 8
                self.spans.append((body, length))
            else:
                inner, size = self.walk(body, at, target, depth + 1)
            if size == length:
                continue  # nothing was taken out: copied verbatim with its surroundings
            head = _encode(key) + _encode(size)
            pieces += [self.data[copied:field_start], head, *inner]
            total += field_start - copied + len(head) + size
            copied = at
        pieces.append(self.data[copied:end])
        return pieces, total + end - copied

    def varint(self, at: int, end: int) -> tuple[int, int]:
        result = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result, at
            shift += 7
        raise self.error(at, "an unfinished number", "a protobuf varint")

    def error(self, at: int, found: str, wanted: str) -> ModelError:
        return ModelError(
            self.where, found=f"{found} (byte {at})", wanted=f"{wanted}, as in an ONNX file",
            fix="check that it is an ONNX file and was copied whole",
        )  # fmt: skip


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
