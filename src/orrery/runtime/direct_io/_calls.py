"""Requests as plain calls that take as long as they take: the thread waits in each."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from ._request import Bytes, Request


class CallChannel:
    """One request at a time, by ``preadv`` and ``pwritev``; several threads make several."""

    depth = 1

    def __init__(self) -> None:
        self._ended: list[Request] = []
        self._awake = threading.Event()

    def stage(self, buffers: Sequence[Bytes]) -> str | None:
        """Do nothing: plain calls know no registered buffers."""
        return None

    def begin(self, request: Request) -> None:
        """Make the request; it has ended when this returns."""
        call = os.pwritev if request.write else os.preadv
        answer = 0
        while True:
            try:
                parts = [part.data for part in request.left()]
                answer = call(request.descriptor, parts, request.offset + request.moved)
            except OSError as error:
                if error.errno is None:
                    raise
                answer = -error.errno
            if request.take(answer):
                break
        self._ended.append(request)

    def wait(self, *, block: bool) -> list[Request]:
        """Return what has ended; with `block` and nothing to return, sleep until woken."""
        if block and not self._ended:
            self._awake.wait()
        # A call of `wake` before this line has been seen by whoever reads the queue after it.
        self._awake.clear()
        ended, self._ended = self._ended, []
        return ended

    def wake(self) -> None:
        """End a sleep, now or the next."""
        self._awake.set()

    def close(self) -> None:
        """Nothing is held."""
