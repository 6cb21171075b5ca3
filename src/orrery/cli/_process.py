"""The program as a process: its three streams, and how it is told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from traceback import walk_tb
from types import FrameType


class Terminated(BaseException):
    """The program was told to end (SIGTERM); what is being written is removed on the way out."""


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that no scratch file stays.

    Handlers belong to the main thread; elsewhere, and where SIGTERM is ignored, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: let the clean-up finish
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a question whether the user asked to stop: the first Ctrl-C asks, the second insists.

    Where SIGINT is ignored or handled by somebody else, and outside the main thread, nobody asks.
    """
    asked = threading.Event()
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def open_streams() -> None:
    """Put the null device where the shell has closed a standard stream (``>&-``).

    Otherwise the next file that is opened would take its number, and Python has None to print to.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def blamed(error: OSError) -> str:
    """Return what an error that names no file is about.

    Commands open no file themselves: what fails in their own lines is printing.
    """
    frames = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    ours = [name for name in frames if name.startswith("orrery.")]
    if ours and ours[-1].startswith("orrery.cli"):
        drop(sys.stdout.fileno())
        return "standard output"
    return "the system"


def drop(descriptor: int) -> None:
    """Lead a stream into nothing: Python would complain again when it flushes at exit."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
