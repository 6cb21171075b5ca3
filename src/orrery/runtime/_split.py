"""Obeys a plan with split regions: a process per end, every message of the plan sent for real.

Models:  nothing; it runs what `orrery.cost.expand` writes out, in plan order: arrivals, rounds with
         their rotation, sums, results to the host. Scalars, which formulas have everywhere at no
         cost, are sent too and counted apart.
Ignores: speed; a process sends in plan order, so one that computes makes readers of what it holds
         wait. With fewer cores than processes they take turns.
Judge:   equals the whole network (whole numbers bit for bit); messages and bytes between every two
         ends equal those of the expansion (tests/runtime/test_split.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Expansion, Layout, Phase, Resharding, Step, expand
from orrery.graph import Graph, TensorType
from orrery.hardware import System
from orrery.plan import Plan
from orrery.progress import Progress
from orrery.timeline import MemorySample, Span, Timeline

from ._backend import Tensors
from ._evaluator import DeviceFailedError, Evaluator
from ._parties import Answer, PartyFailedError, PartyPool, Traffic, traffic_of
from ._steps import Key, Program
from ._writer import Crew, Writer, check_travels, joined

Array = NDArray[Any]

#: Number of results' buffers, and of further copies below it; layers have 0 …, homes -1.
_RESULT = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRun:
    """What came out.

    Attributes
    ----------
    outputs : made by regions, with their networks' prefixes
    ends : name of each process's end
    traffic : counted by the senders; numbers are positions in `ends`
    """

    outputs: dict[str, Array]
    timeline: Timeline
    ends: tuple[str, ...]
    traffic: tuple[Traffic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """Where an output lies at the end: in which layout, at which ends, in which buffer."""

    layout: Layout
    ends: tuple[int, ...]
    key: Key


def run_split(
    plan: Plan,
    graphs: Sequence[Graph],
    inputs: Tensors,
    evaluators: Mapping[str, Evaluator],
    system: System,
    *,
    warmup: int,
    progress: Progress,
    timeout_s: float | None,
    pool: PartyPool | None,
) -> SplitRun:
    """Run a plan whose fit to networks, inputs and evaluators has been checked.

    Raises
    ------
    SpecError : a split that a region cannot have, a tensor that cannot travel, too small a pool
    DeviceFailedError : a process failed, ended or took too long
    CancelledError : the caller asked to stop
    """
    expansion = expand(plan, graphs, system)
    _check_travels(expansion)
    used = sorted({end for step in expansion.steps for end in step.parties}
                  | {end for p in _phases(expansion) for m in p.messages
                     for end in (m.source, m.target)})  # fmt: skip
    names = tuple(expansion.ends[end] for end in used)
    writer = Writer(len(expansion.ends), {end: process for process, end in enumerate(used)})
    results = _write(writer, expansion, inputs, evaluators)
    programs = [writer.programs[end] for end in used]
    for program in programs:
        program.repeats = warmup + 1
    answers = _obeyed(programs, names, progress, timeout_s, pool) if programs else ()
    by_end = dict(zip(used, answers))
    outputs: dict[str, Array] = {}
    for name, copies in results.items():
        for copy in copies:
            parts = {end: by_end[end].parts[copy.key] for end in copy.ends}
            outputs[name] = joined(copy.layout, parts, outputs.get(name))
    title = f"{' + '.join(model.name for model in plan.models)} on {plan.system.name}, measured"
    return SplitRun(outputs=outputs, timeline=_timeline(title, names, answers), ends=names,
                    traffic=traffic_of(answers))  # fmt: skip


def _obeyed(
    programs: Sequence[Program], names: Sequence[str], progress: Progress,
    timeout_s: float | None, pool: PartyPool | None,
) -> tuple[Answer, ...]:  # fmt: skip
    try:
        if pool is not None:
            return pool.run(programs, progress)
        pairs = {pair for program in programs for pair in program.pairs}
        with PartyPool(len(programs), timeout_s=timeout_s, names=names, pairs=pairs) as own:
            return own.run(programs, progress)
    except PartyFailedError as problem:
        raise DeviceFailedError(names[problem.party], problem.region, problem.why) from problem


def _phases(expansion: Expansion) -> Iterator[Phase]:
    for step in expansion.steps:
        for change in step.arrivals:
            yield from change.phases
        yield from step.rotation
        yield from step.combines
    for _, change in expansion.returns:
        yield from change.phases


def _check_travels(expansion: Expansion) -> None:
    for step in expansion.steps:
        where, graph = f"plan: region {step.assignment.region!r}", step.region.region.graph
        moved: dict[str, TensorType] = {c.tensor: c.before.type for c in step.arrivals}
        moved |= {phase.tensor: graph.type(phase.tensor)
                  for phase in (*step.rotation, *step.combines)}  # fmt: skip
        for tensor, type_ in moved.items():
            check_travels(where, tensor, type_)
    for number, change in expansion.returns:
        where = f"plan: region {expansion.steps[number].assignment.region!r}"
        check_travels(where, change.tensor, change.before.type)


# -- writing programs -----------------------------------------------------------------------------


def _write(
    writer: Writer, expansion: Expansion, inputs: Tensors, evaluators: Mapping[str, Evaluator]
) -> dict[str, list[_Result]]:
    """Write everybody's program; return where the results will lie."""
    given = {name: np.asarray(value) for name, value in inputs.items()}
    ends_at: dict[int, dict[str, None]] = {}
    last: dict[str, int] = {}
    for holding in expansion.holdings:
        if holding.first < 0 and holding.tensor not in writer.homes:
            writer.start(holding.tensor, holding.layout, given[holding.tensor])
        last[holding.tensor] = max(holding.last, last.get(holding.tensor, -1))
    for tensor, at in last.items():
        ends_at.setdefault(at, {})[tensor] = None
    returns: dict[str, list[Resharding]] = {}
    for _, change in expansion.returns:
        returns.setdefault(change.tensor, []).append(change)
    readers: dict[str, list[tuple[int, int]]] = {}
    for number, step in enumerate(expansion.steps):
        for tensor in step.needs:
            readers.setdefault(tensor, []).extend((number, end) for end in step.parties)
    results: dict[str, list[_Result]] = {}
    for number, step in enumerate(expansion.steps):
        _write_step(writer, number, step, given, evaluators)
        name = step.assignment.region
        for tensor, layout in step.outputs.items():
            if layout.type.rank == 0:
                targets = {end for at, end in readers.get(tensor, ()) if at > number}
                if targets - set(step.parties):
                    check_travels(f"plan: region {name!r}", tensor, layout.type)
                    writer.spread(tensor, step.parties[0], sorted(targets - set(step.parties)),
                                  name)  # fmt: skip
            if tensor.removeprefix(step.region.prefix) not in step.region.region.graph.outputs:
                continue
            results[tensor] = _results(writer, step, tensor, layout, returns.get(tensor, ()))
        writer.drop([tensor for tensor in ends_at.get(number, ()) if tensor in writer.homes])
    return results


def _write_step(
    writer: Writer, number: int, step: Step, given: Mapping[str, Array],
    evaluators: Mapping[str, Evaluator],
) -> None:  # fmt: skip
    pending = list(step.arrivals)

    def arrive(tensor: str, need: Layout) -> Resharding | None:
        # In the order of the operands; a tensor that is read twice may have two.
        if pending and pending[0].tensor == tensor and pending[0].after == need:
            return pending.pop(0)
        return None

    devices = step.assignment.devices
    crew = Crew(ends=step.parties, names=devices,
                evaluators=tuple(evaluators[device] for device in devices))  # fmt: skip
    prefix, region = step.region.prefix, step.region.region
    if step.sharding is not None:
        writer.sharded(number, step.sharding, crew, arrive, given, prefix)
    else:
        writer.whole(number, region, crew, arrive, step.needs, step.outputs, given, prefix)


def _results(
    writer: Writer, step: Step, tensor: str, layout: Layout, changes: Sequence[Resharding]
) -> list[_Result]:
    """Keep an output as it is now, or bring it to where it is wanted: perhaps to several places.

    The next value of a state goes to where the state is read, which may be less than all of it:
    what its makers have comes first, then, written over it, what has arrived.
    """
    found = []
    graph = step.region.region.graph
    if not changes or tensor.removeprefix(step.region.prefix) in graph.states.values():
        ends = tuple(end for end in step.parties if layout.boxes[end].volume)
        ends = ends if layout.type.rank else step.parties[:1]
        found.append(_Result(layout=layout, ends=ends, key=(_RESULT, tensor)))
        for end in ends:
            writer.take(tensor, end, (_RESULT, tensor))
    for change in changes:
        key = (_RESULT - len(found), tensor)
        writer.change(change, (-1, tensor), key, step.assignment.region)
        ends = tuple(end for end, box in enumerate(change.after.boxes) if box.volume)
        found.append(_Result(layout=change.after, ends=ends, key=key))
    for result in found:
        for end in result.ends:
            writer.programs[end].wanted.append(result.key)
    return found


# -- what happened --------------------------------------------------------------------------------


def _timeline(title: str, names: Sequence[str], answers: Sequence[Answer]) -> Timeline:
    """Return spans and memory held per end; the clock starts with the first piece of work."""
    zero_ns = min((work.start_ns for a in answers for work in a.work), default=0)
    spans, samples = [], []
    for name, answer in zip(names, answers):
        for work in answer.work:
            end_ps = 1000 * (work.end_ns - zero_ns)
            details = {} if work.kind == "compute" else {"sent bytes": work.sent_bytes}
            start_ps = 1000 * (work.start_ns - zero_ns)
            spans.append(Span(resource=name, name=work.name, kind=work.kind, start_ps=start_ps,
                              end_ps=end_ps, details=details))  # fmt: skip
            samples.append(MemorySample(memory=name, time_ps=end_ps, used_bytes=work.held_bytes))
    return Timeline(
        name=title, spans=tuple(sorted(spans, key=lambda span: span.start_ps)),
        memory=tuple(sorted(samples, key=lambda sample: sample.time_ps)),
    )  # fmt: skip
