"""Memory under construction: segments that grow, are patched, and become an image."""

from __future__ import annotations

import bisect
import math
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ._image import ImageError, Segment

#: Sections and segments may overlap in the file; together they never take more than this.
_MOST_COPIES, _ALWAYS_BYTES = 4, 64 << 20


@dataclass(slots=True, kw_only=True)
class Part:
    """One segment while references in it are being resolved."""

    address: int
    data: bytearray
    size_bytes: int
    name: str
    writable: bool
    executable: bool
    readable: bool = True

    @property
    def end(self) -> int:
        return self.address + self.size_bytes


class Memory:
    """Parts by address.

    Parameters
    ----------
    name : of the file, for errors
    file_bytes : its size, which bounds what is copied out of it
    """

    def __init__(self, name: str, file_bytes: int, pointer_bytes: int) -> None:
        self.name, self.pointer_bytes = name, pointer_bytes
        self._room = _MOST_COPIES * file_bytes + _ALWAYS_BYTES
        self.parts: list[Part] = []

    def add(self, part: Part) -> Part:
        """Add a segment.

        Raises
        ------
        ImageError : more bytes than the file can mean, or an address beyond the machine's
        """
        self._room -= len(part.data)
        if self._room < 0 or part.size_bytes < len(part.data):
            raise ImageError(
                self.name, found="segments that overlap many times in the file",
                wanted="a sound file", fix="it is damaged or made to mislead",
            )  # fmt: skip
        if part.address < 0 or part.end > 1 << 8 * self.pointer_bytes:
            raise ImageError(self.name, found=f"a segment that ends at {part.end:#x}",
                             wanted="addresses that the machine has",
                             fix="correct the base address or the file")  # fmt: skip
        bisect.insort(self.parts, part, key=lambda p: p.address)
        return part

    def part(self, address: int) -> Part | None:
        """Return the part that holds an address."""
        index = bisect.bisect_right(self.parts, address, key=lambda p: p.address) - 1
        # Parts overlap in odd files only, which have few: what begins before may still reach here.
        for part in reversed(self.parts[max(index - 16, 0) : index + 1]):
            if address < part.end:
                return part
        return None

    def room(self, address: int, size: int) -> tuple[bytearray, int] | None:
        """Return bytes to patch and where, or None when the file holds nothing there."""
        part = self.part(address)
        if part is None:
            return None
        begin = address - part.address
        if begin + size > len(part.data):
            if begin + size > part.size_bytes or part.size_bytes - len(part.data) > 1 << 16:
                return None
            part.data.extend(bytes(part.size_bytes - len(part.data)))
        return part.data, begin

    def word(self, address: int, size: int = 4) -> int | None:
        found = self.room(address, size)
        if found is None:
            return None
        data, begin = found
        return int.from_bytes(data[begin : begin + size], "little")

    def put(self, address: int, value: int, size: int) -> bool:
        """Write a number; False when nothing lies there."""
        found = self.room(address, size)
        if found is None:
            return False
        data, begin = found
        data[begin : begin + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        return True

    def pointer(self, address: int) -> int | None:
        return self.word(address, self.pointer_bytes)

    def segments(self) -> tuple[Segment, ...]:
        """Return the parts by address, cut where they overlap."""
        found: list[Segment] = []
        for part in sorted(self.parts, key=lambda p: (p.address, -p.size_bytes)):
            begin = max([part.address, *(s.end for s in found[-1:])])
            if begin >= part.end:
                continue
            data = bytes(part.data[begin - part.address :])
            found.append(Segment(
                address=begin, data=data, size_bytes=part.end - begin, name=part.name,
                readable=part.readable, writable=part.writable, executable=part.executable,
            ))  # fmt: skip
        return tuple(found)


def entropy(data: bytes) -> float:
    """Return bits per byte of the distribution of bytes, from a sample of large data."""
    step = max(1, len(data) // (1 << 20))
    counts = Counter(data[::step])
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) if total else 0.0


def pointers(data: bytes, size: int) -> Iterable[int]:
    """Return the aligned words of some bytes."""
    layout = "<Q" if size == 8 else "<I"
    return (row[0] for row in struct.iter_unpack(layout, data[: len(data) // size * size]))
