"""The tables of an ELF file, read from bytes that nobody has vouched for.

Models:  32- and 64-bit little-endian ELF: headers, sections, symbols, relocations, notes on what
         the loader is to do. Each length is held against the file before anything is read.
Ignores: versions of symbols, debugging information.
Judge:   pyelftools on compilers' output; mutated files end in an `ImageError` or a table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ._image import Architecture, ImageError

_MACHINES: dict[int, Architecture] = {62: "x86-64", 183: "aarch64", 40: "armv7"}
_OTHERS = {
    2: "SPARC", 3: "i386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "S390", 94: "Xtensa",
    190: "CUDA", 224: "AMD GPU", 243: "RISC-V", 258: "LoongArch",
}  # fmt: skip
_FORMS = {1: "object", 2: "executable", 3: "shared"}

#: So many rows are read from one table, and so many in all.
_MOST_ROWS = 4_000_000
_MOST_LOADS = 1024

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL, DYNSYM = 1, 2, 3, 4, 8, 9, 11
_ARM_ATTRIBUTES = 0x7000_0003


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSection:
    index: int
    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSegment:
    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSymbol:
    name: str
    value: int
    size: int
    binding: int
    kind: int
    section: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """What to write at an offset; addend None: it stands in the place itself."""

    offset: int
    kind: int
    symbol: int
    addend: int | None


class Elf:
    """One ELF file.

    Raises
    ------
    ImageError : not an ELF, big-endian, a machine that is not read, or headers beyond the file
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name
        if data[:4] != b"\x7fELF":
            raise self.error(f"bytes {data[:4].hex(' ') or '(none)'}", "an ELF file",
                             "give a shared object, program, object file or archive; for a bare "
                             "memory image say its base and architecture")  # fmt: skip
        if len(data) < 52 or data[4] not in (1, 2):
            raise self.error("a damaged ELF header", "an ELF file", "give the whole file")
        if data[5] != 1:
            raise self.error("a big-endian file", "a little-endian one",
                             "recovery reads little-endian machines only")  # fmt: skip
        self.wide = data[4] == 2
        layout = "<HHIQQQIHHHHHH" if self.wide else "<HHIIIIIHHHHHH"
        row = self.unpack(layout, 16)
        kind, machine, self.entry, self._phoff, self._shoff = (*row[:2], *row[3:6])
        self._phentsize, self._phnum, self._shentsize, self._shnum, self._shstrndx = row[8:]
        if machine not in _MACHINES:
            known = _OTHERS.get(machine, f"machine {machine}")
            raise self.error(known, "x86-64, AArch64 or 32-bit ARM",
                             "recovery does not read other instruction sets")  # fmt: skip
        if kind not in _FORMS:
            raise self.error(f"an ELF file of type {kind}", "an object, program or shared object",
                             "a core dump holds no code to read")  # fmt: skip
        if self.wide == (machine == 40):
            raise self.error("a word size that the machine does not have", "a sound header",
                             "give the whole file")  # fmt: skip
        self.form = _FORMS[kind]
        self.architecture: Architecture = _MACHINES[machine]

    def error(self, found: str, wanted: str, fix: str) -> ImageError:
        return ImageError(self.name, found=found, wanted=wanted, fix=fix)

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read fixed fields; beyond the end of the file is an error."""
        if offset < 0 or offset + struct.calcsize(layout) > len(self.data):
            raise self.error(f"a table at {offset:#x}, beyond the file's {len(self.data)} bytes",
                             "a whole file", "copy the file again: it is truncated")  # fmt: skip
        return struct.unpack_from(layout, self.data, offset)

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return part of the file; beyond its end is an error."""
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise self.error(f"{size} bytes at {offset:#x}, beyond the file's {len(self.data)}",
                             "a whole file", "copy the file again: it is truncated")  # fmt: skip
        return self.data[offset : offset + size]

    # -- headers -----------------------------------------------------------------------------

    @cached_property
    def segments(self) -> tuple[ElfSegment, ...]:
        """The program headers."""
        layout = "<IIQQQQQQ" if self.wide else "<IIIIIIII"
        if self._phnum > _MOST_LOADS:
            raise self.error(f"{self._phnum} segments", f"at most {_MOST_LOADS}",
                             "the header is damaged")  # fmt: skip
        if self._phnum and self._phentsize < struct.calcsize(layout):
            raise self.error(f"program headers of {self._phentsize} bytes", "whole ones",
                             "the header is damaged")  # fmt: skip
        found = []
        for index in range(self._phnum):
            row = self.unpack(layout, self._phoff + index * self._phentsize)
            if self.wide:
                kind, flags, offset, address, _, file_size, memory_size, _ = row
            else:
                kind, offset, address, _, file_size, memory_size, flags, _ = row
            found.append(ElfSegment(
                kind=kind, flags=flags, offset=offset, address=address, file_size=file_size,
                memory_size=memory_size,
            ))  # fmt: skip
        return tuple(found)

    @cached_property
    def sections(self) -> tuple[ElfSection, ...]:
        """The section headers; none where they are cut off or make no sense."""
        layout = "<IIQQQQIIQQ" if self.wide else "<IIIIIIIIII"
        size = struct.calcsize(layout)
        if not self._shoff or self._shentsize < size:
            return ()
        rows = []
        for index in range(self._shnum):
            offset = self._shoff + index * self._shentsize
            if offset + size > len(self.data):
                if self.form == "object":
                    self.unpack(layout, offset)  # an object is nothing without them
                return ()
            rows.append(self.unpack(layout, offset))
        names = rows[self._shstrndx] if self._shstrndx < len(rows) else None
        strings = self._slice(names[4], names[5]) if names else b""
        return tuple(
            ElfSection(
                index=index, name=_text(strings, row[0]), kind=row[1], flags=row[2],
                address=row[3], offset=row[4], size=row[5], link=row[6], info=row[7],
                align=row[8], entry=row[9],
            )
            for index, row in enumerate(rows)
        )  # fmt: skip

    def _slice(self, offset: int, size: int) -> bytes:
        """Return part of the file, cut where the file ends: for hints only."""
        return self.data[offset : offset + size] if offset < len(self.data) else b""

    # -- symbols and relocations ---------------------------------------------------------------

    def symbols(self, section: ElfSection) -> tuple[ElfSymbol, ...]:
        """Return the rows of a symbol table."""
        link = self.sections[section.link] if section.link < len(self.sections) else None
        strings = self._slice(link.offset, link.size) if link else b""
        held = self.bytes_at if self.form == "object" else self._slice  # else they are hints
        return tuple(self._symbol_rows(held(section.offset, section.size), strings))

    @cached_property
    def static_symbols(self) -> tuple[ElfSymbol, ...]:
        """The symbols for linkers and debuggers; a stripped file has none."""
        section = next((s for s in self.sections if s.kind == SYMTAB), None)
        return self.symbols(section) if section else ()

    def _symbol_rows(self, data: bytes, strings: bytes) -> Iterator[ElfSymbol]:
        layout = "<IBBHQQ" if self.wide else "<IIIBBH"
        size = struct.calcsize(layout)
        self._check_rows(len(data) // size)
        for row in struct.iter_unpack(layout, data[: len(data) // size * size]):
            if self.wide:
                name, info, _, section, value, length = row
            else:
                name, value, length, info, _, section = row
            yield ElfSymbol(
                name=_text(strings, name), value=value, size=length, binding=info >> 4,
                kind=info & 15, section=section,
            )  # fmt: skip

    def _check_rows(self, rows: int) -> None:
        if rows > _MOST_ROWS:
            raise self.error(f"a table of {rows} rows", f"at most {_MOST_ROWS}",
                             "give the part of the program that holds the network")  # fmt: skip

    def relocations(self, data: bytes, *, addends: bool) -> Iterator[Relocation]:
        """Return the rows of a relocation table."""
        layout = ("<QQq" if addends else "<QQ") if self.wide else ("<IIi" if addends else "<II")
        size = struct.calcsize(layout)
        self._check_rows(len(data) // size)
        for row in struct.iter_unpack(layout, data[: len(data) // size * size]):
            info = row[1]
            kind, symbol = (info & 0xFFFFFFFF, info >> 32) if self.wide else (info & 255, info >> 8)
            yield Relocation(
                offset=row[0], kind=kind, symbol=symbol, addend=row[2] if addends else None
            )

    # -- what the dynamic loader reads -----------------------------------------------------------

    @cached_property
    def dynamic(self) -> dict[int, list[int]]:
        """The entries for the dynamic loader: tag → values."""
        layout = "<qQ" if self.wide else "<iI"
        found: dict[int, list[int]] = {}
        for segment in self.segments:
            if segment.kind != 2:
                continue
            data = self._slice(segment.offset, segment.file_size)
            size = struct.calcsize(layout)
            for tag, value in struct.iter_unpack(layout, data[: len(data) // size * size]):
                if tag == 0:
                    break
                if len(found.setdefault(tag, [])) < 4096:
                    found[tag].append(value)
            break
        return found

    def file_offset(self, address: int) -> int | None:
        """Return where the file holds the byte of an address."""
        for segment in self.segments:
            if segment.kind == 1 and 0 <= address - segment.address < segment.file_size:
                return segment.offset + address - segment.address
        return None

    def dynamic_table(self, start: int, size: int) -> bytes:
        """Return the bytes of a table that the dynamic section names by its tags."""
        where, length = self.dynamic.get(start), self.dynamic.get(size)
        if not where or not length:
            return b""
        offset = self.file_offset(where[0])
        if offset is None:
            return b""
        return self._slice(offset, length[0])

    @cached_property
    def dynamic_strings(self) -> bytes:
        return self.dynamic_table(5, 10)

    @cached_property
    def dynamic_symbols(self) -> tuple[ElfSymbol, ...]:
        """The symbols that the dynamic loader sees, found as it finds them."""
        section = next((s for s in self.sections if s.kind == DYNSYM), None)
        table, strings = self.dynamic.get(6), self.dynamic.get(5)
        begin = self.file_offset(table[0]) if table else None
        if begin is None or not table:
            return self.symbols(section) if section is not None and not table else ()
        size = 24 if self.wide else 16
        # No tag says how many there are; linkers put the strings right behind them. A section,
        # which no loader reads, is believed in nothing else.
        end = strings[0] if strings and strings[0] > table[0] else table[0] + size
        if section is not None and section.offset == begin:
            end = table[0] + section.size
        count = min((end - table[0]) // size, (len(self.data) - begin) // size)
        return tuple(self._symbol_rows(self._slice(begin, count * size), self.dynamic_strings))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Names of the libraries it links to."""
        return tuple(_text(self.dynamic_strings, at) for at in self.dynamic.get(1, ()))

    @cached_property
    def foreign(self) -> tuple[str, ...]:
        """Names of functions of other libraries, those left out that state their names' versions.

        The system's own libraries do; those of an application seldom.
        """
        where = self.dynamic.get(0x6FFF_FFF0)
        place = self.file_offset(where[0]) if where else None
        versions = b"" if place is None else self._slice(place, 2 * len(self.dynamic_symbols))
        found = []
        for at, symbol in enumerate(self.dynamic_symbols):
            version = int.from_bytes(versions[2 * at : 2 * at + 2], "little") & 0x7FFF
            if not symbol.section and symbol.binding == 1 and symbol.kind != 1 and version < 2:
                found.append(symbol.name)
        return tuple(name for name in found if name)

    @cached_property
    def is_microcontroller(self) -> bool:
        """Whether build attributes name the M profile: Thumb code only."""
        for section in self.sections:
            if section.kind == _ARM_ATTRIBUTES:
                # Tag_CPU_arch_profile (7) with the value 'M'.
                return b"\x07M" in self._slice(section.offset, min(section.size, 4096))
        return False


def _text(strings: bytes, offset: int) -> str:
    if offset >= len(strings):
        return ""
    end = strings.find(b"\0", offset, offset + 4096)
    return strings[offset : end if end >= 0 else offset + 4096].decode("utf-8", "replace")
