"""The first stages: a file becomes images of machine code, and the network's calls where a
framework wrote them down."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ._code import ImageCode
from ._frame import Records
from ._functions import find_functions
from .containers import (
    ContainerError,
    Sequence,
    VmfbModule,
    VmProgram,
    find_vm_programs,
    follow_vm_program,
    follow_vmfb,
    is_vmfb,
    read_vmfb,
)
from .images import Image, ImageError, open_image, with_arrays
from .linking import traced_program

_MOST_BYTES = 4 << 30
#: What is said of a constant that stands in the file given beside the binary.
COMPANION = " of the companion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked.

    Attributes
    ----------
    companion : a file with the weights, where they are not in the binary
    base, architecture : of bare firmware
    entry : address or name of the function that computes the network; None to look for it
    function_s : time for one function
    lifting_s : time for all of them
    """

    path: Path
    companion: Path | None = None
    base: int | None = None
    architecture: str | None = None
    entry: int | str | None = None
    function_s: float = 60.0
    lifting_s: float = 600.0
    leaks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file as images.

    Attributes
    ----------
    images : the machine code, several of an IREE module
    module : an IREE module, None of other files
    """

    name: str
    data: bytes = field(repr=False)
    images: tuple[Image, ...]
    module: VmfbModule | None = None
    companion: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def found(self) -> str:
        first = self.images[0]
        kind = "IREE module" if self.module is not None else first.form
        return f"{kind}, {first.architecture}, {len(self.data)} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a framework wrote down of the network, if one did.

    Attributes
    ----------
    sequence : the calls of one pass; None where nothing says them
    programs : address and description of what was found
    notes : what could not be followed, and why
    """

    sequence: Sequence | None
    kind: str = ""
    programs: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        if self.sequence is None:
            return "none: the order of operators is in the code"
        return f"{self.kind}, {len(self.sequence.calls)} calls of {len(self.kernels)} kernels"

    @property
    def kernels(self) -> frozenset[tuple[int, int]]:
        calls = () if self.sequence is None else self.sequence.calls
        return frozenset((one.kernel.part, one.kernel.number) for one in calls)


def open_binary(records: Records) -> Opened:
    """Read the file and whatever stands beside it.

    Raises
    ------
    ImageError, ContainerError : it is no binary that can be read; says what it is
    """
    request = records[Request]
    name, data = request.path.name, _contents(request.path)
    companion = b"" if request.companion is None else _contents(request.companion)
    if is_vmfb(data):
        module = read_vmfb(data, name)
        images = tuple(
            open_image(one.data, name=f"{name}: executable {one.number}")
            for one in module.executables
        )
        if not images:
            raise ImageError(
                name, found="a module without machine code", wanted="one compiled for a processor",
                fix="compile it with --iree-hal-target-backends=llvm-cpu",
            )  # fmt: skip
        opened = Opened(name=name, data=data, images=images, module=module, companion=companion)
    else:
        image = open_image(data, base=request.base, architecture=request.architecture, name=name)
        if request.companion is not None:
            image = with_arrays(image, companion, request.companion.name, COMPANION)
        opened = Opened(name=name, data=data, images=(image,), companion=companion)
    for image in opened.images:
        records.notes.extend(image.notes)
    return opened


def _contents(path: Path) -> bytes:
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            found = "a device or a pipe" if path.exists() and not path.is_dir() else found
            raise ImageError(str(path), found=found, wanted="a file", fix="correct the path")
        if path.stat().st_size > _MOST_BYTES:
            raise ImageError(
                path.name, found=f"{path.stat().st_size} bytes", wanted=f"at most {_MOST_BYTES}",
                fix="give the library that holds the network alone",
            )  # fmt: skip
        return path.read_bytes()
    except OSError as error:
        raise ImageError(str(path), found=error.strerror or str(error), wanted="a readable file",
                         fix="correct the path or its rights") from None  # fmt: skip


def contain(records: Records) -> Container:
    """Return the calls of the network where the file, or its companion, states them.

    Raises
    ------
    ImageError, ContainerError : an entry that was named is not there
    """
    request, opened = records[Request], records[Opened]
    named = request.entry if isinstance(request.entry, str) else ""
    if opened.module is not None:
        sequence = follow_vmfb(opened.module, named)
        return Container(sequence=sequence, kind="IREE module",
                         programs=((0, f"IREE module {opened.module.name}"),),
                         notes=tuple(_unused(request, used=False, contained=True)))  # fmt: skip
    programs: list[tuple[int, str]] = []
    notes: list[str] = []
    found: Sequence | None = None
    used = bool(opened.images[0].given)
    for base, place, data, program in _vm_programs(opened):
        programs.append((place, f"TVM virtual machine, {len(program.functions)} functions, "
                         f"{len(program.constants)} constants"))  # fmt: skip
        if found is not None:
            continue
        try:
            if not any(f.kind == "bytecode" and f.code for f in program.functions):
                image = opened.images[0]
                program = traced_program(program, ImageCode(image), find_functions(image))
                notes.append("the order of calls was read from machine code")
            where = COMPANION if data is opened.companion else ""
            used |= bool(where)
            found = follow_vm_program(program, data, named, base=base, where=where)
        except ContainerError as error:
            notes.append(str(error))
    if found is None:
        named_entry(request, opened.images[0])
    kind = "TVM virtual machine" if found is not None else ""
    notes += _unused(request, used=used, contained=found is not None)
    return Container(sequence=found, kind=kind, programs=tuple(programs), notes=tuple(notes))


def named_entry(request: Request, image: Image) -> int | None:
    """Return the address that the user named; None where none was.

    Raises
    ------
    ImageError : no function is there
    """
    if isinstance(request.entry, int):
        if not image.is_code(request.entry & ~1):
            raise ImageError(image.name, found=f"no code at {request.entry:#x}",
                             wanted="the address of a function", fix="correct --entry")  # fmt: skip
        return request.entry
    if request.entry is None:
        return None
    symbol = image.symbol(request.entry)
    if symbol is None or not image.is_code(symbol.address):
        raise ImageError(
            image.name, found=f"no function named {request.entry!r}",
            wanted="a linked name, or an address", fix="name one that the file has",
        )  # fmt: skip
    return symbol.address


def _unused(request: Request, *, used: bool, contained: bool) -> Iterator[str]:
    """Say what the user gave that nothing was made of."""
    if request.companion is not None and not used:
        yield (f"nothing of {request.companion.name} was used: it holds neither the program of a "
               "virtual machine nor constant arrays that this file takes from another")  # fmt: skip
    if contained and isinstance(request.entry, int):
        yield (f"the entry {request.entry:#x} was not used: the file says itself which functions "
               "are called; name one of its program's functions")  # fmt: skip


def _vm_programs(opened: Opened) -> Iterator[tuple[int, int, bytes, VmProgram]]:
    """Yield programs: the address of the bytes that hold them, their own, and those bytes."""
    for segment in opened.images[0].segments:
        for program in find_vm_programs(segment.data):
            yield segment.address, segment.address + program.offset, segment.data, program
    for program in find_vm_programs(opened.companion):
        yield 0, program.offset, opened.companion, program
