"""One set of inputs on its way through the steps of a placed network.

Models:  nothing; it runs. What ends last starts what it freed, in its own thread where that is the
         same worker. Where all steps are on one worker and nobody else asks, whoever asks does them
         itself, one after the other, and nothing is handed over.
Judge:   the whole network on the reference; failures, hangs and interrupts by made-up back ends
         (tests/runtime/together/test_executor.py, test_straight.py, test_interrupts.py).
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError
from orrery.graph import Region

from .._backend import Executable, Run, Tensors, check_answer, looked_at_once
from .._evaluator import read_only
from .._machine import allowed_processors
from ._capacity import is_shortage
from ._inbox import Inbox
from ._interrupts import Interrupts, raised_by_a_handler
from ._memory import HOST, Memory
from ._pool import Job, WorkerFailedError
from ._transfers import Copy, Key, key

if TYPE_CHECKING:
    from ._executor import PlacedNetwork

#: Seconds of a request so brief that nobody is bound to processors for it.
_BRIEF_S = 2e-3

#: Does a step or a copy to the values of a request.
Act = Callable[[dict[Key, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTime:
    """A tensor's way between two memories in one request."""

    tensor: str
    source: str
    target: str
    size_bytes: int | None
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out of one request.

    Attributes
    ----------
    began_s, ended_s : per step, of the clock `time.perf_counter`; on a GPU as its events tell
    asked_s, answered_s : when the request came and when its last step ended
    copies : between memories
    """

    outputs: dict[str, NDArray[Any]]
    began_s: tuple[float, ...]
    ended_s: tuple[float, ...]
    asked_s: float
    answered_s: float
    copies: tuple[CopyTime, ...] = ()

    @property
    def latency_s(self) -> float:
        return self.answered_s - self.asked_s


class Request:
    """One set of inputs on its way through the steps."""

    __slots__ = ("_future", "alone", "asked", "began", "ended", "failed", "followers", "here",
                 "inbox", "interrupts", "left", "missing", "network", "told", "values")  # fmt: skip

    def __init__(
        self, network: PlacedNetwork, inputs: Tensors, here: str | None,
        interrupts: Interrupts | None,
    ) -> None:  # fmt: skip
        self.network = network
        #: no other was under way at any time so far
        self.alone = True
        #: of the caller's thread, while that does steps
        self.interrupts = interrupts
        #: the worker whose steps the caller's thread does, taken from the inbox; None ends it
        self.here = here
        self.inbox: Inbox[Job | None] | None = None if here is None else Inbox()
        self.values: dict[Key, Any] = {name: read_only(value) for name, value in inputs.items()}
        self.missing = list(network.waiting)
        self.left = len(self.missing)
        self.began, self.ended = [0.0] * self.left, [0.0] * self.left
        self.followers: dict[int, list[tuple[Request, int]]] = {}
        self.failed = False
        #: the answer, once there is one
        self.told: Outcome | WorkerFailedError | None = None
        self._future: Future[Outcome] | None = None
        self.asked = time.perf_counter()

    @property
    def future(self) -> Future[Outcome]:
        """The answer to come; made for whoever wants it."""
        with self.network.lock:
            if self._future is None:
                self._future = Future()
                if self.told is not None:
                    _answer(self._future, self.told)
            return self._future

    def _tell(self, answer: Outcome | WorkerFailedError) -> None:
        """Answer, unless somebody has answered already."""
        with self.network.lock:
            future = self._future
            if self.told is not None:
                return
            self.told = answer
        if future is not None:
            _answer(future, answer)

    def add_follower(self, number: int, request: Request, step: int) -> bool:
        """Have a later request's step wait for one of ours; False where that has ended."""
        if self.ended[number]:
            return False
        self.followers.setdefault(number, []).append((request, step))
        return True

    def job(self, number: int) -> Job:
        return lambda: self.perform(number)

    def perform(self, number: int) -> Job | None:
        """Run a step in this thread; return what this worker does next, if that is free now."""
        network = self.network
        self.began[number] = time.perf_counter()
        if not self.failed:
            interrupts = self.interrupts if network.threads[number] == self.here else None
            try:
                if interrupts is None:
                    network.acts[number](self.values)
                else:
                    interrupts.open = True
                    network.acts[number](self.values)
                    interrupts.open = False
            except BaseException as error:  # whoever asked must hear of it, whatever it is
                if interrupts is not None:
                    interrupts.open = False
                self._fail(number, error)
        freed: list[tuple[Request, int]] = []
        with network.lock:
            self.ended[number] = now = time.perf_counter()
            for other in network.frees[number]:
                self.missing[other] -= 1
                if self.missing[other] == 0:
                    freed.append((self, other))
            for request, step in self.followers.pop(number, ()):
                request.missing[step] -= 1
                if request.missing[step] == 0:
                    freed.append((request, step))
            self.left -= 1
            over = self.left == 0
        own, mine, pool = network.threads[number], None, network.pool
        pool.moved[own] = now
        pool.longest_s = max(pool.longest_s, now - self.began[number])
        if pool.lost:
            pool.back(own, (self, number))
        for request, step in freed:
            same_thread = request is self or own not in (request.here, self.here)
            if mine is None and network.threads[step] == own and same_thread:
                mine = request.job(step)
            else:
                request.hand_on(step)
        if over:
            self._leave()
        return mine

    def _leave(self) -> None:
        """Answer, and forget all tensors: the next request still knows this one."""
        network = self.network
        if not self.failed:
            try:
                outcome = self._outcome()
            except BaseException as error:  # whoever asked must hear of it, whatever it is
                self._fail(len(self.missing), error)
        self.values = {}
        network.pool.under_way.pop(self, None)
        if not self.failed:
            self._tell(outcome)
        if self.inbox is not None:
            self.inbox.put(None)

    def work_here(self) -> None:
        """Do the steps of the worker whose place the caller takes, until the request is over.

        Raises
        ------
        BaseException : of the caller's signal handlers, between two steps
        """
        inbox = self.inbox
        while inbox is not None and (job := inbox.get()) is not None:
            following: Job | None = job
            while following is not None:
                following = following()

    def hand_on(self, number: int) -> None:
        """Give a step that is free now to its worker; the request fails where that is gone."""
        worker = self.network.threads[number]
        if worker == self.here and self.inbox is not None:
            self.inbox.put(self.job(number))
            return
        try:
            self.network.pool.post(worker, self.job(number))
        except OrreryError as error:
            self._fail(number, error)
            following = self.perform(number)  # whoever waits for its processors must not wait
            while following is not None:
                following = following()

    def _fail(self, number: int, error: BaseException) -> None:
        told = failure_of(self.network, number, error, self.values)
        told.__cause__, told.alone = error, self.alone
        self.fail(told)

    def give_up(self, why: str) -> None:
        """Answer that it is not served, unless somebody has answered already."""
        left = next((n for n, ended in enumerate(self.ended) if not ended), 0)
        self.fail(self.network.failure(left, why))

    def leave_waiting(self, error: WorkerFailedError) -> None:
        """Answer that it failed, and have the caller's thread wait no longer."""
        self.fail(error)
        if self.inbox is not None:
            self.inbox.put(None)

    def fail(self, error: WorkerFailedError) -> None:
        """Answer that it failed; steps that come yet do nothing but hand on."""
        self.failed = True
        self._tell(error)

    def _outcome(self) -> Outcome:
        constants = self.network.graph.constants
        outputs = {
            name: self.values[name] if name in self.values else constants[name].array()
            for name in self.network.graph.outputs
        }
        if self.network.lends:
            outputs = _apart(outputs, [self.values[name] for name in self.network.graph.inputs])
        answered, count = time.perf_counter(), len(self.network.steps)
        for number, memory in enumerate(self.network.memories):
            if memory is not None:  # what was launched ended when the device says
                one = self.values[self.network.steps[number].region.outputs[0], memory.name]
                found = memory.moments(one)
                if found is not None:
                    self.began[number], self.ended[number] = found
        return Outcome(
            outputs=outputs, began_s=tuple(self.began[:count]), ended_s=tuple(self.ended[:count]),
            asked_s=self.asked, answered_s=answered,
            copies=tuple(
                CopyTime(tensor=c.tensor, source=c.source, target=c.target, began_s=began,
                         ended_s=ended, size_bytes=c.size_bytes)
                for c, began, ended in zip(self.network.copies, self.began[count:],
                                           self.ended[count:], strict=True)
            ),
        )  # fmt: skip


def _answer(future: Future[Outcome], answer: Outcome | WorkerFailedError) -> None:
    if isinstance(answer, Outcome):
        future.set_result(answer)
    else:
        future.set_exception(answer)


class Visit:
    """A request whose steps the caller's thread does straight away; others see that it is there."""

    __slots__ = ("_future", "alone", "asked", "began", "ended", "failed", "followers", "network",
                 "over")  # fmt: skip

    def __init__(self, network: PlacedNetwork, asked: float) -> None:
        self.network, self.asked = network, asked
        count = len(network.steps)
        self.began, self.ended = [0.0] * count, [0.0] * count
        self.alone, self.over = True, False
        self.failed: WorkerFailedError | None = None
        #: steps of later requests that wait for it
        self.followers: list[tuple[Request, int]] = []
        self._future: Future[None] | None = None

    @property
    def future(self) -> Future[None]:
        """Over when it is; made for whoever wants to wait."""
        with self.network.lock:
            future = self._future = self._future or Future()
            if self.over or self.failed is not None:  # looked at after the future can be seen
                future.set_result(None)
                self._future = None
            return future

    def add_follower(self, request: Request, step: int) -> bool:
        """Have a later request's step wait; False where this is over.

        Nothing is locked: it is noted first, and taken back where the end may not have seen it.
        """
        self.followers.append((request, step))
        if self.over:
            with suppress(ValueError):  # it was seen
                self.followers.remove((request, step))
                return False
        return True

    def give_up(self, why: str) -> None:
        """Answer that it is not served."""
        left = next((n for n, ended in enumerate(self.ended) if not ended), 0)
        self.leave_waiting(self.network.failure(left, why))

    def leave_waiting(self, error: WorkerFailedError) -> None:
        """Answer that it failed once its thread has come back; the first error counts.

        Nobody waits for that, save steps of later requests.
        """
        if self.failed is None:
            self.failed = error
        with self.network.lock:
            future, self._future = self._future, None
        if future is not None:
            future.set_result(None)

    def end(self) -> None:
        """Let go whoever waits for it; done twice it is done once.

        Between any two instructions a signal handler may raise.
        """
        self.over = True
        self.network.pool.under_way.pop(self, None)
        if self.followers or self._future is not None:
            with Interrupts():
                self._release()

    def _release(self) -> None:
        network, freed = self.network, list[tuple[Request, int]]()
        with network.lock:
            future, self._future = self._future, None
            while self.followers:
                request, step = self.followers.pop()
                request.missing[step] -= 1
                if request.missing[step] == 0:
                    freed.append((request, step))
        if future is not None:
            future.set_result(None)
        for request, step in reversed(freed):
            request.hand_on(step)


class Straight:
    """Serves a network whose steps are all on one worker of the host, in the thread that asks.

    What depends on the plan alone is worked out when it is made, and little is touched: after a
    network that fills the caches each function called costs some microseconds. Signal handlers are
    not held back, which costs more than the rest: what must be undone is undone twice instead, as
    one that raises may have stopped the first time.
    """

    def __init__(self, network: PlacedNetwork) -> None:
        self.network, self.pool = network, network.pool
        self.worker = network.steps[-1].worker
        #: None where a thread is on them anyway
        self.processors = to_be_bound_to(network.pool.workers[self.worker].processors)
        self.runs: list[Run] = []
        for number, (one, step) in enumerate(zip(network.ready, network.steps, strict=True)):
            self.runs.append(looked_at_once(
                getattr(one, "run_trusted", one.run), network.graph, step.region.outputs,
                partial(self.runs.__setitem__, number)))  # fmt: skip
        #: per step, what it reads; None: all inputs there are
        self.reads = [
            None if k == 0 and set(step.region.inputs) == set(network.graph.inputs)
            else step.region.inputs for k, step in enumerate(network.steps)
        ]  # fmt: skip
        #: whether arrays may be handed over as they are
        self.keeps_apart = not network.lends
        self.constants = {
            name: network.graph.constants[name] for name in network.graph.outputs
            if name in network.graph.constants
        }  # fmt: skip

    def serve(self, inputs: Tensors) -> Outcome | None:
        """Serve a request; None where others are under way, or something is amiss.

        Raises
        ------
        WorkerFailedError : the worker failed at a subgraph
        BaseException : of the caller's signal handlers
        """
        pool = self.pool
        under_way = pool.under_way
        if under_way or pool.lost or not pool.open:
            return None
        asked = time.perf_counter()
        visit, before, undone = Visit(self.network, asked), None, False
        try:
            try:
                under_way[visit] = None
                if len(under_way) > 1:  # somebody came at the same moment
                    return None
                if asked < pool.awake_until:
                    pool.cool(self.worker, own=True)
                own = self.processors
                if own is not None:
                    before = os.sched_getaffinity(0)
                    if own >= before:
                        before = None
                    else:
                        os.sched_setaffinity(0, own)
                values = self._values(inputs, visit)
                now = visit.ended[-1]
                pool.moved[self.worker] = now
                took = now - asked
                if took > pool.longest_s:
                    pool.longest_s = took
            finally:
                visit.end()
                if before is not None:
                    os.sched_setaffinity(0, before)
                undone = True
        finally:
            if not undone:
                visit.end()
                if before is not None:
                    os.sched_setaffinity(0, before)
            if pool.lost:
                for number in range(len(visit.ended)):
                    pool.back(self.worker, (visit, number))
        if visit.failed is not None:
            raise visit.failed
        return Outcome(
            outputs=values, began_s=tuple(visit.began), ended_s=tuple(visit.ended), asked_s=asked,
            answered_s=now,
        )  # fmt: skip

    def _values(self, inputs: Tensors, visit: Visit) -> dict[str, NDArray[Any]]:
        """Do the steps one after the other and return the network's outputs."""
        number, clock, began, ended = 0, time.perf_counter, visit.began, visit.ended
        values: dict[Any, Any] = dict(inputs)
        if not self.keeps_apart:
            values = {name: read_only(value) for name, value in values.items()}
        try:
            for run, reads in zip(self.runs, self.reads):
                began[number] = clock()
                values.update(run(values if reads is None else {n: values[n] for n in reads}))
                ended[number] = clock()
                number += 1
            outputs = {}
            for name in self.network.graph.outputs:
                outputs[name] = values[name] if name in values else self.constants[name].array()
        except BaseException as error:
            if raised_by_a_handler(error):
                raise
            told = failure_of(self.network, number, error, values)
            told.alone = visit.alone
            raise visit.failed or told from error
        return outputs if self.keeps_apart else _apart(outputs, [values[n] for n in inputs])


def _apart(outputs: dict[str, Any], inputs: Sequence[Any]) -> dict[str, Any]:
    """Return outputs, copied where they are in the caller's arrays, who may fill them again."""
    return {
        name: np.array(value) if getattr(value, "base", None) is not None
        and any(np.may_share_memory(value, given) for given in inputs) else value
        for name, value in outputs.items()
    }  # fmt: skip


def failure_of(
    network: PlacedNetwork, number: int, error: BaseException,
    values: Mapping[Key, Any] | None = None,
) -> WorkerFailedError:  # fmt: skip
    """Return what to raise for what a step or a copy raised; from beyond them, the answer itself.

    Parameters
    ----------
    values : of the request so far; None: nobody else's were read
    """
    if values is not None:
        number, error = _guilty(network, number, error, values)
    lacks = "too little memory: " if is_shortage(error) else ""
    return network.failure(
        number, f"{lacks}{type(error).__name__}: {error}", lost=getattr(error, "lost", None)
    )


def _guilty(
    network: PlacedNetwork, number: int, error: BaseException, values: Mapping[Key, Any]
) -> tuple[int, BaseException]:
    """Return the step that failed, and with what: who made what was read, where that is wrong.

    An answer is looked at until it was right once; a back end may leave out something later.
    """
    copy, read = None, frozenset(network.graph.types)
    if number < len(network.threads):
        copy = network.copy(number)
        read = frozenset([copy.tensor] if copy else network.steps[number].region.inputs)
    for maker, (step, memory) in enumerate(zip(network.steps, network.memories, strict=True)):
        for name in read.intersection(step.region.outputs):
            at = key(name, HOST if memory is None else memory.name)
            try:
                check_answer(network.graph, (name,), {name: values[at]} if at in values else {})
            except ModelError as wrong:
                return maker, wrong
    return number if number < len(network.threads) else len(network.steps) - 1, error


def to_be_bound_to(processors: Sequence[int]) -> frozenset[int] | None:
    """Return what the asking thread must be bound to, None where it is on no other anyway.

    The main thread's processors count too: this one may be bound to fewer than who will ask.
    """
    if not hasattr(os, "sched_setaffinity"):  # not on every operating system
        return None
    own = frozenset(processors)
    return None if own >= {*allowed_processors(), *os.sched_getaffinity(os.getpid())} else own


def is_to_be_bound(own: frozenset[int], took_s: float) -> bool:
    """Say whether the asking thread must be bound to processors, by how long such a request took.

    For a brief one it need only be there: the system moves a thread that runs only some
    milliseconds apart, and binding takes 10 µs of each request.
    """
    return took_s > _BRIEF_S or this_processor() not in own


def this_processor() -> int:
    """Return the processor that the calling thread is on, -1 where the system does not tell."""
    return _asking()()


@functools.cache
def _asking() -> Callable[[], int]:
    try:
        call = ctypes.PyDLL(None).sched_getcpu
    except AttributeError:
        return lambda: -1
    call.argtypes, call.restype = [], ctypes.c_int
    found: Callable[[], int] = call
    return found


def act_of(
    executable: Executable, memory: Memory | None, reads: Sequence[tuple[str, Key]], region: Region
) -> Act:
    """Return what runs a step where its worker reads and writes."""
    run: Any

    def bare(found: Callable[[Any], Any]) -> None:
        nonlocal run
        run = found

    if memory is None:
        run = getattr(executable, "run_trusted", executable.run)

        def act(values: dict[Key, Any]) -> None:
            values.update(run({name: values[at] for name, at in reads}))

    else:
        run = partial(memory.launch, executable)

        def act(values: dict[Key, Any]) -> None:
            made = run({name: values[at] for name, at in reads})
            values.update({(name, memory.name): held for name, held in made.items()})

    run = looked_at_once(run, region.graph, region.outputs, bare)
    return act


def copying(copy: Copy, memory: Memory) -> Act:
    """Return what copies a tensor into a memory or out of it."""
    read, written, lasting = copy.read, copy.written, copy.lasting

    def put(values: dict[Key, Any]) -> None:
        values[written] = memory.put(values[read])

    def take(values: dict[Key, Any]) -> None:
        values[written] = memory.take(values[read], lasting=lasting)

    return take if copy.target == HOST else put
