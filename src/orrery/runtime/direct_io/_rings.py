"""Requests through io_uring: one thread has several under way and sleeps until one has ended."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence

from ._request import Bytes, Request
from ._ring import READ, READ_FIXED, READ_V, WRITE_FIXED, WRITE_V, Ring, address_of

#: The mark of the request that ends a sleep; others have the number of their place.
_WAKE = (1 << 64) - 1


class RingChannel:
    """Up to `depth` requests under way; made, ended and closed by one thread.

    The ring is made by the first call of `stage`, `begin` or `wait`, in the thread it then belongs
    to. It has room for one answer more than may be under way, so that none overflows.

    Parameters
    ----------
    depth : requests that may be under way
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.registered = False
        self._made: Ring | None = None
        self._event = os.eventfd(0, os.EFD_CLOEXEC)
        self._signal = ctypes.PyDLL(None).eventfd_write
        self._signal.argtypes = (ctypes.c_int, ctypes.c_uint64)
        self._count = ctypes.c_uint64()
        self._under_way: dict[int, Request] = {}
        self._vectors: dict[int, object] = {}
        self._places = list(range(depth))
        self._listening = self._woken = False

    @property
    def _ring(self) -> Ring:
        if self._made is None:
            self._made = Ring(self.depth + 1)
        return self._made

    def stage(self, buffers: Sequence[Bytes]) -> str | None:
        """Register the buffers; return why not, where the limit of locked memory is too low."""
        try:
            self._ring.register(buffers)
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.EPERM, errno.EOPNOTSUPP):
                raise
            return f"buffers are not registered with the system ({error.strerror})"
        self.registered = True
        return None

    def begin(self, request: Request) -> None:
        """Note the request for the next call of `wait`."""
        if not self._places:
            raise RuntimeError(f"over {self.depth} requests under way")
        place = self._places.pop()
        self._under_way[place] = request
        self._ask(place, request)

    def _ask(self, place: int, request: Request) -> None:
        offset = request.offset + request.moved
        parts = request.left()
        if self.registered and request.staged is not None:
            operation = WRITE_FIXED if request.write else READ_FIXED
            (part,) = parts
            self._ring.ask(operation, request.descriptor, offset, address_of(part), part.nbytes,
                           place, request.staged)  # fmt: skip
            return
        vectors = Ring.vectors(parts)
        self._vectors[place] = vectors
        self._ring.ask(WRITE_V if request.write else READ_V, request.descriptor, offset,
                       ctypes.addressof(vectors), len(parts), place)  # fmt: skip

    def wait(self, *, block: bool) -> list[Request]:
        """Hand over what was begun and return what has ended; with `block`, sleep until then."""
        ring = self._ring
        while True:
            if block and not self._listening:
                ring.ask(READ, self._event, 0, ctypes.addressof(self._count), 8, _WAKE)
                self._listening = True
            if block or ring.unsent or self._under_way:
                ring.enter(1 if block and not ring.ready else 0)
            ended = self._ended(ring.take())
            if ended or self._woken or not block:
                self._woken = False
                return ended

    def _ended(self, answers: Sequence[tuple[int, int]]) -> list[Request]:
        ended = []
        for mark, result in answers:
            if mark == _WAKE:
                if result < 0 and -result not in (errno.EINTR, errno.EAGAIN):
                    raise OSError(-result, os.strerror(-result))
                self._listening, self._woken = False, True
                continue
            request = self._under_way[mark]
            if request.take(result):
                del self._under_way[mark]
                self._vectors.pop(mark, None)
                self._places.append(mark)
                ended.append(request)
            else:
                self._ask(mark, request)
        return ended

    def wake(self) -> None:
        """End a sleep, now or the next."""
        # Without letting go of the interpreter: who sleeps would take it from who trains.
        self._signal(self._event, 1)

    def close(self) -> None:
        """Give the ring back; from any thread, once the one that used it does no more."""
        if self._made is not None:
            # A read of the event may be under way still. It is called off, and nobody signals.
            self._made.close()
            self._made = None
        os.close(self._event)


def why_no_ring() -> str | None:
    """Return why this process may have no ring, or None when it may."""
    try:
        tried = RingChannel(1)
        try:
            tried.wake()
            tried.wait(block=True)
        finally:
            tried.close()
    except (OSError, AttributeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return None
