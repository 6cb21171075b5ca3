"""A filter of system calls, installed by a process on itself and on what it starts.

Models:  nothing. Programs of the kernel's packet filter (seccomp): a call is allowed, answered by
         an error, or forbidden. A forbidden call is told to the parent where the kernel can do so
         (the parent then names it and ends the process), else it ends the process.
Judge:   programs that try (tests/runtime/test_sandbox.py).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

from ._calls import ALLOWED, NUMBERS, QUIET

_LOAD, _EQUAL, _ABOVE, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _TELL, _END = 0x7FFF0000, 0x00050000, 0x7FC00000, 0x80000000
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16

_CLONE_THREAD, _WRITING = 0x10000, 0o3 | 0o100 | 0o1000 | 0o2000
_NAMES_AND_GETTERS = (15, 16, 3, 0x53564D41)  # of `prctl`: names of threads and of memory

_SET_FILTER, _LISTEN, _ALL_THREADS, _SAY_NO = 1, 8, 1, 16
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_Instruction = tuple[int, int, int, int]


def program(machine: str, pid: int, line: int, *, tell: bool, programs: bool) -> bytes:
    """Return the filter for a process.

    Parameters
    ----------
    machine : as `platform.machine` names it
    pid : its own number: it may end itself, nobody else
    line : the socket over which it may hand its listener to the parent
    tell : tell the parent of forbidden calls instead of ending the process
    programs : whether it may start programs (an emulator), which stay under the filter
    """
    numbers, forbid = NUMBERS[machine].number, _TELL if tell else _END
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, NUMBERS[machine].audit), (_RETURN, 0, 0, _END),
        (_LOAD, 0, 0, _NUMBER),
    ]  # fmt: skip

    def rule(name: str, body: Sequence[_Instruction]) -> None:
        if name in numbers:
            code.extend([(_EQUAL, 0, len(body), numbers[name]), *body])

    for name in (*ALLOWED, *(("execve",) if programs else ())):
        rule(name, [(_RETURN, 0, 0, _ALLOW)])
    for name, error in QUIET.items():
        rule(name, [(_RETURN, 0, 0, _ERROR | error)])
    for name, at in (("open", 1), ("openat", 2)):
        rule(name, [_load(at), (_ANY, 0, 1, _WRITING), (_RETURN, 0, 0, forbid), _allow()])
    rule("clone", [_load(0), (_ANY, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, forbid), _allow()])
    rule("fcntl", [_load(1), (_ABOVE, 0, 1, 4), (_RETURN, 0, 0, _ERROR | 22), _allow()])
    for name, at, value in (("tgkill", 0, pid), ("sendmsg", 0, line)):
        rule(name, [_load(at), (_EQUAL, 1, 0, value), (_RETURN, 0, 0, forbid), _allow()])
    rule("prlimit64", [
        _load(2), (_EQUAL, 0, 3, 0), _load(2, high=True), (_EQUAL, 0, 1, 0), _allow(),
        (_RETURN, 0, 0, forbid),
    ])  # fmt: skip
    kinds = [(_EQUAL, len(_NAMES_AND_GETTERS) - at, 0, kind)
             for at, kind in enumerate(_NAMES_AND_GETTERS)]  # fmt: skip
    rule("prctl", [_load(0), *kinds, (_RETURN, 0, 0, forbid), _allow()])
    code.append((_RETURN, 0, 0, forbid))
    return b"".join(struct.pack("<HBBI", *one) for one in code)


def _load(argument: int, *, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4 * high)


def _allow() -> _Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def install_filter(line: int, *, programs: bool) -> tuple[bool, int | None]:
    """Put the filter on this process, for good; ``no_new_privs`` must be set.

    Returns whether it holds, and the listener that tells of forbidden calls, None where the kernel
    ends the process instead.
    """
    machine = platform.machine()
    if machine not in NUMBERS:
        return False, None
    library = ctypes.CDLL(None, use_errno=True)
    for flags in (_LISTEN | _ALL_THREADS | _SAY_NO, _LISTEN, _ALL_THREADS):
        tell = bool(flags & _LISTEN)
        code = program(machine, os.getpid(), line, tell=tell, programs=programs)
        text = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(text))
        result = library.syscall(
            ctypes.c_long(_SECCOMP[machine]), ctypes.c_uint(_SET_FILTER), ctypes.c_uint(flags),
            ctypes.create_string_buffer(header, len(header)),
        )  # fmt: skip
        if result >= 0:
            return True, (result if tell else None)
    return False, None
