"""Arrays that a binary takes from another file, read from that file.

Models:  what a linker or a loader does by name, for constant data of an ELF object, library or
         program.
Ignores: arrays that somebody may write to, whose numbers may be others by the time they are read.
Judge:   the same program linked from both files (tests/decompile/images/test_beside.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ._elf import NOBITS, Elf
from ._image import Given, Image, Segment

_WRITABLE, _EXECUTABLE, _LOADED = 1, 4, 2


def with_arrays(image: Image, data: bytes, name: str, mark: str = "") -> Image:
    """Return an image that knows the arrays it takes from another file; without any, itself.

    Parameters
    ----------
    data, name : the other file's
    mark : what is said of places in it

    Raises
    ------
    ImageError : the other file is no sound ELF file, or an array is larger than there is room for
    """
    if data[:4] != b"\x7fELF" or not image.elsewhere:
        return image
    elf = Elf(data, name)
    held = {label: (offset, size) for label, offset, size in _arrays(elf)}
    given: dict[int, Given] = {}
    segments = list(image.segments)
    for begin, end in image.elsewhere:
        labels = (image.imports.get(begin), *(s.name for s in image.symbols if s.address == begin))
        label = next((one for one in labels if one in held), None)
        if label is None:
            continue
        offset, size = held[label]
        if size > end - begin:
            raise elf.error(f"{label} of {size} bytes", f"at most {end - begin}",
                            "link the two files into one")  # fmt: skip
        given[begin] = Given(
            data=elf.bytes_at(offset, size), origin=f"{label}{mark} at {offset:#x}"
        )
        for at, segment in enumerate(segments):  # a loader copies some into the file's own memory
            if segment.address <= begin < segment.end:
                segments[at] = _patched(segment, begin, given[begin].data)
    return replace(image, given=given, segments=tuple(segments)) if given else image


def _patched(segment: Segment, address: int, data: bytes) -> Segment:
    start = address - segment.address
    data = data[: segment.end - address]
    before = segment.data[:start].ljust(start, b"\0")
    return replace(segment, data=before + data + segment.data[start + len(data) :])


def _arrays(elf: Elf) -> Iterator[tuple[str, int, int]]:
    """Yield name, place in the file and size of constant data that other files may link to."""
    for symbol in (*elf.static_symbols, *elf.dynamic_symbols):
        if not symbol.binding or symbol.kind > 1 or not 0 < symbol.section < len(elf.sections):
            continue
        section = elf.sections[symbol.section]
        if section.kind == NOBITS or section.flags & (_WRITABLE | _EXECUTABLE | _LOADED) != _LOADED:
            continue
        start = symbol.value - (0 if elf.form == "object" else section.address)
        size = symbol.size or section.size - start  # of files taken in whole nothing says it
        if start >= 0 and 0 < size <= section.size - start:
            yield symbol.name, section.offset + start, size
