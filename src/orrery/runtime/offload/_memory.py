"""How much memory this process takes and may take.

Models:  resident pages, as the kernel counts them; a limit of the control group, or what the
         machine says is available.
Ignores: memory on accelerators; what other processes will want.
Judge:   a large array makes the number grow by its size (tests/runtime/offload/test_memory.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

__all__ = ["MemoryMeter", "Meter", "free_bytes", "trimmer"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Of the control group this process is in: the limit and what is used, version 2 and version 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


class Meter(Protocol):
    """Reads how much of a memory is taken: the process's, or a device's."""

    def read(self) -> int: ...

    def most(self) -> int: ...

    def forget(self) -> None: ...

    def free(self) -> int: ...

    def close(self) -> None: ...


class MemoryMeter:
    """Reads how much memory the process has, and had at most, in the process that made it.

    Where the system does not let the highest value be set back, it is that of the whole run; where
    it says nothing, everything is 0.
    """

    def __init__(self) -> None:
        self._now = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._reset = _opened("/proc/self/clear_refs", os.O_WRONLY)

    def read(self) -> int:
        """Return the bytes at this moment."""
        if self._now < 0:
            return 0
        return int(os.pread(self._now, 64, 0).split()[1]) * _PAGE

    def most(self) -> int:
        """Return the most bytes since `forget` was called."""
        if self._status < 0:
            return 0
        text = os.pread(self._status, 8192, 0)
        start = text.find(b"VmHWM:")
        return 0 if start < 0 else int(text[start + 6 :].split(None, 1)[0]) * 1024

    def forget(self) -> None:
        """Let `most` begin anew."""
        if self._reset >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._reset, b"5", 0)

    @staticmethod
    def free() -> int:
        """Return the memory that the process may still take, 0 where it is not said."""
        return free_bytes() or 0

    def close(self) -> None:
        """Read no more."""
        for descriptor in (self._now, self._status, self._reset):
            if descriptor >= 0:
                os.close(descriptor)
        self._now = self._status = self._reset = -1


def _opened(path: str, way: int) -> int:
    try:
        return os.open(path, way | os.O_CLOEXEC)
    except OSError:
        return -1


def trimmer() -> Callable[[], object] | None:
    """Return what gives all whole pages of freed memory back to the system, or None.

    The C library keeps what was freed and hands it out again, which costs nothing; the system has
    to clear each page that comes anew. So it is for whoever needs the room to say when. Nothing is
    set: the library goes on as before.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes = (ctypes.c_size_t,)
    return functools.partial(trim, 0)


def free_bytes() -> int | None:
    """Return the memory that the process may still take, or None where it is not said."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        return None
    for limit, used in _GROUPS:
        try:
            most, now = Path(limit).read_text().strip(), int(Path(used).read_text())
        except (OSError, ValueError):
            continue
        if most.isdigit():
            found.append(max(0, int(most) - now))
    return min(found, default=None)
