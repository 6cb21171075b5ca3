"""Any file that may hold a network as code → its image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from orrery.errors import OrreryError

from ._elf import Elf
from ._image import Architecture, Image, ImageError, Segment
from ._linked import link
from ._loaded import load
from ._memory import entropy

#: Where objects are put when nobody says where they lie.
OBJECT_BASE = 0x40_0000

#: Larger files are refused: no compiled network is.
_MOST_BYTES = 4 << 30
_MOST_MEMBERS = 4096

_ARCHITECTURES: tuple[Architecture, ...] = ("x86-64", "aarch64", "armv7", "thumb")


def open_image(
    binary: str | Path | bytes, *, base: int | None = None, architecture: str | None = None,
    name: str = "",
) -> Image:  # fmt: skip
    """Return a binary as it lies in memory; it is never executed.

    Parameters
    ----------
    binary : path, or bytes of: an ELF shared object, program or relocatable object; a static
        archive of objects; or a bare memory image, which needs both of the next two
    base : address of the first byte of a bare image; where objects are put, of objects
    architecture : of a bare image: ``x86-64``, ``aarch64``, ``armv7`` or ``thumb``

    Raises
    ------
    ImageError : no such file, not a binary, truncated, too large, another machine's
    """
    if isinstance(binary, bytes):
        data, name = binary, name or "binary"
    else:
        path = Path(binary)
        data, name = _contents(path), name or path.name
    try:
        return _opened(data, name, base, architecture)
    except OrreryError:
        raise
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, ArithmeticError) as error:
        # Whatever a file can make a reader trip over is the file's fault, and is said as such.
        raise ImageError(name, found=f"tables that contradict each other ({error})",
                         wanted="a sound binary", fix="copy the file again") from error  # fmt: skip


def _contents(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ImageError(path.name, found=f"{size} bytes", wanted=f"at most {_MOST_BYTES}",
                             fix="give the library that holds the network alone")  # fmt: skip
        return path.read_bytes()
    except OSError as error:
        raise ImageError(path.name, found=error.strerror or str(error), wanted="a readable file",
                         fix="correct the path") from error  # fmt: skip


def _opened(data: bytes, name: str, base: int | None, architecture: str | None) -> Image:
    if architecture is not None and architecture not in _ARCHITECTURES:
        raise ImageError(
            name,
            found=f"architecture {architecture!r}",
            wanted=f"one of {', '.join(_ARCHITECTURES)}",
            fix="correct it",
        )
    if not data:
        raise ImageError(name, found="an empty file", wanted="a binary", fix="give another file")
    if data[:8] == b"!<arch>\n":
        members = [
            Elf(member, f"{name}({label})")
            for label, member in _members(data, name)
            if member[:4] == b"\x7fELF"
        ]
        members = [elf for elf in members if elf.form == "object"]
        if not members:
            raise ImageError(
                name,
                found="an archive without object files",
                wanted="one with code",
                fix="give the archive that was linked",
            )
        return link(members, name, base=OBJECT_BASE if base is None else base, form="archive")
    if data[:4] == b"\x7fELF":
        elf = Elf(data, name)
        if architecture not in (None, elf.architecture) and (
            (elf.architecture, architecture) != ("armv7", "thumb")
        ):
            raise ImageError(name, found=f"an ELF file for {elf.architecture}",
                             wanted=f"{architecture}, as it was said to be",
                             fix="leave that out: the file says it itself")  # fmt: skip
        if base is not None and elf.form != "object":
            raise ImageError(name, found=f"an ELF file that is linked, and base {base:#x}",
                             wanted="a base address for bare bytes or objects only",
                             fix="leave it out: the file says itself where it lies")  # fmt: skip
        if elf.form == "object":
            return link([elf], name, base=OBJECT_BASE if base is None else base, form="object")
        return load(elf)
    if architecture is None or base is None:
        known = {b"MZ": "a Windows program", b"\xcf\xfa": "a Mach-O program", b"PK": "a zip file",
                 b"\x1f\x8b": "a gzip file", b"#!": "a script",
                 b"!<": "an archive that holds no members itself"}  # fmt: skip
        found = known.get(data[:2], f"bytes {data[:4].hex(' ')}")
        raise ImageError(
            name,
            found=found,
            wanted="an ELF file, an archive or a VM module",
            fix="for a bare memory image give its base address and architecture (--base, --arch)",
        )
    return _firmware(data, name, base, architecture)


def _members(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Return the members of a static archive."""
    at, long_names, count = 8, b"", 0
    while at + 60 <= len(data):
        head = data[at : at + 60]
        text = head[48:58].strip()
        if head[58:60] != b"`\n" or not re.fullmatch(rb"\d{1,10}", text):
            raise ImageError(name, found=f"a damaged member at {at:#x}", wanted="a whole archive",
                             fix="copy the file again")  # fmt: skip
        size, begin = int(text), at + 60
        if begin + size > len(data):
            raise ImageError(
                name,
                found=f"a member of {size} bytes at {at:#x}, beyond the end",
                wanted="a whole archive",
                fix="copy the file again: it is truncated",
            )
        count += 1
        if count > _MOST_MEMBERS:
            raise ImageError(name, found=f"more than {_MOST_MEMBERS} members",
                             wanted="an archive of one network",
                             fix="extract the members that hold it")  # fmt: skip
        label, body = head[:16].rstrip(), data[begin : begin + size]
        if label == b"//":
            long_names = body
        elif label not in (b"/", b"/SYM64/"):
            if label[:1] == b"/" and label[1:].isdigit():
                label = long_names[int(label[1:]) :].split(b"\n")[0]
            yield label.rstrip(b"/").decode("utf-8", "replace"), body
        at = begin + size + (size & 1)


def _firmware(data: bytes, name: str, base: int, architecture: str) -> Image:
    """Return bare bytes: all code, all constant, entries from the vector table where one stands."""
    bits = 64 if architecture in ("x86-64", "aarch64") else 32
    if base < 0 or base + len(data) > 1 << bits:
        raise ImageError(
            name,
            found=f"base {base:#x} with {len(data)} bytes",
            wanted=f"an address of {bits} bits",
            fix="correct the base address",
        )
    kind: Architecture = next(a for a in _ARCHITECTURES if a == architecture)
    entries = list(_vectors(data, base)) if kind == "thumb" else []
    notes = []
    if entropy(data) > 7.9:
        notes.append("its bytes look packed or encrypted: unpack it first")
    segment = Segment(address=base, data=data, size_bytes=len(data), name="image", executable=True)
    return Image(
        name=name, architecture=kind, form="firmware", segments=(segment,),
        constant=((base, base + len(data)),), entries=tuple(entries), notes=tuple(notes),
    )  # fmt: skip


def _vectors(data: bytes, base: int) -> Iterator[int]:
    """Read the vector table of a microcontroller: a stack, then Thumb addresses in the image."""
    for place in range(4, min(len(data) - 3, 4 * 256), 4):
        word = int.from_bytes(data[place : place + 4], "little")
        if word and not (word & 1 and base <= word < base + len(data)):
            return
        if word:
            yield word & ~1
