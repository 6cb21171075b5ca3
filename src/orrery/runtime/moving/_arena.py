"""One region of memory, taken from both ends and returned when it is empty.

Buffers that everything passes through lie at the low end for as long as the session, then what is
used as soon as it is there; what is read long before it is needed lies at the high end. So short
holes do not come to lie between long lives.

A piece returns to the region when the last array or tensor that uses it is gone: there is no call
to free it, hence none to make too early. Finalisers only note the piece; it is put back by the next
taker, under the lock, since a finaliser may run anywhere.
"""

from __future__ import annotations

import mmap
import threading
from collections import deque
from typing import Any, Literal

import numpy as np

from ._blocks import Bytes, padded


class _Region(np.ndarray[Any, np.dtype[np.uint8]]):
    """All of an arena. A class of its own: NumPy lets a view of a view hold the innermost array of
    the view's own class instead of the one it was made from, and so would drop the lease."""


class _Leased(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array that holds what its memory is returned by."""

    lease: object


class _Lease:
    __slots__ = ("_freed", "piece")

    def __init__(self, freed: deque[tuple[int, int]], piece: tuple[int, int]) -> None:
        self._freed, self.piece = freed, piece

    def __del__(self) -> None:
        self._freed.append(self.piece)


def aligned_bytes(size_bytes: int) -> Bytes:
    """Return fresh memory that begins at a page and goes back to the system when it is dropped."""
    return np.frombuffer(_pages(size_bytes), np.uint8)


def _pages(size_bytes: int) -> mmap.mmap:
    # Private: shared pages would not go back to the system, and a forked process would see them.
    # Small ones: where memory is in pieces, making room for large ones takes longer than it saves.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return mmap.mmap(-1, max(1, padded(size_bytes)), flags=flags)


class Arena:
    """A region of `size_bytes`, rounded up to whole sectors.

    `touched_bytes` is the most in use since its pages were last given back: what they take.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = padded(size_bytes)
        self._map = _pages(self.size_bytes)
        self._memory = np.frombuffer(self._map, np.uint8).view(_Region)
        self._lock = threading.RLock()  # a collector may close the session in here
        self._free = [(0, self.size_bytes)] if self.size_bytes else []
        self._freed: deque[tuple[int, int]] = deque()
        self.touched_bytes = self._used = 0

    def take(self, size_bytes: int, end: Literal["low", "high"]) -> Bytes | None:
        """Return a piece that begins at a sector, or None when no hole is large enough.

        The array has whole sectors; whoever holds it, or anything made from it without a copy,
        holds the piece.
        """
        wanted = max(padded(size_bytes), 1)
        with self._lock:
            if self._freed:
                self._take_back()
            free = self._free
            places = range(len(free)) if end == "low" else range(len(free) - 1, -1, -1)
            for place in places:
                first, last = free[place]
                if last - first >= wanted:
                    break
            else:
                return None
            if end == "low":
                piece, rest = (first, first + wanted), (first + wanted, last)
            else:
                piece, rest = (last - wanted, last), (first, last - wanted)
            if rest[0] < rest[1]:
                free[place] = rest
            else:
                del free[place]
            self._used += wanted
            self.touched_bytes = max(self.touched_bytes, self._used)
        array = self._memory[piece[0] : piece[1]].view(_Leased)
        array.lease = _Lease(self._freed, piece)
        return array

    @property
    def used_bytes(self) -> int:
        """Bytes of all pieces that somebody holds."""
        if not self._freed:
            return self._used
        with self._lock:
            self._take_back()
            return self._used

    @property
    def spare_bytes(self) -> int:
        """Bytes that nobody holds and that may take pages."""
        return max(0, self.touched_bytes - self.used_bytes)

    def give_pages_back(self) -> None:
        """Let the system have the pages that nobody holds."""
        with self._lock:
            self._take_back()
            for start, stop in self._free:
                self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)
            self.touched_bytes = self._used

    def _take_back(self) -> None:
        if not self._freed:
            return
        while self._freed:
            piece = self._freed.popleft()
            self._used -= piece[1] - piece[0]
            self._free.append(piece)
        self._free.sort()
        joined: list[tuple[int, int]] = []
        for start, stop in self._free:
            if joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], stop)
            else:
                joined.append((start, stop))
        self._free = joined
