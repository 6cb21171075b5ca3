"""What a lifter must know of a binary and of the machine it is for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from orrery.decompile.images import Image
from orrery.errors import SpecError


class Code(Protocol):
    """A binary as a lifter sees it."""

    @property
    def architecture(self) -> str:
        """Return ``x86-64``, ``aarch64``, ``armv7`` or ``thumb``."""
        ...

    def read(self, address: int, size: int) -> bytes | None:
        """Return bytes as the file has them, fewer at the end of a segment, None outside."""
        ...

    def constant(self, address: int, size: int) -> bytes | None:
        """Return bytes that no program may write, None where it may or where nothing is."""
        ...

    def import_name(self, address: int) -> str | None:
        """Return the name of the imported function whose stub or place this is."""
        ...

    def name(self, address: int) -> str:
        """Return the symbol of a function, empty without one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Registers by their place in VEX's state, and who uses them for what in a call.

    Attributes
    ----------
    integers, floats : where arguments come, in order
    result, float_result : where what is returned comes
    kept : registers that a callee leaves as they were, as (offset, size)
    between : registers that stubs of the linker between a call and its function may change
    fixed : registers with a value of their own at entry
    """

    name: str
    word: int
    stack: int
    link: int | None
    integers: tuple[int, ...]
    floats: tuple[int, ...]
    result: int
    float_result: int
    kept: tuple[tuple[int, int], ...]
    fixed: tuple[tuple[int, int, int], ...] = ()
    vectors: tuple[int, int] = (0, 0)
    ignored: tuple[int, ...] = ()
    between: tuple[int, ...] = ()

    @property
    def x86(self) -> bool:
        """Whether this is x86-64."""
        return self.name == "x86-64"


class ImageCode:
    """An `Image` as a lifter sees it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.architecture: str = image.architecture
        self.symbols = {s.address: s.name for s in image.symbols if s.kind == "function"}

    def read(self, address: int, size: int) -> bytes | None:
        """Return bytes of code, fewer at the end of a segment."""
        segment = self.image.segment(address)
        if segment is None or not segment.executable:
            return None
        return self.image.read(address, min(size, segment.end - address))

    def constant(self, address: int, size: int) -> bytes | None:
        """Return bytes that nobody may write."""
        return self.image.read(address, size) if self.image.is_constant(address, size) else None

    def import_name(self, address: int) -> str | None:
        """Return the name of an imported function."""
        name = self.image.imports.get(address)
        if name is None and self.architecture in ("armv7", "thumb"):
            name = self.image.imports.get(address & ~1)
        return name

    def name(self, address: int) -> str:
        """Return the symbol of a function."""
        return self.symbols.get(address, "") or self.symbols.get(address & ~1, "")


def _x(first: int, number: int) -> int:
    return first + 8 * number


ARCHITECTURES = {
    "x86-64": Machine(
        name="x86-64", word=8, stack=48, link=None, integers=(72, 64, 32, 24, 80, 88),
        floats=tuple(224 + 32 * i for i in range(8)), result=16, float_result=224,
        kept=((40, 8), (48, 8), (56, 8), (112, 8), (120, 8), (128, 8), (136, 8)),
        fixed=((160 + 16, 8, 1), (216, 8, 0)), vectors=(224, 224 + 32 * 16), ignored=(184,),
        between=(104,),
    ),
    "aarch64": Machine(
        name="aarch64", word=8, stack=264, link=256, integers=tuple(_x(16, i) for i in range(8)),
        floats=tuple(320 + 16 * i for i in range(8)), result=16, float_result=320,
        kept=(*((_x(16, i), 8) for i in range(18, 30)), (264, 8),
              *((320 + 16 * i, 8) for i in range(8, 16))),
        vectors=(320, 320 + 16 * 32), ignored=(272,), between=(_x(16, 16), _x(16, 17)),
    ),
    "armv7": Machine(
        name="armv7", word=4, stack=60, link=64, integers=(8, 12, 16, 20),
        floats=tuple(128 + 4 * i for i in range(16)), result=8, float_result=128,
        kept=(*((8 + 4 * i, 4) for i in range(4, 12)), (60, 4), (192, 64)),
        fixed=((392, 4, 0),), vectors=(128, 128 + 8 * 32), ignored=(68,), between=(56,),
    ),
}  # fmt: skip


def machine_of(architecture: str) -> Machine:
    """Return the machine of that name.

    Raises
    ------
    SpecError
        If no lifter knows it.
    """
    known = ARCHITECTURES.get("armv7" if architecture == "thumb" else architecture)
    if known is None:
        raise SpecError(
            "the binary's architecture", found=architecture,
            wanted="one of " + ", ".join([*ARCHITECTURES, "thumb"]), fix="recover it elsewhere",
        )  # fmt: skip
    return known


@cache
def _vex_architecture(name: str) -> Any:
    import archinfo

    makers = {"x86-64": archinfo.ArchAMD64, "aarch64": archinfo.ArchAArch64,
              "armv7": archinfo.ArchARMHF, "thumb": archinfo.ArchARMHF}  # fmt: skip
    maker: Any = makers[name]
    return maker()


def blocks_from(code: Code, address: int, limit: int) -> Any:
    """Return the basic block at an address in VEX; odd addresses are Thumb.

    Parameters
    ----------
    limit : bytes at most
    """
    import pyvex

    thumb = bool(address & 1) and code.architecture in ("armv7", "thumb")
    place = address - 1 if thumb else address
    data = code.read(place, min(limit, 1024))
    if not data:
        return None
    return pyvex.lift(
        data, address, _vex_architecture(code.architecture), max_bytes=len(data), max_inst=99,
        bytes_offset=1 if thumb else 0, opt_level=1, cross_insn_opt=True,
    )  # fmt: skip
