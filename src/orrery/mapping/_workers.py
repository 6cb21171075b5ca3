"""Work that many processes or threads do side by side, with the same answers as one alone.

Models:  one function of what all share and of an argument; answers come in the arguments' order.
Ignores: who does what, and when.
Judge:   the same work without an executor (tests).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Any, Generic, TypeVar
from uuid import uuid4

__all__ = ["Shared", "run_all"]

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
    executor : threads or processes; None to do all here. Also done here: what cannot travel to
        another process, and what workers that have died leave undone
    work : a function of a module; its answer must depend on its arguments alone
    tell : called with how many are done, time and again; what it raises ends the work
    """
    futures: list[Future[R]] = []
    able = isinstance(executor, ThreadPoolExecutor) or executor is None or shared.packs()
    if executor is not None and len(arguments) > 1 and able:
        try:
            futures = [executor.submit(_apply, work, shared, a) for a in arguments]
            waiting = set(futures)
            while waiting:
                tell(len(futures) - len(waiting))
                _, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            return [future.result() for future in futures]
        except BrokenExecutor:
            futures = []  # done below
        finally:
            for future in futures:
                future.cancel()
    found = []
    for number, argument in enumerate(arguments):
        tell(number)
        found.append(work(shared.value, argument))
    return found


def _apply(work: Callable[[T, A], R], shared: Shared[T], argument: A) -> R:
    return work(shared.value, argument)
