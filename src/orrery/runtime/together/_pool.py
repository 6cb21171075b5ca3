"""Workers of this machine: a thread each, bound to its processors, with a back end of its own.

Models:  nothing; it runs. Graphs are prepared in the thread that will run them, so that what a
         library starts for itself stays on the worker's processors.
Ignores: what workers share (caches, memory bandwidth); that is measured, not modelled.
Judge:   the processors a thread may use, as the system tells; outputs against the reference
         (tests/runtime/together).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import Graph, Region, subgraph

from .._backend import Backend, Executable
from .._machine import allowed_processors
from ._inbox import Inbox

__all__ = ["LocalWorker", "WorkerFailedError", "WorkerHungError", "WorkerPool", "core_sets"]

T = TypeVar("T")

#: Something for a worker's thread to do; it may return the next thing, which is done at once.
Job = Callable[[], "Job | None"]

#: How long a thread that was told to end is waited for.
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWorker:
    """One way of running graphs here.

    Attributes
    ----------
    processors : of the system's numbering; the worker's thread runs on no other
    backend : prepared graphs are its own; it must use as many threads as there are processors
    label : the back end with what distinguishes it, for people and for caches
    """

    name: str
    processors: tuple[int, ...]
    backend: Backend
    label: str


class WorkerFailedError(OrreryError):
    """A worker could not run a subgraph; the request it belonged to has failed."""

    def __init__(self, worker: str, region: str, found: str) -> None:
        self.worker, self.region = worker, region
        super().__init__(
            f"worker {worker!r}: subgraph {region!r}: found {found}, wanted its outputs; place it "
            "on another worker"
        )


class WorkerHungError(OrreryError):
    """A worker did not come back in time; its thread cannot be ended and is left alone."""

    def __init__(self, worker: str, region: str, timeout_s: float) -> None:
        self.worker, self.region = worker, region
        super().__init__(
            f"worker {worker!r}: subgraph {region!r}: found no answer after {timeout_s:g} s, "
            "wanted one; allow more time, or place it on another worker"
        )


def core_sets(processors: Sequence[int] | None = None) -> dict[str, tuple[int, ...]]:
    """Return the sets of processors worth a worker: all of them, and each half.

    Two halves because two sets that share nothing are the least that can work side by side; more
    and smaller ones only lengthen what none of them can share.
    """
    own = tuple(allowed_processors() if processors is None else processors)
    found = {_name(own): own}
    if len(own) > 1:
        half = len(own) // 2
        found |= {_name(part): part for part in (own[:half], own[half:])}
    return found


def _name(processors: tuple[int, ...]) -> str:
    """Return e.g. ``cpu0-3``, ``cpu0,2``."""
    runs: list[list[int]] = []
    for one in processors:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return "cpu" + ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


class WorkerPool:
    """Threads of workers, for as long as the block lasts.

    >>> with WorkerPool(workers) as pool:  # doctest: +SKIP
    ...     pool.prepare("cpu0", region)
    """

    def __init__(self, workers: Sequence[LocalWorker]) -> None:
        if not workers:
            raise SpecError("worker pool", found="no worker", wanted="one or more",
                            fix="name a back end and processors")  # fmt: skip
        names = [worker.name for worker in workers]
        if len(set(names)) != len(names):
            raise SpecError("worker pool", found=f"names {', '.join(names)}", wanted="each once",
                            fix="rename one")  # fmt: skip
        known = set(allowed_processors())
        for worker in workers:
            if not worker.processors or not known.issuperset(worker.processors):
                raise SpecError(
                    f"worker {worker.name!r}: processors", found=worker.processors or "none",
                    wanted=f"some of {sorted(known)}", fix="name processors of this machine",
                )  # fmt: skip
        self.workers: Mapping[str, LocalWorker] = {worker.name: worker for worker in workers}
        self._threads: dict[str, _Thread] = {}
        self._ready: dict[tuple[str, str, tuple[str, ...]], Executable] = {}
        #: workers that hung, and that nobody may ask again
        self.lost: dict[str, str] = {}
        self._rivals = {
            worker.name: tuple(o.name for o in workers
                               if o is not worker and set(o.processors) & set(worker.processors))
            for worker in workers
        }  # fmt: skip

    def __enter__(self) -> WorkerPool:
        for worker in self.workers.values():
            self._threads[worker.name] = _Thread(worker)
        return self

    def __exit__(self, *_: object) -> None:
        for name, thread in self._threads.items():
            if name not in self.lost:
                thread.inbox.put(None)
        for name, thread in self._threads.items():
            if name not in self.lost:
                thread.join(_GRACE_S)
        self._threads.clear()
        self._ready.clear()

    def post(self, worker: str, job: Job) -> None:
        """Have a worker do something after what it was told before.

        Raises
        ------
        UnknownNameError : no such worker
        SpecError : the block has ended
        WorkerFailedError : it hung before
        """
        self.clear(worker)
        self._threads[worker].inbox.put(job)

    def clear(self, worker: str, *, own: bool = False) -> None:
        """Make way for a worker: those that share its processors sleep until they are needed.

        Parameters
        ----------
        own : its own thread too, as somebody else's will do its work

        Raises
        ------
        UnknownNameError, SpecError, WorkerFailedError : as for `post`
        """
        if worker not in self.workers:
            raise UnknownNameError("worker", worker, list(self.workers))
        if worker in self.lost:
            raise WorkerFailedError(worker, self.lost[worker], "a thread that never came back")
        if worker not in self._threads:
            raise SpecError("worker pool", found="a pool that is closed", wanted="an open one",
                            fix="use it inside its block")  # fmt: skip
        for name in (*self._rivals[worker], *([worker] if own else [])):
            self._threads[name].inbox.cool()

    def call(self, worker: str, action: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Run something in a worker's thread and return what it returns, or raise what it raises.

        Raises
        ------
        WorkerHungError : it took longer than it may
        """
        future: Future[T] = Future()

        def job() -> None:
            with forwarding(future):
                future.set_result(action())

        self.post(worker, job)
        try:
            return future.result(timeout_s)
        except FutureTimeout:
            if future.done():  # the action itself timed out somewhere
                raise
            self.lost[worker] = "?"
            raise WorkerHungError(worker, "?", timeout_s or 0.0) from None

    def prepare(
        self, worker: str, region: Region | Graph, *, timeout_s: float | None = None
    ) -> Executable:
        """Return a subgraph made ready on a worker, once.

        Raises
        ------
        ModelError : the back end refuses it
        """
        graph, nodes = (region.graph, region.nodes) if isinstance(region, Region) else (region, ())
        key = (worker, graph.digest, nodes)
        if key not in self._ready:
            whole = subgraph(region) if isinstance(region, Region) else region
            backend = self.workers[worker].backend if worker in self.workers else None
            self._ready[key] = self.call(
                worker, lambda: backend.prepare(whole),  # type: ignore[union-attr]
                timeout_s=timeout_s,
            )  # fmt: skip
        return self._ready[key]


@contextmanager
def forwarding(future: Future[Any]) -> Iterator[None]:
    """Hand whatever the block raises to whoever waits; a worker's thread outlives it."""
    try:
        yield
    except BaseException as error:
        future.set_exception(error)


@contextmanager
def on_processors(processors: Sequence[int]) -> Iterator[None]:
    """Keep the calling thread on some processors for as long as the block lasts."""
    if not hasattr(os, "sched_setaffinity"):  # not on every operating system
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Thread:
    """A thread bound to its processors that does what is put in its queue."""

    def __init__(self, worker: LocalWorker) -> None:
        self.inbox: Inbox[Job | None] = Inbox()
        self._thread = threading.Thread(
            target=self._work, args=(worker,), name=worker.name, daemon=True
        )
        self._thread.start()

    def _work(self, worker: LocalWorker) -> None:
        if hasattr(os, "sched_setaffinity"):  # not on every operating system
            os.sched_setaffinity(0, worker.processors)
        while (job := self.inbox.get()) is not None:
            following: Job | None = job
            while following is not None:
                following = following()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
