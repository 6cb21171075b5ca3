"""What lies in which memory when: from the times of a replay to changes of resident bytes.

Models:  outputs from the start of their region, copies from the start of their transfer, each until
         the last one there who needs it is done; residents all the time.
Ignores: work space inside a region; fragmentation.
Judge:   totals return to the residents at the end; small plans counted by hand (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orrery.cost import Expansion
from orrery.plan import Assignment, Plan
from orrery.timeline import MemorySample

#: memory -> (instant, bytes more or less)
Changes = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Picoseconds: of each assignment begin and end, of each flow issue and arrival."""

    begin: Sequence[int]
    end: Sequence[int]
    sent: Sequence[int]
    arrived: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTimes:
    """Picoseconds: start and end of each step, departure of each result; first and last of all."""

    starts: Sequence[int]
    ends: Sequence[int]
    leaves: Mapping[str, int]
    begun_ps: int
    done_ps: int


def activations(
    plan: Plan, flows: Sequence[tuple[int, int]], output_bytes: Callable[[Assignment], int],
    times: Times,
) -> Changes:  # fmt: skip
    """Return what a plan of whole regions makes and sends, per device."""
    index = {a.region: i for i, a in enumerate(plan.assignments)}
    device = plan.device_of()
    changes: Changes = {a.device: [] for a in plan.assignments}
    freed: list[int | None] = [None] * len(plan.assignments)
    for i, assignment in enumerate(plan.assignments):
        for name in assignment.after:
            if device[name] == assignment.device:
                freed[index[name]] = max(freed[index[name]] or 0, times.end[i])
    for flow, (x, place) in enumerate(flows):
        transfer, target = plan.transfers[x], plan.transfers[x].targets[place]
        made_here = transfer.producer is not None and device[transfer.producer] == transfer.source
        if transfer.producer is not None and made_here:
            producer = index[transfer.producer]
            freed[producer] = max(freed[producer] or 0, times.arrived[flow])
        if target in changes:  # else the host or a switch: not a memory of ours
            users = [times.end[index[c]] for c in transfer.consumers if device[c] == target]
            changes[target].append((times.sent[flow], transfer.size_bytes))
            if users:
                changes[target].append((max(users), -transfer.size_bytes))
    for i, assignment in enumerate(plan.assignments):
        size = output_bytes(assignment)
        changes[assignment.device].append((times.begin[i], size))
        free_at = freed[i]
        if free_at is not None:
            changes[assignment.device].append((free_at, -size))
    return changes


def holdings(expansion: Expansion, devices: int, times: HeldTimes) -> Changes:
    """Return what a plan with split regions holds from step to step, on the first ends."""
    changes: Changes = {name: [] for name in expansion.ends[:devices]}
    for held in expansion.holdings:
        start = times.begun_ps if held.first < 0 else times.starts[held.first]
        last = held.last
        stop = times.done_ps if last >= len(expansion.steps) else times.ends[last]
        stop = max([stop, times.leaves.get(held.tensor, 0), *(times.ends[u] for u in held.users)])
        for end, mine in enumerate(changes.values()):
            size = held.layout.held_bytes(end)
            if size:
                mine += [(start, size), (stop, -size)]
    return changes


def residents(expansion: Expansion, devices: int) -> dict[str, int]:
    """Return the bytes of constants and states on each of the first ends."""
    mine = zip(expansion.ends[:devices], expansion.residents)
    return {name: sum(parts.values()) for name, parts in mine}


def with_residents(changes: Changes, resident_bytes: Mapping[str, int]) -> Changes:
    """Return changes with what is there from the beginning."""
    for name, size in resident_bytes.items():
        changes.setdefault(name, []).append((0, size))
    return changes


def samples(changes: Changes) -> tuple[MemorySample, ...]:
    """Return what is used at every instant of change.

    Frees come before allocations at one instant: the next region takes over what the last gave.
    """
    found = []
    for name, steps in changes.items():
        used, by_time = 0, dict[int, int]()
        for time_ps, change in sorted(steps):
            used += change
            by_time[time_ps] = used
        found += [
            MemorySample(memory=name, time_ps=time_ps, used_bytes=bytes_)
            for time_ps, bytes_ in by_time.items()
        ]
    return tuple(sorted(found, key=lambda sample: sample.time_ps))


def peaks(changes: Changes) -> dict[str, int]:
    """Return the most bytes in each memory at once."""
    most = dict.fromkeys(changes, 0)
    for sample in samples(changes):
        most[sample.memory] = max(most[sample.memory], sample.used_bytes)
    return most
