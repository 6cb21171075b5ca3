"""Random plans, whole and split, for the checker and the replay to agree on."""

from __future__ import annotations

import random
from dataclasses import replace

from orrery.cost import Refusal, expand, strategies
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Assignment, ModelReference, Plan, Split, SystemReference
from tests.mapping.random_graphs import random_system, residual_graph


def split_plan(graph: Graph, system: System, seed: int, *, prefix: str = "") -> Plan:
    """Return a plan in which every region has a random set of devices and a random strategy."""
    rng = random.Random(f"plan {seed}")
    names = [device.name for device in system.devices]
    maker: dict[str, str] = {}
    assignments = []
    for region in graph.regions():
        count = rng.choice([n for n in (1, 2, 2, 4, 4, 8) if n <= len(names)])
        devices = tuple(rng.sample(names, count))
        split = None
        found = strategies(region, count)
        if count > 1 and not isinstance(found, Refusal):
            strategy = rng.choice(found)
            weights = tuple(float(rng.choice([1, 1, 2])) for _ in devices)
            shared = strategy.shared
            split = Split(
                devices=devices, weights=weights, exclusive=strategy.exclusive,
                shared=None if shared is None else (shared.loop, shared.operand),
                combine=strategy.combine,
            )  # fmt: skip
        after = dict.fromkeys(maker[t] for t in region.inputs if t in maker)
        assignments.append(Assignment(
            region=prefix + region.name, nodes=tuple(prefix + n for n in region.nodes),
            device=devices[0], after=tuple(after), split=split,
        ))  # fmt: skip
        maker |= dict.fromkeys(region.outputs, prefix + region.name)
    plan = Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest, prefix=prefix),),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=(), objective="latency", searcher="random",
    )  # fmt: skip
    return placed(plan, graph, system)


def placed(plan: Plan, graph: Graph, system: System) -> Plan:
    """Return a split plan that says how much of weights and states lies where."""
    if not plan.is_split:
        return plan
    written = expand(plan, [graph], system)
    held = {end: sum(parts.values()) for end, parts in zip(written.ends, written.residents)}
    return replace(plan, resident_bytes={end: size for end, size in held.items() if size})


def small_case(seed: int) -> tuple[Graph, System, Plan]:
    """Return a split plan of a random network on two to eight devices."""
    system = random_system(seed, least=2, most=random.Random(seed).choice([2, 3, 4, 8]),
                           designs=False)  # fmt: skip
    graph = residual_graph(seed)
    return graph, system, split_plan(graph, system, seed)
