"""Work that many processes or threads do side by side, with the same answers as one alone.

Models:  one function of what all share and of an argument; answers come in the arguments' order.
Ignores: who does what, and when.
Judge:   the same work without an executor (tests).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    wait,
)
from contextlib import suppress
from typing import Any, Generic, TypeVar
from uuid import uuid4
from weakref import WeakSet

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")

#: How often somebody who waits is asked whether to stop.
_POLL_S = 0.1

#: Values that a worker keeps; several searches may take turns.
_KEPT = 4


class Shared(Generic[T]):
    """A value that many tasks need: packed once, and unpacked once by every worker process."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._packed: tuple[str, bytes] | None = None

    def packs(self) -> bool:
        """Whether the value can travel to another process; a user's own cost model may not."""
        try:
            self.__reduce__()
        except (pickle.PicklingError, TypeError, AttributeError):
            return False
        return True

    def __reduce__(self) -> tuple[Callable[[str, bytes], Shared[T]], tuple[str, bytes]]:
        if self._packed is None:
            self._packed = uuid4().hex, pickle.dumps(self.value, pickle.HIGHEST_PROTOCOL)
        return _unpacked, self._packed


_KNOWN: dict[str, Shared[Any]] = {}


def _unpacked(token: str, packed: bytes) -> Shared[Any]:
    """Return the value that this process knows by a token already, with all it remembers."""
    if token not in _KNOWN:
        while len(_KNOWN) >= _KEPT:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[token] = Shared(pickle.loads(packed))
    return _KNOWN[token]


def _nobody(done: int) -> None:
    del done


def run_all(
    executor: Executor | None,
    work: Callable[[T, A], R],
    shared: Shared[T],
    arguments: Sequence[A],
    tell: Callable[[int], None] = _nobody,
) -> list[R]:
    """Return ``work(shared.value, argument)`` for every argument, in order.

    Parameters
    ----------
    executor : threads or processes that work beside the caller; None to do all here. Also done
        here: what cannot travel to another process, and all when a worker has died
    work : a function of a module; its answer must depend on its arguments alone
    tell : called with how many are done, time and again; what it raises ends the work
    """
    able = isinstance(executor, ThreadPoolExecutor) or (executor is not None and shared.packs())
    found: dict[int, R] = {}
    futures: dict[int, Future[R]] = {}
    try:
        if able and executor is not None:
            for number in range(1, len(arguments)):
                future = executor.submit(_apply, work, shared, arguments[number])
                _hears_once(future)  # before any is taken back
                futures[number] = future
        # They take from the front, the caller from the back: all it can before they have begun.
        for number in (0, *reversed(range(1, len(arguments)))):
            one = futures.get(number)
            if number >= len(arguments) or (one is not None and _taken(executor, futures, one)):
                continue
            tell(len(found))
            found[number] = work(shared.value, arguments[number])
        waiting = {future for number, future in futures.items() if number not in found}
        while waiting:
            tell(len(arguments) - len(waiting))
            _, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
        found |= {n: future.result() for n, future in futures.items() if n not in found}
    except BrokenExecutor:
        return run_all(None, work, shared, arguments, tell)
    finally:
        for future in futures.values():
            future.cancel()
    return [found[number] for number in range(len(arguments))]


#: Executors that have answered; until then their processes may still be starting.
_AWAKE: WeakSet[Executor] = WeakSet()


def _taken(executor: Executor | None, futures: Mapping[int, Future[R]], one: Future[R]) -> bool:
    """Whether a worker has begun with a task; if not, it is taken back."""
    if one.cancel():
        return False
    if executor is not None and any(f.done() and not f.cancelled() for f in futures.values()):
        _AWAKE.add(executor)
    return executor in _AWAKE


def _hears_once(future: Future[R]) -> None:
    """Let a future that was taken back not mind that it is told of the processes' end.

    When a pool breaks, Python 3.11 tells all its tasks. One that was taken back raises, in the
    pool's own thread, which dies before it has ended the other processes: CPython issue 107219.
    """
    tell = future.set_exception

    def told(exception: BaseException | None) -> None:
        with suppress(InvalidStateError):
            tell(exception)

    future.set_exception = told  # type: ignore[method-assign]


def _apply(work: Callable[[T, A], R], shared: Shared[T], argument: A) -> R:
    return work(shared.value, argument)
