"""Programs and shared objects as a loader puts them into memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ._elf import NOBITS, SYMTAB, Elf, ElfSymbol
from ._image import Image, Section, Symbol
from ._memory import Memory, Part, entropy
from ._stubs import find_stubs

#: Relocations of the dynamic loader: machine → kind → what to write.
_DYNAMIC = {
    "x86-64": {1: "symbol", 6: "symbol", 7: "symbol", 8: "base", 37: "chosen", 5: "copy"},
    "aarch64": {257: "symbol", 1025: "symbol", 1026: "symbol", 1027: "base", 1032: "chosen",
                1024: "copy"},
    "armv7": {2: "symbol", 21: "symbol", 22: "symbol", 23: "base", 160: "chosen", 20: "copy"},
}  # fmt: skip

#: Kinds of symbols as ELF numbers them.
_KINDS = {1: "object", 2: "function", 10: "function"}

#: Bits a byte above which code is taken for packed or encrypted.
_PACKED_BITS = 7.3


#: So far apart lie what may be tensors of other files, and so many of them.
_APART_BYTES, _MOST_APART = 1 << 24, 100
#: Relocations of the dynamic loader that only functions have.
_CALLED = {"x86-64": 7, "aarch64": 1026, "armv7": 22}


class Names:
    """Places that stand for what other files define, one a name: functions beside each other."""

    def __init__(self, base: int, far: int = 0) -> None:
        self.base, self.far, self._places = base, far, dict[str, int]()
        #: places of what may be data, with room for it
        self.outside: dict[int, int] = {}

    def place(self, name: str, *, data: bool = False) -> int:
        found = self._places.get(name)
        if found is None:
            found = self.base + 16 * len(self._places)
            if data and len(self.outside) < _MOST_APART:
                found = self.far + _APART_BYTES * len(self.outside)
                self.outside[found] = found + _APART_BYTES
            self._places[name] = found
        return found

    def chosen(self, resolver: int) -> int:
        """Return the place of the function that code chooses by the processor when it is loaded."""
        return self.place(f"the function that the code at {resolver:#x} chooses")

    @property
    def table(self) -> dict[int, str]:
        return {address: name for name, address in self._places.items()}


def load(elf: Elf) -> Image:
    """Return the image of a program or shared object, references resolved.

    Raises
    ------
    ImageError : no loadable segment, or one beyond the file
    """
    memory = Memory(elf.name, len(elf.data), 8 if elf.wide else 4)
    for index, segment in enumerate(elf.segments):
        if segment.kind != 1 or not segment.memory_size:
            continue
        data = elf.bytes_at(segment.offset, min(segment.file_size, segment.memory_size))
        memory.add(Part(
            address=segment.address, data=bytearray(data), size_bytes=segment.memory_size,
            name=f"load{index}", readable=bool(segment.flags & 4),
            writable=bool(segment.flags & 2), executable=bool(segment.flags & 1),
        ))  # fmt: skip
    for one, other in pairwise(memory.parts):
        if other.address < one.end:  # which of them is seen is the loader's affair
            raise elf.error(f"two segments that both lie at {other.address:#x}",
                            "one at each address", "it is damaged or made to mislead")  # fmt: skip
    if not memory.parts:
        raise elf.error("nothing to load", "a program or a shared object",
                        "give the file that is run, not its debugging information")  # fmt: skip
    top = max(part.end for part in memory.parts)
    names = Names((top + 0xFFFF) & ~0xFFF, far=(top + 2 * _APART_BYTES) & -_APART_BYTES)
    notes: list[str] = []
    elsewhere: list[tuple[int, int]] = []
    references = dict(_resolve(elf, memory, names, notes, elsewhere))
    symbols = _symbols(elf)
    segments = memory.segments()
    stubs = find_stubs(elf.architecture, segments, memory, names.table)
    notes += packing(elf, memory)
    architecture = elf.architecture
    if architecture == "armv7" and elf.is_microcontroller:
        architecture = "thumb"
    entries, thumb = _entries(elf, memory, symbols, references)
    return Image(
        name=elf.name, architecture=architecture, form=elf.form, segments=segments,
        sections=tuple(
            Section(name=s.name, address=s.address, size_bytes=s.size)
            for s in elf.sections
            if s.flags & 2 and s.address
        ),
        symbols=symbols, constant=tuple(_constant(elf)),
        elsewhere=(*elsewhere, *names.outside.items()), imports={**names.table, **stubs},
        references=references, entries=entries, thumb_entries=thumb, notes=tuple(notes),
        needed=elf.needed, foreign=elf.foreign,
    )  # fmt: skip


def _constant(elf: Elf) -> Iterator[tuple[int, int]]:
    for segment in elf.segments:
        # A segment of kind 0x6474e552 is made read-only once references are resolved.
        if segment.kind == 0x6474E552 or (segment.kind == 1 and not segment.flags & 2):
            yield segment.address, segment.address + segment.memory_size


def _resolve(
    elf: Elf, memory: Memory, names: Names, notes: list[str], elsewhere: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Write every pointer that the loader sets; yields place and target."""
    known, symbols = _DYNAMIC[elf.architecture], elf.dynamic_symbols
    size, unread = memory.pointer_bytes, 0
    tables = (
        (elf.dynamic_table(7, 8), True),
        (elf.dynamic_table(17, 18), False),
        (elf.dynamic_table(23, 2), elf.dynamic.get(20, [7])[0] == 7),
    )
    for table, addends in tables:
        for row in elf.relocations(table, addends=addends):
            action = known.get(row.kind)
            addend = row.addend
            if addend is None:
                addend = memory.word(row.offset, size) or 0
                if row.kind in (21, 22):  # slots of the linkage table hold no addend
                    addend = 0
            if action is None:
                unread += row.kind != 0
                continue
            target = names.chosen(addend) if action == "chosen" else addend
            if action in ("symbol", "copy"):
                symbol = symbols[row.symbol] if row.symbol < len(symbols) else None
                if symbol is None:
                    unread += 1
                    continue
                if action == "copy":
                    elsewhere.append((row.offset, row.offset + symbol.size))
                    notes.append(f"{symbol.size} bytes at {row.offset:#x} come from another "
                                 "library when it is loaded")  # fmt: skip
                    continue
                if not symbol.section:
                    data = row.kind != _CALLED[elf.architecture]
                    target += names.place(symbol.name, data=data)
                else:
                    target += names.chosen(symbol.value) if symbol.kind == 10 else symbol.value
            if memory.put(row.offset, target, size):
                yield row.offset, target % (1 << 8 * size)
    for place in _relative(elf, memory):
        value = memory.word(place, size)
        if value is not None:
            yield place, value
    if unread:
        notes.append(f"{unread} references are of kinds that are not resolved (thread-local, say)")


def _relative(elf: Elf, memory: Memory) -> Iterator[int]:
    """Decode packed relative relocations (DT_RELR): places whose pointers are right already."""
    size = memory.pointer_bytes
    data, where = elf.dynamic_table(36, 35), 0
    for begin in range(0, len(data) - size + 1, size):
        entry = int.from_bytes(data[begin : begin + size], "little")
        if not entry & 1:
            yield entry
            where = entry + size
            continue
        for bit in range(8 * size - 1):
            if entry >> bit + 1 & 1:
                yield where + bit * size
        where += (8 * size - 1) * size


def _symbols(elf: Elf) -> tuple[Symbol, ...]:
    rows: dict[tuple[str, int], Symbol] = {}
    dynamic = {(s.name, s.value) for s in elf.dynamic_symbols if s.section and s.binding}
    table = next((s for s in elf.sections if s.kind == SYMTAB), None)
    every: list[ElfSymbol] = [*elf.dynamic_symbols, *(elf.symbols(table) if table else ())]
    for row in every:
        # Names that begin with $ tell ARM code from data; sections and files are no names.
        if not row.name or not row.section or row.section >= 0xFF00 or row.name.startswith("$"):
            continue
        if row.kind not in (0, 1, 2, 10):
            continue
        thumb = elf.architecture == "armv7" and row.kind == 2 and bool(row.value & 1)
        address = row.value & ~1 if thumb else row.value
        rows[row.name, address] = Symbol(
            name=row.name, address=address, size_bytes=row.size,
            kind=_KINDS.get(row.kind, "other"), exported=(row.name, row.value) in dynamic,
            thumb=thumb,
        )  # fmt: skip
    return tuple(sorted(rows.values(), key=lambda s: (s.address, s.name)))


def _entries(
    elf: Elf, memory: Memory, symbols: tuple[Symbol, ...], references: dict[int, int]
) -> tuple[tuple[int, ...], frozenset[int]]:
    """Return where code begins: exported functions, others, the entry, then pointers to code.

    The second says which of them are Thumb code.
    """
    functions = [s for s in symbols if s.kind == "function"]
    found = [s.address for s in functions if s.exported]
    found += [s.address for s in functions if not s.exported]
    # A stripped file may have blanked names and kept what they stood for.
    nameless = [s.value for s in elf.dynamic_symbols if s.kind == 2 and s.section and not s.name]
    others = [*nameless, elf.entry, *(target for _, target in sorted(references.items()))]
    even = -2 if elf.architecture == "armv7" else -1
    found += [address & even for address in others if address]
    kept = [a for a in dict.fromkeys(found) if (p := memory.part(a)) and p.executable]
    thumb = {s.address for s in functions if s.thumb}
    if elf.architecture == "armv7":
        thumb |= {address & even for address in others if address & 1}
    return tuple(kept), frozenset(thumb & set(kept))


def packing(elf: Elf, memory: Memory) -> list[str]:
    """Return what speaks for code that unpacks itself before it runs."""
    if b"UPX!" in elf.data[:4096]:
        return ["packed with UPX: unpack it first (upx -d); what runs is not in this file as code"]
    for part in memory.parts:
        if part.executable and len(part.data) > 4096 and entropy(bytes(part.data)) > _PACKED_BITS:
            named = any(s.flags & 4 and s.kind != NOBITS for s in elf.sections)
            if not named or part.writable:
                return ["its code looks packed or encrypted: unpack it first"]
    return []
