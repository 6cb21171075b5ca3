"""Why the mapping is as it is: what another choice for every layer would cost."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.cost import PlanCost
from orrery.mapping import Explanation, LayerClass, SetProblem
from orrery.plan import Plan, Split
from orrery.report import Cell, Column, Section, Table
from orrery.timeline import PS_PER_S

from ..pages._set_names import is_image, sets_of, strategy_text
from ..pages._terms import terms_of
from ._design_tables import EXPLAINED, class_table, design_table, device_names


def explain_sections(
    problem: SetProblem, found: Explanation, classes: Sequence[LayerClass], plan: Plan,
    price: PlanCost,
) -> tuple[Section, ...]:  # fmt: skip
    """Return what other choices and other designs would cost, and who likes which design."""
    designs = design_table(problem, found)
    return (
        _unit_table(problem, found, plan, price), *([designs] if designs.rows else []),
        class_table(classes),
    )  # fmt: skip


def _unit_table(problem: SetProblem, found: Explanation, plan: Plan, price: PlanCost) -> Table:
    terms = terms_of(plan, price, price.steps)
    names, labels = problem.tables.workload.names, _labels(problem, found, plan)
    rows: list[tuple[Cell, ...]] = []
    for reason in found.units:
        regions = [names[region] for region in problem.units[reason.unit].regions]
        longest = max(regions, key=lambda name: terms[name].total_s if name in terms else 0.0)
        priced, step = terms.get(longest), price.steps.get(longest)
        followers = f" and {len(regions) - 1} more" if len(regions) > 1 else ""
        now = found.mapping.choices[reason.unit]
        other, slower = reason.other, 0
        text = None
        if other is not None:
            slower = other.makespan_ps - found.makespan_ps
            text = _choice_text(problem, found, reason.unit, other.set_number, other.choice)
            if other.set_number != reason.set_number:
                text = f"{text} on {labels[other.set_number]}"
        rows.append((
            regions[0] + followers, labels[reason.set_number],
            _choice_text(problem, found, reason.unit, reason.set_number, now),
            (priced.critical if priced else None) or None,
            (step.link if step else None) or None,
            100 * step.link_share if step and step.link else None,
            text, None if other is None else slower / PS_PER_S,
            None if other is None else 100 * slower / max(1, found.makespan_ps),
        ))  # fmt: skip
    return Table(
        title=EXPLAINED[0],
        columns=(
            Column(name="layers", help="that are split alike, as one"),
            Column(name="set"),
            Column(name="choice"),
            Column(name="longest", help="the term that takes most of the time"),
            Column(name="busiest link"),
            Column.number("link's share", "%",
                          help="of the longest layer's time for which its busiest link is busy"),
            Column(name="next best", help="the cheapest other way to share it on its set, or on "
                   "the set before or after; all else held"),
            Column.number("all slower by", "s", help="negative: the search left something",
                          bar=True),
            Column.number("in percent", "%"),
        ),
        rows=tuple(rows),
        caption="Whole makespans without contention, everything else as it is; choices that do not "
        "fit into memories are left out. Empty: there is no other choice.",
    )  # fmt: skip


def _labels(problem: SetProblem, found: Explanation, plan: Plan) -> list[str]:
    """Return the names that sets have elsewhere on the page."""
    named = {frozenset(group.devices): group.name for group in sets_of(plan)}
    ends = problem.tables.ends
    return [
        named.get(frozenset(ends[d] for d in placed.devices), device_names(problem, placed.devices))
        for placed in found.mapping.sets
    ]


def _choice_text(
    problem: SetProblem, found: Explanation, unit: int, number: int, choice: int
) -> str:
    devices = [problem.tables.ends[d] for d in found.mapping.sets[number].devices]
    strategy = problem.choices[unit][len(devices)][choice].strategies[0]
    if strategy is None:
        return strategy_text(None)
    shared = strategy.shared
    return strategy_text(Split(
        devices=tuple(devices), weights=(1.0,) * len(devices), exclusive=strategy.exclusive,
        shared=None if shared is None else (shared.loop, shared.operand), combine=strategy.combine,
    ), image=is_image(problem.tables.workload.regions[problem.units[unit].regions[0]]))  # fmt: skip
