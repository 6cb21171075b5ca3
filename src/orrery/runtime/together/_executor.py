"""Runs a placed network on several workers of this machine at once.

Models:  nothing; it runs. A subgraph starts when the last of what it waits for is there: tensors,
         and whoever has its processors before it. What ends last starts what it freed, in its own
         thread where that is the same worker. Copies between memories are steps too, done by
         threads of their own; a worker with a memory of its own may only queue its work.
Ignores: nothing is copied between workers of one memory; tensors must not be written to.
Judge:   the whole network on the reference (tests/runtime/together/test_executor.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from numpy.typing import NDArray

from orrery.errors import OrreryError, SpecError
from orrery.graph import Graph, Region, check_inputs
from orrery.timeline import PS_PER_S, Span, Timeline

from .._backend import Executable, Tensors
from .._evaluator import owned, read_only
from ._capacity import is_shortage
from ._inbox import Inbox
from ._interrupts import Interrupts
from ._memory import HOST, Memory
from ._pool import Job, WorkerFailedError, WorkerHungError, WorkerPool, on_processors
from ._transfers import Copy, CopyFailedError, CopyHungError, Key, transfers_of

#: Does a step or a copy to the values of a request.
_Act = Callable[[dict[Key, Any]], None]

__all__ = ["CopyTime", "Outcome", "PlacedNetwork", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A subgraph and the worker that runs it."""

    region: Region
    worker: str


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


class PlacedNetwork:
    """A network placed on the workers of a pool, ready for requests.

    Requests may overlap: each processor serves them in the order in which they came.

    Parameters
    ----------
    steps : every node of the graph in one of them; those that share a processor run in this order

    Raises
    ------
    SpecError : steps that leave something out, do something twice, or read what comes later
    ModelError : a back end that refuses a subgraph
    DoesNotFitError : a memory that cannot hold a subgraph
    """

    def __init__(
        self, graph: Graph, steps: Sequence[Step], pool: WorkerPool, *,
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.steps, self.pool = graph, tuple(steps), pool
        workers = [pool.workers[s.worker] for s in self.steps]
        #: per step, None where it is the host's
        self.memories = [worker.memory for worker in workers]
        transfers = transfers_of(
            graph, [s.region for s in self.steps], [worker.memory_name for worker in workers],
            _owners(graph, self.steps),
        )  # fmt: skip
        #: they are numbered on from the steps
        self.copies = transfers.copies
        self.threads = [*(s.worker for s in self.steps), *(c.lane for c in self.copies)]
        needs = [set(need) for need in transfers.needs]
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, worker in enumerate(workers):
            for processor in worker.occupies:
                if processor in last:
                    needs[number].add(last[processor])
                first.setdefault(processor, number)
                last[processor] = number
        #: per step and copy, how many others it waits for, and which wait for it
        self.waiting = [len(need) for need in needs]
        self.frees: list[list[int]] = [[] for _ in needs]
        for number, need in enumerate(needs):
            for other in need:
                self.frees[other].append(number)
        self.first, self.last = first, last
        self.ready: list[Executable] = [
            pool.prepare(s.worker, s.region, timeout_s=timeout_s) for s in self.steps
        ]
        #: per step and copy, what does it to the values of a request
        self.acts: list[_Act] = [
            *(_act_of(one, worker.memory, reads) for one, worker, reads in zip(
                self.ready, workers, transfers.reads, strict=True)),
            *(_copying(copy, pool.memories[copy.source if copy.target == HOST else copy.target])
              for copy in self.copies),
        ]  # fmt: skip
        self.lock = threading.Lock()
        #: the request and step that each processor serves last
        self.tails: dict[str, tuple[_Request, int]] = {}

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        """Begin a request; others may be under way.

        Arrays that can be written to are copied, so that the caller may fill them again.

        Raises
        ------
        SpecError : inputs that do not fit
        """
        check_inputs(self.graph, inputs)
        with Interrupts():
            return self._begin(owned(inputs)).future

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        """Serve one request.

        Parameters
        ----------
        timeout_s : a worker that is longer at one subgraph, or copy, hangs; what a request waits
            for its turn does not count. None waits

        Raises
        ------
        SpecError : inputs that do not fit
        WorkerFailedError : a worker failed at a subgraph, or a copy failed
        WorkerHungError : a worker did not come back in time; names who was at what
        """
        check_inputs(self.graph, inputs)
        if timeout_s is None:
            return self._run_here(inputs)
        with Interrupts() as interrupts:
            request = self._begin(inputs)
            try:
                self._await(request, timeout_s, interrupts)
            except BaseException:
                request.give_up("nobody who waits for it")  # the user's Ctrl-C
                raise
        return request.future.result()

    def _await(self, request: _Request, timeout_s: float, interrupts: Interrupts) -> None:
        """Wait until a request is over, or somebody hangs that it waits for.

        Raises
        ------
        WorkerHungError : that
        BaseException : of the caller's signal handlers
        """
        told: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        interrupts.wake = partial(told.put, interrupts.deliver)
        request.future.add_done_callback(lambda _: told.put(None))
        left_s = timeout_s
        while True:
            try:
                event = told.get(timeout=max(left_s, 0.0))
            except Empty:
                event = interrupts.deliver
            if event is None:
                return
            event()
            since, guilty, at = self._waited_for(request)
            left_s = since + timeout_s - time.perf_counter()
            if left_s <= 0 and not request.future.done():
                raise self._hung(request, guilty, at, timeout_s)

    def _waited_for(self, request: _Request) -> tuple[float, _Request, int]:
        """Return since when somebody is at what a request waits for, whose request, and the step.

        Its own steps if somebody is at one, else whatever its threads are at.
        """
        threads = {self.threads[n] for n, ended in enumerate(request.ended) if not ended}
        for requests in ([request], list(self.pool.under_way)):
            busy = [
                (began, one, n)
                for one in requests for n, began in enumerate(one.began)
                if began and not one.ended[n] and one.network.threads[n] in threads
            ]  # fmt: skip
            if busy:
                return min(busy, key=lambda found: found[0])
        # A thread that is at no step: at something else, or gone.
        moved = self.pool.moved
        since = max([request.asked, *(moved.get(thread, 0.0) for thread in threads)])
        left = [n for n, ended in enumerate(request.ended) if not ended] or [0]
        return since, request, next((n for n in left if not request.missing[n]), left[0])

    def _run_here(self, inputs: Tensors) -> Outcome:
        """Serve a request with the caller's thread doing what the last step's worker would do.

        Nobody then waits for a thread to wake at the begin and at the end.
        """
        worker = self.steps[-1].worker
        self.pool.clear(worker, own=True)
        with (
            Interrupts() as interrupts,
            on_processors(self.pool.workers[worker].processors),
        ):
            request = self._begin(inputs, here=worker, interrupts=interrupts)
            try:
                request.work_here()
            except BaseException:  # the user's Ctrl-C between two steps
                request.give_up("nobody who waits for it")
                raise
            finally:
                if request.left:  # the rest is passed through, not computed
                    threading.Thread(target=request.work_here, daemon=True).start()
        if interrupts.raised is not None:
            raise interrupts.raised
        error = request.future.exception()
        if error is not None and isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__
        return request.future.result()

    def _begin(
        self, inputs: Tensors, here: str | None = None, interrupts: Interrupts | None = None
    ) -> _Request:
        if self.pool.lost:
            for number, thread in enumerate(self.threads):
                if thread in self.pool.lost:
                    raise self.failure(number, "a thread that hung before", lost=thread)
        request = _Request(self, inputs, here, interrupts)
        if interrupts is not None:
            interrupts.wake = partial(request.inbox.put, interrupts.deliver)
        under_way = self.pool.under_way
        under_way[request] = request.future
        if len(under_way) > 1:
            request.alone = False
            for one in list(under_way)[:2]:  # where there are more, the others know
                one.alone = False
        with self.lock:
            # Whoever had the processors before is waited for, whichever request it was of.
            for processor, number in self.first.items():
                tail = self.tails.get(processor)
                if tail is not None and tail[0].add_follower(tail[1], request, number):
                    request.missing[number] += 1
                self.tails[processor] = (request, self.last[processor])
            ready = [n for n, missing in enumerate(request.missing) if missing == 0]
        for number in ready:
            request.hand_on(number)
        return request

    def _hung(
        self, request: _Request, guilty: _Request, at: int, timeout_s: float
    ) -> WorkerHungError:
        """Name what hangs, have nobody ask it before it comes back, answer all that wait for it."""
        network = guilty.network  # another one's, where they share a worker
        thread, copy = network.threads[at], network.copy(at)
        step = network.steps[at if copy is None else copy.step]
        self.pool.lose(thread, step.region.name, (guilty, at))
        if guilty.ended[at]:  # just now
            self.pool.back(thread, (guilty, at))
        for one in list(self.pool.under_way):
            for number, other in enumerate(one.network.threads):
                if one is request or (other == thread and not one.ended[number]):
                    one.fail(one.network.failure(number, "a thread that hung", lost=thread))
                    one.inbox.put(None)
                    break
        told = (
            WorkerHungError(step.worker, step.region.name, timeout_s) if copy is None else
            CopyHungError(step.worker, step.region.name, copy, timeout_s)
        )  # fmt: skip
        told.lost = thread
        return told

    def copy(self, number: int) -> Copy | None:
        """Return the copy of this number, None for a step."""
        return self.copies[number - len(self.steps)] if number >= len(self.steps) else None

    def failure(self, number: int, found: str, *, lost: str | None = None) -> WorkerFailedError:
        """Return what to raise when a step or a copy fails; `lost` is a thread that hung."""
        copy = self.copy(number)
        step = self.steps[number if copy is None else copy.step]
        told = (
            WorkerFailedError(step.worker, step.region.name, found) if copy is None else
            CopyFailedError(step.worker, step.region.name, copy, found)
        )  # fmt: skip
        told.lost = lost
        return told

    def timeline(self, outcome: Outcome) -> Timeline:
        """Return a request's steps as spans per worker, from the moment it was asked."""

        def ps(moment: float) -> int:
            return round((moment - outcome.asked_s) * PS_PER_S)

        spans = [
            Span(resource=s.worker, name=s.region.name, kind="compute", start_ps=ps(a),
                 end_ps=ps(b), details={"nodes": len(s.region.nodes)})
            for s, a, b in zip(self.steps, outcome.began_s, outcome.ended_s, strict=True)
        ]  # fmt: skip
        spans += [
            Span(resource=f"{c.source} to {c.target}", name=c.tensor, kind="transfer",
                 start_ps=ps(c.began_s), end_ps=ps(c.ended_s),
                 details={} if c.size_bytes is None else {"bytes": c.size_bytes})
            for c in outcome.copies
        ]  # fmt: skip
        return Timeline(name=self.graph.name, spans=tuple(spans))


class _Request:
    """One set of inputs on its way through the steps."""

    __slots__ = ("alone", "asked", "began", "ended", "failed", "followers", "future", "here",
                 "inbox", "interrupts", "left", "missing", "network", "values")  # fmt: skip

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
        self.here, self.inbox = here, Inbox[Job | None]()
        self.values: dict[Key, Any] = {name: read_only(value) for name, value in inputs.items()}
        self.missing = list(network.waiting)
        self.left = len(network.waiting)
        self.began, self.ended = [0.0] * self.left, [0.0] * self.left
        self.followers: dict[int, list[tuple[_Request, int]]] = {}
        self.failed = False
        self.future: Future[Outcome] = Future()
        self.asked = time.perf_counter()

    def add_follower(self, number: int, request: _Request, step: int) -> bool:
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
        freed: list[tuple[_Request, int]] = []
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
                self._fail(len(network.steps) - 1, error)
        self.values = {}
        network.pool.under_way.pop(self, None)
        if not self.failed:
            with suppress(InvalidStateError):  # it was told that somebody hung
                self.future.set_result(outcome)
        self.inbox.put(None)

    def work_here(self) -> None:
        """Do the steps of the worker whose place the caller takes, until the request is over.

        Raises
        ------
        BaseException : of the caller's signal handlers, between two steps
        """
        while (job := self.inbox.get()) is not None:
            following: Job | None = job
            while following is not None:
                following = following()

    def hand_on(self, number: int) -> None:
        """Give a step that is free now to its worker; the request fails where that is gone."""
        worker = self.network.threads[number]
        if worker == self.here:
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
        lacks = "too little memory: " if is_shortage(error) else ""
        told = self.network.failure(
            number, f"{lacks}{type(error).__name__}: {error}", lost=getattr(error, "lost", None)
        )
        told.__cause__, told.alone = error, self.alone
        self.fail(told)

    def give_up(self, why: str) -> None:
        """Answer that it is not served, unless somebody has answered already."""
        left = next((n for n, ended in enumerate(self.ended) if not ended), 0)
        self.fail(self.network.failure(left, why))

    def fail(self, error: WorkerFailedError) -> None:
        """Answer that it failed; steps that come yet do nothing but hand on."""
        self.failed = True
        with suppress(InvalidStateError):  # somebody has answered already
            self.future.set_exception(error)

    def _outcome(self) -> Outcome:
        constants = self.network.graph.constants
        outputs = {
            name: self.values[name] if name in self.values else constants[name].array()
            for name in self.network.graph.outputs
        }
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


def _act_of(
    executable: Executable, memory: Memory | None, reads: Sequence[tuple[str, Key]]
) -> _Act:
    """Return what runs a step where its worker reads and writes."""
    if memory is None:
        run = getattr(executable, "run_trusted", executable.run)

        def act(values: dict[Key, Any]) -> None:
            values.update(run({name: values[at] for name, at in reads}))

        return act

    def launch(values: dict[Key, Any]) -> None:
        made = memory.launch(executable, {name: values[at] for name, at in reads})
        values.update({(name, memory.name): held for name, held in made.items()})

    return launch


def _copying(copy: Copy, memory: Memory) -> _Act:
    """Return what copies a tensor into a memory or out of it."""
    read, written, lasting = copy.read, copy.written, copy.lasting

    def put(values: dict[Key, Any]) -> None:
        values[written] = memory.put(values[read])

    def take(values: dict[Key, Any]) -> None:
        values[written] = memory.take(values[read], lasting=lasting)

    return take if copy.target == HOST else put


def _owners(graph: Graph, steps: Sequence[Step]) -> dict[str, int]:
    """Return the step of each node.

    Raises
    ------
    SpecError : steps that leave something out, do something twice, or read what comes later
    """
    where = f"steps of {graph.name!r}"
    owner: dict[str, int] = {}
    for number, step in enumerate(steps):
        for node in step.region.nodes:
            if node in owner:
                raise SpecError(f"{where}: node {node!r}", found="two steps", wanted="one",
                                fix="correct the partition")  # fmt: skip
            owner[node] = number
    missing = [node.name for node in graph.nodes if node.name not in owner]
    if missing or len(owner) != len(graph.nodes):
        raise SpecError(where, found=f"nobody for {', '.join(missing[:3]) or 'foreign nodes'}",
                        wanted="every node once", fix="correct the partition")  # fmt: skip
    for number, step in enumerate(steps):
        makers = (graph.producer(tensor) for tensor in step.region.inputs)
        if any(maker is not None and owner[maker.name] >= number for maker in makers):
            raise SpecError(f"{where}: {step.region.name!r}", found="inputs made by a later step",
                            wanted="an order in which each step can run",
                            fix="put it after what it reads")  # fmt: skip
    return owner
