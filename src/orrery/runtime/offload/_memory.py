"""How much memory this process takes and may take.

Models:  resident pages, as the kernel counts them; the limits of the control group that the process
         is in and of all groups around it, or what the machine says is available.
Ignores: memory on accelerators; what other processes will want.
Judge:   a large array makes the number grow by its size (tests/runtime/offload/test_memory.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Of a control group: its limit and what is used, version 2 and version 1.
_FILES = {
    "cgroup2": ("memory.max", "memory.current"),
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}


class Meter(Protocol):
    """Reads how much of a memory is taken: the process's, or a device's."""

    def read(self) -> int: ...

    def most(self) -> int: ...

    def forget(self) -> None: ...

    def free(self) -> int: ...

    def close(self) -> None: ...


class MemoryMeter:
    """Reads how much memory the process has, and had at most, in the process that made it.

    The highest value is the process's; a meter that sets it back tells the others first. Where the
    system does not let it be set back, it is that of the whole run; where it says nothing,
    everything is 0.
    """

    _all: ClassVar[weakref.WeakSet[MemoryMeter]] = weakref.WeakSet()
    _lock: ClassVar[Any] = threading.RLock()  # a collector may close one within another's call

    def __init__(self) -> None:
        self._before = 0  # the most that was seen when others set the highest value back
        self._text = ctypes.create_string_buffer(64)
        self._now = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._reset = _opened("/proc/self/clear_refs", os.O_WRONLY)
        with self._lock:
            self._all.add(self)

    def read(self) -> int:
        """Return the bytes at this moment."""
        if self._now < 0:
            return 0
        # Without letting go of the interpreter: who moves bytes would take it, at each hook.
        size = _pread()(self._now, self._text, 64, 0)
        return int(self._text.raw[: max(0, size)].split()[1]) * _PAGE

    def most(self) -> int:
        """Return the most bytes since `forget` was called."""
        return max(self._before, self._highest())

    def _highest(self) -> int:
        if self._status < 0:
            return 0
        text = os.pread(self._status, 8192, 0)
        start = text.find(b"VmHWM:")
        return 0 if start < 0 else int(text[start + 6 :].split(None, 1)[0]) * 1024

    def forget(self) -> None:
        """Let `most` begin anew."""
        with self._lock:
            if self._reset >= 0:
                if len(self._all) > 1:
                    highest = self._highest()
                    for other in list(self._all):
                        other._before = max(other._before, highest)
                with contextlib.suppress(OSError):
                    os.pwrite(self._reset, b"5", 0)
            self._before = 0

    @staticmethod
    def free() -> int:
        """Return the memory that the process may still take, 0 where it is not said."""
        return free_bytes() or 0

    def close(self) -> None:
        """Read no more."""
        with self._lock:
            self._all.discard(self)
        for descriptor in (self._now, self._status, self._reset):
            if descriptor >= 0:
                os.close(descriptor)
        self._now = self._status = self._reset = -1


@functools.cache
def _pread() -> Callable[..., int]:
    found = ctypes.PyDLL(None).pread
    found.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
    found.restype = ctypes.c_ssize_t
    return found


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
    return min([*found, *groups_free_bytes()], default=None)


def groups_free_bytes(process: Path = Path("/proc/self")) -> list[int]:
    """Return what each memory group that a process is in, and each around it, still gives.

    Parameters
    ----------
    process : its folder in ``/proc``
    """
    found = []
    for folder, top, files in _groups(process):
        while True:
            with contextlib.suppress(OSError, ValueError):
                most, now = ((folder / name).read_text().strip() for name in files)
                if most.isdigit():
                    found.append(max(0, int(most) - int(now)))
            if folder in (top, folder.parent):
                break
            folder = folder.parent
    return found


def _groups(process: Path) -> list[tuple[Path, Path, tuple[str, str]]]:
    """Return the folder of a process's own group, the outermost one, and the files to read."""
    try:
        own = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in mounts:
        left, _, right = line.partition(" - ")
        root, point = (_unescaped(text) for text in left.split()[3:5])
        kind, _, options = right.split()[:3]
        if kind not in _FILES or (kind == "cgroup" and "memory" not in options.split(",")):
            continue
        names = "" if kind == "cgroup2" else "memory"
        for _, controllers, path in own:
            if names in controllers.split(","):
                inside = Path(path).is_relative_to(root)
                below = Path(path).relative_to(root) if inside else Path()
                if ".." in below.parts:  # of a group outside what is mounted here
                    below = Path()
                found.append((Path(point) / below, Path(point), _FILES[kind]))
    return found


def _unescaped(text: str) -> str:
    return text.encode().decode("unicode_escape")
