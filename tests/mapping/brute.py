"""Exhaustive search for a faster schedule, written from the definition and sharing no code.

A schedule names a configuration and a home for floating inputs, a device for each region, and an
order in which regions and transfers are begun as early as possible. Depth first over all of them;
what already ends too late is cut off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orrery.cost import CostModel
from orrery.graph import Graph, Region
from orrery.hardware import System


@dataclass
class Job:
    """A region on its device or a tensor on its way: what it takes, for how long, after what."""

    taken: tuple[str, ...]
    busy_s: float
    whole_s: float
    after: list[int] = field(default_factory=list)
    tail_s: float = 0.0


def channels(system: System, source: str, target: str) -> tuple[str, ...]:
    """Return the directed channels of a route; one for both ways where the link is no duplex."""
    here, found = source, []
    route = system.route(source, target) or ()
    for link, following in itertools.zip_longest(route, route[1:]):
        ends = [target] if following is None else [e for e in link.ends if e in following.ends]
        there = next(e for e in ends if e != here)
        back = link.duplex and link.ends.index(there) < link.ends.index(here)
        found.append(f"{link.name}{'<' if back else '>'}")
        here = there
    return tuple(found)


def durations(
    g: Graph, system: System, models: Mapping[str, CostModel]
) -> dict[tuple[str, str, str], float]:
    """Return (node, device, design or "") -> seconds, where possible."""
    found = {}
    for node, device in itertools.product(g.nodes, system.devices):
        region = Region(graph=g, nodes=(node.name,))
        for design in ("", *device.designs):
            able = device.operators is None or region.operators <= set(device.operators)
            for name in dict.fromkeys((design, "")):
                if name == "" and not able:
                    continue
                if models[name].refuses(region, device) is None:
                    seconds = models[name].cost(region, device).latency_s
                    found[node.name, device.name, design] = seconds
                    break
    return found


def jobs_of(
    g: Graph, system: System, where: Mapping[str, str], home: Mapping[str, str],
    seconds: Mapping[str, float], *, exclusive: bool,
) -> list[Job]:  # fmt: skip
    """Return what is to be done, in an order in which what is needed stands first."""
    jobs: list[Job] = []
    made: dict[str, int] = {}
    brought: dict[tuple[str, str], int] = {}

    def bring(tensor: str, target: str) -> None:
        producer = g.producer(tensor)
        source = where[producer.name] if producer else home.get(tensor, system.host)
        if source == target or (tensor, target) in brought:
            return
        route = system.route(source, target) or ()
        size = g.type(tensor).size_bytes
        busy = size / min(link.bandwidth_bytes_per_s for link in route)
        taken = channels(system, source, target) if exclusive and busy > 0 else ()
        brought[tensor, target] = len(jobs)
        jobs.append(Job(taken=taken, busy_s=busy, whole_s=busy + sum(x.latency_s for x in route),
                        after=[made[tensor]] if producer else []))  # fmt: skip

    for node in g.nodes:
        device, after = where[node.name], []
        for tensor in node.inputs:
            if tensor in g.constants:
                continue
            bring(tensor, device)
            if (tensor, device) in brought:
                after.append(brought[tensor, device])
            elif tensor in made:
                after.append(made[tensor])
        made[node.outputs[0]] = len(jobs)
        jobs.append(Job(taken=(device,), busy_s=seconds[node.name], whole_s=seconds[node.name],
                        after=after))  # fmt: skip
        if node.outputs[0] in g.outputs and system.host:
            bring(node.outputs[0], system.host)
    for job in reversed(jobs):
        for before in job.after:
            jobs[before].tail_s = max(jobs[before].tail_s, job.whole_s + job.tail_s)
    return jobs


def best_order(jobs: Sequence[Job], limit_s: float) -> float:
    """Return the least makespan below the limit of all orders, or infinity."""
    loads: dict[str, float] = {}
    for job in jobs:
        for resource in job.taken:
            loads[resource] = loads.get(resource, 0.0) + job.busy_s
    if max(loads.values(), default=0.0) >= limit_s:
        return math.inf
    best = limit_s
    ends: list[float | None] = [None] * len(jobs)
    free: dict[str, float] = dict.fromkeys(loads, 0.0)

    def go(done: int, latest: float) -> None:
        nonlocal best
        if done == len(jobs):
            best = min(best, latest)
            return
        ready = []
        for number, job in enumerate(jobs):
            if ends[number] is not None or any(ends[b] is None for b in job.after):
                continue
            start = max((ends[b] or 0.0 for b in job.after), default=0.0)
            start = max([start, *(free[r] for r in job.taken)])
            if start + job.whole_s + job.tail_s >= best:
                return  # it will not begin earlier later on
            ready.append((start, number))
        for start, number in sorted(ready):
            job = jobs[number]
            before = {r: free[r] for r in job.taken}
            for resource in job.taken:
                free[resource] = start + job.busy_s
            ends[number] = start + job.whole_s
            go(done + 1, max(latest, start + job.whole_s))
            ends[number] = None
            free.update(before)
            if not job.taken:
                return  # it stands in nobody's way: one order is enough

    go(0, 0.0)
    return best if best < limit_s else math.inf


def placements(g: Graph, system: System) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield every device of every node, and every home of an input that may start anywhere."""
    names = [device.name for device in system.devices]
    floating = [] if system.host else [t for t in g.inputs if g.consumers(t)]
    for choice in itertools.product(names, repeat=len(g.nodes)):
        where = dict(zip((node.name for node in g.nodes), choice, strict=True))
        homes = [sorted({where[c.name] for c in g.consumers(t)}) for t in floating]
        for home in itertools.product(*homes):
            yield where, dict(zip(floating, home, strict=True))


def fastest(
    g: Graph, system: System, models: Mapping[str, CostModel], limit_s: float = math.inf, *,
    exclusive: bool = True, fits: Mapping[str, int] | None = None,
) -> float:  # fmt: skip
    """Return the least makespan of all schedules if it is below the limit, or infinity.

    `fits`, when given, is the bytes of weights that each device can hold.
    """
    seconds, best = durations(g, system, models), limit_s
    for where, home in placements(g, system):
        if fits is not None and not _holds(g, where, fits):
            continue
        used = dict.fromkeys(where.values())
        for designs in itertools.product(*(("", *system.device(d).designs) for d in used)):
            design = dict(zip(used, designs, strict=True))
            mine = {n: seconds.get((n, d, design[d]), math.inf) for n, d in where.items()}
            busy = dict.fromkeys(used, 0.0)
            for name, device in where.items():
                busy[device] += mine[name]
            if max(busy.values()) < best:
                jobs = jobs_of(g, system, where, home, mine, exclusive=exclusive)
                best = min(best, best_order(jobs, best))
    return best if best < limit_s else math.inf


def _holds(g: Graph, where: Mapping[str, str], fits: Mapping[str, int]) -> bool:
    held: dict[str, dict[str, int]] = {}
    for node in g.nodes:
        for tensor in node.inputs:
            if tensor in g.constants:
                held.setdefault(where[node.name], {})[tensor] = g.type(tensor).size_bytes
    return all(sum(weights.values()) <= fits[device] for device, weights in held.items())
