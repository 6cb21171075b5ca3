"""What a linker writes into code and data, by machine and kind of relocation.

Source: the psABI supplements of x86-64, AArch64 (AAELF64) and 32-bit ARM (AAELF32).
"""

from __future__ import annotations

from dataclasses import dataclass

from ._image import Architecture
from ._memory import Memory

#: Kinds that refer to a slot holding the symbol's address rather than to the symbol.
_SLOT: dict[Architecture, set[int]] = {
    "x86-64": {9, 41, 42}, "aarch64": {311, 312, 309}, "armv7": {96},
}  # fmt: skip

#: x86-64: kind → (bytes, relative to the place)
_X86 = {
    1: (8, False), 2: (4, True), 4: (4, True), 9: (4, True), 10: (4, False), 11: (4, False),
    12: (2, False), 13: (2, True), 24: (8, True), 41: (4, True), 42: (4, True),
}  # fmt: skip

#: AArch64: kind → log2 of the access size whose offset stands in bits 10 to 21
_SCALED = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4, 312: 3}
#: kind → the halfword of the address that stands in bits 5 to 20
_HALFWORD = {263: 0, 264: 0, 265: 1, 266: 1, 267: 2, 268: 2, 269: 3}
_A64_DATA = {257: (8, False), 258: (4, False), 259: (2, False), 260: (8, True), 261: (4, True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixup:
    """One reference to resolve.

    Attributes
    ----------
    place : address that is written
    target : address that it refers to (its slot, for those of `wants_slot`), without the addend
    addend : None where it stands in the place itself
    thumb : whether the target is Thumb code
    """

    place: int
    kind: int
    target: int
    addend: int | None
    thumb: bool = False


def wants_slot(architecture: Architecture, kind: int) -> bool:
    """Whether a kind refers to a slot that holds the symbol's address."""
    return kind in _SLOT[architecture]


def apply_fixup(architecture: Architecture, memory: Memory, fixup: Fixup) -> int | None:
    """Write one reference; returns the target with its addend, or None for an unknown kind."""
    if architecture == "x86-64":
        return _x86(memory, fixup)
    if architecture == "aarch64":
        return _aarch64(memory, fixup)
    return _arm(memory, fixup)


def _x86(memory: Memory, fixup: Fixup) -> int | None:
    known = _X86.get(fixup.kind)
    if known is None:
        return None
    size, relative = known
    target = fixup.target + (fixup.addend or 0)
    return target if memory.put(fixup.place, target - relative * fixup.place, size) else None


def _aarch64(memory: Memory, fixup: Fixup) -> int | None:
    place, target = fixup.place, fixup.target + (fixup.addend or 0)
    data = _A64_DATA.get(fixup.kind)
    if data is not None:
        size, relative = data
        return target if memory.put(place, target - relative * place, size) else None
    word = memory.word(place)
    if word is None:
        return None
    kind = fixup.kind
    if kind in (282, 283):  # b, bl
        word = word & 0xFC000000 | (target - place >> 2) & 0x3FFFFFF
    elif kind in (274, 275, 276, 311):  # adr, adrp
        value = target - place if kind == 274 else (target >> 12) - (place >> 12)
        word = word & 0x9F00001F | (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5
    elif kind in _SCALED:
        word = word & ~(0xFFF << 10) | ((target & 0xFFF) >> _SCALED[kind]) << 10
    elif kind in _HALFWORD:
        word = word & ~(0xFFFF << 5) | (target >> 16 * _HALFWORD[kind] & 0xFFFF) << 5
    elif kind in (273, 280, 309):  # ldr literal, conditional branches
        word = word & ~(0x7FFFF << 5) | (target - place >> 2 & 0x7FFFF) << 5
    elif kind == 279:
        word = word & ~(0x3FFF << 5) | (target - place >> 2 & 0x3FFF) << 5
    else:
        return None
    memory.put(place, word, 4)
    return target


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 & 1 else value


def _arm(memory: Memory, fixup: Fixup) -> int | None:
    place, kind = fixup.place, fixup.kind
    word = memory.word(place)
    if word is None:
        return None
    low, high = word & 0xFFFF, word >> 16
    mode = int(fixup.thumb)
    if kind in (2, 38, 3, 42, 96, 24, 25):  # words of data
        addend = _signed(word, 32) if fixup.addend is None else fixup.addend
        target = fixup.target + addend | mode
        relative = kind in (3, 42, 96)
        value = target - place if relative else target
        if kind == 42:
            value = value & 0x7FFFFFFF | word & 0x80000000
        memory.put(place, value, 4)
        return target
    if kind in (1, 28, 29):  # b, bl of ARM code; blx where the target is Thumb
        addend = _signed(word & 0xFFFFFF, 24) << 2 if fixup.addend is None else fixup.addend
        offset = fixup.target + addend - place
        if fixup.thumb and kind == 28:
            word = 0xFA000000 | (offset >> 1 & 1) << 24
        memory.put(place, word & 0xFF000000 | offset >> 2 & 0xFFFFFF, 4)
        return fixup.target
    if kind in (10, 30):  # bl, b.w of Thumb code; blx where the target is ARM
        return _thumb_branch(memory, fixup, low, high)
    if kind in (43, 44, 45, 46):  # movw, movt of ARM code
        addend = _signed(word >> 4 & 0xF000 | word & 0xFFF, 16)
        value = _half(fixup, addend, place, mode, kind - 43)
        memory.put(place, word & 0xFFF0F000 | (value & 0xF000) << 4 | value & 0xFFF, 4)
        return fixup.target
    if kind in (47, 48, 49, 50):  # movw, movt of Thumb code
        bits = (low & 15) << 12 | (low >> 10 & 1) << 11 | (high >> 12 & 7) << 8 | high & 0xFF
        value = _half(fixup, _signed(bits, 16), place, mode, kind - 47)
        low = low & 0xFBF0 | value >> 12 & 15 | (value >> 11 & 1) << 10
        high = high & 0x8F00 | (value >> 8 & 7) << 12 | value & 0xFF
        memory.put(place, low | high << 16, 4)
        return fixup.target
    if kind == 40:  # marks a bx that older processors cannot run
        return fixup.target
    return None


def _half(fixup: Fixup, addend: int, place: int, mode: int, which: int) -> int:
    """Return the half of an address that movw (0, 2) or movt (1, 3) takes."""
    given = addend if fixup.addend is None else fixup.addend
    value = fixup.target + given
    if which in (0, 2):
        value |= mode
    if which >= 2:
        value -= place
    return value >> 16 & 0xFFFF if which in (1, 3) else value & 0xFFFF


def _thumb_branch(memory: Memory, fixup: Fixup, low: int, high: int) -> int:
    place, addend = fixup.place, fixup.addend
    if addend is None:
        sign = low >> 10 & 1
        first, second = ~((high >> 13 & 1) ^ sign) & 1, ~((high >> 11 & 1) ^ sign) & 1
        addend = _signed(
            sign << 24 | first << 23 | second << 22 | (low & 0x3FF) << 12 | (high & 0x7FF) << 1, 25
        )
    base = place & ~3 if not fixup.thumb and fixup.kind == 10 else place
    offset = fixup.target + addend - base
    sign = offset >> 24 & 1
    first, second = ~(offset >> 23 & 1) & 1 ^ sign, ~(offset >> 22 & 1) & 1 ^ sign
    low = 0xF000 | sign << 10 | offset >> 12 & 0x3FF
    high = high & 0xD000 | first << 13 | second << 11 | offset >> 1 & 0x7FF
    if fixup.kind == 10:
        high = high | 0x1000 if fixup.thumb else high & ~0x1001
    memory.put(place, low | high << 16, 4)
    return fixup.target
