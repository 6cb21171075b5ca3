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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np

from orrery.errors import SpecError
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.timeline import MOST_PS, PS_PER_S, MemorySample, Span, Timeline, make_spans

from ._engine import compiled, simulate
from ._kernel import to_ps
from ._links import Channels
from ._memory import Times, activations, samples, with_residents
from ._tabulate import PlanTables, tabulate

#: Fewer assignments and transfers than this are played in plain Python: loading the compiler and
#: its cached result takes longer (about a second) than the events would.
COMPILE_FROM = 40_000


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the cycle collector from walking, again and again, a million records without cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Replayer:
    """A plan on a system, checked once, to be replayed with any durations.

    Parameters
    ----------
    plan, system : the plan's device, link and end names must be the system's

    Raises
    ------
    UnknownNameError : a device, link, region or end that does not exist
    SpecError : a region assigned twice, links that do not join, an input that never arrives, an
        order of assignments that contradicts the dependencies, split regions (`replay_split`)

    Attributes
    ----------
    events : how many starts and ends were played
    flows : per flow, its transfer and the place of its target in that
    times : when everything happened, once it ran
    """

    def __init__(self, plan: Plan, system: System) -> None:
        if plan.is_split:
            raise SpecError(
                "plan", found="split regions and no list of their messages",
                wanted="a plan of whole regions, or its expansion",
                fix="replay it with `replay_split`",
            )  # fmt: skip
        self.plan = plan
        self.system = system
        self._channels = Channels(system)
        with _without_collection():
            self._tables = tabulate(plan, system, self._channels)
            self._rows = _rows_of_spans(plan, self._tables.flows)
        self.events = 0
        self.times: Times | None = None

    @property
    def flows(self) -> Sequence[tuple[int, int]]:
        return self._tables.flows

    def run(
        self,
        durations: Callable[[Assignment], float],
        *,
        output_bytes: Callable[[Assignment], int] | None = None,
        compile_from: int = COMPILE_FROM,
    ) -> Timeline:
        """Play the plan; see `replay`. `events` then holds the number of events."""
        tables, plan = self._tables, self.plan
        large = len(plan.assignments) + len(tables.flows) >= compile_from
        with _without_collection():
            duration = [_duration_ps(durations(a), a) for a in plan.assignments]
            begin, end, sent, arrived, self.events = _play(
                tables, duration, plan, self._channels, large
            )
            if self.events < 0:
                raise SpecError(
                    f"plan on {self.system.name}", found=f"more than {MOST_PS / PS_PER_S:.3g} s to "
                    "the end", wanted="a time that the clock can say",
                    fix="correct the bandwidths of its links and the rates of its devices",
                )  # fmt: skip
            if -1 in end or -1 in arrived:
                raise _stuck(plan, tables, end, arrived)
            spans = _spans(self._rows, begin, end, sent, arrived)
        self.times = Times(begin=begin, end=end, sent=sent, arrived=arrived)
        memory: tuple[MemorySample, ...] = ()
        if output_bytes is not None:
            changes = activations(plan, tables.flows, output_bytes, self.times)
            memory = samples(with_residents(changes, plan.resident_bytes))
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
    UnknownNameError, SpecError : see `Replayer`; also a duration that is negative or not finite,
        and an end that is later than the clock can say (53 days)
    """
    return Replayer(plan, system).run(durations, output_bytes=output_bytes)


def _duration_ps(seconds: float, assignment: Assignment) -> int:
    if 0.0 <= seconds < 1e6:
        return int(seconds * PS_PER_S + 0.5)
    return to_ps(seconds, where=f"plan: duration of region {assignment.region!r}")


def _stuck(plan: Plan, tables: PlanTables, end: Sequence[int], arrived: Sequence[int]) -> SpecError:
    waits = []
    for name, queue in zip(tables.devices, tables.queues, strict=True):
        head = next((a for a in queue if end[a] < 0), None)
        if head is None:
            continue
        region = plan.assignments[head].region
        missing = [
            plan.transfers[index].producer or plan.transfers[index].tensor
            for x, (index, _) in enumerate(tables.flows)
            if arrived[x] < 0
            and head in tables.consumer[tables.consumer_starts[x] : tables.consumer_starts[x + 1]]
        ]
        waits.append(f"{name!r} waits at {region!r} for {', '.join(map(repr, missing[:3]))}")
    if not waits:
        lost = [plan.transfers[x].tensor for f, (x, _) in enumerate(tables.flows) if arrived[f] < 0]
        waits.append(f"{', '.join(map(repr, lost[:3]))} only passed on among ends without it")
    return SpecError(
        "plan: order of assignments", found=f"a deadlock: {'; '.join(waits[:6])}",
        wanted="an order in which every device can go on", fix="reorder the assignments",
    )  # fmt: skip


def _rows(rows: Iterable[Sequence[int]]) -> tuple[list[int], list[int]]:
    rows = list(rows)
    return [0, *accumulate(map(len, rows))], list(chain.from_iterable(rows))


def _grouped(groups: list[int], count: int) -> tuple[list[int], list[int]]:
    """Return who is in group 0, 1, …, in order, as compressed rows; group -1 is left out."""
    by_group = np.array(groups, dtype=np.int64)
    order = np.argsort(by_group, kind="stable")
    starts = np.searchsorted(by_group[order], np.arange(count + 1))
    return (starts - starts[0]).tolist(), order[starts[0] :].tolist()


def _play(
    tables: PlanTables, duration: list[int], plan: Plan, channels: Channels, large: bool
) -> tuple[list[int], list[int], list[int], list[int], int]:
    assignments, transfers = len(tables.device), len(tables.routes)
    count = len(channels.capacity_bytes_per_s)
    queue_starts, queue = _rows(tables.queues)
    sent_starts, sent = _grouped(tables.issuer, assignments)
    forward_starts, forward = _grouped(tables.carrier, transfers)
    starts, route = _rows(tables.routes)
    slot_flow = [x for x, taken in enumerate(tables.routes) for _ in taken]
    nothing, unlinked, slots = [-1], [-1] * len(route), [-1] * count
    begin, end = nothing * assignments, nothing * assignments
    sent_at, arrived_at = nothing * transfers, nothing * transfers
    arguments: list[list[Any]] = [
        tables.device, duration, list(tables.pending), queue_starts, queue, sent_starts, sent,
        tables.consumer_starts, tables.consumer, forward_starts, forward, tables.initial,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What every span of a plan says but its times: compute first, then flow by flow and link."""

    resources: list[str]
    names: list[str]
    kinds: list[str]
    details: list[Mapping[str, str | int | float]]
    hops: list[int]  # links of each flow


def _rows_of_spans(plan: Plan, flows: Sequence[tuple[int, int]]) -> _Rows:
    designs: dict[str | None, Mapping[str, str | int | float]] = {None: {}}
    resources = [assignment.device for assignment in plan.assignments]
    names = [assignment.region for assignment in plan.assignments]
    details = []
    for assignment in plan.assignments:
        design = assignment.design
        if design not in designs:
            designs[design] = {"design": str(design)}
        details.append(designs[design])
    hops = []
    for index, place in flows:
        transfer = plan.transfers[index]
        links = transfer.links[place]
        hops.append(len(links))
        what: Mapping[str, str | int | float] = {
            "bytes": transfer.size_bytes,
            "from": transfer.source,
            "to": transfer.targets[place],
        }
        for link in links:
            resources.append(link)
            names.append(transfer.tensor)
            details.append(what)
    count = len(plan.assignments)
    kinds = ["compute"] * count + ["transfer"] * (len(names) - count)
    return _Rows(resources=resources, names=names, kinds=kinds, details=details, hops=hops)


def _spans(
    rows: _Rows,
    begin: Sequence[int],
    end: Sequence[int],
    sent: Sequence[int],
    arrived: Sequence[int],
) -> tuple[Span, ...]:
    hops = np.array(rows.hops, dtype=np.int64)
    starts = np.concatenate([begin, np.repeat(np.array(sent, dtype=np.int64), hops)])
    finishes = np.concatenate([end, np.repeat(np.array(arrived, dtype=np.int64), hops)])
    spans = make_spans(
        rows.resources, rows.names, rows.kinds, starts.astype(np.int64).tolist(),
        finishes.astype(np.int64).tolist(), rows.details,
    )  # fmt: skip
    return tuple([spans[i] for i in np.argsort(starts, kind="stable").tolist()])
