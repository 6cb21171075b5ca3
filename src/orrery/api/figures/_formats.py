"""The number formats a plan really computes in: a design may round what a network holds exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.accel import resolve
from orrery.cost import PlanCost, plan_regions
from orrery.graph import Graph, Region
from orrery.plan import Plan

from ._context import precisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Number formats in the order in which a plan first uses them, and what they approximate."""

    names: tuple[str, ...]
    approximation: str = ""


def formats_of(graphs: Sequence[Graph], plan: Plan, price: PlanCost) -> list[Formats]:
    """Return the formats that each network is computed in, designs before the devices' own.

    A region counts under its design's format only where the design, not the device as it is,
    takes it; what computes nothing (a view) has no format.
    """
    planned = plan_regions(plan, graphs)
    designs = {a.design: resolve(a.design) for a in plan.assignments if a.design}
    used: list[dict[str, None]] = [{} for _ in graphs]
    rounded: list[dict[tuple[str, str], int]] = [{} for _ in graphs]
    own: list[list[str]] = [[] for _ in graphs]
    for assignment in plan.assignments:
        where = planned[assignment.region]
        design = designs.get(assignment.design) if assignment.design else None
        taken = design is not None and (price.priced_by.get(assignment.region) == design.cost.name)
        held = precisions(graphs[where.network])
        if design is not None and taken and design.precision:
            used[where.network][design.precision] = None
            if design.precision not in held:
                mine, key = rounded[where.network], (design.precision, design.tolerance.reason)
                mine[key] = mine.get(key, 0) + 1
        elif _computes(where.region):
            own[where.network] = held
    totals = [sum(r.network == i for r in planned.values()) for i in range(len(graphs))]
    return [
        Formats(
            names=tuple(dict.fromkeys((*used[i], *own[i]))) or tuple(precisions(graph)),
            approximation="; ".join(
                f"{number} of {totals[i]} regions compute in {name}: {why}"
                for (name, why), number in rounded[i].items()
            ),
        )
        for i, graph in enumerate(graphs)
    ]


def _computes(region: Region) -> bool:
    known = [region.graph.known_operations(node) for node in region.members]
    return any(count is None or count.total for count in known)
