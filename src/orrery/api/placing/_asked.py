"""Counts the requests of a placed network that have no answer yet, so that it can be closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Real

from orrery.errors import SpecError

#: Clocks of threads end not far beyond.
_LONGEST_S = 1e8


def check_request(inputs: object, timeout_s: object) -> float | None:
    """Refuse what cannot be asked; return the time as a number, or None.

    Raises
    ------
    SpecError : inputs that are no mapping; a time that is none, or that is over before it begins
    """
    if type(inputs) is not dict and not isinstance(inputs, Mapping):
        raise SpecError("request: inputs", found=type(inputs).__name__, fix="name each input",
                        wanted="arrays by name, in a dictionary")  # fmt: skip
    if timeout_s is None:
        return None
    number = isinstance(timeout_s, Real) and not isinstance(timeout_s, bool)
    seconds = float(timeout_s) if number else 0.0  # type: ignore[arg-type]
    if not 0 < seconds <= _LONGEST_S:
        wanted = f"seconds, more than 0 and at most {_LONGEST_S:,.0f}, or None"
        raise SpecError("request: timeout_s", found=timeout_s, wanted=wanted, fix="correct it")
    return seconds


class Asked:
    """Requests that begin and end in any thread, until no more may begin."""

    def __init__(self) -> None:
        self._open, self._changed = True, threading.Condition()
        self._tokens: set[object] = set()
        self._answered = 0
        self._answering: set[int] = set()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Note that this thread hands an answer over, to callbacks too."""
        own = threading.get_ident()
        nested = own in self._answering
        self._answering.add(own)
        try:
            yield
        finally:
            if not nested:
                self._answering.discard(own)

    def check_close(self) -> None:
        """Refuse to wait for the end of what this thread itself hands over.

        Raises
        ------
        SpecError : called in a callback
        """
        if threading.get_ident() in self._answering:
            raise SpecError("close", found="a callback of `submit`, whose end it would wait for",
                            wanted="another thread", fix="close when it has returned")  # fmt: skip

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
