"""Library functions that emulated code calls: memory, mathematics, and the runtime of a compiler.

Models:  C's memory functions, the mathematics of the system's own library in the precision that
         is asked for, TVM's workspace and parallel launch (one task).
Ignores: rounding modes, ``errno``; functions that it does not know end the emulation, by name.
Judge:   the same functions called natively (tests/runtime/test_emulator.py).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._emulator import Machine

_ONE = (
    "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "fabs",
    "floor", "log", "log10", "log1p", "log2", "nearbyint", "rint", "round", "roundeven", "sin",
    "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_TWO = ("atan2", "copysign", "fdim", "fmax", "fmin", "fmod", "hypot", "pow")

try:
    _MATHEMATICS = ctypes.CDLL("libm.so.6")
except OSError:  # a system that has it in its C library
    _MATHEMATICS = ctypes.CDLL(None)

#: What a called function does: reads its arguments from the machine and leaves its result there.
Act = Callable[["Machine"], None]


def library_function(name: str) -> Act | None:
    """Return what an imported function does, None where nobody knows."""
    name = name.partition("@")[0]
    if name in _MEMORY:
        return _MEMORY[name]
    for plain in (name, name.removeprefix("__").removesuffix("_finite")):
        for width, base in ((32, plain.removesuffix("f")), (64, plain)):
            if width == 32 and base == plain:
                continue
            for count, names in ((1, _ONE), (2, _TWO), (3, ("fma",))):
                if base in names:
                    return _mathematics(plain, count, width)
    return None


def _mathematics(name: str, count: int, width: int) -> Act | None:
    kind = ctypes.c_float if width == 32 else ctypes.c_double
    try:
        function = _MATHEMATICS[name]
    except AttributeError:
        return None
    function.restype, function.argtypes = kind, [kind] * count

    def act(machine: Machine) -> None:
        machine.give_float(function(*(machine.number(at, width) for at in range(count))), width)

    return act


def _copy(machine: Machine) -> None:
    to, source, size = (machine.word(at) for at in range(3))
    machine.write(to, machine.read(source, size))
    machine.give(to)


def _fill(machine: Machine) -> None:
    to, value, size = (machine.word(at) for at in range(3))
    machine.write(to, bytes((value & 0xFF,)) * machine.bounded(size))
    machine.give(to)


def _fill_swapped(machine: Machine) -> None:
    to, size, value = (machine.word(at) for at in range(3))
    machine.write(to, bytes((value & 0xFF,)) * machine.bounded(size))


def _clear(machine: Machine) -> None:
    machine.write(machine.word(0), bytes(machine.bounded(machine.word(1))))


def _compare(machine: Machine) -> None:
    one, other, size = (machine.word(at) for at in range(3))
    a, b = machine.read(one, size), machine.read(other, size)
    machine.give((a > b) - (a < b))


def _allocate(machine: Machine) -> None:
    machine.give(machine.allocate(machine.word(0)))


def _allocate_many(machine: Machine) -> None:
    size = machine.bounded(machine.word(0) * machine.word(1))
    at = machine.allocate(size)
    machine.write(at, bytes(size))  # an earlier round may have used it
    machine.give(at)


def _allocate_aligned(machine: Machine) -> None:
    machine.give(machine.allocate(machine.word(1)))


def _allocate_into(machine: Machine) -> None:
    machine.write_word(machine.word(0), machine.allocate(machine.word(2)))
    machine.give(0)


def _free(machine: Machine) -> None:
    machine.give(0)


def _workspace(machine: Machine) -> None:
    """``TVMBackendAllocWorkspace(device type, id, uint64 size, …)``; the size takes a pair of
    registers on 32 bits."""
    machine.give(machine.allocate(machine.word(2)))


def _launch(machine: Machine) -> None:
    """``TVMBackendParallelLaunch(task, data, number)``: one task, which is number 0 of 1."""
    task, data = machine.word(0), machine.word(1)
    group = machine.allocate(16)
    machine.write(group + machine.pointer_bytes, struct.pack("<i", 1))
    machine.jump(task, (0, group, data))


def _length(machine: Machine) -> None:
    at, size = machine.word(0), 0
    while machine.read(at + size, 1) != b"\0":
        size += 1
    machine.give(size)


_MEMORY: dict[str, Act] = {
    "memcpy": _copy, "memmove": _copy, "__memcpy_chk": _copy, "__memmove_chk": _copy,
    "memset": _fill, "__memset_chk": _fill, "bzero": _clear, "memcmp": _compare, "bcmp": _compare,
    "strlen": _length, "malloc": _allocate, "calloc": _allocate_many,
    "aligned_alloc": _allocate_aligned, "memalign": _allocate_aligned,
    "posix_memalign": _allocate_into, "free": _free, "__cxa_finalize": _free,
    "__gmon_start__": _free, "__aeabi_memcpy": _copy, "__aeabi_memcpy4": _copy,
    "__aeabi_memcpy8": _copy, "__aeabi_memmove": _copy, "__aeabi_memmove4": _copy,
    "__aeabi_memset": _fill_swapped, "__aeabi_memset4": _fill_swapped,
    "__aeabi_memset8": _fill_swapped, "__aeabi_memclr": _clear, "__aeabi_memclr4": _clear,
    "__aeabi_memclr8": _clear, "TVMBackendAllocWorkspace": _workspace,
    "TVMBackendFreeWorkspace": _free, "TVMBackendParallelLaunch": _launch,
}  # fmt: skip
