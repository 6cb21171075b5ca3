"""Replay of a plan: what happens when devices obey it and transfers share the links.

Models:  every device runs its assignments one at a time in plan order, each as soon as all its
         inputs are there; a transfer is issued when its producer ends (at time zero for a network
         input), waits the latency of its route, then flows cut-through over all links of the
         route at once; all flows on a link at one time share its bandwidth max-min fairly, duplex
         links each way apart. A transfer to several targets is one flow for each, issued
         together. A source that did not make the tensor passes it on when it has arrived there.
Ignores: how long a region takes (a function says it); contention inside a device, host software,
         packets. Weights are on their devices before the clock starts.
Judge:   closed forms (shared link, pipeline, ring); a naive replay in the tests; lower bounds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

import numpy as np

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import System
from orrery.plan import Assignment, Plan, Transfer
from orrery.timeline import PS_PER_S, MemorySample, Span, Timeline

from ._engine import compiled, simulate
from ._kernel import to_ps
from ._links import Channels

__all__ = ["Replayer", "replay"]

#: Fewer assignments and transfers than this are played in plain Python: loading the compiler and
#: its cached result takes longer (about a second) than the events would.
COMPILE_FROM = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    devices: list[str]
    device: list[int]
    pending: list[int]
    queues: list[list[int]]
    sent: list[list[int]]
    flows: list[tuple[int, int]]  # transfer and the place of the target in it
    consumers: list[list[int]]
    forwards: list[list[int]]
    initial: list[int]
    routes: list[tuple[int, ...]]
    latency_ps: list[int]


class Replayer:
    """A plan on a system, checked once, to be replayed with any durations.

    Parameters
    ----------
    plan, system : the plan's device, link and end names must be the system's

    Raises
    ------
    UnknownNameError : a device, link, region or end that does not exist
    SpecError : a region assigned twice, links that do not join, an input that never arrives, an
        order of assignments that contradicts the dependencies
    """

    def __init__(self, plan: Plan, system: System) -> None:
        self.plan = plan
        self.system = system
        self._channels = Channels(system)
        self._tables = _tabulate(plan, system, self._channels)
        self.events = 0

    def run(
        self,
        durations: Callable[[Assignment], float],
        *,
        output_bytes: Callable[[Assignment], int] | None = None,
        compile_from: int = COMPILE_FROM,
    ) -> Timeline:
        """Play the plan; see `replay`. `events` then holds the number of events."""
        tables, plan = self._tables, self.plan
        duration = [_duration_ps(durations(a), a) for a in plan.assignments]
        large = len(plan.assignments) + len(plan.transfers) >= compile_from
        begin, end, sent, arrived, self.events = _play(
            tables, duration, plan, self._channels, large
        )
        if -1 in end or -1 in arrived:
            raise _stuck(plan, tables, end, arrived)
        # Half a million small immutable records: the cycle collector has nothing to find in them.
        enabled = gc.isenabled()
        gc.disable()
        try:
            spans = _spans(plan, tables.flows, begin, end, sent, arrived)
        finally:
            if enabled:
                gc.enable()
        memory: tuple[MemorySample, ...] = ()
        if output_bytes is not None:
            memory = _memory(plan, tables.flows, output_bytes, begin, end, sent, arrived)
        names = ", ".join(model.name for model in plan.models) or "plan"
        return Timeline(name=f"{names} on {self.system.name}", spans=spans, memory=memory)


def replay(
    plan: Plan,
    system: System,
    durations: Callable[[Assignment], float],
    *,
    output_bytes: Callable[[Assignment], int] | None = None,
) -> Timeline:
    """Replay a plan and return what happened when.

    Parameters
    ----------
    plan : who does what, where and in which order
    system : the machines and the links among them
    durations : seconds that an assignment takes once it runs
    output_bytes : bytes of the tensors that an assignment makes; when given, the timeline has
        memory samples per device: resident bytes, plus outputs from the start of their region and
        copies from the start of their transfer until the last one there who needs them is done

    Returns
    -------
    Timeline
        Spans ``compute`` per device and ``transfer`` per link (from issue to arrival), integer
        picoseconds. The same plan gives the same timeline.

    Raises
    ------
    UnknownNameError, SpecError : see `Replayer`; also a duration that is negative or not finite
    """
    return Replayer(plan, system).run(durations, output_bytes=output_bytes)


def _duration_ps(seconds: float, assignment: Assignment) -> int:
    if 0.0 <= seconds < 1e6:
        return int(seconds * PS_PER_S + 0.5)
    return to_ps(seconds, where=f"plan: duration of region {assignment.region!r}")


def _tabulate(plan: Plan, system: System, channels: Channels) -> _Tables:
    devices = [device.name for device in system.devices]
    number = {name: i for i, name in enumerate(devices)}
    regions: dict[str, int] = {}
    device: list[int] = []
    queues: list[list[int]] = [[] for _ in devices]
    rank: list[int] = []
    for index, assignment in enumerate(plan.assignments):
        if assignment.region in regions:
            raise SpecError(f"plan: region {assignment.region!r}", found="two assignments of it",
                            wanted="one", fix="remove one")  # fmt: skip
        regions[assignment.region] = index
        mine = number.get(assignment.device)
        if mine is None:
            raise UnknownNameError(f"device of {system.name}", assignment.device, devices)
        device.append(mine)
        rank.append(len(queues[mine]))
        queues[mine].append(index)
    flows = _Flows(plan, channels, regions, device)
    carried = flows.carried
    for index, assignment in enumerate(plan.assignments):
        for name in assignment.after:
            source = regions.get(name)
            if source is None:
                raise UnknownNameError("region of the plan", name, regions)
            if device[source] == device[index]:
                if rank[source] >= rank[index]:
                    raise _contradiction(assignment.region, name, devices[device[index]])
            elif (source, index) not in carried:
                raise SpecError(
                    f"plan: region {assignment.region!r} on {assignment.device!r}",
                    found=f"no transfer of what {name!r} on {devices[device[source]]!r} makes",
                    wanted="one for every input made elsewhere", fix="add the transfer",
                )  # fmt: skip
    return _Tables(
        devices=devices, device=device, pending=flows.pending, queues=queues, sent=flows.sent,
        flows=flows.flows, consumers=flows.consumers, forwards=flows.forwards,
        initial=flows.initial, routes=flows.routes, latency_ps=flows.latency_ps,
    )  # fmt: skip


class _Flows:
    """The transfers of a plan as flows, one for each target, and who waits for which."""

    def __init__(
        self, plan: Plan, channels: Channels, regions: Mapping[str, int], device: Sequence[int]
    ) -> None:
        self.plan = plan
        self.regions = regions
        self.pending = [0] * len(device)
        self.sent: list[list[int]] = [[] for _ in device]
        self.flows: list[tuple[int, int]] = []
        self.consumers: list[list[int]] = []
        self.forwards: list[list[int]] = []
        self.initial: list[int] = []
        self.routes: list[tuple[int, ...]] = []
        self.latency_ps: list[int] = []
        self.carried: set[tuple[int, int]] = set()
        known: dict[tuple[str, str, tuple[str, ...]], tuple[tuple[int, ...], int]] = {}
        arrivals: dict[tuple[str, str], int] = {}
        passed_on: list[int] = []
        for index, transfer in enumerate(plan.transfers):
            if not transfer.targets or len(transfer.targets) != len(transfer.links):
                raise SpecError(
                    _where(transfer), found=f"{len(transfer.targets)} targets, "
                    f"{len(transfer.links)} routes", wanted="one route for each of one or more "
                    "targets", fix="correct the transfer",
                )  # fmt: skip
            if transfer.size_bytes < 0:
                raise SpecError(_where(transfer), found=f"{transfer.size_bytes} bytes",
                                wanted="zero or more", fix="correct the size")  # fmt: skip
            begun = len(self.flows)
            for place, target in enumerate(transfer.targets):
                key = (transfer.source, target, transfer.links[place])
                if key not in known:
                    route, latency_s = channels.route(*key, where=_where(transfer))
                    known[key] = route, to_ps(latency_s, where=_where(transfer))
                route, latency_ps = known[key]
                arrivals.setdefault((transfer.tensor, target), len(self.flows))
                self.flows.append((index, place))
                self.routes.append(route)
                self.latency_ps.append(latency_ps)
                self.consumers.append([])
                self.forwards.append([])
            producer = self._region(transfer.producer) if transfer.producer is not None else None
            issued = range(begun, len(self.flows))
            if producer is None:
                self.initial += issued
            elif plan.assignments[producer].device == transfer.source:
                self.sent[producer] += issued
            else:
                passed_on += issued
            self._await(transfer, begun, producer)
        for flow in passed_on:
            transfer = plan.transfers[self.flows[flow][0]]
            carrier = arrivals.get((transfer.tensor, transfer.source))
            if carrier is None:
                made_on = plan.assignments[self._region(transfer.producer or "")].device
                raise SpecError(
                    _where(transfer), found=f"source {transfer.source!r}, where it neither is made "
                    "nor arrives", wanted=f"{made_on!r}, where {transfer.producer!r} runs, or an "
                    "end that it was sent to", fix="correct the source",
                )  # fmt: skip
            self.forwards[carrier].append(flow)

    def _region(self, name: str) -> int:
        found = self.regions.get(name)
        if found is None:
            raise UnknownNameError("region of the plan", name, self.regions)
        return found

    def _await(self, transfer: Transfer, begun: int, producer: int | None) -> None:
        """Let the consumers of a transfer wait for its flow to their device."""
        for name in dict.fromkeys(transfer.consumers):
            consumer = self._region(name)
            where = self.plan.assignments[consumer].device
            if where not in transfer.targets:
                raise SpecError(
                    _where(transfer), found=f"consumer {name!r} on {where!r}",
                    wanted=f"consumers on {', '.join(transfer.targets)}",
                    fix="add the target or correct the consumer",
                )  # fmt: skip
            self.pending[consumer] += 1
            self.consumers[begun + transfer.targets.index(where)].append(consumer)
            if producer is not None:
                self.carried.add((producer, consumer))


def _where(transfer: Transfer) -> str:
    return f"plan: transfer of {transfer.tensor!r}"


def _contradiction(region: str, needed: str, device: str) -> SpecError:
    return SpecError(
        f"plan: order of device {device!r}", found=f"{region!r} before {needed!r}, whose output "
        "it needs", wanted="producers before consumers", fix="reorder the assignments",
    )  # fmt: skip


def _stuck(plan: Plan, tables: _Tables, end: Sequence[int], arrived: Sequence[int]) -> SpecError:
    waits = []
    for name, queue in zip(tables.devices, tables.queues, strict=True):
        head = next((a for a in queue if end[a] < 0), None)
        if head is None:
            continue
        region = plan.assignments[head].region
        missing = [
            plan.transfers[index].producer or plan.transfers[index].tensor
            for x, (index, _) in enumerate(tables.flows)
            if arrived[x] < 0 and head in tables.consumers[x]
        ]
        waits.append(f"{name!r} waits at {region!r} for {', '.join(map(repr, missing[:3]))}")
    return SpecError(
        "plan: order of assignments", found=f"a deadlock: {'; '.join(waits[:6])}",
        wanted="an order in which every device can go on", fix="reorder the assignments",
    )  # fmt: skip


def _rows(rows: Iterable[Sequence[int]]) -> tuple[list[int], list[int]]:
    rows = list(rows)
    return [0, *accumulate(map(len, rows))], list(chain.from_iterable(rows))


def _play(
    tables: _Tables, duration: list[int], plan: Plan, channels: Channels, large: bool
) -> tuple[list[int], list[int], list[int], list[int], int]:
    assignments, transfers = len(tables.device), len(tables.routes)
    count = len(channels.capacity_bytes_per_s)
    queue_starts, queue = _rows(tables.queues)
    sent_starts, sent = _rows(tables.sent)
    consumer_starts, consumer = _rows(tables.consumers)
    forward_starts, forward = _rows(tables.forwards)
    starts, route = _rows(tables.routes)
    slot_flow = [x for x, taken in enumerate(tables.routes) for _ in taken]
    nothing, unlinked, slots = [-1], [-1] * len(route), [-1] * count
    begin, end = nothing * assignments, nothing * assignments
    sent_at, arrived_at = nothing * transfers, nothing * transfers
    arguments: list[list[Any]] = [
        tables.device, duration, list(tables.pending), queue_starts, queue, sent_starts, sent,
        consumer_starts, consumer, forward_starts, forward, tables.initial,
        [plan.transfers[index].size_bytes for index, _ in tables.flows],
        tables.latency_ps, starts, route, slot_flow,
        [rate / PS_PER_S for rate in channels.capacity_bytes_per_s],
        begin, end, sent_at, arrived_at, queue_starts[:-1], [0] * len(tables.queues),
        [0.0] * transfers, [0] * transfers, [0.0] * transfers, nothing * transfers,
        slots, unlinked, list(unlinked), [0] * count, [0.0] * count, [0] * count, [0] * count,
        list(slots),
    ]  # fmt: skip
    if not large:
        return begin, end, sent_at, arrived_at, simulate(*arguments)
    fractions = {17, 24, 26, 32}  # capacity, rate, remaining, left
    arrays = [
        np.array(table, dtype=np.float64 if i in fractions else np.int64)
        for i, table in enumerate(arguments)
    ]
    events = compiled()(*arrays)
    begin, end, sent_at, arrived_at = (arrays[i].tolist() for i in (18, 19, 20, 21))
    return begin, end, sent_at, arrived_at, int(events)


def _spans(
    plan: Plan,
    flows: Sequence[tuple[int, int]],
    begin: Sequence[int],
    end: Sequence[int],
    sent: Sequence[int],
    arrived: Sequence[int],
) -> tuple[Span, ...]:
    designs: dict[str | None, dict[str, str | int | float]] = {None: {}}
    spans = []
    for index, assignment in enumerate(plan.assignments):
        details = designs.get(assignment.design)
        if details is None:
            details = designs[assignment.design] = {"design": str(assignment.design)}
        spans.append(
            Span(
                resource=assignment.device, name=assignment.region, kind="compute",
                start_ps=begin[index], end_ps=end[index], details=details,
            )
        )  # fmt: skip
    for flow, (index, place) in enumerate(flows):
        transfer = plan.transfers[index]
        what: dict[str, str | int | float] = {
            "bytes": transfer.size_bytes,
            "from": transfer.source,
            "to": transfer.targets[place],
        }
        for link in transfer.links[place]:
            spans.append(
                Span(
                    resource=link, name=transfer.tensor, kind="transfer", start_ps=sent[flow],
                    end_ps=arrived[flow], details=what,
                )
            )  # fmt: skip
    spans.sort(key=attrgetter("start_ps"))
    return tuple(spans)


def _memory(
    plan: Plan,
    flows: Sequence[tuple[int, int]],
    output_bytes: Callable[[Assignment], int],
    begin: Sequence[int],
    end: Sequence[int],
    sent: Sequence[int],
    arrived: Sequence[int],
) -> tuple[MemorySample, ...]:
    index = {a.region: i for i, a in enumerate(plan.assignments)}
    device = plan.device_of()
    changes: dict[str, list[tuple[int, int]]] = {a.device: [] for a in plan.assignments}
    freed: list[int | None] = [None] * len(plan.assignments)
    for i, assignment in enumerate(plan.assignments):
        for name in assignment.after:
            if device[name] == assignment.device:
                freed[index[name]] = max(freed[index[name]] or 0, end[i])
    for flow, (x, place) in enumerate(flows):
        transfer, target = plan.transfers[x], plan.transfers[x].targets[place]
        made_here = transfer.producer is not None and device[transfer.producer] == transfer.source
        if transfer.producer is not None and made_here:
            producer = index[transfer.producer]
            freed[producer] = max(freed[producer] or 0, arrived[flow])
        if target in changes:  # else the host or a switch: not a memory of ours
            users = [end[index[c]] for c in transfer.consumers if device[c] == target]
            changes[target].append((sent[flow], transfer.size_bytes))
            if users:
                changes[target].append((max(users), -transfer.size_bytes))
    for i, assignment in enumerate(plan.assignments):
        size = output_bytes(assignment)
        changes[assignment.device].append((begin[i], size))
        free_at = freed[i]
        if free_at is not None:
            changes[assignment.device].append((free_at, -size))
    samples = []
    for name, resident in plan.resident_bytes.items():
        changes.setdefault(name, [])
        changes[name].append((0, resident))
    for name, steps in changes.items():
        # Frees before allocations at one instant: the next region takes over what the last gave.
        used, by_time = 0, dict[int, int]()
        for time_ps, change in sorted(steps):
            used += change
            by_time[time_ps] = used
        samples += [
            MemorySample(memory=name, time_ps=time_ps, used_bytes=bytes_)
            for time_ps, bytes_ in by_time.items()
        ]
    return tuple(sorted(samples, key=lambda sample: sample.time_ps))
