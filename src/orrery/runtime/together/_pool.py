"""Workers of this machine: a thread each, bound to its processors, with a back end of its own.

Models:  nothing; it runs. Graphs are prepared in the thread that will run them, so that what a
         library starts for itself stays on the worker's processors. A memory that is not the host's
         has two threads more, one for copies of each direction.
Ignores: what workers share (caches, memory bandwidth); that is measured, not modelled.
Judge:   the processors a thread may use, as the system tells; outputs against the reference
         (tests/runtime/together).
"""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import Graph, Region, subgraph

from .._backend import Backend, Executable
from .._machine import allowed_processors, free_memory_bytes
from ._capacity import DoesNotFitError, is_shortage, misfit, shortage, weight_bytes
from ._inbox import Inbox, looker
from ._memory import HOST, Memory

T = TypeVar("T")

#: What the name of a worker ends with that is a process.
PROCESS = " process"

#: Something for a worker's thread to do; it may return the next thing, which is done at once.
Job = Callable[[], "Job | None"]

#: Making a subgraph ready may take so long: compilers take minutes.
_PREPARES_S = 1800.0

#: Weights that any machine holds once more; what is free is looked up for larger ones.
_SURELY_HELD = 1 << 24

#: How long a thread that was told to end is waited for.
_GRACE_S = 2.0

#: A pool that closes gives up what is under way when nothing has ended for so long, or for so many
#: times what any step took before.
_PATIENCE_S, _PATIENCE = 30.0, 50.0

#: Threads look out for work for some milliseconds after what they did; a busy machine takes longer.
_AWAKE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWorker:
    """One way of running graphs here.

    Attributes
    ----------
    processors : of the system's numbering; the worker's thread runs on no other. None for a GPU:
        its thread only queues work, on whichever is free
    backend : prepared graphs are its own; it must use as many threads as there are processors
    label : the back end with what distinguishes it, for people and for caches
    memory : where it reads and writes; None is the host's. With one, prepared graphs must have a
        method `run_tensors`
    kind : ``thread`` of this process, or ``process`` of its own
    """

    name: str
    processors: tuple[int, ...]
    backend: Backend
    label: str
    memory: Memory | None = None
    kind: str = "thread"

    @property
    def memory_name(self) -> str:
        return HOST if self.memory is None else self.memory.name

    @property
    def occupies(self) -> frozenset[str]:
        """What it has to itself while it runs: processors, or the device of its memory."""
        return frozenset(map(str, self.processors)) or frozenset({self.memory_name})


class WorkerFailedError(OrreryError):
    """A worker could not run a subgraph; the request it belonged to has failed.

    Attributes
    ----------
    lost : the thread that hung, where that is why
    alone : no other request was under way at any time from its begin on
    """

    lost: str | None = None
    alone: bool = False

    def __init__(self, worker: str, region: str, found: str) -> None:
        self.worker, self.region = worker, region
        super().__init__(
            f"worker {worker!r}: subgraph {region!r}: found {found}, wanted its outputs; place it "
            "on another worker"
        )


class WorkerHungError(OrreryError):
    """A worker did not come back in time; nobody may ask it before it does.

    Attributes
    ----------
    lost : the thread that hung
    """

    lost: str | None = None

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
    found = {processors_name(own): own}
    if len(own) > 1:
        half = len(own) // 2
        found |= {processors_name(part): part for part in (own[:half], own[half:])}
    return found


def processors_name(processors: tuple[int, ...]) -> str:
    """Return e.g. ``cpu0-3``, ``cpu0,2``."""
    runs: list[list[int]] = []
    for one in processors:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return "cpu" + ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


#: What a forked process has copies of.
_OPEN: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _tell_forked() -> None:
    for pool in list(_OPEN):
        pool.forked()


if hasattr(os, "register_at_fork"):  # not on every operating system
    os.register_at_fork(after_in_child=_tell_forked)


class _Attached(Protocol):
    """What serves beside a pool's threads."""

    def cool(self) -> None: ...
    def close(self) -> None: ...


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
            needless = worker.memory is not None and not worker.processors
            if not needless and not (worker.processors and known.issuperset(worker.processors)):
                raise SpecError(
                    f"worker {worker.name!r}: processors", found=worker.processors or "none",
                    wanted=f"some of {sorted(known)}", fix="name processors of this machine",
                )  # fmt: skip
        self.workers: Mapping[str, LocalWorker] = {worker.name: worker for worker in workers}
        self.memories: Mapping[str, Memory] = _memories(workers)
        self._threads: dict[str, _Thread] = {}
        self._ready: dict[tuple[str, str, tuple[str, ...]], Executable] = {}
        #: threads that hung and have not come back, and at what
        self.lost: dict[str, str] = {}
        self._lost_at: dict[str, object] = {}
        #: when each thread last ended something, and the longest that a step took
        self.moved: dict[str, float] = {}
        self.longest_s = 0.0
        #: requests under way; whoever begins one notes it here. Their futures end with them
        self.under_way: dict[Any, Any] = {}
        #: in its block, and in the process that began it
        self.open = False
        #: until then threads may be looking out for work, on processors of others
        self.awake_until = 0.0
        #: of a pool in the process that forked this one
        self.is_copy = False
        self._closing = False
        #: what serves beside the threads
        self.attached: list[_Attached] = []
        self._rivals = {
            worker.name: tuple(o.name for o in workers
                               if o is not worker and set(o.processors) & set(worker.processors))
            for worker in workers
        }  # fmt: skip
        self._lanes = tuple(
            f"{source} to {target}"
            for memory in self.memories
            for source, target in ((HOST, memory), (memory, HOST))
        )

    def __enter__(self) -> WorkerPool:
        looker()  # takes seconds the first time, which no thread should spend when it is asked
        for worker in self.workers.values():
            self._threads[worker.name] = _Thread(worker.name, worker.processors)
        for lane in self._lanes:
            self._threads[lane] = _Thread(lane, ())
        self.open = True
        _OPEN.add(self)
        return self

    def forked(self) -> None:
        """Note that this is a copy in a forked process: it must end nothing and wait for nobody."""
        self.is_copy, self.open = True, False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.is_copy:
            return
        try:
            if kind is None or issubclass(kind, Exception):  # else: the user's Ctrl-C
                self._serve()
        finally:
            self._end()

    def _serve(self) -> None:
        """Wait for what is under way, for as long as it gets on."""
        last = time.perf_counter()
        while asked := [f for one in list(self.under_way) if not (f := one.future).done()]:
            wait(asked, _GRACE_S)
            last = max([last, *list(self.moved.values())])
            if time.perf_counter() - last > max(_PATIENCE_S, _PATIENCE * self.longest_s):
                return

    def _end(self) -> None:
        """End the threads; what is under way yet fails."""
        self._closing, self.open = True, False
        for one in list(self.under_way):
            one.give_up("a pool that was closed before it was served")
        for thread in self._threads.values():
            thread.inbox.put(None)  # one that hung ends when it ever comes back
        for name, thread in self._threads.items():
            if name not in self.lost:
                thread.join(_GRACE_S)
        for name, thread in self._threads.items():
            if name not in self.lost:
                thread.drain()
        for other in self.attached:
            other.close()
        self._threads.clear()
        self._ready.clear()
        # Left there, it would be taken out by Python code in the midst of some later collection of
        # memory: what a signal handler raises then is printed and lost.
        _OPEN.discard(self)

    def worker(self, name: str) -> LocalWorker:
        """Return a worker; ``NAME process`` is worker NAME in a process of its own.

        Raises
        ------
        UnknownNameError : no such worker
        """
        own = self.workers.get(name.removesuffix(PROCESS))
        if own is None:
            raise UnknownNameError("worker", name, self.workers)
        return replace(own, name=name, kind="process") if name.endswith(PROCESS) else own

    def attach(self, other: _Attached) -> None:
        """Have something beside the threads serve here: it makes way and ends with them.

        Raises
        ------
        SpecError : the block has ended
        """
        if self._closing or not self._threads:
            raise _closed()
        self.attached.append(other)

    def post(self, worker: str, job: Job) -> None:
        """Have a worker do something after what it was told before.

        ``host to M`` and ``M to host`` are the threads that copy to and from a memory M.

        Raises
        ------
        UnknownNameError : no such worker
        SpecError : the block has ended
        WorkerFailedError : it hung before
        """
        self.clear(worker)
        self.awake_until = time.perf_counter() + _AWAKE_S
        self._threads[worker].inbox.put(job)

    def clear(self, worker: str, *, own: bool = False, beside: _Attached | None = None) -> None:
        """Make way for a worker: those that share its processors sleep until they are needed.

        Parameters
        ----------
        own : its own thread too, as somebody else's will do its work
        beside : what is attached here and need not make way

        Raises
        ------
        UnknownNameError, SpecError, WorkerFailedError : as for `post`
        """
        if worker not in self.workers and worker not in self._lanes:
            raise UnknownNameError("worker", worker, [*self.workers, *self._lanes])
        if worker in self.lost:
            told = WorkerFailedError(
                worker, self.lost.get(worker, "?"), "a thread that hung before"
            )
            told.lost = worker
            raise told
        if self.is_copy:
            raise SpecError(
                "worker pool", found="a forked process, in which none of its threads runs",
                wanted="the process that opened it",
                fix="open one of its own there, or start the process by 'spawn'",
            )  # fmt: skip
        if self._closing or worker not in self._threads:
            raise _closed()
        self.cool(worker, own=own, beside=beside)
        if beside is not None:
            self.awake_until = time.perf_counter() + _AWAKE_S

    def cool(self, worker: str, *, own: bool = False, beside: _Attached | None = None) -> None:
        """Have those sleep that share a worker's processors, as `clear` does, and ask nothing."""
        for other in self.attached:
            if other is not beside:
                other.cool()
        for name in (*self._rivals.get(worker, ()), *([worker] if own else [])):
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
            self.moved[worker] = time.perf_counter()
            self.back(worker, future)

        self.post(worker, job)
        try:
            return future.result(timeout_s)
        except FutureTimeout:
            if future.done():  # the action itself timed out somewhere
                raise
            self.lose(worker, "?", future)
            if future.done():
                self.back(worker, future)
            told = WorkerHungError(worker, "?", timeout_s or 0.0)
            told.lost = worker
            raise told from None

    def lose(self, thread: str, region: str, at: object) -> None:
        """Have nobody ask a thread that hangs, until `back` says that it ended what it is at."""
        self._lost_at[thread] = at
        self.lost[thread] = region

    def back(self, thread: str, at: object) -> None:
        """Note that a thread has ended something; one that hung at it may be asked again."""
        if thread in self.lost and self._lost_at.get(thread) == at:
            self.lost.pop(thread, None)

    def prepare(
        self, worker: str, region: Region | Graph, *, timeout_s: float | None = None
    ) -> Executable:
        """Return a subgraph made ready on a worker, once.

        Parameters
        ----------
        timeout_s : who takes longer hangs; None: as long as any compiler may take

        Raises
        ------
        WorkerHungError : it took longer
        ModelError : the back end refuses it
        DoesNotFitError : the worker's memory cannot hold it
        """
        graph, nodes = (region.graph, region.nodes) if isinstance(region, Region) else (region, ())
        key = (worker, graph.digest, nodes)
        if key not in self._ready:
            whole = subgraph(region) if isinstance(region, Region) else region

            def make() -> Executable:
                return self.call(worker, lambda: _prepared(self.workers[worker], whole),
                                 timeout_s=timeout_s or _PREPARES_S)  # fmt: skip

            try:
                self._ready[key] = make()
            except DoesNotFitError:
                self._forget(self.workers[worker].memory_name)
                self._ready[key] = make()
        return self._ready[key]

    def forget(self) -> None:
        """Let go of all that was made ready and that no network has: its weights make room."""
        for memory in (HOST, *self.memories):
            self._forget(memory)

    def _forget(self, memory: str) -> None:
        """Let go of what is ready in a memory: what no network has any more makes room."""
        for key in list(self._ready):
            if self.workers[key[0]].memory_name == memory:
                del self._ready[key]
        gc.collect()  # a network and its last request know each other


def _closed() -> SpecError:
    return SpecError("worker pool", found="a pool that is closed", wanted="an open one",
                     fix="use it inside its block")  # fmt: skip


def _memories(workers: Sequence[LocalWorker]) -> dict[str, Memory]:
    found: dict[str, Memory] = {}
    for worker in workers:
        if worker.memory is None:
            continue
        one = found.setdefault(worker.memory.name, worker.memory)
        if one is not worker.memory or one.name == HOST:
            raise SpecError(f"worker {worker.name!r}: memory", found=f"another named {one.name!r}",
                            wanted="a name for each", fix="share it, or rename it")  # fmt: skip
    return found


def _prepared(worker: LocalWorker, graph: Graph) -> Executable:
    what, memory = f"{graph.name} on worker {worker.name!r}", worker.memory
    if memory is None:
        # Whoever takes more than there is gets killed; each worker has weights of its own.
        if (weights := weight_bytes(graph)) > _SURELY_HELD:
            twice = f"{what} beside the weights it is made from"
            if (short := misfit(twice, graph, free_memory_bytes() - weights)) is not None:
                raise DoesNotFitError(short)
        try:
            return worker.backend.prepare(graph)
        except (OrreryError, MemoryError):
            raise
        except Exception as error:  # whatever a library raises; others may run it
            told = f"{type(error).__name__} while it was made ready: {error}"
            raise WorkerFailedError(worker.name, graph.name, told) from error
    if (short := misfit(what, graph, memory.free_bytes())) is not None:
        raise DoesNotFitError(short)
    try:
        return memory.prepare(worker.backend, graph)
    except (MemoryError, RuntimeError, OrreryError) as error:
        if not is_shortage(error):
            raise
        raise DoesNotFitError(shortage(what, graph, memory.free_bytes())) from error


@contextmanager
def forwarding(future: Future[Any]) -> Iterator[None]:
    """Hand whatever the block raises to whoever waits; a worker's thread outlives it."""
    try:
        yield
    except BaseException as error:
        future.set_exception(error)


class _Bound:
    """Keeps a thread on some processors; a class, as a request has no time for a generator."""

    __slots__ = ("_before", "_processors")

    def __init__(self, processors: Sequence[int]) -> None:
        self._processors = processors
        self._before: set[int] | None = None

    def __enter__(self) -> None:
        if self._processors and hasattr(os, "sched_setaffinity"):  # not on every operating system
            before = os.sched_getaffinity(0)
            if not before.issubset(self._processors):
                self._before = before
                os.sched_setaffinity(0, self._processors)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            os.sched_setaffinity(0, self._before)


def on_processors(processors: Sequence[int]) -> AbstractContextManager[None]:
    """Keep the calling thread on some processors, if any, for as long as the block lasts."""
    return _Bound(processors)


class _Thread:
    """A thread, bound to its processors if it has any, that does what is put in its queue."""

    def __init__(self, name: str, processors: tuple[int, ...]) -> None:
        # Without processors of its own it sleeps while it waits.
        self.inbox: Inbox[Job | None] = Inbox() if processors else Inbox(looks=0)
        self._thread = threading.Thread(
            target=self._work, args=(processors,), name=name, daemon=True
        )
        self._thread.start()

    def drain(self) -> None:
        """Do here what came too late for the thread, so that nobody waits for it for ever."""
        while not self._thread.is_alive() and (job := self.inbox.take()) is not None:
            following: Job | None = job
            while following is not None:
                following = following()

    def _work(self, processors: tuple[int, ...]) -> None:
        if processors and hasattr(os, "sched_setaffinity"):  # not on every operating system
            os.sched_setaffinity(0, processors)
        following: Job | None
        while (following := self.inbox.get()) is not None:  # nothing done is kept while it waits
            while following is not None:
                following = following()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
