"""Why whole layers are where they are: what the best other place of each would cost."""

from __future__ import annotations

from math import isfinite

from orrery.cost import PlanCost
from orrery.mapping import LayersExplained
from orrery.plan import Plan
from orrery.report import Cell, Column, Table, format_value

from ..pages._terms import terms_of
from ._design_tables import EXPLAINED


def place_table(found: LayersExplained, plan: Plan, price: PlanCost) -> Table:
    """Return a row per region of a plan of whole layers."""
    terms = terms_of(plan, price, price.steps)
    rows: list[tuple[Cell, ...]] = []
    for assignment, reason in zip(plan.assignments, found.reasons, strict=True):
        priced = terms.get(assignment.region)
        slower = reason.makespan_s - found.makespan_s
        there = isfinite(reason.makespan_s) and reason.device is not None
        rows.append((
            assignment.region, assignment.device, assignment.design,
            (priced.critical if priced else None) or None,
            (priced.link if priced else None) or None,
            f"{reason.device}, {reason.design or 'as it is'}" if there else None,
            slower if there else None,
            100 * slower / found.makespan_s if there and found.makespan_s else None,
        ))  # fmt: skip
    expected = plan.predicted_latency_s
    clock = format_value(found.makespan_s, "s")
    beside = "" if expected is None else f" ({format_value(expected, 's')} by the search's own)"
    return Table(
        title=EXPLAINED[0],
        columns=(
            Column(name="layer"),
            Column(name="device"),
            Column(name="design", help="empty: as it is, or its own units"),
            Column(name="longest", help="the term that takes most of the time"),
            Column(name="busiest link"),
            Column(name="next best", help="the cheapest other device or design for it, all else "
                   "held"),
            Column.number("all slower by", "s", help="negative: the search left something",
                          bar=True),
            Column.number("in percent", "%"),
        ),
        rows=tuple(rows),
        caption="Whole makespans by the list schedule in this plan's order, each transfer with its "
        f"links to itself; by this clock the plan itself takes {clock}{beside}. Places that do not "
        "fit into memories are left out. Empty: there is no other place.",
    )  # fmt: skip
