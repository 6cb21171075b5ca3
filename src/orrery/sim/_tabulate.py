"""A plan as checked tables of numbers, for the hot loop.

Models:  who runs what in which order; each transfer as one flow per target; who waits for which.
Ignores: time.
Judge:   every mistake has a test with its message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import System
from orrery.plan import Plan, Transfer

from ._kernel import to_ps
from ._links import Channels


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTables:
    """Assignments, devices and flows by number.

    Attributes
    ----------
    devices : names
    device, pending : per assignment: its device, and how many flows it waits for
    queues : per device, its assignments in order
    flows : per flow, its transfer and the place of its target in that
    issuer : per flow, the assignment at whose end it leaves, -1 for none
    carrier : per flow, the flow that brings what it passes on, -1 for none
    initial : flows that leave at time zero
    consumer_starts, consumer : the assignments that wait for flow f are
        ``consumer[consumer_starts[f]:consumer_starts[f + 1]]``
    routes, latency_ps : per flow

    Long plain lists of numbers, not lists of lists: the cycle collector walks every list.
    """

    devices: list[str]
    device: list[int]
    pending: list[int]
    queues: list[list[int]]
    flows: list[tuple[int, int]]
    issuer: list[int]
    carrier: list[int]
    initial: list[int]
    consumer_starts: list[int]
    consumer: list[int]
    routes: list[tuple[int, ...]]
    latency_ps: list[int]


def tabulate(plan: Plan, system: System, channels: Channels) -> PlanTables:
    """Check a plan against a system and number everything in it.

    Raises
    ------
    UnknownNameError, SpecError : see `orrery.sim.Replayer`
    """
    devices = [device.name for device in system.devices]
    number = {name: i for i, name in enumerate(devices)}
    regions: dict[str, int] = {}
    device: list[int] = []
    rank: list[int] = []
    queues: list[list[int]] = [[] for _ in devices]
    for index, assignment in enumerate(plan.assignments):
        mine = number.get(assignment.device)
        if mine is None:
            raise UnknownNameError(f"device of {system.name}", assignment.device, devices)
        regions[assignment.region] = index
        device.append(mine)
        rank.append(len(queues[mine]))
        queues[mine].append(index)
    if len(regions) < len(device):
        names = [assignment.region for assignment in plan.assignments]
        twice = next(name for i, name in enumerate(names) if regions[name] != i)
        raise SpecError(f"plan: region {twice!r}", found="two assignments of it", wanted="one",
                        fix="remove one")  # fmt: skip
    tables = PlanTables(
        devices=devices, device=device, pending=[0] * len(device), queues=queues,
        flows=[], issuer=[], carrier=[], initial=[], consumer_starts=[0], consumer=[], routes=[],
        latency_ps=[],
    )  # fmt: skip
    carried = _add_flows(tables, plan, regions, channels)
    _check_needs(tables, plan, regions, rank, carried)
    return tables


def _add_flows(
    tables: PlanTables, plan: Plan, regions: Mapping[str, int], channels: Channels
) -> set[int]:
    """Turn transfers into flows; return who brings what to whom, as ``producer * n + consumer``."""
    known: dict[tuple[str, str, tuple[str, ...]], tuple[tuple[int, ...], int]] = {}
    carried: set[int] = set()
    passed_on: list[int] = []
    count, device, devices = len(tables.device), tables.device, tables.devices
    flows, routes, latencies = tables.flows, tables.routes, tables.latency_ps
    starts, consumers, pending = tables.consumer_starts, tables.consumer, tables.pending
    for index, transfer in enumerate(plan.transfers):
        targets, source = transfer.targets, transfer.source
        if not targets or len(targets) != len(transfer.links):
            raise SpecError(
                _where(transfer), found=f"{len(targets)} targets, {len(transfer.links)} routes",
                wanted="one route for each of one or more targets", fix="correct the transfer",
            )  # fmt: skip
        if not 0 <= transfer.size_bytes < 2**63:
            raise SpecError(_where(transfer), found=f"{transfer.size_bytes} bytes",
                            wanted="zero or more, in 64 bits", fix="correct the size")  # fmt: skip
        begun = len(flows)
        for place, target in enumerate(targets):
            key = (source, target, transfer.links[place])
            way = known.get(key)
            if way is None:
                route, latency_s = channels.route(*key, where=_where(transfer))
                way = known[key] = route, to_ps(latency_s, where=_where(transfer))
            flows.append((index, place))
            routes.append(way[0])
            latencies.append(way[1])
        producer = -1
        if transfer.producer is None:
            tables.initial.extend(range(begun, len(flows)))
        else:
            producer = _number(transfer.producer, regions)
        made_here = producer >= 0 and devices[device[producer]] == source
        tables.issuer.extend([producer if made_here else -1] * len(targets))
        if producer >= 0 and not made_here:
            passed_on.extend(range(begun, len(flows)))
        names = transfer.consumers
        waiting: list[tuple[int, int]] = []
        for name in names if len(names) < 2 else dict.fromkeys(names):
            consumer = _number(name, regions)
            where = devices[device[consumer]]
            if where not in targets:
                raise SpecError(
                    _where(transfer), found=f"consumer {name!r} on {where!r}",
                    wanted=f"consumers on {', '.join(targets)}",
                    fix="add the target or correct the consumer",
                )  # fmt: skip
            pending[consumer] += 1
            waiting.append((targets.index(where), consumer))
            carried.add(producer * count + consumer)
        # Sorting by place keeps the order in which the plan names the consumers of one target.
        if len(waiting) > 1:
            waiting.sort(key=itemgetter(0))
        done = 0
        for place in range(len(targets)):
            while done < len(waiting) and waiting[done][0] == place:
                consumers.append(waiting[done][1])
                done += 1
            starts.append(len(consumers))
    tables.carrier.extend([-1] * len(flows))
    _pass_on(tables, plan, regions, passed_on)
    return carried


def _pass_on(
    tables: PlanTables, plan: Plan, regions: Mapping[str, int], passed_on: Sequence[int]
) -> None:
    """Let flows that start where their tensor is not made wait for what brings it there."""
    arrivals: dict[tuple[str, str], int] = {}
    if passed_on:
        for flow, (index, place) in enumerate(tables.flows):
            transfer = plan.transfers[index]
            arrivals.setdefault((transfer.tensor, transfer.targets[place]), flow)
    for flow in passed_on:
        transfer = plan.transfers[tables.flows[flow][0]]
        carrier = arrivals.get((transfer.tensor, transfer.source))
        if carrier is None:
            made_on = tables.devices[tables.device[regions[transfer.producer or ""]]]
            raise SpecError(
                _where(transfer), found=f"source {transfer.source!r}, where it neither is made "
                f"nor arrives", wanted=f"{made_on!r}, where {transfer.producer!r} runs, or an end "
                "that it was sent to", fix="correct the source",
            )  # fmt: skip
        tables.carrier[flow] = carrier


def _check_needs(
    tables: PlanTables,
    plan: Plan,
    regions: Mapping[str, int],
    rank: Sequence[int],
    carried: set[int],
) -> None:
    """Every need is met: earlier on the same device, or by a transfer from another."""
    device, count = tables.device, len(tables.device)
    for index, assignment in enumerate(plan.assignments):
        for name in assignment.after:
            source = _number(name, regions)
            if device[source] == device[index]:
                if rank[source] >= rank[index]:
                    raise SpecError(
                        f"plan: order of device {assignment.device!r}",
                        found=f"{assignment.region!r} before {name!r}, whose output it needs",
                        wanted="producers before consumers", fix="reorder the assignments",
                    )  # fmt: skip
            elif source * count + index not in carried:
                raise SpecError(
                    f"plan: region {assignment.region!r} on {assignment.device!r}",
                    found=f"no transfer of what {name!r} on "
                    f"{tables.devices[device[source]]!r} makes",
                    wanted="one for every input made elsewhere", fix="add the transfer",
                )  # fmt: skip


def _number(name: str, regions: Mapping[str, int]) -> int:
    found = regions.get(name)
    if found is None:
        raise UnknownNameError("region of the plan", name, regions)
    return found


def _where(transfer: Transfer) -> str:
    return f"plan: transfer of {transfer.tensor!r}"
