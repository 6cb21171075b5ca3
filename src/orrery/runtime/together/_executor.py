"""Runs a placed network on several workers of this machine at once.

Models:  nothing; it runs. A subgraph starts when the last of what it waits for is there: tensors,
         and whoever has its processors before it. What ends last starts what it freed, in its own
         thread where that is the same worker.
Ignores: nothing is copied between workers of one memory; tensors must not be written to.
Judge:   the whole network on the reference (tests/runtime/together/test_executor.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from orrery.errors import OrreryError, SpecError
from orrery.graph import Graph, Region, check_inputs
from orrery.timeline import PS_PER_S, Span, Timeline

from .._backend import Executable, Tensors
from .._evaluator import read_only
from ._inbox import Inbox
from ._pool import Job, WorkerFailedError, WorkerHungError, WorkerPool, on_processors

__all__ = ["Outcome", "PlacedNetwork", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A subgraph and the worker that runs it."""

    region: Region
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out of one request.

    Attributes
    ----------
    began_s, ended_s : per step, of the clock `time.perf_counter`
    asked_s, answered_s : when the request came and when its last step ended
    """

    outputs: dict[str, NDArray[Any]]
    began_s: tuple[float, ...]
    ended_s: tuple[float, ...]
    asked_s: float
    answered_s: float

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
    """

    def __init__(
        self, graph: Graph, steps: Sequence[Step], pool: WorkerPool, *,
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.steps, self.pool = graph, tuple(steps), pool
        needs = _needs(graph, self.steps)
        processors = [pool.workers[s.worker].processors for s in self.steps]
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, used in enumerate(processors):
            for processor in used:
                if processor in last:
                    needs[number].add(last[processor])
                first.setdefault(processor, number)
                last[processor] = number
        #: per step, how many others it waits for, and which wait for it
        self.waiting = [len(need) for need in needs]
        self.frees: list[list[int]] = [[] for _ in self.steps]
        for number, need in enumerate(needs):
            for other in need:
                self.frees[other].append(number)
        self.first, self.last = first, last
        self.ready: list[Executable] = [
            pool.prepare(s.worker, s.region, timeout_s=timeout_s) for s in self.steps
        ]
        self.reads = [s.region.inputs for s in self.steps]
        self.lock = threading.Lock()
        #: the request and step that each processor serves last
        self.tails: dict[int, tuple[_Request, int]] = {}

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        """Begin a request; others may be under way.

        Raises
        ------
        SpecError : inputs that do not fit
        """
        check_inputs(self.graph, inputs)
        return self._begin(inputs).future

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        """Serve one request.

        Raises
        ------
        SpecError : inputs that do not fit
        WorkerFailedError : a worker failed at a subgraph
        WorkerHungError : nothing came back in time; names who was at what
        """
        check_inputs(self.graph, inputs)
        if timeout_s is None:
            return self._run_here(inputs)
        request = self._begin(inputs)
        try:
            return request.future.result(timeout_s)
        except FutureTimeout:
            if request.future.done():
                raise
            raise self._hung(request, timeout_s or 0.0) from None

    def _run_here(self, inputs: Tensors) -> Outcome:
        """Serve a request with the caller's thread doing what the last step's worker would do.

        Nobody then waits for a thread to wake at the begin and at the end.
        """
        worker = self.steps[-1].worker
        self.pool.clear(worker, own=True)
        with on_processors(self.pool.workers[worker].processors):
            request = self._begin(inputs, here=worker)
            try:
                request.work_here()
            except BaseException:  # the user's Ctrl-C between two steps
                request.failed = True  # the rest is passed through, not computed
                threading.Thread(target=request.work_here, daemon=True).start()
                raise
        error = request.future.exception()
        if error is not None and isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__
        return request.future.result()

    def _begin(self, inputs: Tensors, here: str | None = None) -> _Request:
        for step in self.steps:
            if step.worker in self.pool.lost:
                raise WorkerFailedError(step.worker, step.region.name,
                                        "a worker that hung before")  # fmt: skip
        request = _Request(self, inputs, here)
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

    def _hung(self, request: _Request, timeout_s: float) -> WorkerHungError:
        at = next((n for n, begun in enumerate(request.began) if begun and not request.ended[n]), 0)
        step = self.steps[at]
        self.pool.lost[step.worker] = step.region.name
        return WorkerHungError(step.worker, step.region.name, timeout_s)

    def timeline(self, outcome: Outcome) -> Timeline:
        """Return a request's steps as spans per worker, from the moment it was asked."""

        def ps(moment: float) -> int:
            return round((moment - outcome.asked_s) * PS_PER_S)

        return Timeline(name=self.graph.name, spans=tuple(
            Span(resource=s.worker, name=s.region.name, kind="compute", start_ps=ps(a),
                 end_ps=ps(b), details={"nodes": len(s.region.nodes)})
            for s, a, b in zip(self.steps, outcome.began_s, outcome.ended_s, strict=True)
        ))  # fmt: skip


class _Request:
    """One set of inputs on its way through the steps."""

    __slots__ = ("asked", "began", "ended", "failed", "followers", "future", "here", "inbox",
                 "left", "missing", "network", "values")  # fmt: skip

    def __init__(self, network: PlacedNetwork, inputs: Tensors, here: str | None) -> None:
        self.network = network
        #: the worker whose steps the caller's thread does, taken from the inbox; None ends it
        self.here, self.inbox = here, Inbox[Job | None]()
        self.values: dict[str, Any] = {name: read_only(value) for name, value in inputs.items()}
        self.missing = list(network.waiting)
        self.left = len(network.steps)
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
            try:
                executable = network.ready[number]
                run = getattr(executable, "run_trusted", executable.run)
                self.values.update(run({n: self.values[n] for n in network.reads[number]}))
            except BaseException as error:  # whoever asked must hear of it, whatever it is
                self._fail(number, error)
        freed: list[tuple[_Request, int]] = []
        with network.lock:
            self.ended[number] = time.perf_counter()
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
        own, mine = network.steps[number].worker, None
        for request, step in freed:
            same_thread = request is self or own not in (request.here, self.here)
            if mine is None and network.steps[step].worker == own and same_thread:
                mine = request.job(step)
            else:
                request.hand_on(step)
        if over and not self.failed:
            self._answer()
        if over:
            self.inbox.put(None)
        return mine

    def work_here(self) -> None:
        """Do the steps of the worker whose place the caller takes, until the request is over."""
        while (job := self.inbox.get()) is not None:
            following: Job | None = job
            while following is not None:
                following = following()

    def hand_on(self, number: int) -> None:
        """Give a step that is free now to its worker; the request fails where that is gone."""
        worker = self.network.steps[number].worker
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
        self.failed = True
        step = self.network.steps[number]
        told = WorkerFailedError(step.worker, step.region.name, f"{type(error).__name__}: {error}")
        told.__cause__ = error
        if not self.future.done():
            self.future.set_exception(told)

    def _answer(self) -> None:
        constants = self.network.graph.constants
        outputs = {
            name: self.values[name] if name in self.values else constants[name].array()
            for name in self.network.graph.outputs
        }
        self.future.set_result(Outcome(
            outputs=outputs, began_s=tuple(self.began), ended_s=tuple(self.ended),
            asked_s=self.asked, answered_s=time.perf_counter(),
        ))  # fmt: skip
        self.values = {}  # the next request still knows this one, and must not keep its tensors


def _needs(graph: Graph, steps: Sequence[Step]) -> list[set[int]]:
    """Return per step the steps whose outputs it reads.

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
    needs: list[set[int]] = [set() for _ in steps]
    for number, step in enumerate(steps):
        for tensor in step.region.inputs:
            maker = graph.producer(tensor)
            if maker is not None:
                needs[number].add(owner[maker.name])
        if any(need >= number for need in needs[number]):
            raise SpecError(f"{where}: {step.region.name!r}", found="inputs made by a later step",
                            wanted="an order in which each step can run",
                            fix="put it after what it reads")  # fmt: skip
    return needs
