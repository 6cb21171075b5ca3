"""Relocatable objects, one or an archive's members, laid out and resolved as a linker would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ._elf import NOBITS, REL, RELA, Elf, ElfSection, ElfSymbol
from ._fixups import Fixup, apply_fixup, wants_slot
from ._image import Image, ImageError, Section, Symbol
from ._loaded import Names, packing
from ._memory import Memory, Part

_KINDS = {1: "object", 2: "function", 10: "function"}
_MOST_FIXUPS = 8_000_000
#: Relocations of calls and jumps, which lead to functions only.
_BRANCHES = {"x86-64": {4}, "aarch64": {282, 283}, "armv7": {1, 10, 28, 29, 30}}


@dataclass(frozen=True, slots=True)
class _Place:
    """What a symbol stands for in the memory that is laid out."""

    address: int
    thumb: bool = False


def link(objects: Sequence[Elf], name: str, *, base: int, form: str) -> Image:
    """Return the image of objects put behind one another from an address on.

    Code comes first, then places for what other files define, then constants, then the rest, so
    that short branches reach. A symbol that two members define is the first one's, as linkers take
    it; each member's own static symbols stay its own.

    Raises
    ------
    ImageError : members of different machines, or tables beyond the file
    """
    first = objects[0]
    for elf in objects:
        if elf.architecture != first.architecture:
            raise ImageError(name, found=f"members for {first.architecture} and "
                             f"{elf.architecture}", wanted="one machine",
                             fix="give the members one by one")  # fmt: skip
    size = 8 if first.wide else 4
    memory = Memory(name, sum(len(elf.data) for elf in objects), size)
    builder = _Linker(memory, base)
    # Such machines know no other code: a branch to another file's function stays in it.
    builder.thumb_only = first.architecture == "armv7" and first.is_microcontroller
    for number, elf in enumerate(objects):
        builder.lay(number, elf, lambda s: bool(s.flags & 4))
    builder.names = Names(_up(builder.end, 4096))
    undefined = sum(1 for elf in objects for s in _table(elf) if not s.section or s.kind == 10)
    builder.end = builder.names.base + 16 * (undefined + 1)
    for number, elf in enumerate(objects):
        builder.lay(number, elf, lambda s: not s.flags & 4 and not s.flags & 1)
    for number, elf in enumerate(objects):
        builder.lay(number, elf, lambda s: not s.flags & 4 and bool(s.flags & 1))
    for number, elf in enumerate(objects):
        builder.define(number, elf)
    for elf in objects:
        builder.set_aside(elf)
    builder.names.far = _up(builder.end, 1 << 24) + (1 << 24)
    for number, elf in enumerate(objects):
        builder.resolve(number, elf)
    builder.put_slots()
    return builder.image(objects, name, form)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _table(elf: Elf) -> tuple[ElfSymbol, ...]:
    return elf.static_symbols


class _Linker:
    def __init__(self, memory: Memory, base: int) -> None:
        self.memory, self.end, self.names = memory, base, Names(0)
        self.laid: dict[tuple[int, int], int] = {}
        self.sections: list[Section] = []
        self.constant: list[tuple[int, int]] = []
        self.symbols: list[Symbol] = []
        self.own: dict[tuple[int, int], _Place] = {}
        self.shared: dict[str, _Place] = {}
        self.slots: dict[int, int] = {}
        self.slots_base = 0
        self.thumb_only = False
        self.references: dict[int, int] = {}
        self.unread: dict[int, int] = {}

    def lay(self, number: int, elf: Elf, chosen: Callable[[ElfSection], bool]) -> None:
        """Give addresses to the sections that `chosen` picks."""
        for section in elf.sections:
            if not section.flags & 2 or section.flags & 0x400 or not chosen(section):
                continue
            align = section.align if 0 < section.align <= 1 << 16 else 16
            address = _up(self.end, max(align, 16))
            data = b"" if section.kind == NOBITS else elf.bytes_at(section.offset, section.size)
            writable = bool(section.flags & 1)
            self.memory.add(Part(
                address=address, data=bytearray(data), size_bytes=section.size, name=section.name,
                writable=writable, executable=bool(section.flags & 4),
            ))  # fmt: skip
            self.laid[number, section.index] = address
            self.end = address + section.size
            self.sections.append(
                Section(name=section.name, address=address, size_bytes=section.size)
            )
            # Sections that hold addresses are written by the linker and by nobody after it.
            if not writable or section.name.startswith(".data.rel.ro"):
                self.constant.append((address, self.end))

    def define(self, number: int, elf: Elf) -> None:
        """Give addresses to symbols."""
        arm = elf.architecture == "armv7"
        for index, row in enumerate(_table(elf)):
            start = self.laid.get((number, row.section))
            if not row.section or start is None:
                continue
            thumb = arm and row.kind == 2 and bool(row.value & 1)
            place = _Place(start + (row.value & ~1 if thumb else row.value), thumb)
            address = place.address
            if row.kind == 10:
                place = _Place(self.names.chosen(address))
            self.own[number, index] = place
            if row.binding and row.name:
                self.shared.setdefault(row.name, place)
            if row.name and row.kind in (0, 1, 2, 10) and not row.name.startswith("$"):
                self.symbols.append(Symbol(
                    name=row.name, address=address, size_bytes=row.size,
                    kind=_KINDS.get(row.kind, "other"), exported=bool(row.binding), thumb=thumb,
                ))  # fmt: skip

    def set_aside(self, elf: Elf) -> None:
        """Give addresses to common symbols, of which no member says what stands there."""
        for row in _table(elf):
            if row.section == 0xFFF2 and row.name not in self.shared:
                address = _up(self.end, max(min(row.value, 4096), 16))
                self.memory.add(Part(address=address, data=bytearray(), size_bytes=row.size,
                                     name="common", writable=True, executable=False))  # fmt: skip
                self.end = address + row.size
                self.shared[row.name] = _Place(address)
        self.slots_base = _up(self.end, 4096)

    def resolve(self, number: int, elf: Elf) -> None:
        """Write every reference of one object."""
        table, rows = _table(elf), 0
        for section in elf.sections:
            start = self.laid.get((number, section.info))
            if section.kind not in (REL, RELA) or start is None:
                continue
            data = elf.bytes_at(section.offset, section.size)
            for row in elf.relocations(data, addends=section.kind == RELA):
                rows += 1
                if rows > _MOST_FIXUPS:
                    raise elf.error("tables that refer to each other without end",
                                    "a sound file", "it is damaged or made to mislead")  # fmt: skip
                if row.symbol >= len(table):
                    self.unread[row.kind] = self.unread.get(row.kind, 0) + 1
                    continue
                held = row.kind not in _BRANCHES[elf.architecture]
                place = self._meaning(number, row.symbol, table[row.symbol], data=held)
                target = place.address
                if wants_slot(elf.architecture, row.kind):
                    target = self.slots.setdefault(
                        place.address | place.thumb,
                        self.slots_base + len(self.slots) * self.memory.pointer_bytes,
                    )
                written = apply_fixup(elf.architecture, self.memory, Fixup(
                    place=start + row.offset, kind=row.kind, target=target, addend=row.addend,
                    thumb=place.thumb or (self.thumb_only and row.kind in (10, 30)),
                ))  # fmt: skip
                if written is None:
                    if row.kind:
                        self.unread[row.kind] = self.unread.get(row.kind, 0) + 1
                else:
                    self.references[start + row.offset] = written

    def _meaning(self, number: int, index: int, row: ElfSymbol, *, data: bool) -> _Place:
        if row.section == 0xFFF1:
            return _Place(row.value)
        if row.binding and row.name in self.shared:
            return self.shared[row.name]
        found = self.own.get((number, index))
        if found is not None:
            return found
        return _Place(self.names.place(row.name or "(unnamed)", data=data))

    def put_slots(self) -> None:
        """Write the slots that code reads addresses from."""
        if not self.slots:
            return
        size = self.memory.pointer_bytes
        data = b"".join(target.to_bytes(size, "little") for target in self.slots)
        self.memory.add(Part(address=self.slots_base, data=bytearray(data), size_bytes=len(data),
                             name=".got", writable=False, executable=False))  # fmt: skip
        self.constant.append((self.slots_base, self.slots_base + len(data)))
        self.references |= {slot: target for target, slot in self.slots.items()}

    def image(self, objects: Sequence[Elf], name: str, form: str) -> Image:
        notes = packing(objects[0], self.memory)
        if self.unread:
            listed = ", ".join(f"{kind} ({n}×)" for kind, n in sorted(self.unread.items()))
            notes.append(f"references of kinds that are not resolved: {listed}")
        if not any(part.executable for part in self.memory.parts):
            raise ImageError(name, found="no code", wanted="an object with functions",
                             fix="give the object that was compiled from the network")  # fmt: skip
        functions = [s for s in self.symbols if s.kind == "function"]
        thumb = objects[0].architecture == "armv7" and (
            objects[0].is_microcontroller
            or (bool(functions) and all(s.thumb for s in functions))
        )  # fmt: skip
        ordered = sorted(functions, key=lambda s: (not s.exported, s.address))
        return Image(
            name=name, architecture="thumb" if thumb else objects[0].architecture, form=form,
            segments=self.memory.segments(), sections=tuple(self.sections),
            symbols=tuple(sorted(self.symbols, key=lambda s: (s.address, s.name))),
            thumb_entries=frozenset(s.address for s in functions if s.thumb),
            constant=tuple(self.constant), elsewhere=tuple(self.names.outside.items()),
            imports=self.names.table, references=self.references,
            entries=tuple(dict.fromkeys(s.address for s in ordered)), notes=tuple(notes),
        )  # fmt: skip
