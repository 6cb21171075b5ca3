"""One transfer between memory and a file, and what still has to be asked for after an answer."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

#: The strictest alignment that direct I/O asks for on common devices.
SECTOR_BYTES = 4096
#: A request that the system has no room for is made again so often, then it fails.
_TRIES = 1000

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


class Request:
    """Whole sectors of a file to or from buffers that lie one after another in it.

    A request ends once: whole, with `error`, or, when reading, short at the end of the file.

    Parameters
    ----------
    descriptor, offset : of the file; the offset is a whole number of sectors
    write : whether the bytes go to the file
    buffers : contiguous; held until the request has ended
    staged : number of the channel's own buffer that `buffers` is one part of, where it is
    tag : the caller's

    Attributes
    ----------
    size, moved : bytes wanted, and had
    """

    __slots__ = (
        "buffers", "descriptor", "error", "moved", "offset", "size", "staged", "tag", "tries",
        "write",
    )  # fmt: skip

    def __init__(
        self, descriptor: int, write: bool, offset: int, buffers: Sequence[Bytes], *,
        staged: int | None = None, tag: object = None,
    ) -> None:  # fmt: skip
        self.descriptor, self.write, self.offset, self.buffers = descriptor, write, offset, buffers
        self.size = sum(buffer.nbytes for buffer in buffers)
        self.staged, self.tag = staged, tag
        self.moved = self.tries = 0
        self.error: OSError | None = None

    def take(self, answer: int) -> bool:
        """Note what the system answered, bytes or a negative error; return whether this ends it."""
        if answer < 0:
            if -answer in (errno.EINTR, errno.EAGAIN) and self.tries < _TRIES:
                self.tries += 1
                return False
            self.error = OSError(-answer, os.strerror(-answer))
            return True
        if self.moved + answer < self.size:
            # What is asked for next must begin at a whole sector.
            answer -= answer % SECTOR_BYTES
        self.moved += answer
        if self.moved >= self.size:
            return True
        if answer == 0:
            if self.write:
                self.error = OSError(errno.EIO, "a write that made no progress")
            return True
        return False

    def left(self) -> list[Bytes]:
        """Return the parts of the buffers that nothing has been moved for yet."""
        done, parts = self.moved, []
        for buffer in self.buffers:
            if done < buffer.nbytes:
                parts.append(buffer[done:] if done else buffer)
            done = max(0, done - buffer.nbytes)
        return parts


class Channel(Protocol):
    """Where one thread makes its requests; only `wake` may be called from others."""

    depth: int

    def stage(self, buffers: Sequence[Bytes]) -> str | None:
        """Take notice of buffers most requests go through, for the channel's life.

        Returns
        -------
        Why they are not registered with the system, where that was tried and refused.
        """
        ...

    def begin(self, request: Request) -> None:
        """Accept a request; no more than `depth` may be under way."""
        ...

    def wait(self, *, block: bool) -> list[Request]:
        """Make what was accepted, and return what has ended; none of it is returned twice.

        With `block`, sleep until a request has ended or `wake` was called since the last sleep.
        """
        ...

    def wake(self) -> None:
        """End a sleep, now or the next."""
        ...

    def close(self) -> None:
        """Let go of everything; nothing may be under way."""
        ...
