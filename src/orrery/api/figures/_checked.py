"""Figures of a plan, each with the error of its nearest reference set or outside of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orrery.accel import resolve
from orrery.cost import PlanCost, plan_regions
from orrery.cost.nest import nest_problem
from orrery.cost.validation import operator_kind
from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan
from orrery.timeline import Timeline

from ..validating import Part, beside, known_errors
from ._figures import plan_figures as unchecked_figures


def plan_figures(
    graphs: Sequence[Graph], system: System, plan: Plan, price: PlanCost, timeline: Timeline
) -> list[Evidence]:
    """Return every figure of a plan, with what reference sets say of its error.

    Sets are of loop nests on spatial arrays: regions that another model priced are outside of
    all, and weigh by their seconds, joules and bytes. Transfers and waits weigh nothing.
    """
    figures = unchecked_figures(graphs, system, plan, price, timeline)
    parts = list(_parts(graphs, plan, price))
    arrays = any(part.architecture is not None for part in parts)
    known = known_errors(parts) if arrays else {}
    return [beside(figure, known) for figure in figures]


def _parts(graphs: Sequence[Graph], plan: Plan, price: PlanCost) -> Iterator[Part]:
    planned = plan_regions(plan, graphs)
    models = {a.design: resolve(a.design).cost for a in plan.assignments if a.design}
    for assignment in plan.assignments:
        cost = price.per_region.get(assignment.region)
        if cost is None:
            continue
        model = models.get(assignment.design or "")
        mine = model is not None and price.priced_by.get(assignment.region) == model.name
        array = getattr(model, "architecture", None) if mine else None
        region = planned[assignment.region].region
        operator, problems = region.members[0].operator, nest_problem(region) if array else ()
        if isinstance(problems, tuple) and problems:
            operator = operator_kind(operator, problems[0])
        yield Part(
            operator=operator, operations=cost.macs_nominal,
            latency_s=cost.latency_s, energy_j=cost.energy_j,
            offchip_bytes=cost.offchip_bytes, architecture=array,
        )  # fmt: skip
