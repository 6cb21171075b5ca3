"""FlatBuffers read by hand: tables by field number, every offset held against the end.

Source: the format as flatbuffers.dev describes it (internals).
"""

from __future__ import annotations

import struct

from ._stream import ContainerError


class Flat:
    """The bytes of one FlatBuffer."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where

    def number(self, layout: str, at: int) -> int:
        """Return one number.

        Raises
        ------
        ContainerError : it would lie beyond the end
        """
        size = struct.calcsize(layout)
        if at < 0 or at + size > len(self.data):
            raise ContainerError(f"{self.where} at {at:#x}", found="an offset beyond the end",
                                 wanted="a sound file", fix="copy the file again")  # fmt: skip
        value: int = struct.unpack_from(layout, self.data, at)[0]
        return value

    def follow(self, at: int) -> int:
        """Return where an offset leads."""
        return at + self.number("<I", at)

    def root(self) -> Table:
        """Return the outermost table."""
        return Table(self, self.follow(0))

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """Return (where it begins, how many) of a list of rows of `size` bytes."""
        count = self.number("<I", at)
        if at + 4 + count * size > len(self.data):
            raise ContainerError(
                f"{self.where} at {at:#x}",
                found=f"a list of {count} rows",
                wanted="a list within the file",
                fix="copy the file again",
            )
        return at + 4, count

    def bytes_at(self, at: int) -> bytes:
        begin, count = self.vector(at, 1)
        return self.data[begin : begin + count]

    def text(self, at: int) -> str:
        return self.bytes_at(at).decode("utf-8", "replace")


class Table:
    """One table."""

    def __init__(self, flat: Flat, at: int) -> None:
        self.flat, self.at = flat, at
        self._fields = at - flat.number("<i", at)
        self._count = max(flat.number("<H", self._fields) - 4, 0) // 2

    def field(self, number: int) -> int | None:
        """Return where a field stands, None where it is left out."""
        if number >= self._count:
            return None
        offset = self.flat.number("<H", self._fields + 4 + 2 * number)
        return self.at + offset if offset else None

    def number(self, number: int, layout: str = "<I", default: int = 0) -> int:
        at = self.field(number)
        return default if at is None else self.flat.number(layout, at)

    def text(self, number: int) -> str:
        at = self.field(number)
        return "" if at is None else self.flat.text(self.flat.follow(at))

    def bytes_of(self, number: int) -> tuple[int, bytes]:
        """Return a list of bytes and where it stands; (0, nothing) where it is left out."""
        at = self.field(number)
        if at is None:
            return 0, b""
        where = self.flat.follow(at)
        return where + 4, self.flat.bytes_at(where)

    def table(self, number: int) -> Table | None:
        at = self.field(number)
        return None if at is None else Table(self.flat, self.flat.follow(at))

    def tables(self, number: int) -> tuple[Table, ...]:
        """Return a list of tables."""
        at = self.field(number)
        if at is None:
            return ()
        begin, count = self.flat.vector(self.flat.follow(at), 4)
        return tuple(Table(self.flat, self.flat.follow(begin + 4 * i)) for i in range(count))

    def rows(self, number: int, layout: str) -> tuple[tuple[int, ...], ...]:
        """Return a list of structures."""
        at = self.field(number)
        if at is None:
            return ()
        size = struct.calcsize(layout)
        begin, count = self.flat.vector(self.flat.follow(at), size)
        data = self.flat.data[begin : begin + size * count]
        return tuple(struct.iter_unpack(layout, data))
