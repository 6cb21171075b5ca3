"""The report page of a mapped network, put together from neutral sections."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.cost import PlanCost
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import Page, Scorecard, Section, Text, Verdict, format_value
from orrery.timeline import Timeline
from orrery.units import counted

from ..figures import doubtful
from ._charts import energy_bill, memory_chart, timeline_chart
from ._diagram import system_diagram
from ._forecast import bound_words, energy_bound, forecast
from ._roofline import roofline_chart
from ._set_names import is_image
from ._sets import set_sections
from ._tables import device_table, layer_table, regions_of


def map_page(
    graphs: Sequence[Graph],
    system: System,
    plan: Plan,
    price: PlanCost,
    timeline: Timeline,
    card: Scorecard,
    verdicts: Sequence[Verdict],
    certified: str = "",
) -> Page:
    """Return the page of one plan: scorecard, charts, every layer, what was not priced.

    `certified` says whether its certificate holds.
    """
    regions = regions_of(graphs, plan)
    charts: list[Section | None] = [
        roofline_chart(system, plan, price, regions),
        timeline_chart(timeline, system, plan.lower_bound_s),
        memory_chart(timeline, system),
        energy_bill(price.total),
    ]
    sections = [
        _notes(plan, price, timeline, system),
        *set_sections(plan, price, price.steps, {n for n, one in regions.items() if is_image(one)}),
        *(chart for chart in charts if chart is not None),
        layer_table(plan, price, regions),
        device_table(system, plan, timeline),
        system_diagram(system, plan),
        *(table for table in (doubtful(system, plan),) if table is not None),
    ]
    return Page(
        title=f"{', '.join(graph.name for graph in graphs)} on {system.name}",
        subtitle=_subtitle(plan, timeline, certified),
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


def _subtitle(plan: Plan, timeline: Timeline, certified: str) -> str:
    sets = len({assignment.devices for assignment in plan.assignments})
    parts = [counted(len(plan.assignments), "region")]
    groups = f"{counted(sets, 'set')} of devices"
    parts.append(groups if plan.is_split else counted(len(plan.transfers), "transfer"))
    parts.append(f"mapped for {plan.objective} by {plan.searcher}")
    if plan.lower_bound_s is not None:
        parts.append(f"lower bound {format_value(plan.lower_bound_s, 's')}")
        gap = _gap(plan.lower_bound_s, timeline)
        parts += [] if gap is None else [f"gap {gap} among {bound_words(plan)}"]
    return ", ".join([*parts, certified] if certified else parts)


def _gap(bound_s: float, timeline: Timeline) -> str | None:
    """Return how far the replayed time lies above the bound; None above a bound of zero."""
    return f"{100 * (timeline.makespan_s / bound_s - 1):.3g} %" if bound_s > 0 else None


def _notes(plan: Plan, price: PlanCost, timeline: Timeline, system: System) -> Section:
    lines, doubt = [f"Coverage: {price.coverage}."], not price.coverage.complete
    lines += filter(None, [forecast(plan, timeline), energy_bound(plan, price)])
    if plan.lower_bound_s is not None:
        bound, took = (format_value(t, "s") for t in (plan.lower_bound_s, timeline.makespan_s))
        gap = _gap(plan.lower_bound_s, timeline)
        lines.append(
            f"Lower bound: {bound} ({bound_words(plan)}); this plan takes {took}"
            + ("." if gap is None else f", {gap} more.")
        )
        # A replay rounds to whole picoseconds; anything below the bound by more is a contradiction.
        if timeline.makespan_s < plan.lower_bound_s * (1 - 1e-9) - len(plan.assignments) * 1e-12:
            doubt = True
            lines.append("The replay ends before the lower bound, so one of the two is wrong.")
    ends = {system.host, *(device.name for device in system.devices)}
    if any(end not in ends for link in system.links for end in link.ends):
        lines.append("Latency and energy of a switch count once for each of its links crossed: "
                     "twice from port to port.")  # fmt: skip
    return Text(
        title="What the figures cover",
        paragraphs=tuple(dict.fromkeys((*lines, *plan.notes, *price.notes))),
        tone="warning" if doubt else "note",
    )
