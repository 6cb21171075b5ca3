"""Counts the requests of a placed network that have no answer yet, so that it can be closed."""

from __future__ import annotations

import threading
from functools import partial

__all__ = ["Asked"]


class Asked:
    """Requests that begin and end in any thread, until no more may begin."""

    def __init__(self) -> None:
        self._open, self._changed = True, threading.Condition()
        self._tokens: set[object] = set()
        self._answered = 0

    def begin(self, token: object) -> bool:
        """Note a request; False where no more may begin. `end` it whatever comes of it.

        Nothing is locked: whoever closes sees the request, or the request that it is closed.
        """
        self._tokens.add(token)
        return self._open

    def end(self, token: object) -> None:
        """Note that a request is over, if it was noted."""
        self._tokens.discard(token)  # first of all: a Ctrl-C may come after it
        if self._open:  # nobody waits
            return
        with self._changed:
            self._answered += 1
            self._changed.notify_all()

    def close(self, longest_s: float) -> None:
        """Let none begin, and wait for those that have, unless none ends for so long."""
        with self._changed:
            self._open = False
            while self._tokens:
                before = self._answered
                if not self._changed.wait_for(partial(self._got_on, before), longest_s):
                    break

    def _got_on(self, before: int) -> bool:
        return not self._tokens or self._answered != before
