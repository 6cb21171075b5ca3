"""A binary as a lifter sees it: bytes or None, where an image raises."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from .images import Image, ImageError
from .images._stubs import stub_slots

#: pointer that TVM's runtime fills in when it loads a library -> the function it then leads to
_FILLED_IN = {
    f"__{name}": name
    for name in ("TVMBackendAllocWorkspace", "TVMBackendFreeWorkspace", "TVMBackendParallelLaunch")
}


def own_stubs(image: Image) -> dict[int, int]:
    """Return stubs of the linkage table that lead to functions of the same file.

    A shared object calls its own exported functions through them, as another may take their place.
    """
    found = {}
    for stub, slot in stub_slots(image.architecture, image.segments):
        target = image.references.get(slot)
        if target is not None and stub not in image.imports and image.is_code(target & ~1):
            found[stub] = target
    return found


def _jump(architecture: str, place: int, target: int) -> bytes:
    """Return a jump from one address to another."""
    if architecture == "x86-64":
        return b"\xe9" + struct.pack("<i", target - place - 5)
    if architecture == "aarch64":
        return struct.pack("<I", 0x14000000 | (target - place) // 4 & 0x3FFFFFF)
    if not target & 1:
        return struct.pack("<I", 0xEA000000 | (target - place - 8) // 4 & 0xFFFFFF)
    # To Thumb code: movw ip, movt ip, bx ip, as long as the stub that stands here.
    halves = ((0xE300C000, target & 0xFFFF), (0xE340C000, target >> 16))
    moves = [word | half >> 12 << 16 | half & 0xFFF for word, half in halves]
    return struct.pack("<III", *moves, 0xE12FFF1C)


class ImageCode:
    """An image behind the questions that lifting asks."""

    def __init__(self, image: Image, filled: Mapping[int, str] | None = None) -> None:
        """Take an image.

        Parameters
        ----------
        filled : pointers that a runtime fills in, by address, and the function each leads to;
            those whose name says so are known
        """
        self.image = image
        #: a stub's first bytes, as if it jumped right to where its pointer leads
        self._direct = {
            stub: _jump(image.architecture, stub, to) for stub, to in own_stubs(image).items()
        }
        #: pointers that a runtime fills in when the file is loaded, and what they then lead to
        self._filled: dict[int, int] = {}
        self._runtime: dict[int, str] = {}
        end = (1 << (8 * image.pointer_bytes - 1)) - 0x1000  # positive however it is read
        named = {s.address: _FILLED_IN[s.name] for s in image.symbols if s.name in _FILLED_IN}
        for number, (place, name) in enumerate({**named, **(filled or {})}.items()):
            self._filled[place] = end + 16 * number
            self._runtime[end + 16 * number] = name
        self._names = {s.address: s.name for s in reversed(image.symbols) if s.kind == "function"}

    @property
    def architecture(self) -> str:
        return self.image.architecture

    def read(self, address: int, size: int) -> bytes | None:
        """Return bytes, fewer at the end of a segment, None outside of all."""
        segment = self.image.segment(address)
        if segment is None:
            return None
        found = self.image.read(address, min(size, segment.end - address))
        direct = self._direct.get(address, b"")
        return direct + found[len(direct) :] if direct else found

    def constant(self, address: int, size: int) -> bytes | None:
        """Return bytes that no program may write, else None."""
        if address in self._filled and size == self.image.pointer_bytes:
            return self._filled[address].to_bytes(size, "little")
        if not self.image.is_constant(address, size):
            return None
        try:
            return self.image.read(address, size)
        except ImageError:
            return None

    def import_name(self, address: int) -> str | None:
        return self._runtime.get(address) or self.image.imports.get(address)

    def name(self, address: int) -> str:
        return self._names.get(address & ~1 if self.thumb(address) else address, "")

    def plain(self, address: int) -> int:
        """Return an address without the bit that says Thumb, on machines that have one."""
        arm = self.image.architecture in ("armv7", "thumb")
        return address & ~1 if arm else address

    def thumb(self, address: int) -> bool:
        """Whether an address is that of Thumb code, by its lowest bit or by what names say."""
        architecture = self.image.architecture
        return architecture == "thumb" or (architecture == "armv7" and bool(address & 1))
