"""A queue whose reader stays awake for a while: waking a sleeping processor takes tens of µs.

Models:  nothing; it waits. The reader looks for what comes without holding the interpreter's lock
         and yields its processor to whoever else wants it; after a while, or when told that others
         need the processor, it goes to sleep.
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

__all__ = ["Inbox", "looker"]

T = TypeVar("T")

#: How often a reader looks before it sleeps: some milliseconds where nobody else wants to run.
_LOOKS = 4000

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
        try:
            return self._queue.get_nowait()
        except Empty:
            look = looker() if self._looks else None
            if look is not None and look(self._flag, self._looks) == _SOMETHING:
                try:
                    return self._queue.get_nowait()
                except Empty:  # told to sleep in between
                    pass
        return self._queue.get()


@functools.cache
def looker() -> Callable[[Any, int], int] | None:
    """Return a function that waits for a flag without the interpreter's lock, or None.

    Yielding the processor at each look keeps a busy machine from waiting for the waiter.
    """
    try:
        give_way = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError, TypeError):  # not on every operating system
        return None
    give_way.argtypes, give_way.restype = [], ctypes.c_int
    from numba import njit

    def look(flag: Any, most: int) -> int:
        for _ in range(most):
            if flag[0] != 0:
                break
            give_way()
        return int(flag[0])

    found: Callable[[Any, int], int] = njit(nogil=True)(look)
    found(np.ones(1, np.int64), 1)
    return found
