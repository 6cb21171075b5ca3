"""When everything in a plan happens if nothing waits for a shared link.

Models:  longest paths over regions and transfers: a device runs its regions in plan order, a region
         waits for local producers and for the transfers that name it, a transfer waits for its
         tensor at its source.
Ignores: contention. Regions without a price take no time here; the caller says so.
Judge:   closed forms on chains, branches and pipelines (tests).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import SpecError
from orrery.hardware import System
from orrery.plan import Plan

from ._transfer import moves_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTimes:
    """Start and end of each region; start of each transfer and arrival at each of its targets."""

    starts_s: Mapping[str, float]
    ends_s: Mapping[str, float]
    sent_s: tuple[float, ...]
    arrivals_s: tuple[Mapping[str, float], ...]
    busy_s: Mapping[str, float]
    makespan_s: float


def plan_times(plan: Plan, durations_s: Mapping[str, float], system: System) -> PlanTimes:
    """Return when each region and transfer runs, without contention.

    Raises
    ------
    SpecError : an unknown producer or consumer, a tensor that is not where a transfer starts, a
        dependency between devices that no transfer serves, or an order that contradicts itself
    """
    count = len(plan.assignments)
    number = {assignment.region: i for i, assignment in enumerate(plan.assignments)}
    if len(number) != count:
        raise SpecError("plan: assignments", found="a region twice", wanted="each region once",
                        fix="make the plan again")  # fmt: skip
    where = [assignment.device for assignment in plan.assignments]
    # Entries 0 … count-1 are regions, the rest transfers. A wait is (on what, at which end).
    waits: list[list[tuple[int, str]]] = [[] for _ in range(count + len(plan.transfers))]
    carriers: dict[tuple[str, str], int] = {}
    for t, transfer in enumerate(plan.transfers):
        for target in transfer.targets:
            carriers.setdefault((transfer.tensor, target), count + t)
    served: list[set[str]] = [set() for _ in range(count)]
    for t, transfer in enumerate(plan.transfers):
        text = f"plan: transfer of {transfer.tensor!r}"
        if transfer.producer is not None:
            producer = _known(number, transfer.producer, text)
            if where[producer] == transfer.source:
                waits[count + t].append((producer, transfer.source))
            elif (transfer.tensor, transfer.source) in carriers:
                # Passed on from a device that was itself sent the tensor.
                carrier = carriers[transfer.tensor, transfer.source]
                waits[count + t].append((carrier, transfer.source))
            else:
                raise SpecError(
                    text, found=f"source {transfer.source!r}",
                    wanted=f"the device that makes it, {where[producer]!r}",
                    fix="make the plan again",
                )  # fmt: skip
        for consumer in transfer.consumers:
            index = _known(number, consumer, text)
            if where[index] in transfer.targets:
                waits[index].append((count + t, where[index]))
                served[index].add(transfer.producer or "")
    last: dict[str, int] = {}
    for i, assignment in enumerate(plan.assignments):
        if assignment.device in last:
            waits[i].append((last[assignment.device], ""))
        last[assignment.device] = i
        for name in assignment.after:
            before = _known(number, name, f"plan: region {assignment.region!r}")
            if where[before] == assignment.device:
                waits[i].append((before, ""))
            elif name not in served[i]:
                raise SpecError(
                    f"plan: region {assignment.region!r}",
                    found=f"{name!r} on {where[before]!r} and no transfer from there",
                    wanted="a transfer between the devices", fix="make the plan again",
                )  # fmt: skip
    return _longest_paths(plan, waits, durations_s, system)


def _longest_paths(
    plan: Plan, waits: list[list[tuple[int, str]]], durations_s: Mapping[str, float], system: System
) -> PlanTimes:
    count = len(plan.assignments)
    followers: list[list[int]] = [[] for _ in waits]
    for entry, needed in enumerate(waits):
        for before, _ in needed:
            followers[before].append(entry)
    open_ = [len(needed) for needed in waits]
    ready = deque(entry for entry, needed in enumerate(waits) if not needed)
    starts = [0.0] * len(waits)
    ends: list[dict[str, float]] = [{} for _ in waits]
    alone: dict[tuple[str, str, int, tuple[str, ...]], float] = {}
    done = 0
    while ready:
        entry = ready.popleft()
        done += 1
        starts[entry] = start = max((ends[b].get(end, ends[b][""]) for b, end in waits[entry]),
                                    default=0.0)  # fmt: skip
        if entry < count:
            ends[entry][""] = start + durations_s.get(plan.assignments[entry].region, 0.0)
        else:
            transfer = plan.transfers[entry - count]
            for target, links in zip(transfer.targets, transfer.links, strict=True):
                key = (transfer.source, target, transfer.size_bytes, links)
                if key not in alone:
                    alone[key] = moves_cost(system, [key[:3]], [links]).latency_s
                ends[entry][target] = start + alone[key]
            ends[entry][""] = max(ends[entry].values(), default=start)
        for follower in followers[entry]:
            open_[follower] -= 1
            if not open_[follower]:
                ready.append(follower)
    if done < len(waits):
        stuck = [plan.assignments[i].region for i in range(count) if open_[i]]
        raise SpecError("plan: order", found=f"{len(stuck)} regions that wait for each other: "
                        f"{', '.join(stuck[:5])}", wanted="producers before consumers on every "
                        "device", fix="make the plan again")  # fmt: skip
    busy: dict[str, float] = {}
    for i, assignment in enumerate(plan.assignments):
        busy[assignment.device] = busy.get(assignment.device, 0.0) + ends[i][""] - starts[i]
    names = [assignment.region for assignment in plan.assignments]
    return PlanTimes(
        starts_s=dict(zip(names, starts)),
        ends_s={name: ends[i][""] for i, name in enumerate(names)},
        sent_s=tuple(starts[count:]),
        arrivals_s=tuple({t: s for t, s in e.items() if t} for e in ends[count:]),
        busy_s=busy, makespan_s=max((e[""] for e in ends), default=0.0),
    )  # fmt: skip


def _known(number: Mapping[str, int], region: str, where: str) -> int:
    if region not in number:
        raise SpecError(where, found=f"region {region!r}", wanted="a region of the plan",
                        fix="make the plan again")  # fmt: skip
    return number[region]
