"""Plans with split regions, put together by hand: networks cut into runs, each run on a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orrery.cost import Refusal, expand, strategies
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Assignment, ModelReference, Plan, Split, SystemReference

__all__ = ["plan_on_sets"]


def plan_on_sets(
    graph: Graph, system: System, sets: Sequence[tuple[str, ...]], *, bound_s: float | None = None
) -> Plan:
    """Return a plan that gives each set an equal run of the network's regions.

    Regions that have output channels split them; one in three splits another loop or lets an
    operand rotate, so that the plan shows every term. What cannot be split stays on the first
    device of its set.
    """
    regions = graph.regions()
    assignments = []
    for number, region in enumerate(regions):
        devices = sets[number * len(sets) // len(regions)]
        split = _split(region, devices, number)
        names = [r.name for r in regions if set(r.outputs) & set(region.inputs)]
        assignments.append(Assignment(
            region=region.name, nodes=region.nodes, device=devices[0], split=split,
            after=tuple(names),
        ))  # fmt: skip
    plan = Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest),),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=(), objective="latency", searcher="by hand",
        lower_bound_s=bound_s, bound="plans of unsplit regions on this system",
    )  # fmt: skip
    written = expand(plan, [graph], system)
    held = {end: sum(parts.values()) for end, parts in zip(written.ends, written.residents)}
    return replace(plan, resident_bytes={end: size for end, size in held.items() if size})


def _split(region: Region, devices: tuple[str, ...], number: int) -> Split | None:
    found = strategies(region, len(devices), dimensions=1)
    if len(devices) == 1 or isinstance(found, Refusal):
        return None
    rings = [s for s in found if s.shared is not None]
    plain = [s for s in found if s.exclusive and s.shared is None]
    channels = [s for s in plain if s.exclusive[0][0] in ("Cout", "C")]
    chosen = (channels or plain or list(found))[0]
    if number % 3 == 2:
        chosen = (rings or plain or list(found))[-1]
    shared = None if chosen.shared is None else (chosen.shared.loop, chosen.shared.operand)
    return Split(devices=devices, weights=(1.0,) * len(devices), exclusive=chosen.exclusive,
                 shared=shared, combine=chosen.combine)  # fmt: skip
