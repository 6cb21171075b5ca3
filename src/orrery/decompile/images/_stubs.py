"""Stubs of the linkage table: short code that jumps to where a pointer in memory says.

Found by what they do, not by section names, which a stripped file may lack: a jump through a slot
that holds a place of another file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence

from ._image import Architecture, Segment
from ._memory import Memory


def find_stubs(
    architecture: Architecture, segments: Sequence[Segment], memory: Memory,
    names: Mapping[int, str],
) -> dict[int, str]:  # fmt: skip
    """Return the address of each stub and what it leads to."""
    if not names:
        return {}
    found: dict[int, str] = {}
    for address, slot in stub_slots(architecture, segments):
        target = memory.pointer(slot)
        if target is not None and target in names:
            found[address] = names[target]
    return found


def stub_slots(
    architecture: Architecture, segments: Sequence[Segment]
) -> Iterator[tuple[int, int]]:
    """Yield the address of each stub and of the pointer that it jumps through."""
    reader = {"x86-64": _x86, "aarch64": _aarch64}.get(architecture, _arm)
    for segment in segments:
        if segment.executable:
            yield from reader(segment)


def _x86(segment: Segment) -> Iterator[tuple[int, int]]:
    """Find ``[endbr64] [bnd] jmp *offset(%rip)``."""
    for match in re.finditer(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25", segment.data):
        begin, end = match.span()
        if end + 4 > len(segment.data):
            break
        offset = struct.unpack_from("<i", segment.data, end)[0]
        slot = segment.address + end + 4 + offset
        # Where an earlier instruction ends in these bytes, calls go to the jump itself.
        jump = segment.data.find(b"\xff\x25", begin)
        for start in {begin, jump}:
            yield segment.address + start, slot


def _aarch64(segment: Segment) -> Iterator[tuple[int, int]]:
    """Find ``adrp x16; ldr x17, [x16, …]; add x16, …; br x17``."""
    for match in re.finditer(rb"\x20\x02\x1f\xd6", segment.data):  # br x17
        begin = match.start() - 12
        if begin < 0 or match.start() % 4:
            continue
        page, load, _ = struct.unpack_from("<III", segment.data, begin)
        if page & 0x9F00001F != 0x90000010 or load & 0xFFC003FF != 0xF9400211:
            continue
        high = (page >> 5 & 0x7FFFF) << 2 | page >> 29 & 3
        if high >> 20:
            high -= 1 << 21
        address = segment.address + begin
        slot = (address & ~0xFFF) + (high << 12) + (load >> 10 & 0xFFF) * 8
        yield address, slot
        if begin >= 4 and segment.data[begin - 4 : begin] == b"\x5f\x24\x03\xd5":  # bti c
            yield address - 4, slot


def _arm(segment: Segment) -> Iterator[tuple[int, int]]:
    """Find ``add ip, pc, …; [add ip, ip, …;] ldr pc, [ip, …]!``, after ``bx pc; nop`` too."""
    data = segment.data
    for place in range(0, len(data) - 7, 4):
        (first,) = struct.unpack_from("<I", data, place)
        if first & 0xFFFFF000 != 0xE28FC000:
            continue
        value, where = segment.address + place + 8 + _rotated(first), place + 4
        (word,) = struct.unpack_from("<I", data, where)
        while word & 0xFFFFF000 == 0xE28CC000 and where + 8 <= len(data):
            value, where = value + _rotated(word), where + 4
            (word,) = struct.unpack_from("<I", data, where)
        if word & 0xFF7FF000 != 0xE53CF000:
            continue
        offset = word & 0xFFF
        slot = value + offset if word >> 23 & 1 else value - offset
        yield segment.address + place, slot
        before = data[place - 4 : place] if place >= 4 else b""
        if before[:2] == b"\x78\x47":  # bx pc
            yield segment.address + place - 4, slot


def _rotated(word: int) -> int:
    turn, value = (word >> 8 & 15) * 2, word & 0xFF
    return (value >> turn | value << 32 - turn) & 0xFFFFFFFF
