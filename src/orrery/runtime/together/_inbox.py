"""A queue whose reader stays awake for a while: waking a sleeping processor takes tens of µs.

Models:  nothing; it waits. The reader looks for what comes without holding the interpreter's lock
         and yields its processor to whoever else wants it; after a while, or when told that others
         need the processor, it goes to sleep. When something has come it looks on until whoever
         sent it has left the interpreter: who asks for a lock that another one holds is put to
         sleep, though it be free a microsecond later.
Judge:   every item arrives once and in order, whoever sends and however the reader waits
         (tests/runtime/together/test_inbox.py).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")

#: How often a reader looks before it sleeps: some milliseconds where nobody else wants to run.
_LOOKS = 4000

#: How often it then looks whether the interpreter's lock is free, before it asks for it whether or
#: not: some tens of µs, longer than handing over takes, and far shorter than the 5 ms after which
#: whoever computes in Python has to let go. It gives way to nobody, which may take milliseconds.
_PATIENCE = 20_000

_NOTHING, _SOMETHING, _SLEEP = 0, 1, 2


class Inbox(Generic[T]):
    """A queue for one reader and any number of senders.

    Parameters
    ----------
    looks : how often the reader looks before it sleeps; 0 for one that does not need a processor
        of its own and is to take none from others
    """

    def __init__(self, looks: int = _LOOKS) -> None:
        self._looks = looks
        self._queue: SimpleQueue[T] = SimpleQueue()
        self._flag = np.zeros(1, np.int64)

    def put(self, item: T) -> None:
        self._queue.put(item)
        self._flag[0] = _SOMETHING

    def cool(self) -> None:
        """Have the reader sleep until something comes, as others need its processor."""
        self._flag[0] = _SLEEP

    def take(self) -> T | None:
        """Return the next item if there is one; for others when the reader has gone."""
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def get(self) -> T:
        """Return the next item, waiting for it."""
        self._flag[0] = _NOTHING  # whatever was sent before lies in the queue
        if self._looks and self._queue.empty() and (look := looker()) is not None:
            look(self._flag, self._looks, _PATIENCE)
        return self._queue.get()


@functools.cache
def looker() -> Callable[[Any, int, int], int] | None:
    """Return `looking` as a function that holds no lock of the interpreter, or None.

    Before Python 3.12 the interpreter says in one place who runs in it. Later versions do so for
    each thread, which seen from outside is nobody: the reader then asks for the lock at once.
    """
    try:
        library = ctypes.CDLL(None)
        give_way = library.sched_yield
    except (AttributeError, OSError, TypeError):  # not on every operating system
        return None
    give_way.argtypes, give_way.restype = [], ctypes.c_int
    holder = getattr(library, "_PyThreadState_UncheckedGet", None)
    if holder is None:  # another interpreter
        holder = give_way  # returns 0
    else:
        holder.argtypes, holder.restype = [], ctypes.c_void_p
    from numba import njit

    found: Callable[[Any, int, int], int] = njit(nogil=True)(looking(give_way, holder))
    found(np.ones(1, np.int64), 1, 1)
    return found


def looking(
    give_way: Callable[[], int], holder: Callable[[], int]
) -> Callable[[Any, int, int], int]:
    """Return a function that waits for a flag, and then for nobody to hold a lock.

    Yielding the processor at each look for the flag keeps a busy machine from waiting for the
    waiter.

    Parameters
    ----------
    holder : says who holds it, 0 for nobody
    """

    def look(flag: Any, most: int, patience: int) -> int:
        for _ in range(most):
            if flag[0] != _NOTHING:
                break
            give_way()
        if flag[0] == _SOMETHING:
            for _ in range(patience):
                if holder() == 0:
                    break
            give_way()  # whoever lets go says so some nanoseconds before it is free
        return int(flag[0])

    return look
