"""Bounds on time and memory: of a whole recovery, and of single functions within it.

Models:  nothing. Work on hostile input runs in a child, and each function's in a child of that
         one: what takes too long, too much or crashes is ended alone, and what was finished stays.
Judge:   work that loops, eats memory and crashes (tests/decompile/test_limits.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from orrery.errors import SpecError

Item = TypeVar("Item")
Result = TypeVar("Result")

_DIE_WITH_PARENT = 1
_HEAD = struct.Struct("<Q")
#: What any item may take while there is time.
_LEAST_S = 2.0
#: A process that others keep from the processor is waited for so many times as long.
_PATIENCE = 8
#: No answer about one function is larger.
_MOST_ANSWER = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverLimits:
    """What a recovery may take.

    Attributes
    ----------
    time_s, memory_bytes : of the whole
    function_s : of one function; the rest goes on without it
    """

    time_s: float = 900.0
    memory_bytes: int = 6 << 30
    function_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("time_s", "memory_bytes", "function_s"):
            if not getattr(self, name) > 0:
                raise SpecError(f"recover: {name}", found=getattr(self, name),
                                wanted="a number above 0", fix="give one")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lost:
    """Why there is no result for one item."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unit(Generic[Item, Result]):
    """An item and what came of it."""

    item: Item
    result: Result | Lost


def bound_memory(most_bytes: int) -> None:
    """Bound this process's address space and let it write no core file."""
    for kind, most in ((resource.RLIMIT_AS, most_bytes), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    *,
    limit_s: float,
    deadline_s: float | None = None,
) -> Iterator[Unit[Item, Result]]:
    """Do one piece of work after another in a forked child, made anew when it is lost.

    Parameters
    ----------
    limit_s : of the processor, for one item; it waits for it eight times as long at most
    deadline_s : by `time.monotonic`: items that are not begun by then are not done

    Yields
    ------
    each item in order with its result, or why there is none: an error's text, out of time, out of
    memory, a crash of the process by its signal
    """
    child: _Worker[Item, Result] | None = None
    try:
        for at, item in enumerate(items):
            left, wait = limit_s, _PATIENCE * limit_s
            if deadline_s is not None:
                rest = deadline_s - time.monotonic()
                wait = min(wait, rest)
                # One item may take four times its part of what is left, no more.
                left = min(left, rest, max(_LEAST_S, 4 * rest / (len(items) - at)))
                if left <= 0:
                    yield Unit(item, Lost("not begun: the time for all functions was over"))
                    continue
            if child is None:
                child = _Worker(items, work)
            result = child.ask(at, left, wait)
            if isinstance(result, Lost) and not child.alive:
                child.end()
                child = None
            yield Unit(item, result)
    finally:
        if child is not None:
            child.end()


class _Worker(Generic[Item, Result]):
    """A fork of this process that does items by their number."""

    def __init__(self, items: Sequence[Item], work: Callable[[Item], Result]) -> None:
        asking, self._ask = os.pipe()
        self._answer, answering = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._ask)
            os.close(self._answer)
            try:
                ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
                if os.getppid() == parent:
                    _serve(items, work, asking, answering)
            finally:
                os._exit(0)
        os.close(asking)
        os.close(answering)
        self.alive = True

    def ask(self, number: int, limit_s: float, wait_s: float) -> Result | Lost:
        try:
            os.write(self._ask, _HEAD.pack(number))
        except BrokenPipeError:
            return self._gone()
        limits = self._used_s() + limit_s, time.monotonic() + wait_s
        head = self._read(_HEAD.size, limits)
        if isinstance(head, Lost):
            return head
        size = _HEAD.unpack(head)[0]
        if size > _MOST_ANSWER:
            self.alive = False
            return Lost(f"its result has {size} bytes, which is more than is kept")
        body = self._read(size, (limits[0] + limit_s, limits[1] + wait_s))
        if isinstance(body, Lost):
            return body
        found: Result | Lost = pickle.loads(body)  # written by a fork of this very process
        return found

    def _used_s(self) -> float:
        """Return the processor time that the child has taken (see clock_getcpuclockid)."""
        return time.clock_gettime(~self._pid << 3 | 2)

    def _read(self, size: int, limits: tuple[float, float]) -> bytes | Lost:
        parts = bytearray()
        while len(parts) < size:
            left = min(limits[0] - self._used_s(), limits[1] - time.monotonic())
            if left <= 0:
                self.alive = False
                return Lost("out of time")
            if not select.select([self._answer], [], [], left)[0]:
                continue  # others had the processor meanwhile
            part = os.read(self._answer, min(1 << 20, size - len(parts)))
            if not part:
                return self._gone()
            parts += part
        return bytes(parts)

    def _gone(self) -> Lost:
        self.alive = False
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return Lost(f"the process that read it crashed ({signal.Signals(number).name})")
        return Lost("the process that read it ended")

    def end(self) -> None:
        for one in (self._ask, self._answer):
            with contextlib.suppress(OSError):
                os.close(one)
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(
    items: Sequence[Item], work: Callable[[Item], Result], asking: int, answering: int
) -> None:
    """Do what is asked until nobody asks any more."""
    while True:
        head = os.read(asking, _HEAD.size)
        if len(head) < _HEAD.size:
            return
        try:
            body = pickle.dumps(work(items[_HEAD.unpack(head)[0]]), protocol=5)
        except MemoryError:
            body = pickle.dumps(Lost("out of memory"))
        except RecursionError:
            body = pickle.dumps(Lost("nested too deeply"))
        except Exception as error:  # one function must not take the others along
            body = pickle.dumps(Lost(f"{type(error).__name__}: {error}"[:500]))
        _write(answering, _HEAD.pack(len(body)))
        _write(answering, body)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
