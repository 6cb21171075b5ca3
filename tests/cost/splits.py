"""Split plans of small networks, by hand or at random, for tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orrery.cost import Refusal, Strategy, expand, strategies
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Assignment, ModelReference, Plan, Split, SystemReference

Choice = tuple[Split | None, str]  #: split and device of a region
Choose = Callable[[Region], Choice]


def split(devices: Sequence[str], strategy: Strategy | None = None, *,
          weights: Sequence[float] | None = None) -> Split:  # fmt: skip
    """Return a split over devices; equal weights unless others are given."""
    found = strategy or Strategy()
    ring = found.shared
    return Split(
        devices=tuple(devices), weights=tuple(weights or (1.0,) * len(devices)),
        exclusive=found.exclusive, combine=found.combine,
        shared=None if ring is None else (ring.loop, ring.operand),
    )  # fmt: skip


def by_loop(devices: Sequence[str], loops: Mapping[str, str] | str, **settings: object) -> Choose:
    """Return a choice that splits every region along one loop, by operator or all alike."""

    def choose(region: Region) -> Choice:
        (op,) = region.operators
        loop = loops if isinstance(loops, str) else loops[op]
        strategy = Strategy(exclusive=((loop, len(devices)),)) if loop else None
        return split(devices, strategy, **settings), devices[0]  # type: ignore[arg-type]

    return choose


def split_plan(graphs: Sequence[Graph], system: System, choose: Choose, *,
               prefixes: Sequence[str] = ("",), design: str | None = None,
               groups: Sequence[tuple[str, ...]] | None = None) -> Plan:  # fmt: skip
    """Return a plan of single-node regions (or the given ones), networks one after the other."""
    assignments = []
    for graph, prefix in zip(graphs, prefixes, strict=True):
        made: dict[str, str] = {}
        for nodes in groups or [(node.name,) for node in graph.nodes]:
            region = Region(graph=graph, nodes=nodes)
            shared, device = choose(region)
            after = dict.fromkeys(made[t] for t in region.inputs if t in made)
            assignments.append(Assignment(
                region=prefix + region.name, nodes=tuple(prefix + node for node in nodes),
                device=device, design=design, split=shared, after=tuple(after),
            ))  # fmt: skip
            made |= dict.fromkeys(region.outputs, prefix + region.name)
    plan = Plan(
        models=tuple(ModelReference(name=f"{p}{g.name}", digest=g.digest, prefix=p)
                     for g, p in zip(graphs, prefixes)),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=(), objective="latency", searcher="hand",
    )  # fmt: skip
    return with_residents(plan, graphs, system)


def with_residents(plan: Plan, graphs: Sequence[Graph], system: System) -> Plan:
    found = expand(plan, graphs, system)
    names = {device.name for device in system.devices}
    held = {end: sum(kept.values()) for end, kept in zip(found.ends, found.residents)}
    return replace(plan, resident_bytes={n: b for n, b in held.items() if n in names and b})


def random_split_plan(seed: int, graph: Graph, system: System) -> Plan:
    """Return a plan with random sets, strategies and weights; some regions are not split."""
    rng = random.Random(f"split {seed}")
    names = [device.name for device in system.devices]
    first = [True]

    def choose(region: Region) -> Choice:
        able = [d.name for d in system.devices
                if not d.operators or region.operators <= set(d.operators)] or names  # fmt: skip
        devices = rng.sample(able, rng.randint(1, len(able)))
        found = strategies(region, len(devices))
        alone, first[0] = not first[0] and rng.random() < 0.3, False
        if isinstance(found, Refusal) or alone:
            return None, devices[0]
        weights = [rng.choice([1.0, 1.0, 2.0, 3.5]) for _ in devices]
        return split(devices, rng.choice(found), weights=weights), devices[0]

    return split_plan([graph], system, choose)
