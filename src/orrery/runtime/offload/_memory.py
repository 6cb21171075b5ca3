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
import mmap
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: The smallest holes of freed memory that are looked for, and how much more than is wanted goes
#: back of holes that are too small for what comes next, and of others.
_SMALLEST, _MORE_SMALL, _MORE_LARGE = 1 << 17, 48 << 20, 4 << 20
#: Where the library keeps less, giving all of it back takes less than looking for holes.
_WORTH_LOOKING = 128 << 20
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


class _Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost",
    )]  # fmt: skip


class FreedMemory:
    """Gives some of what the C library keeps back to the system: what it needs last.

    The library hands out the smallest hole that is large enough. So, of what it keeps, holes that
    are too small for what comes next go first, and then the ends of the longest ones: what is left
    is used next, without fresh pages. Holes are found as anybody may find them: they are asked for,
    and freed again. Nothing is read or written there, and no setting is changed.

    Raises
    ------
    OSError, AttributeError : the C library is not glibc, from 2.33 on
    """

    def __init__(self) -> None:
        # Without letting go of the interpreter: each call is short, and who moves bytes would take
        # it.
        library = ctypes.PyDLL(None)
        self._take, self._drop, self._info = library.malloc, library.free, library.mallinfo2
        self._look, self._advise, self._sbrk = library.mincore, library.madvise, library.sbrk
        self._take.argtypes, self._take.restype = (ctypes.c_size_t,), ctypes.c_void_p
        self._drop.argtypes, self._drop.restype = (ctypes.c_void_p,), None
        self._info.restype = _Info
        self._look.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self._advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._sbrk.argtypes, self._sbrk.restype = (ctypes.c_ssize_t,), ctypes.c_void_p

    def give(self, wanted_bytes: int, next_bytes: int) -> int:
        """Give back at least so many bytes, where there are, and return how many; 0 of little.

        Parameters
        ----------
        next_bytes : of the tensors that memory is asked for next
        """
        free = int(self._info().fordblks)
        if free < _WORTH_LOOKING:
            return 0
        size = max(_SMALLEST, next_bytes)
        large, small = self._holes(size, free), list[tuple[int, int]]()
        try:
            given, piece = 0, size // 2
            while piece >= _SMALLEST and given < wanted_bytes + _MORE_SMALL:
                found = self._holes(piece, free)
                small += [(at, piece) for at in found]
                for at in found:
                    given += self._leave(at, piece)
                    if given >= wanted_bytes + _MORE_SMALL:
                        break
                piece //= 2
            runs = _in_a_row(large, size)
            while runs and given < wanted_bytes + _MORE_LARGE:
                for at in reversed(runs.pop()):
                    given += self._leave(at, size)
                    if given >= wanted_bytes + _MORE_LARGE:
                        break
        finally:
            for at in (*large, *(at for at, _ in small)):
                self._drop(at)
        return given

    def _holes(self, piece: int, free: int) -> list[int]:
        """Take all holes of so many bytes; to be given back with `free`."""
        end, found = self._sbrk(0) or 0, list[int]()
        while len(found) * piece < free and (at := self._take(piece)) is not None:
            found.append(at)
            # Before a piece the library notes its size; the lowest bits say whether it is mapped
            # by itself, and whether it is of a region for threads. That, and what lies behind the
            # heap's old end, was no hole.
            bits = ctypes.c_size_t.from_address(at - ctypes.sizeof(ctypes.c_size_t)).value & 6
            if bits & 2 or (not bits and at + piece > end):
                break
        return found

    def _leave(self, at: int, size: int) -> int:
        """Let the system have the whole pages of a hole; return how many bytes of it were there."""
        first, last = -(-at // _PAGE) * _PAGE, (at + size) // _PAGE * _PAGE
        seen = (ctypes.c_ubyte * ((last - first) // _PAGE))()
        if self._look(first, last - first, seen):
            return 0
        there = bytes(seen).count(1)
        if not there or self._advise(first, last - first, mmap.MADV_DONTNEED):
            return 0
        return there * _PAGE


def _in_a_row(places: list[int], size: int) -> list[list[int]]:
    """Return places of one size that lie one after the other together, the longest row last."""
    rows: list[list[int]] = []
    for at in sorted(places):
        if rows and at - rows[-1][-1] <= size + 64:
            rows[-1].append(at)
        else:
            rows.append([at])
    return sorted(rows, key=len)


def freed_memory() -> Callable[[int, int], int] | None:
    """Return what gives some freed memory back, or None where the C library does not say enough."""
    try:
        return FreedMemory().give
    except (OSError, AttributeError):
        return None


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
