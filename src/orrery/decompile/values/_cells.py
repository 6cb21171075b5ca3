"""Bytes that hold values: registers, and memory at one base."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orrery.decompile.forms import Value

from ._build import Builder

Vector = tuple[Value, ...]
"""A value wider than 64 bits: its pieces, the lowest first."""

_WIDEST = 8


class Cells:
    """Values by byte offset; none overlaps another and none is wider than eight bytes."""

    def __init__(self, pieces: dict[int, Value] | None = None) -> None:
        self.pieces = {} if pieces is None else pieces

    def copy(self) -> Cells:
        """Return the same cells, to be changed apart."""
        return Cells(dict(self.pieces))

    def overlapping(self, offset: int, size: int) -> Iterator[tuple[int, Value]]:
        """Yield (offset, value) of each piece that shares a byte with a stretch."""
        for at in range(offset - _WIDEST + 1, offset + size):
            piece = self.pieces.get(at)
            if piece is not None and at + piece.width // 8 > offset:
                yield at, piece

    def remove(self, build: Builder, offset: int, size: int) -> None:
        """Forget what a stretch holds; what stands beside it stays."""
        for at, piece in list(self.overlapping(offset, size)):
            del self.pieces[at]
            if at < offset:
                self.pieces[at] = build.extract(piece, 0, (offset - at) * 8)
            end = at + piece.width // 8
            if end > offset + size:
                low = offset + size - at
                self.pieces[offset + size] = build.extract(
                    piece, low * 8, (end - offset - size) * 8
                )

    def put(self, build: Builder, offset: int, value: Value) -> None:
        """Write a value."""
        self.remove(build, offset, value.width // 8)
        self.pieces[offset] = value

    def get(
        self, build: Builder, offset: int, size: int, fresh: Callable[[int, int], Value]
    ) -> list[Value]:
        """Return the pieces of a stretch; ``fresh(offset, size)`` where nothing is known."""
        exact = self.pieces.get(offset)
        if exact is not None and exact.width == size * 8:
            return [exact]
        found: list[Value] = []
        at = offset
        end = offset + size
        for start, piece in list(self.overlapping(offset, size)):
            if start > at:
                found.append(fresh(at, start - at))
                at = start
            stop = min(end, start + piece.width // 8)
            found.append(build.extract(piece, (at - start) * 8, (stop - at) * 8))
            at = stop
        if at < end:
            found.append(fresh(at, end - at))
        return found
