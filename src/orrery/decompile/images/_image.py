"""A binary as it would lie in memory: bytes, permissions, names, and what is imported.

Models:  segments at their addresses, references resolved as a loader or linker would.
Ignores: thread-local storage, which is said in a note; the contents of other libraries.
Judge:   pyelftools' and GNU's reading of the same files; functions read here are executed natively
         in tests of lifting.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orrery.errors import OrreryError

Architecture = Literal["x86-64", "aarch64", "armv7", "thumb"]

#: More is never read at once: a zero-filled segment may claim any size.
_MOST_READ_BYTES = 1 << 30


class ImageError(OrreryError, ValueError):
    """A file that cannot be read as a binary, or memory that a binary does not have."""

    def __init__(self, where: str, *, found: object, wanted: str, fix: str) -> None:
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(f"{where}: found {found}, wanted {wanted}; {fix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Memory with one set of permissions.

    Attributes
    ----------
    address : of the first byte
    data : bytes as they stand once references are resolved
    size_bytes : in memory; zeros follow the data
    name : for people, e.g. ``.rodata`` or ``load 2``
    """

    address: int
    data: bytes
    size_bytes: int
    name: str = ""
    readable: bool = True
    writable: bool = False
    executable: bool = False

    @property
    def end(self) -> int:
        return self.address + self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A named part of the file that is in memory; a hint, never needed."""

    name: str
    address: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A name for an address; a hint, never evidence.

    Attributes
    ----------
    address : the first instruction or byte, even for Thumb code
    kind : ``function``, ``object`` or ``other``
    exported : whether other files may link to it
    thumb : whether it is Thumb code
    """

    name: str
    address: int
    size_bytes: int = 0
    kind: str = "other"
    exported: bool = False
    thumb: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Bytes that a file takes from another one, and where they stand there, for people."""

    data: bytes
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A binary in memory.

    Attributes
    ----------
    name : of the file
    architecture : ``thumb`` where all code is; ``armv7`` may mix, see `is_thumb`
    form : ``shared``, ``executable``, ``object``, ``archive`` or ``firmware``
    segments : by address, none overlapping
    constant : (begin, end) ranges of memory that nobody writes once it is loaded
    elsewhere : (begin, end) of memory that other files fill, or of room for what they define
    imports : address → linkage name: stubs, and places that stand for functions of other files
    references : address of a pointer in memory → where it points, of pointers that a loader sets
    entries : addresses where code is known to begin, the likeliest first; even for Thumb code
    thumb_entries : those of them where Thumb code begins, of a file that mixes
    notes : what a reader should know: packed, incomplete, …
    needed : names of the libraries it links to
    foreign : names of functions of other files, those of the system's own libraries left out
    given : where a range of `elsewhere` begins → what stands there, where that file is known
    """

    name: str
    architecture: Architecture
    form: str
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    constant: tuple[tuple[int, int], ...] = ()
    elsewhere: tuple[tuple[int, int], ...] = ()
    imports: Mapping[int, str] = field(default_factory=dict)
    references: Mapping[int, int] = field(default_factory=dict)
    entries: tuple[int, ...] = ()
    thumb_entries: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    given: Mapping[int, Given] = field(default_factory=dict)

    @property
    def pointer_bytes(self) -> int:
        """Size of an address in memory."""
        return 8 if self.architecture in ("x86-64", "aarch64") else 4

    def segment(self, address: int) -> Segment | None:
        """Return the segment that holds an address."""
        index = bisect.bisect_right(self.segments, address, key=lambda s: s.address) - 1
        if index < 0 or address >= self.segments[index].end:
            return None
        return self.segments[index]

    def read(self, address: int, size: int) -> bytes:
        """Return bytes as they stand before the program runs.

        Raises
        ------
        ImageError : nothing lies there, or not so much
        """
        segment = self.segment(address)
        if segment is None or size < 0 or address + size > segment.end:
            raise ImageError(f"{self.name}: {address:#x}", found=f"no {size} bytes there",
                             wanted="an address inside one segment",
                             fix="read what a segment holds")  # fmt: skip
        if size > _MOST_READ_BYTES:
            raise ImageError(
                f"{self.name}: {address:#x}", found=f"{size} bytes asked for",
                wanted=f"at most {_MOST_READ_BYTES}", fix="read it in parts",
            )  # fmt: skip
        begin = address - segment.address
        return segment.data[begin : begin + size].ljust(size, b"\0")

    def pointer(self, address: int) -> int:
        """Return the address that memory holds."""
        data = self.read(address, self.pointer_bytes)
        value: int = struct.unpack("<Q" if len(data) == 8 else "<I", data)[0]
        return value

    def is_constant(self, address: int, size: int = 1) -> bool:
        """Whether nobody may write these bytes."""
        return any(begin <= address and address + size <= end for begin, end in self.constant)

    def is_code(self, address: int) -> bool:
        """Whether an address can be executed."""
        segment = self.segment(address)
        return segment is not None and segment.executable

    def is_thumb(self, address: int) -> bool:
        """Whether an address holds Thumb code: as the last entry before it does."""
        if self.architecture != "armv7":
            return self.architecture == "thumb"
        before = max((a for a in self.entries if a <= address), default=None)
        return before in self.thumb_entries

    def origin(self, address: int) -> str:
        """Return where an address lies, for people: ``.rodata+0x40``."""
        for section in self.sections:
            if section.address <= address < section.address + section.size_bytes:
                return f"{section.name}+{address - section.address:#x}"
        segment = self.segment(address)
        if segment is None:
            return f"{address:#x}"
        return f"{segment.name or 'memory'}+{address - segment.address:#x}"

    def symbol(self, name: str) -> Symbol | None:
        """Return the symbol of a name, exported ones first."""
        found = [s for s in self.symbols if s.name == name]
        return max(found, key=lambda s: s.exported) if found else None
