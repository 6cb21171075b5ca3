"""The certificate of a replay: every computation, delivery and resident part, for the checker.

Models:  what `_replay` and `_split` played, said in boxes of tensors.
Ignores: nothing that was played.
Judge:   `orrery.certify` accepts it; edits of it are refused (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor

from orrery.certificate import (
    SAME_PLACES,
    Box,
    Certificate,
    Computation,
    Delivery,
    Part,
    Resident,
    gap_of,
    plan_digest,
)
from orrery.cost import Expansion, PlannedRegion, Step, expand, plan_regions
from orrery.graph import Graph, TensorType
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.timeline import PS_PER_S, Timeline

from ._replay import Replayer
from ._split import PartSeconds, SplitReplay, replay_split


def replay_certified(
    plan: Plan,
    graphs: Sequence[Graph],
    system: System,
    durations: PartSeconds,
    *,
    expansion: Expansion | None = None,
    output_bytes: Callable[[Assignment], int] | None = None,
) -> tuple[Timeline, Certificate]:
    """Replay a plan and write down everything that happened.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound
    durations : seconds of a party's part of a round; whole regions are party 0, round 0
    expansion : of a plan with split regions, where it is known already
    output_bytes : see `replay`; used for plans of whole regions only

    Raises
    ------
    UnknownNameError, SpecError : see `replay` and `replay_split`
    """
    if plan.is_split:
        written = expansion or expand(plan, graphs, system)
        played = replay_split(plan, system, written, durations)
        return played.timeline, _certificate(
            plan, *_split_events(written, played), tuple(_split_residents(system, written)),
        )  # fmt: skip
    replayer = Replayer(plan, system)
    timeline = replayer.run(lambda a: durations(a, 0, 0), output_bytes=output_bytes)
    regions = plan_regions(plan, graphs)
    types = {model.prefix + tensor: type_ for model, graph in zip(plan.models, graphs)
             for tensor, type_ in graph.types.items()}  # fmt: skip
    return timeline, _certificate(
        plan, tuple(_whole_computations(replayer, regions, types)),
        tuple(_transfers(replayer, types)),
        tuple(_whole_residents(plan, system, regions, types)),
    )  # fmt: skip


def _certificate(
    plan: Plan, computations: tuple[Computation, ...], deliveries: tuple[Delivery, ...],
    residents: tuple[Resident, ...],
) -> Certificate:  # fmt: skip
    ends = [c.end_ps for c in computations] + [d.end_ps for d in deliveries]
    makespan = max(ends, default=0)
    if plan.lower_bound_s is None:
        bound, of = _same_places(plan, computations), SAME_PLACES
    else:
        bound, of = floor(plan.lower_bound_s * PS_PER_S), plan.bound
    return Certificate(
        models=plan.models, system=plan.system, plan=plan_digest(plan), objective=plan.objective,
        makespan_ps=makespan, lower_bound_ps=bound, bound=of, gap=gap_of(makespan, bound),
        computations=computations, deliveries=deliveries, residents=residents,
    )  # fmt: skip


def _same_places(plan: Plan, computations: Sequence[Computation]) -> int:
    """Return what no order of the same computations beats: a busy device, a chain of regions."""
    busy: dict[str, int] = {}
    parts: dict[str, dict[str, int]] = {}
    for c in computations:
        mine = parts.setdefault(c.region, {})
        mine[c.device] = mine.get(c.device, 0) + c.end_ps - c.start_ps
        busy[c.device] = busy.get(c.device, 0) + c.end_ps - c.start_ps
    ends: dict[str, int] = {}
    for assignment in plan.assignments:
        before = max((ends.get(name, 0) for name in assignment.after), default=0)
        lasts = max(parts.get(assignment.region, {"": 0}).values())
        ends[assignment.region] = before + lasts
    return max((*busy.values(), *ends.values()), default=0)


# -- whole regions --------------------------------------------------------------------------------


def _whole(types: Mapping[str, TensorType], tensor: str) -> Part:
    """Return a whole tensor; one whose size only running can tell has no axes here."""
    type_ = types.get(tensor)
    known = type_ is not None and type_.is_bound
    return tensor, tuple((0, size) for size in type_.sizes) if type_ and known else ()


def _whole_computations(
    replayer: Replayer, regions: Mapping[str, PlannedRegion], types: Mapping[str, TensorType]
) -> Iterator[Computation]:
    times = replayer.times
    if times is None:
        return
    for assignment, start, end in zip(replayer.plan.assignments, times.begin, times.end):
        planned = regions[assignment.region]
        region, prefix = planned.region, planned.prefix
        yield Computation(
            region=assignment.region, device=assignment.device, design=assignment.design, round=0,
            start_ps=start, end_ps=end,
            reads=tuple(_whole(types, prefix + t) for t in (*region.inputs, *region.weights)),
            writes=tuple(_whole(types, prefix + t) for t in region.outputs),
        )  # fmt: skip


def _transfers(replayer: Replayer, types: Mapping[str, TensorType]) -> Iterator[Delivery]:
    times = replayer.times
    if times is None:
        return
    for (index, place), start, end in zip(replayer.flows, times.sent, times.arrived):
        transfer = replayer.plan.transfers[index]
        tensor, box = _whole(types, transfer.tensor)
        yield Delivery(
            tensor=tensor, box=box, source=transfer.source, target=transfer.targets[place],
            links=transfer.links[place], size_bytes=transfer.size_bytes, start_ps=start, end_ps=end,
        )  # fmt: skip


def _whole_residents(
    plan: Plan, system: System, regions: Mapping[str, PlannedRegion],
    types: Mapping[str, TensorType],
) -> Iterator[Resident]:  # fmt: skip
    """Yield constants where they are read; states, and inputs without a host, where they start."""
    brought = {(transfer.tensor, target) for transfer in plan.transfers
               for target in transfer.targets}  # fmt: skip
    found: dict[tuple[str, str], None] = {}
    starts: dict[str, str] = {}
    for transfer in plan.transfers:
        if transfer.producer is None:
            starts.setdefault(transfer.tensor, transfer.source)
    for assignment in plan.assignments:
        planned = regions[assignment.region]
        graph, device = planned.region.graph, assignment.device
        for tensor in planned.region.weights:
            found[device, planned.prefix + tensor] = None
        for tensor in planned.region.inputs:
            name = planned.prefix + tensor
            if graph.producer(tensor) is not None or (system.host and tensor not in graph.states):
                continue
            if (name, device) not in brought:
                found[device, name] = None
            elif name in starts:
                found[starts[name], name] = None
    for device, tensor in found:
        name, box = _whole(types, tensor)
        type_ = types.get(tensor)
        size = type_.size_bytes if type_ is not None and type_.is_bound else 0
        yield Resident(device=device, tensor=name, box=box, size_bytes=size)


# -- split regions --------------------------------------------------------------------------------


def _split_events(
    written: Expansion, played: SplitReplay
) -> tuple[tuple[Computation, ...], tuple[Delivery, ...]]:
    computations = []
    for part in played.computed:
        step = written.steps[part.step]
        reads, writes, partial = part_of(step, part.party, part.round)
        computations.append(Computation(
            region=step.assignment.region, device=written.ends[step.parties[part.party]],
            design=step.assignment.design, round=part.round, start_ps=part.start_ps,
            end_ps=part.end_ps, reads=reads, writes=writes, partial=partial,
        ))  # fmt: skip
    deliveries = []
    for moved in played.moved:
        for message, links in zip(moved.phase.messages, moved.wire.routes, strict=True):
            deliveries.append(Delivery(
                tensor=moved.tensor, box=message.box.spans, source=written.ends[message.source],
                target=written.ends[message.target], links=links, size_bytes=message.size_bytes,
                start_ps=moved.start_ps, end_ps=moved.end_ps, adds=moved.phase.adds,
            ))  # fmt: skip
    return tuple(computations), tuple(deliveries)


def part_of(
    step: Step, party: int, turn: int
) -> tuple[tuple[Part, ...], tuple[Part, ...], tuple[tuple[str, int, int], ...]]:
    """Return what a party reads and writes in a round, and of which sums it does which part."""
    prefix, sharding = step.region.prefix, step.sharding
    if sharding is None:
        region = step.region.region
        graph = region.graph
        reads = tuple(_whole_part(graph, prefix, t) for t in (*region.inputs, *region.weights))
        return reads, tuple(_whole_part(graph, prefix, t) for t in region.outputs), ()
    part, nest = sharding.shards[turn][party], sharding.nest
    read = dict.fromkeys(
        (prefix + operand.tensor, box.spans)
        for operand, box in zip(nest.operands, part.operands) if box is not None and box.volume
    )  # fmt: skip
    written = tuple((prefix + result.tensor, box.spans)
                    for result, box in zip(nest.results, part.results) if box.volume)  # fmt: skip
    partial = tuple(
        (loop.name, *part.spans[loop.name]) for loop in nest.loops
        if loop.sums and part.spans[loop.name] != (0, loop.extent)
    )  # fmt: skip
    return tuple(read), written, partial


def _whole_part(graph: Graph, prefix: str, tensor: str) -> Part:
    return prefix + tensor, tuple((0, size) for size in graph.type(tensor).sizes)


def _split_residents(system: System, written: Expansion) -> Iterator[Resident]:
    """Yield constants and states where they are needed first; inputs too where there is no host."""
    found: dict[tuple[str, str, Box], int] = {}
    read: set[str] = set()
    for step in written.steps:
        graph, prefix = step.region.region.graph, step.region.prefix
        for name, layout in step.needs.items():
            tensor = name[len(prefix) :]
            stays = tensor in graph.constants or tensor in graph.states
            starts = not system.host and graph.producer(tensor) is None and name not in read
            read.add(name)
            if not stays and not starts:
                continue
            for party in step.parties:  # a scalar is said to be everywhere, the host included
                part = layout.boxes[party]
                if part.volume and (layout.type.rank or not starts):
                    found[written.ends[party], name, part.spans] = layout.bytes_of(part)
    for (device, tensor, box), size in found.items():
        yield Resident(device=device, tensor=tensor, box=box, size_bytes=size)
