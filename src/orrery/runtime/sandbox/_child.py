"""The sandboxed process: prepares what is trusted, shuts itself in, then runs what is not.

Models:  nothing. One process makes namespaces, the first in them watches, and the second there is
         the only one that ever holds foreign code; the watcher tells the parent how it ended.
Judge:   tests/runtime/test_sandbox.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ._confine import Held, bound, leave_namespaces, shut
from ._probe import Emulated, Limits, Native, Probe

#: What is reported: ``p`` and the watcher's number, ``s`` and how the other ended, its memory.
REPORT = struct.Struct("<cqq")

#: What runs the rounds: yields once for each, after its answers stand in the memory it was given.
Runner = Callable[[memoryview], Iterator[None]]


class LoadError(Exception):
    """The program could not be loaded, or has not what is called."""


def main(job: int, file: int, answers: int, line: int, report: int, parent: int) -> None:
    """Run one probe.

    Parameters
    ----------
    job : file with the pickled (probe, limits), written by the parent
    file : the binary, in memory
    answers : file that is mapped for answers, of fixed size
    line : socket to the parent, which the foreign code could use too: the parent trusts nothing
        that comes over it
    report : pipe of the first process, which the second one does not have
    parent : the number of the process that must still be there
    """
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        return
    with open(job, "rb") as handle:
        probe, limits = pickle.load(handle)
    held = Held()
    leave_namespaces(held)
    first = os.fork()
    if first == 0:
        _watched(probe, limits, held, file, answers, line, report)
    os.close(line)
    os.write(report, REPORT.pack(b"p", first, 0))
    os.waitpid(first, 0)


def _watched(
    probe: Probe, limits: Limits, held: Held, file: int, answers: int, line: int, report: int
) -> NoReturn:
    """Be the first process of the new namespace, whose end ends all others; start the second.

    The foreign code must not be the first itself: that one ignores the signals by which programs
    end themselves.
    """
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.close(report)
        _inside(probe, limits, held, file, answers, line)
    os.close(line)
    _, status, usage = os.wait4(child, 0)
    os.write(report, REPORT.pack(b"s", status, usage.ru_maxrss * 1024))
    os._exit(0)


def _inside(
    probe: Probe, limits: Limits, held: Held, file: int, answers: int, line: int
) -> NoReturn:
    """Prepare, shut in, run, tell the parent, and end the process without any clearing up."""
    talk = _Line(line)
    try:
        run = _prepare(probe, file)
        with mmap.mmap(answers, 0) as memory:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            bound(limits, held, (file, line))
            talk.open(shut(limits, held, line))
            talk.say(held=held.by, size=held.size_bytes)
            with memoryview(memory) as view:
                for done, _ in enumerate(run(view), 1):
                    talk.say(done=done)
            talk.say(end=True)
    except LoadError as error:
        talk.say(load=str(error))
    except MemoryError:
        talk.say(memory=True)
    except BaseException as error:
        talk.say(error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


class _Line:
    """What is said to the parent: first a byte, with the filter's listener where there is one."""

    def __init__(self, line: int) -> None:
        self._line, self._opened = line, False
        self._sender = socket.socket(fileno=line)  # asks of it what the filter will forbid

    def open(self, listener: int | None) -> None:
        self._opened = True
        if listener is None:
            os.write(self._line, b"-")
            return
        socket.send_fds(self._sender, [b"L"], [listener])
        os.close(listener)

    def say(self, **what: Any) -> None:
        with contextlib.suppress(OSError):
            if not self._opened:
                self.open(None)
            os.write(self._line, json.dumps(what).encode()[:60_000] + b"\n")


def _prepare(probe: Probe, file: int) -> Runner:
    """Import what a probe needs while that is still possible; nothing of it is foreign."""
    if isinstance(probe, Native):
        from ._native import native

        return native(probe, file)
    if isinstance(probe, Emulated):
        from ._emulator import emulated

        return emulated(probe)
    from ._machines import virtual_machine

    return virtual_machine(probe, file)


if __name__ == "__main__":
    sys.exit("this module is started by orrery.runtime.sandbox")
