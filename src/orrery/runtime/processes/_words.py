"""Words in memory that several processes share: to say that something is done, and to wait for it.

Models:  nothing; it waits. Whoever waits looks for a word for some milliseconds, yielding the
         processor at each look, then sleeps on a *bell*: a word that whoever has news increments.
         Only a bell whose owner says that it sleeps is woken by a call to the system.
Ignores: processors other than x86-64. There stores become visible in the order in which they were
         made, so that a word that says *done* is never seen before the tensors it speaks of.
Judge:   processes that hand words to and fro (tests/runtime/test_processes.py).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Words (of 4 bytes) to a cache line: what different processes write lies in different lines.
LINE = 16

#: How often a process looks before it sleeps: some milliseconds where nobody else wants to run.
LOOKS = 4000

#: Of a bell's line: how often it was rung, and whether its owner sleeps.
BELL, ASLEEP = 0, 1

_FUTEX, _WAIT, _WAKE = 202, 0, 1  # of Linux on x86-64


def why_not() -> str | None:
    """Return why workers cannot be processes here; None where they can."""
    if not sys.platform.startswith("linux"):
        return "they need Linux (futex, memfd)"
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"they rely on the order of stores of x86-64, and this is {platform.machine()}"
    if not sys.executable or not hasattr(os, "memfd_create"):
        return "this interpreter cannot be started a second time"
    return None


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


@functools.cache
def _system() -> Callable[..., int]:
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                     ctypes.c_void_p, ctypes.c_long]  # fmt: skip
    found: Callable[..., int] = call
    return found


class Words:
    """Shared memory as words of 4 bytes; the file it is mapped from may be closed.

    Parameters
    ----------
    file : from `os.memfd_create`, of `size` bytes: it has no name and ends with its last user
    """

    def __init__(self, file: int, size: int) -> None:
        self._map = mmap.mmap(file, size)
        self.array: NDArray[np.int32] = np.frombuffer(self._map, np.int32)
        #: the same for single words, which it reads in a third of the time
        self.view = memoryview(self._map).cast("i")
        self._address = self.array.ctypes.data
        self._fence = threading.Lock()

    def tensor(self, offset: int, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an array over these bytes; it keeps the mapping alive."""
        return np.ndarray(shape, dtype, self._map, offset)

    def doubles(self, offset: int, count: int) -> memoryview[float]:
        """Return numbers of 8 bytes, to be read and written one by one."""
        return memoryview(self._map)[offset : offset + 8 * count].cast("d")

    def ring(self, bell: int) -> None:
        """Say that there is news to whoever owns the bell that begins at a word."""
        view = self.view
        view[bell + BELL] = (view[bell + BELL] + 1) & 0x3FFFFFFF
        # An atomic instruction, so that what was written before is seen before the next is read:
        # else a sleeper that is just falling asleep might see neither the news nor a call.
        with self._fence:
            pass
        if view[bell + ASLEEP]:
            _system()(_FUTEX, self._address + 4 * (bell + BELL), _WAKE, 1 << 30, None, None, 0)

    def sleep(self, bell: int, news: Callable[[], bool], timeout_s: float | None) -> bool:
        """Sleep on a bell until there is news, or the time is up; return whether there is news."""
        view = self.view
        seen = view[bell + BELL]
        view[bell + ASLEEP] = 1
        try:
            with self._fence:  # as in `ring`
                pass
            if news():
                return True
            limit = None
            if timeout_s is not None:
                whole = int(timeout_s)
                limit = ctypes.byref(_Time(whole, int((timeout_s - whole) * 1e9)))
            _system()(_FUTEX, self._address + 4 * (bell + BELL), _WAIT, seen, limit, None, 0)
        finally:
            view[bell + ASLEEP] = 0
        return news()


@functools.cache
def looker() -> Callable[[NDArray[np.int32], int, int, int, int], bool]:
    """Return a function that looks for a value in either of two words, without holding the lock.

    For a process with other threads in Python; a child has none and looks by itself.
    """
    give_way = ctypes.CDLL(None).sched_yield
    give_way.argtypes, give_way.restype = [], ctypes.c_int
    from numba import njit

    def look(words: Any, at: int, other: int, value: int, most: int) -> bool:
        for _ in range(most):
            if words[at] == value or words[other] == value:
                return True
            give_way()
        return False

    found: Callable[[NDArray[np.int32], int, int, int, int], bool] = njit(nogil=True)(look)
    found(np.ones(1, np.int32), 0, 0, 1, 1)
    return found
