"""Holds back signal handlers while the main thread does what must not be left half done.

Models:  nothing. A handler may raise between any two instructions of the main thread (Ctrl-C, a
         timer): where tensors are handed over, whoever waits for the rest would wait for ever.
         Handlers that come meanwhile run where whoever holds them back says so, at the latest at
         the end.
Ignores: other signals than those named; threads other than the main one, which no handler disturbs.
Judge:   interrupts at random moments, after each of which the same network answers
         (tests/runtime/together/test_interrupts.py).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

try:  # the same functions without the names of signals, which take ten times as long
    from _signal import getsignal  # type: ignore[import-not-found]
    from _signal import signal as set_signal
except ImportError:  # another interpreter
    from signal import getsignal
    from signal import signal as set_signal

#: What people, timers and service managers send; not every operating system has all.
_SIGNALS = tuple(
    int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)
)


def raised_by_a_handler(error: BaseException) -> bool:
    """Say whether a signal handler raised this, where handlers were not held back.

    Told by whose code it came through; KeyboardInterrupt and the like are always the user's.
    """
    if not isinstance(error, Exception):
        return True
    if threading.current_thread() is not threading.main_thread():
        return False
    codes = {_code(getsignal(number)) for number in _SIGNALS} - {None}
    at = error.__traceback__ if codes else None
    while at is not None:
        if at.tb_frame.f_code in codes:
            return True
        at = at.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    """Return what runs when a handler is called, None where that is not Python."""
    while isinstance(handler, partial):
        handler = handler.func
    for one in (handler, type(handler).__call__ if callable(handler) else None):
        code = getattr(getattr(one, "__func__", one), "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


class Interrupts:
    """Signal handlers wait for the end of the block, or for `deliver`.

    Parameters
    ----------
    wake : told when one waits, so that a thread that sleeps can `deliver` it; may be set later

    Attributes
    ----------
    open : handlers run at once, as outside the block; set it only where what they raise is caught
    raised : what one raised then
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.open = False
        self.raised: BaseException | None = None
        self.wake = wake
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._held: list[tuple[int, FrameType | None]] = []

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in _SIGNALS:
                    handler = getsignal(number)
                    if callable(handler):
                        self._before[number] = handler
                        set_signal(number, self._hold)
            except BaseException:  # another one's handler, before it was held back
                self._restore()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False
        before = dict(self._before)
        self._restore()
        while self._held:
            number, frame = self._held.pop(0)
            before[number](number, frame)

    def deliver(self) -> None:
        """Run the handlers that wait, if this is their thread; what they raise leaves."""
        main = threading.current_thread() is threading.main_thread()
        while main and self._before and self._held:
            number, frame = self._held.pop(0)
            self._before[number](number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.open:
            self.open = False  # what is raised here must not be overtaken by a second one
            try:
                self._before[number](number, frame)
            except BaseException as error:
                self.raised = error
                raise
            self.open = True
        else:
            self._held.append((number, frame))
            self.wake()

    def _restore(self) -> None:
        raised: BaseException | None = None
        while self._before:
            number, handler = next(iter(self._before.items()))
            try:
                set_signal(number, handler)
                del self._before[number]
            except BaseException as error:  # of one that is back already; the others must follow
                raised = error
        if raised is not None:
            raise raised
