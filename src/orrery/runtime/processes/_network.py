"""A placed network whose workers are processes, save the one whose steps whoever asks does itself.

Threads of one process share the interpreter's lock: short subgraphs then wait for each other's
hand-overs. Processes share tensors instead, and words that say which steps are done; each process
does its steps in the network's order as soon as what they wait for is there, without asking anyone.

Models:  nothing; it runs. Requests are served one after the other, in the order in which they come.
Ignores: memories other than the host's, tensors whose size only running tells, texts.
Judge:   the same steps on threads, bit for bit; processes that are killed and stopped
         (tests/runtime/test_processes.py).
"""

from __future__ import annotations

import math
import os
import statistics
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError
from orrery.graph import Graph

from .._backend import Tensors, input_check
from .._evaluator import owned
from ..together._executor import Outcome, PlacedNetwork, Step, _owners
from ..together._interrupts import Interrupts, raised_by_a_handler
from ..together._pool import PROCESS, WorkerFailedError, WorkerHungError, WorkerPool
from ..together._request import failure_of, is_to_be_bound, to_be_bound_to
from ._block import Block, act_of
from ._children import Child, children_of
from ._layout import WRAP, Part, Program, unshared
from ._steps import asker_of, needs_of
from ._words import why_not

#: While whoever asks sleeps, it looks after signals and the time so often.
_SLICE_S = 0.1


def refuses_processes(graph: Graph, steps: Sequence[Step], pool: WorkerPool) -> str | None:
    """Return why steps cannot be done by processes, None where they can."""
    if (reason := why_not()) is not None:
        return reason
    for step in steps:
        if pool.worker(step.worker).memory is not None:
            return f"worker {step.worker!r} has a memory of its own"
    return unshared(graph, (t for s in steps for t in (*s.region.inputs, *s.region.outputs)))


def placed_network(
    graph: Graph, steps: Sequence[Step], pool: WorkerPool, *, timeout_s: float | None = None
) -> PlacedNetwork:
    """Return a network placed on threads, or where a step's worker is a process, on processes.

    Raises
    ------
    SpecError, ModelError, DoesNotFitError, WorkerFailedError, WorkerHungError : it cannot be placed
    """
    kinds = {pool.worker(step.worker).kind for step in steps}
    made = ProcessNetwork if "process" in kinds else PlacedNetwork
    return made(graph, steps, pool, timeout_s=timeout_s)


class _Asked:
    """A request that has no answer yet, as its pool knows it."""

    __slots__ = ("_future", "_over", "alone", "at", "inputs", "network", "since", "unserved")

    began: tuple[float, ...] = ()
    ended: tuple[float, ...] = ()

    def __init__(self, network: ProcessNetwork, inputs: Tensors) -> None:
        self.network, self.inputs = network, inputs
        self.alone = True
        #: the step that whoever asks is at, and since when
        self.at: tuple[int, float] | None = None
        #: when its turn came
        self.since = math.inf
        self.unserved: str | None = None
        self._future: Future[Any] | None = None
        self._over = False

    @property
    def future(self) -> Future[Any]:
        """Over when it is; made for whoever wants to wait."""
        with self.network.lock:
            if self._future is None:
                self._future = Future()
                if self._over:
                    self._release(self._future)
            return self._future

    def end(self) -> None:
        """Let go whoever waits for it, unless they have got its answer.

        Nothing is locked: a future that comes to be made now sees that this is over.
        """
        self._over = True
        if self._future is not None:
            self._release(self._future)

    @staticmethod
    def _release(future: Future[Any]) -> None:
        with suppress(InvalidStateError):
            future.set_result(None)

    def give_up(self, why: str) -> None:
        """Answer that it is not served."""
        self.unserved = why
        self.network.block.words.ring(self.network.block.layout.bell)


class ProcessNetwork(PlacedNetwork):
    """Serves requests with a child process per worker, and its caller's thread for one worker.

    Parameters
    ----------
    steps : every node of the graph in one of them; those that share a processor run in this order.
        Workers are named ``NAME process``, or as a thread: that of the last step, whose steps are
        done by whoever asks
    one_after_another : each step waits for the one before it

    Raises
    ------
    SpecError : steps that leave something out, do something twice, or read what comes later; a
        second worker that is a thread
    ModelError : processes cannot do it here (see `refuses_processes`)
    WorkerFailedError, WorkerHungError : a child that could not prepare its subgraphs
    """

    def __init__(  # a network on threads is made of other things
        self, graph: Graph, steps: Sequence[Step], pool: WorkerPool, *,
        timeout_s: float | None = None, one_after_another: bool = False,
    ) -> None:  # fmt: skip
        self.graph, self.steps, self.pool = graph, tuple(steps), pool
        self.copies, self.threads, self.memories = (), [], [None] * len(self.steps)
        self.check, self.straight, self.lock = input_check(graph), None, threading.Lock()
        self._timeout_s = timeout_s
        owner = _owners(graph, self.steps)
        reason = refuses_processes(graph, self.steps, pool)
        if reason is not None:
            raise ModelError(f"{graph.name} in processes", found=reason,
                             wanted="tensors and a machine that processes can share",
                             fix="place it on threads")  # fmt: skip
        self.asker = asker_of(self.steps, pool)
        needs = needs_of(graph, self.steps, owner, pool, one_after_another=one_after_another)
        own = [n for n, step in enumerate(self.steps) if step.worker == self.asker]
        others = [n for n in range(len(self.steps)) if n not in own]
        tensors = dict.fromkeys(
            t for step in self.steps for t in (*step.region.inputs, *step.region.outputs)
        )
        self.block = Block(graph, tensors, len(self.steps))
        self._children = children_of(pool)
        self._number = next(self._children.numbers)
        self._workers: dict[str, Child] = {}
        for number in others:
            name = self.steps[number].worker
            if name not in self._workers:
                self._workers[name] = self._children.child(pool.worker(name))
        for child in self._workers.values():
            child.heard.add(self)
        self.needs = needs
        self._open(needs, others)
        self._kin = tuple(self._workers.values())
        done = self.block.layout.done
        self._own = [
            (n, tuple((done(m), m) for m in sorted(needs[n]) if m in others), self._act(n), done(n),
             tuple(self._workers[w].box.bell for w in self._readers(n, needs)))
            for n in own
        ]  # fmt: skip
        self._others = tuple(others)
        self._ends = tuple((done(m), m) for m in others)
        self._fed = [(t, self.block.arrays[t]) for t in graph.inputs if t in tensors]
        #: per output where it lies; None for what is an input too
        self._made = [
            (t, None if t in graph.inputs else self.block.arrays[t] if t in tensors
             else graph.constants[t]) for t in graph.outputs
        ]  # fmt: skip
        self._turn = threading.Lock()
        self._request, self._unfinished = 0, False
        #: workers whose threads must not look out while this is served
        self._threads = [self.asker, *(name.removesuffix(PROCESS) for name in self._workers)]
        self._home = to_be_bound_to(pool.worker(self.asker).processors)
        self._took_s = math.inf

    # -- made ready -------------------------------------------------------------------------------

    def _open(self, needs: Sequence[frozenset[int]], others: Sequence[int]) -> None:
        """Have every child prepare its subgraphs, all at once, and open the network."""
        failed: list[BaseException] = []

        def opened(name: str, child: Child) -> None:
            try:
                parts = tuple(
                    Part(
                        step=n, waits=tuple(sorted(
                            m for m in needs[n] if self.steps[m].worker != name)),
                        executable=child.prepare(self.steps[n].region, self._timeout_s),
                        reads=self.steps[n].region.inputs, writes=self.steps[n].region.outputs,
                        rings=tuple(self._workers[w].number for w in self._readers(n, needs)),
                    )
                    for n in others if self.steps[n].worker == name
                )  # fmt: skip
                child.open(Program(number=self._number, layout=self.block.layout, parts=parts),
                           self.block.file, self.graph.name)  # fmt: skip
            except BaseException as error:  # raised below, in the thread that asked for it
                failed.append(error)

        ways = [threading.Thread(target=opened, args=one) for one in self._workers.items()]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        for child in self._workers.values():
            weakref.finalize(self, child.forgotten.append, self._number).atexit = False
        self.block.close_file()
        if failed:
            raise failed[0]

    def _readers(self, number: int, needs: Sequence[frozenset[int]]) -> list[str]:
        """Return the other children that wait for a step."""
        mine = self.steps[number].worker
        return list(dict.fromkeys(
            step.worker for n, step in enumerate(self.steps)
            if number in needs[n] and step.worker not in (mine, self.asker)
        ))  # fmt: skip

    def _act(self, number: int) -> Callable[[], object]:
        """Return what does a step in the thread of whoever asks."""
        region = self.steps[number].region
        executable = self.pool.prepare(self.asker, region, timeout_s=self._timeout_s)
        return act_of(executable, {name: self.block.arrays[name] for name in region.inputs},
                     {name: self.block.arrays[name] for name in region.outputs})  # fmt: skip

    def one_after_another(self) -> ProcessNetwork:
        """Return the same steps in the same places, each waiting for the one before it."""
        return ProcessNetwork(self.graph, self.steps, self.pool, timeout_s=self._timeout_s,
                              one_after_another=True)  # fmt: skip

    @property
    def resident_bytes(self) -> dict[str, int]:
        """The memory of each child, which holds weights of its own."""
        return {name: child.resident_bytes for name, child in self._workers.items()}

    def hand_over_s(self, outcomes: Sequence[Outcome]) -> float | None:
        """Return the median from the end of the last step that another worker's step waits for.

        None where no step waits for another worker last.
        """
        found = []
        for outcome in outcomes:
            for number, need in enumerate(self.needs):
                last = max(need, key=lambda n: outcome.ended_s[n], default=number)
                if self.steps[last].worker != self.steps[number].worker:
                    found.append(outcome.began_s[number] - outcome.ended_s[last])
        return statistics.median(found) if found else None

    # -- requests ---------------------------------------------------------------------------------

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        self.check(inputs)
        with Interrupts():
            return self._post(owned(inputs), None).future

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        self.check(inputs)
        if timeout_s is None:
            return self._serve_here(_Asked(self, inputs))
        asked: _Asked | None = None
        try:
            with Interrupts():  # what is posted is known to be
                asked = self._post(inputs, timeout_s)
            return self._answer(asked, timeout_s)
        except BaseException:
            if asked is not None and not asked.future.done():
                asked.give_up("nobody who waits for it")  # the user's Ctrl-C
            raise

    def _answer(self, asked: _Asked, timeout_s: float) -> Outcome:
        """Wait for the answer of a request that the asking worker's thread serves.

        Raises
        ------
        WorkerFailedError, WorkerHungError : a worker that failed or hung
        """
        while True:
            with suppress(FutureTimeout):
                found: Outcome = asked.future.result(min(_SLICE_S, timeout_s))
                return found
            self._look_after_own(asked, timeout_s)

    def overdue(self, request: Any, limit_s: float) -> WorkerHungError | None:
        try:
            self._look_after_own(request, limit_s)
            view, done = self.block.words.view, self.block.layout.done
            left = [n for n in self._others if view[done(n)] != self._request]
            if left and request.at is None:
                self._look_after(left[0], request.since, limit_s)
        except WorkerHungError as hung:
            request.end()  # nobody is to wait for it
            return hung
        return None

    def _look_after_own(self, asked: _Asked, limit_s: float) -> None:
        """Have nobody ask the asking worker where it hangs.

        Raises
        ------
        WorkerHungError : that
        """
        at = asked.at
        if at is not None and time.perf_counter() - at[1] > limit_s:
            region = self.steps[at[0]].region.name
            self.pool.lose(self.asker, region, asked)
            if asked.future.done():  # just now
                self.pool.back(self.asker, asked)
            told = WorkerHungError(self.asker, region, limit_s)
            told.lost = self.asker
            raise told

    def _serve_here(self, asked: _Asked) -> Outcome:
        """Serve a request in the thread that asks.

        Signal handlers are not held back, which costs tens of µs: what must be undone is undone
        twice instead, as one that raises may have stopped the first time.
        """
        before: set[int] | None = None
        undone = False
        try:
            try:
                self._enter(asked)
                own = self._home
                if own is not None and is_to_be_bound(own, self._took_s):
                    before = os.sched_getaffinity(0)
                    os.sched_setaffinity(0, own)
                with self._turn:
                    return self._serve(asked, None, here=True)
            finally:
                self._leave(asked)
                if before is not None:
                    os.sched_setaffinity(0, before)
                undone = True
        finally:
            if not undone:
                self._leave(asked)
                if before is not None:
                    os.sched_setaffinity(0, before)
            if self.pool.lost:
                self.pool.back(self.asker, asked)

    def _post(self, inputs: Tensors, timeout_s: float | None) -> _Asked:
        """Have the asking worker's own thread serve a request."""
        asked = _Asked(self, inputs)
        self._enter(asked)
        answer: Future[Outcome] = asked.future

        def job() -> None:
            try:
                with self._turn:
                    found = self._serve(asked, timeout_s, here=False)
            except BaseException as error:  # whoever asked must hear of it, whatever it is
                with suppress(InvalidStateError):  # they may have left
                    answer.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    answer.set_result(found)
            self._leave(asked)
            self.pool.back(self.asker, asked)

        try:
            self.pool.post(self.asker, job)
        except BaseException:
            self._leave(asked)
            raise
        return asked

    def _enter(self, asked: _Asked) -> None:
        pool = self.pool
        if not pool.open:
            pool.clear(self.asker)  # says why
        if self.asker in pool.lost:
            raise self.failure(len(self.steps) - 1, "a thread that hung before", lost=self.asker)
        pool.under_way[asked] = None
        if len(pool.under_way) > 1:
            for one in list(pool.under_way):
                one.alone = False

    def _leave(self, asked: _Asked) -> None:
        self.pool.under_way.pop(asked, None)
        asked.end()

    def _serve(self, asked: _Asked, timeout_s: float | None, *, here: bool) -> Outcome:
        """Do a request; the turn is ours.

        Parameters
        ----------
        here : in the thread that asks, and not in the worker's own

        Raises
        ------
        WorkerFailedError, WorkerHungError : a worker that failed or hung
        BaseException : of the caller's signal handlers
        """
        if asked.unserved is not None:
            raise self.failure(len(self.steps) - 1, asked.unserved)
        clock = time.perf_counter
        asked.since = asked_s = clock()
        children = self._children
        if asked_s < self.pool.awake_until:
            for name in self._threads:
                self.pool.cool(name, own=here or name != self.asker, beside=children)
        children.cool(self._kin)
        if self._unfinished:
            self._settle(asked_s, timeout_s)
        for child in self._kin:
            if child.ended is not None:
                raise self._ended(self._others[0])
        block, inputs = self.block, asked.inputs
        view, layout, times, steps = block.words.view, block.layout, block.times, len(self.steps)
        self._request = request = (self._request + 1) & WRAP or 1
        for name, place in self._fed:
            place[...] = inputs[name]
        view[layout.current] = request
        self._unfinished = True
        try:
            children.post(self._kin, self._number, request)
            for number, needs, act, done, bells in self._own:
                for at, other in needs:
                    if view[at] != request:
                        self._wait(asked, asked_s, timeout_s, other)
                times[number] = began = clock()
                asked.at = number, began
                try:
                    act()
                except BaseException as error:
                    if here and raised_by_a_handler(error):
                        raise
                    told = failure_of(self, number, error)
                    told.alone = asked.alone
                    raise told from error
                asked.at = None
                times[steps + number] = clock()
                view[done] = request
                for bell in bells:
                    children.board.ring(bell)
            for at, other in self._ends:
                if view[at] != request:
                    self._wait(asked, asked_s, timeout_s, other)
            if view[layout.given_up] == request:
                raise self._failed(asked)
        except BaseException:
            self._give_up(request)
            raise
        self._unfinished = False
        outputs: dict[str, NDArray[Any]] = {}
        for name, made in self._made:
            if made is None:
                outputs[name] = np.array(inputs[name])  # the caller may fill its own again
            else:  # the next request writes there, and whoever asked may keep it
                outputs[name] = made.copy() if isinstance(made, np.ndarray) else made.array()
        moments, answered_s = times.tolist(), clock()
        self._took_s = answered_s - asked_s
        return Outcome(
            outputs=outputs, began_s=tuple(moments[:steps]), ended_s=tuple(moments[steps:]),
            asked_s=asked_s, answered_s=answered_s,
        )  # fmt: skip

    def _give_up(self, request: int) -> None:
        """Have the children pass through what is left of a request."""
        view, layout = self.block.words.view, self.block.layout
        view[layout.given_up] = request
        for child in self._kin:
            self._children.board.ring(child.box.bell)

    def _settle(self, asked_s: float, timeout_s: float | None) -> None:
        """Wait until the children have left the request before, which was not finished.

        It is posted again, as it may not have come to be posted to all: who has had it passes it
        through a second time, and so does who comes to it late.
        """
        view, layout, request = self.block.words.view, self.block.layout, self._request
        # This may be a later one than the children know of, whose inputs were not all there.
        view[layout.current] = view[layout.given_up] = request
        self._children.post(self._kin, self._number, request)
        for number in self._others:
            child = self._workers[self.steps[number].worker]
            while view[layout.done(number)] != request and child.ended is None:
                self._look_after(number, asked_s, timeout_s)
                done = partial(self._is_done, number, request, child)
                self.block.words.sleep(layout.bell, done, _SLICE_S)
        self._unfinished = False

    def _is_done(self, number: int, request: int, child: Child) -> bool:
        layout = self.block.layout
        done = self.block.words.view[layout.done(number)] == request
        return bool(done or child.ended is not None)

    def _wait(
        self, asked: _Asked, asked_s: float, timeout_s: float | None, number: int
    ) -> None:  # fmt: skip
        """Wait until a child has done a step.

        Raises
        ------
        WorkerFailedError, WorkerHungError : it will not be done
        """
        block, request = self.block, self._request
        view, at, given_up = block.words.view, block.layout.done(number), block.layout.given_up
        if not block.look(at, request):

            def news() -> bool:
                ended = any(child.ended is not None for child in self._kin)
                return bool(view[at] == request or view[given_up] == request or ended
                            or asked.unserved is not None)  # fmt: skip

            while not news():
                self._look_after(number, asked_s, timeout_s)
                block.words.sleep(block.layout.bell, news, _SLICE_S)
        if view[given_up] == request:
            raise self._failed(asked)
        if view[at] == request:
            return
        if asked.unserved is not None:
            raise self.failure(number, asked.unserved)
        raise self._ended(number)

    def _look_after(self, number: int, asked_s: float, timeout_s: float | None) -> None:
        """End a child that hangs.

        Raises
        ------
        WorkerHungError : that
        """
        if timeout_s is None:
            return
        view, layout, times = self.block.words.view, self.block.layout, self.block.times
        left = [n for n in self._others if view[layout.done(n)] != self._request]
        at = min((n for n in left if times[n] >= asked_s), key=lambda n: times[n],
                 default=number)  # fmt: skip
        child = self._workers[self.steps[at].worker]
        since = max(asked_s, times[at], child.since())
        if time.perf_counter() - since > timeout_s:
            child.kill()
            raise WorkerHungError(self.steps[at].worker, self.steps[at].region.name, timeout_s)

    def child_ended(self, child: Child) -> None:
        """Hear that a child has ended; whoever asks looks for itself."""
        self.block.words.ring(self.block.layout.bell)

    def _ended(self, number: int) -> WorkerFailedError:
        """Return what to raise as a child has ended: the first step that it has not done."""
        view, layout = self.block.words.view, self.block.layout
        for n in (number, *self._others):
            child = self._workers[self.steps[n].worker]
            if child.ended is not None:
                left = [m for m in self._others if self.steps[m].worker == child.worker.name
                        and view[layout.done(m)] != self._request]  # fmt: skip
                return child.failure(self.steps[left[0] if left else n].region.name)
        return self.failure(number, "a request that was given up")

    def _failed(self, asked: _Asked) -> WorkerFailedError:
        """Return what to raise for what a child said of its failure."""
        number, text, short = self.block.layout.said(self.block.words)
        told = self.failure(max(number, 0), f"too little memory: {text}" if short else text)
        told.__cause__ = MemoryError(text) if short else None
        told.alone = asked.alone
        return told
