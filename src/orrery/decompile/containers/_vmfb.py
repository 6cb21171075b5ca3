"""IREE's module files: functions, imports, data segments and the executables among them.

Models:  a bytecode module as it lies in a ``.vmfb`` file, bare or behind a zip header.
Ignores: debugging information; compressed segments, which no released compiler writes.
Judge:   iree-dump-module's listing of the same file.
Source:  the schema `bytecode_module_def.fbs` of the IREE runtime.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ._flat import Flat
from ._stream import ContainerError

_ZIP = b"PK\x03\x04"
_ALIGN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Read-only data: where it stands in the file, and its bytes."""

    number: int
    offset: int
    data: bytes

    @property
    def is_elf(self) -> bool:
        """Whether it is an executable of its own."""
        return self.data[:4] == b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFunction:
    """A function of the module.

    Attributes
    ----------
    number : in the table of internal functions
    convention : how arguments and results travel, e.g. ``0rr_r``; empty where not said
    code : its bytecode
    attributes : what the compiler noted about it; hints
    """

    number: int
    name: str
    convention: str
    code: bytes
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmfbModule:
    """A module.

    Attributes
    ----------
    version : major and minor version of the bytecode
    imports : (name, convention) by number; names are what the runtime links by
    exports : name → number of the internal function
    """

    name: str
    version: tuple[int, int]
    imports: tuple[tuple[str, str], ...]
    exports: Mapping[str, int]
    functions: tuple[ModuleFunction, ...]
    segments: tuple[Segment, ...]

    @property
    def executables(self) -> tuple[Segment, ...]:
        """The segments that are machine code."""
        return tuple(segment for segment in self.segments if segment.is_elf)


def is_vmfb(data: bytes) -> bool:
    """Whether bytes begin as such a module does."""
    begin = _begin(data)
    return data[begin + 8 : begin + 12] == b"IREE"


def _begin(data: bytes) -> int:
    """Return where the module begins: after a zip header, if there is one."""
    if data[:4] != _ZIP or len(data) < 30:
        return 0
    name, extra = struct.unpack_from("<HH", data, 26)
    return 30 + int(name) + int(extra)


def read_vmfb(data: bytes, name: str = "module") -> VmfbModule:
    """Read a module.

    Raises
    ------
    ContainerError : not such a file, truncated, or offsets beyond its end
    """
    begin = _begin(data)
    if not is_vmfb(data):
        raise ContainerError(name, found="another kind of file", wanted="an IREE module (.vmfb)",
                             fix="give the file that iree-compile wrote")  # fmt: skip
    (size,) = struct.unpack_from("<I", data, begin)
    if begin + 4 + size > len(data):
        raise ContainerError(
            name,
            found=f"{len(data)} bytes of {begin + 4 + size}",
            wanted="a whole file",
            fix="copy the file again: it is truncated",
        )
    flat = Flat(data[begin + 4 : begin + 4 + size], name)
    root = flat.root()
    tail = -(-(begin + 4 + size) // _ALIGN) * _ALIGN
    segments = []
    for number, row in enumerate(root.tables(9)):
        where, held = row.bytes_of(2)
        offset = begin + 4 + where
        length = row.number(4, "<Q")
        if not held and length:
            offset = tail + row.number(3, "<Q")
            if offset + length > len(data):
                raise ContainerError(f"{name}: data segment {number}",
                                     found=f"{length} bytes at {offset:#x}, beyond the end",
                                     wanted="a whole file", fix="copy the file again")  # fmt: skip
            held = data[offset : offset + length]
        segments.append(Segment(number=number, offset=offset, data=held))
    _, code = root.bytes_of(14)
    exports = {row.text(0): row.number(1, "<i") for row in root.tables(7)}
    names = {number: label for label, number in exports.items()}
    signatures = root.tables(8)
    functions = []
    for number, (first, length, *_) in enumerate(root.rows(12, "<iiIhhhh")):
        if first < 0 or length < 0 or first + length > len(code):
            raise ContainerError(f"{name}: function {number}", found="code beyond the end",
                                 wanted="a sound file", fix="copy the file again")  # fmt: skip
        signature = signatures[number] if number < len(signatures) else None
        functions.append(ModuleFunction(
            number=number, name=names.get(number, ""), code=code[first : first + length],
            convention=signature.text(0) if signature else "",
            attributes={a.text(0): a.text(1) for a in signature.tables(1)} if signature else {},
        ))  # fmt: skip
    version = root.number(13)
    imports = []
    for imported in root.tables(6):
        signature = imported.table(1)
        imports.append((imported.text(0), signature.text(0) if signature else ""))
    return VmfbModule(
        name=root.text(0), version=(version >> 16, version & 0xFFFF), imports=tuple(imports),
        exports=exports, functions=tuple(functions), segments=tuple(segments),
    )  # fmt: skip
