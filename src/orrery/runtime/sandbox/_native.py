"""Foreign code on this processor: loaded as a library, called with memory of ours.

Models:  nothing. The loader is the system's; addresses are those of the file plus where it was put.
Ignores: executables that cannot be moved, object files and archives: the emulator takes these.
Judge:   networks compiled with known answers (tests/runtime/test_sandbox.py).
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ._probe import Block, Call, Native, Pointer

if TYPE_CHECKING:
    from ._child import Runner

_SHARED, _WHERE_PUT = 3, 2
_MACHINES = {62: "x86_64", 183: "aarch64"}
_DYNAMIC, _FLAGS, _IS_EXECUTABLE = 2, 0x6FFFFFFB, 0x08000000
_ALIGNED = 64


def loadable(file: bytes) -> str | None:
    """Return why this machine cannot load a file as a library; None where it can."""
    if file[:4] != b"\x7fELF" or len(file) < 64 or file[4:6] != b"\x02\x01":
        return "it is no 64-bit little-endian ELF file"
    kind, machine = struct.unpack_from("<HH", file, 16)
    if _MACHINES.get(machine) != platform.machine():
        return f"it was made for another machine than this {platform.machine()}"
    if kind != _SHARED:
        return "it is an object file or an executable that cannot be moved"
    return None


def movable(file: bytes) -> bytes:
    """Return a file without the mark by which the loader tells an executable from a library."""
    (start,) = struct.unpack_from("<Q", file, 32)
    size, count = struct.unpack_from("<HH", file, 54)
    changed = bytearray(file)
    for at in range(start, start + size * count, size or 1):
        if at + 56 > len(file) or struct.unpack_from("<I", file, at)[0] != _DYNAMIC:
            continue
        begin, _, _, length = struct.unpack_from("<QQQQ", file, at + 8)
        for entry in range(begin, min(begin + length, len(file) - 15), 16):
            tag, flags = struct.unpack_from("<QQ", file, entry)
            if tag == _FLAGS:
                struct.pack_into("<Q", changed, entry + 8, flags & ~_IS_EXECUTABLE)
    return bytes(changed)


def native(probe: Native, file: int) -> Runner:
    """Return what loads the binary from a file in memory and makes the calls."""

    def run(answers: memoryview) -> Iterator[None]:
        from ._child import LoadError

        try:
            library = ctypes.CDLL(f"/proc/self/fd/{file}", mode=2)
        except OSError as error:
            raise LoadError(f"the system's loader refused it: {error}") from None
        base = _where_put(library)
        places = _Places(probe.blocks, base)
        made = [(_function(library, base, call), places.words(call)) for call in probe.calls]
        at = 0
        for values in probe.rounds:
            places.fill(values)
            for function, words in made:
                function(*words)
            for name in probe.answers:
                at += places.read(name, answers, at)
            yield

    return run


def _where_put(library: ctypes.CDLL) -> int:
    """Return what the loader added to the addresses of a file."""
    found = ctypes.c_void_p()
    ctypes.CDLL(None).dlinfo(ctypes.c_void_p(library._handle), _WHERE_PUT, ctypes.byref(found))
    return int(ctypes.cast(found, ctypes.POINTER(ctypes.c_uint64))[0])


def _function(library: ctypes.CDLL, base: int, call: Call) -> ctypes._FuncPointer:
    from ._child import LoadError

    if isinstance(call.entry, int):
        return ctypes.CFUNCTYPE(ctypes.c_int64)(base + call.entry)
    try:
        return library[call.entry]
    except AttributeError:
        raise LoadError(f"it exports no function named {call.entry!r}") from None


class _Places:
    """The blocks of a probe in this process's memory."""

    def __init__(self, blocks: tuple[Block, ...], base: int) -> None:
        self._blocks, self._base = blocks, base
        self._kept = {one.name: ctypes.create_string_buffer(one.size_bytes + _ALIGNED)
                      for one in blocks}  # fmt: skip
        self._at = {name: -(-ctypes.addressof(kept) // _ALIGNED) * _ALIGNED
                    for name, kept in self._kept.items()}  # fmt: skip
        self._at["image"] = base

    def words(self, call: Call) -> list[ctypes.c_uint64]:
        return [ctypes.c_uint64(self._address(one) if isinstance(one, Pointer) else one % 2**64)
                for one in call.arguments]  # fmt: skip

    def _address(self, pointer: Pointer) -> int:
        return self._at[pointer.block] + pointer.offset

    def fill(self, values: Mapping[str, bytes]) -> None:
        """Put every block as a round begins."""
        for block in self._blocks:
            data = values.get(block.name, block.data)[: block.size_bytes]
            at = self._at[block.name]
            ctypes.memmove(at, data, len(data))
            ctypes.memset(at + len(data), 0, block.size_bytes - len(data))
            for offset, pointer in block.pointers:
                word = struct.pack("<Q", self._address(pointer))
                ctypes.memmove(at + offset, word, 8)

    def read(self, name: str, answers: memoryview, at: int) -> int:
        size = next(one.size_bytes for one in self._blocks if one.name == name)
        answers[at : at + size] = ctypes.string_at(self._at[name], size)
        return size
