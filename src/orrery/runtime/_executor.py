"""Obeys a plan on this machine: a thread per device, copies between them, outputs gathered.

Models:  nothing; it runs. Devices are evaluators given by name, so a CPU can stand in for any of
         them; a transfer is a copy in memory, made by one thread per source. A plan with split
         regions runs on a process per device instead, see `_split`.
Ignores: the plan's link names and predicted times; designs and schedules, which the evaluator of
         the device must know.
Judge:   equals the whole graph run by the NumPy reference, bit for bit.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import MissingExtraError, SpecError
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Plan
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source
from orrery.timeline import MemorySample, Span, Timeline

from ._backend import Tensors
from ._evaluator import DeviceFailedError, Evaluator, checked_outputs, read_only
from ._machine import describe_machine
from ._parties import PartyPool, Traffic
from ._program import Action, Place, Program, check_fit, make_program
from ._split import run_split

__all__ = ["DeviceFailedError", "Evaluator", "Execution", "execute"]

#: How often the caller's progress is told and asked whether to stop.
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What came out, and what happened when.

    Attributes
    ----------
    outputs : by tensor name, with the model's prefix when the plan holds several networks
    timeline : measured spans per device and per copying thread, memory held per device
    source : measured, on this machine
    ends : of a plan with split regions: name of the device (or host) that each process plays
    traffic : of such a plan: counted by the senders; numbers are positions in `ends`
    """

    outputs: Mapping[str, NDArray[Any]]
    timeline: Timeline
    source: Source
    ends: tuple[str, ...] = ()
    traffic: tuple[Traffic, ...] = ()

    @property
    def messages(self) -> int:
        """Messages between processes, scalars (which no formula counts) left out."""
        return sum(one.messages for one in self.traffic if not one.is_free)

    @property
    def sent_bytes(self) -> int:
        """Payload bytes of these messages."""
        return sum(one.size_bytes for one in self.traffic if not one.is_free)


def execute(
    plan: Plan,
    graphs: Sequence[Graph],
    inputs: Tensors,
    evaluators: Mapping[str, Evaluator],
    *,
    system: System | None = None,
    warmup: int = 0,
    progress: Progress = SILENT,
    timeout_s: float | None = None,
    pool: PartyPool | None = None,
) -> Execution:
    """Run a plan.

    Parameters
    ----------
    graphs : the planned networks, in the plan's order
    inputs : network inputs by name, with the model's prefix when there are several networks
    evaluators : device name -> what evaluates a region there; for a plan with split regions
        something that another process can import
    system : when given, must be the one planned for; a plan with split regions needs it
    warmup : whole runs before the one whose timeline is kept (an evaluator may prepare a region
        the first time it meets it)
    progress : told how many actions are done, asked whether to stop
    timeout_s : longest that the processes of a plan with split regions may take; None waits as long
        as they live
    pool : processes to use for such a plan, enough of them; a new pool is opened when None

    Raises
    ------
    PlanMismatchError : another model or system than planned for
    SpecError : a plan that cannot be obeyed, or inputs that do not fit
    DeviceFailedError : an evaluator failed; the first failure is named, the others stopped
    CancelledError : the caller asked to stop; regions under way were finished first
    """
    if plan.is_split:
        return _execute_split(
            plan, graphs, inputs, evaluators, system, warmup, progress, timeout_s, pool
        )
    program = make_program(plan, graphs, inputs, evaluators, system)
    for _ in range(warmup):
        _run_once(program, inputs, evaluators, progress)
    state = _run_once(program, inputs, evaluators, progress)
    made = {name: state.values[place] for name, place in program.results.items()}
    return Execution(
        outputs=_complete(plan, graphs, inputs, made), timeline=state.timeline(plan),
        source=_source("one thread per device, transfers copied in memory"),
    )  # fmt: skip


def _execute_split(
    plan: Plan, graphs: Sequence[Graph], inputs: Tensors, evaluators: Mapping[str, Evaluator],
    system: System | None, warmup: int, progress: Progress, timeout_s: float | None,
    pool: PartyPool | None,
) -> Execution:  # fmt: skip
    if system is None:
        raise SpecError("plan with split regions", found="no system", fix="give it",
                        wanted="the system, which says where tensors start")  # fmt: skip
    check_fit(plan, graphs, inputs, evaluators, system)
    run = run_split(
        plan, graphs, inputs, evaluators, system, warmup=warmup, progress=progress,
        timeout_s=timeout_s, pool=pool,
    )  # fmt: skip
    processes, cores = len(run.ends), describe_machine().cores
    shared = f", which take turns on {cores} cores" if processes > cores else ""
    return Execution(
        outputs=_complete(plan, graphs, inputs, run.outputs), timeline=run.timeline, ends=run.ends,
        traffic=run.traffic,
        source=_source(f"{processes} processes{shared}, messages through pipes"),
    )  # fmt: skip


def _complete(
    plan: Plan, graphs: Sequence[Graph], inputs: Tensors, made: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all outputs in order, those included that are inputs or constants."""
    outputs: dict[str, Any] = {}
    for model, graph in zip(plan.models, graphs):
        for name in graph.outputs:
            full = model.prefix + name
            if full in made:
                outputs[full] = made[full]
            elif name in graph.constants:
                outputs[full] = graph.constants[name].array()
            else:
                outputs[full] = np.asarray(inputs[full])
    return outputs


def _source(note: str) -> Source:
    return Source(basis=Basis.MEASURED, where=platform.node() or "this machine", note=note)


def _run_once(
    program: Program, inputs: Tensors, evaluators: Mapping[str, Evaluator], progress: Progress
) -> _State:
    """Run all actions, each worker on a thread of its own; no thread outlives the call."""
    state = _State(program, inputs)
    total = sum(len(mine) for mine in program.actions.values())
    progress.step("run", 0, total)
    threads = max(1, len(program.actions))
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="orrery") as pool:
        try:
            futures = {
                worker: pool.submit(_work, worker, state, evaluators.get(worker))
                for worker in program.actions
            }
            _watch(futures, state, progress, total)
        finally:
            state.stop()  # frees whoever still waits; leaving the block joins the threads
    return state


def _watch(
    futures: Mapping[str, Future[None]], state: _State, progress: Progress, total: int
) -> None:
    """Wait for all threads; the first failure is raised once the others have ended."""
    pending = set(futures.values())
    while pending:
        _, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
        if state.failed is not None:
            break
        progress.step("run", state.done, total)
    state.stop()
    wait(futures.values())
    if state.failed is not None:
        worker, name = state.failed
        error = futures[worker].exception()
        if error is not None:
            if isinstance(error, MissingExtraError):
                raise error  # no device's fault: its message says what to install
            raise DeviceFailedError(worker, name, f"{type(error).__name__}: {error}") from error


class _State:
    """What the threads share, all of it under one lock."""

    def __init__(self, program: Program, inputs: Tensors) -> None:
        self.program = program
        self.changed = threading.Condition()
        self.values: dict[Place, Any] = {}
        self.readers = dict(program.readers)
        self.waiting = {id(a): a.waiting for mine in program.actions.values() for a in mine}
        self.stopped = False
        self.failed: tuple[str, str] | None = None
        self.done = 0
        self.spans: list[Span] = []
        self.memory: list[MemorySample] = []
        self.used: dict[str, int] = {}
        self.zero_ns = time.perf_counter_ns()
        for place, name in program.start.items():
            self._hold(place, np.asarray(inputs[name]), 0)

    def take(self, mine: list[Action], ordered: bool) -> Action | None:
        """Wait for the next action that can run; None when all is done or stopped."""
        with self.changed:
            while mine and not self.stopped:
                window = mine[:1] if ordered else mine
                ready = next((a for a in window if self.waiting[id(a)] == 0), None)
                if ready is not None:
                    mine.remove(ready)
                    return ready
                self.changed.wait()
        return None

    def read(self, action: Action) -> list[Any]:
        """Return the values an action needs, in order; read-only, they may have other readers."""
        with self.changed:
            return [read_only(self.values[place]) for place in action.needs]

    def finish(
        self, action: Action, values: Sequence[Any], kind: str, start_ns: int, end_ns: int
    ) -> None:
        """Publish what an action gave, let go of what nobody reads any more, wake the others."""
        start_ps, end_ps = (1000 * (ns - self.zero_ns) for ns in (start_ns, end_ns))
        details: dict[str, str | int | float] = {}
        if action.transfer is not None:
            details = {"bytes": action.transfer.size_bytes,
                       "targets": ", ".join(action.transfer.targets)}  # fmt: skip
        with self.changed:
            self.spans.append(Span(resource=action.worker, name=action.name, kind=kind,
                                   start_ps=start_ps, end_ps=end_ps, details=details))  # fmt: skip
            for place, value in zip(action.gives, values):
                if self.readers.get(place, 0):
                    self._hold(place, value, end_ps)
            for place in action.needs:
                self.readers[place] -= 1
                if self.readers[place] == 0:
                    self._release(place, end_ps)
            for item in action.signals:
                for waiter in self.program.waiters.get(item, ()):
                    self.waiting[id(waiter)] -= 1
            self.done += 1
            self.changed.notify_all()

    def fail(self, worker: str, action: Action) -> None:
        """Remember the first failure and stop everybody."""
        with self.changed:
            if self.failed is None:
                self.failed = (worker, action.name)
        self.stop()

    def stop(self) -> None:
        """Let every thread end after what it is doing."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def timeline(self, plan: Plan) -> Timeline:
        """Return what happened, sorted by start."""
        names = " + ".join(model.name for model in plan.models)
        return Timeline(
            name=f"{names} on {plan.system.name}, measured",
            spans=tuple(sorted(self.spans, key=lambda span: span.start_ps)),
            memory=tuple(sorted(self.memory, key=lambda sample: sample.time_ps)),
        )

    def _hold(self, place: Place, value: Any, time_ps: int) -> None:
        self.values[place] = value
        self._sample(place[0], _size_bytes(value), time_ps)

    def _release(self, place: Place, time_ps: int) -> None:
        value = self.values.pop(place)
        self._sample(place[0], -_size_bytes(value), time_ps)

    def _sample(self, device: str, change: int, time_ps: int) -> None:
        self.used[device] = self.used.get(device, 0) + change
        self.memory.append(
            MemorySample(memory=device, time_ps=time_ps, used_bytes=self.used[device])
        )


def _work(worker: str, state: _State, evaluator: Evaluator | None) -> None:
    """What one thread does: actions of one worker until none is left or everybody stops."""
    mine = list(state.program.actions[worker])
    ordered = worker in state.program.ordered
    while (action := state.take(mine, ordered)) is not None:
        well = False
        try:
            given = state.read(action)
            start = time.perf_counter_ns()
            if action.region is None or evaluator is None:
                values, kind = [_copied(given[0]) for _ in action.gives], "transfer"
            else:
                values, kind = _evaluate(action, action.region, given, evaluator), "compute"
            state.finish(action, values, kind, start, time.perf_counter_ns())
            well = True
        finally:
            if not well:
                state.fail(worker, action)


def _evaluate(
    action: Action, region: Region, given: Sequence[Any], evaluator: Evaluator
) -> list[Any]:
    names = [tensor.removeprefix(action.prefix) for _, tensor in action.needs]
    outputs = evaluator(region, dict(zip(names, given)))
    return list(checked_outputs(action.worker, region, outputs).values())


def _size_bytes(value: Any) -> int:
    if isinstance(value, list):  # an ONNX sequence
        return sum(_size_bytes(item) for item in value)
    return int(value.nbytes)


def _copied(value: Any) -> Any:
    return [_copied(item) for item in value] if isinstance(value, list) else np.array(value)
