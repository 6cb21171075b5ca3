"""Runs a placed network on several workers of this machine at once.

Models:  nothing; it runs. A subgraph starts when the last of what it waits for is there: tensors,
         and whoever has its processors before it. What ends last starts what it freed, in its own
         thread where that is the same worker. Copies between memories are steps too, done by
         threads of their own; a worker with a memory of its own may only queue its work.
Ignores: nothing is copied between workers of one memory; tensors must not be written to.
Judge:   the whole network on the reference (tests/runtime/together/test_executor.py).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from orrery.errors import SpecError
from orrery.graph import Graph, Region
from orrery.timeline import PS_PER_S, Span, Timeline

from .._backend import Executable, Tensors, input_check
from .._evaluator import owned
from ._interrupts import Interrupts
from ._memory import HOST
from ._pool import WorkerFailedError, WorkerHungError, WorkerPool, on_processors
from ._request import (
    Act,
    CopyTime,
    Outcome,
    Request,
    Straight,
    Visit,
    act_of,
    copying,
    is_to_be_bound,
    to_be_bound_to,
)
from ._transfers import Copy, CopyFailedError, CopyHungError, transfers_of

__all__ = ["CopyTime", "Outcome", "PlacedNetwork", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A subgraph and the worker that runs it."""

    region: Region
    worker: str


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
        #: whether answers may lie in the caller's arrays
        self.lends = not all(getattr(one, "keeps_apart", False) for one in self.ready) or bool(
            set(graph.outputs) & set(graph.inputs)
        )
        #: per step and copy, what does it to the values of a request
        self.acts: list[Act] = [
            *(act_of(one, worker.memory, reads, step.region) for one, worker, reads, step in zip(
                self.ready, workers, transfers.reads, self.steps, strict=True)),
            *(copying(copy, pool.memories[copy.source if copy.target == HOST else copy.target])
              for copy in self.copies),
        ]  # fmt: skip
        #: refuses inputs that do not fit
        self.check = input_check(graph)
        self.lock = threading.Lock()
        #: the request and step that each processor serves last
        self.tails: dict[str, tuple[Request, int]] = {}
        #: of the last step's worker, for whoever asks; None where every thread is on them anyway
        self.home = to_be_bound_to(workers[-1].processors) if workers[-1].processors else None
        self.took_s = math.inf
        one_worker = len({s.worker for s in self.steps}) == 1 and workers[0].memory is None
        self.straight = Straight(self) if one_worker else None

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        """Begin a request; others may be under way.

        Arrays that can be written to are copied, so that the caller may fill them again.

        Raises
        ------
        SpecError : inputs that do not fit
        """
        self.check(inputs)
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
        self.check(inputs)
        if timeout_s is None:
            straight = self.straight
            outcome = None if straight is None else straight.serve(inputs)
            return self._run_here(inputs) if outcome is None else outcome
        with Interrupts() as interrupts:
            request = self._begin(inputs)
            try:
                self._await(request, timeout_s, interrupts)
            except BaseException:
                request.give_up("nobody who waits for it")  # the user's Ctrl-C
                raise
        return request.future.result()

    def _await(self, request: Request, timeout_s: float, interrupts: Interrupts) -> None:
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

    def _waited_for(self, request: Request | Visit) -> tuple[float, Request | Visit, int]:
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
        free = [n for n in left if isinstance(request, Visit) or not request.missing[n]]
        return since, request, (free or left)[0]

    def overdue(self, request: Request | Visit, limit_s: float) -> WorkerHungError | None:
        """Return who is longer than a limit at what a request of ours waits for, None if nobody.

        Whoever it is nobody asks then before it comes back, and all that wait for it are told.
        """
        since, guilty, at = self._waited_for(request)
        if time.perf_counter() - since <= limit_s:
            return None
        return self._hung(request, guilty, at, limit_s)

    def _run_here(self, inputs: Tensors) -> Outcome:
        """Serve a request with the caller's thread doing what the last step's worker would do.

        Nobody then waits for a thread to wake at the begin and at the end.
        """
        worker, own = self.steps[-1].worker, self.home
        self.pool.clear(worker, own=True)
        bound = () if own is None or not is_to_be_bound(own, self.took_s) else tuple(own)
        with Interrupts() as interrupts, on_processors(bound):
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
        answer = request.told
        if isinstance(answer, Outcome):
            self.took_s = answer.latency_s
            return answer
        if answer is None:  # given up, and answered by whoever it was given up for
            return request.future.result()
        if isinstance(answer.__cause__, KeyboardInterrupt):
            raise answer.__cause__
        raise answer

    def _begin(
        self, inputs: Tensors, here: str | None = None, interrupts: Interrupts | None = None
    ) -> Request:
        if self.pool.is_copy:
            self.pool.clear(self.threads[0])  # says why
        if self.pool.lost:
            for number, thread in enumerate(self.threads):
                if thread in self.pool.lost:
                    raise self.failure(number, "a thread that hung before", lost=thread)
        request = Request(self, inputs, here, interrupts)
        if interrupts is not None and request.inbox is not None:
            interrupts.wake = partial(request.inbox.put, interrupts.deliver)
        under_way = self.pool.under_way
        under_way[request] = None
        straight: list[Visit] = []
        if len(under_way) > 1:
            request.alone = False
            for one in list(under_way)[:2]:  # where there are more, the others know
                one.alone = False
            straight = [o for o in list(under_way) if isinstance(o, Visit) and o.network is self]
        with self.lock:
            # Whoever had the processors before is waited for, whichever request it was of.
            for processor, number in self.first.items():
                tail = self.tails.get(processor)
                if tail is not None and tail[0].add_follower(tail[1], request, number):
                    request.missing[number] += 1
                self.tails[processor] = (request, self.last[processor])
            request.missing[0] += sum(visit.add_follower(request, 0) for visit in straight)
            ready = [n for n, missing in enumerate(request.missing) if missing == 0]
        for number in ready:
            request.hand_on(number)
        return request

    def _hung(
        self, request: Request | Visit, guilty: Request | Visit, at: int, timeout_s: float
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
                    one.leave_waiting(
                        one.network.failure(number, "a thread that hung", lost=thread)
                    )
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
