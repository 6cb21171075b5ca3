"""The report page of a mapped network, put together from neutral sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.plan import Plan
from orrery.report import Page, Scorecard, Section, Text, Verdict
from orrery.timeline import Timeline

from ._charts import energy_bill, memory_chart, timeline_chart
from ._diagram import system_diagram
from ._doubts import doubtful
from ._roofline import roofline_chart
from ._tables import device_table, layer_table, regions_of

if TYPE_CHECKING:
    from orrery.cost import PlanCost
    from orrery.graph import Graph
    from orrery.hardware import System

__all__ = ["map_page"]


def map_page(
    graphs: Sequence[Graph],
    system: System,
    plan: Plan,
    price: PlanCost,
    timeline: Timeline,
    card: Scorecard,
    verdicts: Sequence[Verdict],
) -> Page:
    """Return the page of one plan: scorecard, charts, every layer, what was not priced."""
    regions = regions_of(graphs, plan)
    charts: list[Section | None] = [
        roofline_chart(system, plan, price, regions),
        timeline_chart(timeline, system),
        memory_chart(timeline, system),
        energy_bill(price.total),
    ]
    sections = [
        _notes(plan, price),
        *(chart for chart in charts if chart is not None),
        layer_table(plan, price, regions),
        device_table(system, plan, timeline),
        system_diagram(system, plan),
        *(table for table in (doubtful(system, plan),) if table is not None),
    ]
    return Page(
        title=f"{', '.join(graph.name for graph in graphs)} on {system.name}",
        subtitle=f"{len(plan.assignments)} regions, {len(plan.transfers)} transfers, "
        f"mapped for {plan.objective} by {plan.searcher}",
        scorecard=card,
        verdicts=tuple(verdicts),
        sections=tuple(sections),
        provenance={
            **{f"model {m.name}": m.digest for m in plan.models},
            f"system {plan.system.name}": plan.system.digest,
            "seed": str(plan.seed),
            "settings": ", ".join(f"{k}={v}" for k, v in plan.settings.items()) or "defaults",
        },
    )


def _notes(plan: Plan, price: PlanCost) -> Section:
    return Text(
        title="What the figures cover",
        paragraphs=(f"Coverage: {price.coverage}.", *dict.fromkeys((*plan.notes, *price.notes))),
        tone="note" if price.coverage.complete else "warning",
    )
