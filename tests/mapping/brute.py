"""Replays of all plans of whole nodes: whatever the links do, no plan does better.

A plan names a design of every device in use, a device for each node, a home for inputs that may
start anywhere, and for each device an order. Written from the definition; tensors go straight from
where they are made to where they are read. The only clock is the replay's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

from orrery.cost import CostModel
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Assignment, Plan, SystemReference, Transfer
from orrery.sim import replay


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


def orders(g: Graph, where: Mapping[str, str]) -> list[list[str]]:
    """Return topological orders of the nodes, one for each set of orders on the devices."""
    found: dict[tuple[tuple[str, ...], ...], list[str]] = {}

    def go(done: list[str]) -> None:
        if len(done) == len(g.nodes):
            key = tuple(tuple(n for n in done if where[n] == d) for d in sorted({*where.values()}))
            found.setdefault(key, list(done))
        for node in g.nodes:
            makers = [p.name for t in node.inputs if (p := g.producer(t))]
            if node.name not in done and all(m in done for m in makers):
                go([*done, node.name])

    go([])
    return list(found.values())


def transfers_of(
    g: Graph, system: System, where: Mapping[str, str], home: Mapping[str, str]
) -> tuple[Transfer, ...]:
    """Return what has to be sent, straight from where it is made."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for node in g.nodes:
        for tensor in dict.fromkeys(t for t in node.inputs if t and t not in g.constants):
            wanted.setdefault(tensor, {}).setdefault(where[node.name], []).append(node.name)
    found = []
    for tensor in dict.fromkeys((*g.inputs, *(n.outputs[0] for n in g.nodes))):
        maker = g.producer(tensor)
        source = where[maker.name] if maker else home.get(tensor, system.host)
        targets = wanted.get(tensor, {})
        if maker and tensor in g.outputs and system.host:
            targets.setdefault(system.host, [])
        for target, readers in targets.items():
            if target != source:
                route = system.route(source, target) or ()
                found.append(Transfer(
                    tensor=tensor, size_bytes=g.type(tensor).size_bytes, source=source,
                    targets=(target,), producer=maker.name if maker else None,
                    consumers=tuple(readers), links=(tuple(link.name for link in route),),
                ))  # fmt: skip
    return tuple(found)


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
    fits: Mapping[str, int] | None = None,
) -> float:  # fmt: skip
    """Return the least replayed makespan of all plans if it is below the limit, or infinity.

    `fits`, when given, is the bytes of weights that each device can hold.
    """
    seconds, best = durations(g, system, models), limit_s
    reference = SystemReference(name=system.name, digest=system.digest)
    for where, home in placements(g, system):
        if fits is not None and not _holds(g, where, fits):
            continue
        transfers, used = transfers_of(g, system, where, home), dict.fromkeys(where.values())
        timed = set()
        for designs in itertools.product(*(("", *system.device(d).designs) for d in used)):
            design = dict(zip(used, designs, strict=True))
            mine = {n: seconds.get((n, d, design[d]), math.inf) for n, d in where.items()}
            busy = [sum(mine[n] for n, d in where.items() if d == one) for one in used]
            if max(busy) >= best or tuple(mine.values()) in timed:
                continue
            timed.add(tuple(mine.values()))
            for order in orders(g, where):
                plan = Plan(
                    models=(), system=reference, transfers=transfers, objective="latency",
                    searcher="brute", assignments=tuple(
                        Assignment(region=n, nodes=(n,), device=where[n]) for n in order),
                )  # fmt: skip
                took = replay(plan, system, lambda a: mine[a.region])  # noqa: B023  # at once
                best = min(best, took.makespan_s)
    return best if best < limit_s else math.inf


def _holds(g: Graph, where: Mapping[str, str], fits: Mapping[str, int]) -> bool:
    held: dict[str, dict[str, int]] = {}
    for node in g.nodes:
        for tensor in node.inputs:
            if tensor in g.constants:
                held.setdefault(where[node.name], {})[tensor] = g.type(tensor).size_bytes
    return all(sum(weights.values()) <= fits[device] for device, weights in held.items())
