"""Why the mapping is as it is: what other choices would cost, which design suits which layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.plan import Split
from orrery.report import Cell, Column, Section, Table
from orrery.timeline import PS_PER_S

from ._set_names import devices_text, sets_of, strategy_text
from ._terms import terms_of

if TYPE_CHECKING:
    from orrery.cost import PlanCost
    from orrery.mapping import Explanation, LayerClass, SetProblem
    from orrery.plan import Plan

__all__ = ["EXPLAINED", "class_table", "explain_sections"]

#: titles of the sections
EXPLAINED = (
    "What another choice would cost", "What another design would cost",
    "Which design suits which layers",
)  # fmt: skip


def explain_sections(
    problem: SetProblem, found: Explanation, classes: Sequence[LayerClass], plan: Plan,
    price: PlanCost,
) -> tuple[Section, ...]:  # fmt: skip
    """Return what other choices and other designs would cost, and who likes which design."""
    designs = _design_table(problem, found)
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
            Column(name="link's share", unit="%", kind="number",
                   help="of the longest layer's time for which its busiest link is busy"),
            Column(name="next best", help="the cheapest other way to share it on its set, or on "
                   "the set before or after; all else held"),
            Column(name="all slower by", unit="s", kind="number", bar=True,
                   help="negative: the search left something"),
            Column(name="in percent", unit="%", kind="number"),
        ),
        rows=tuple(rows),
        caption="Whole makespans without contention, everything else as it is; choices that do not "
        "fit into memories are left out. Empty: there is no other choice.",
    )  # fmt: skip


def _design_table(problem: SetProblem, found: Explanation) -> Table:
    sets = found.mapping.sets
    rows: list[tuple[Cell, ...]] = []
    for reason in found.sets:
        placed = sets[reason.set_number]
        designs = problem.designs[placed.set_class]
        held = {other.design: other.makespan_ps for other in reason.held}
        anew = {other.design: other.makespan_ps for other in reason.anew}
        for design in sorted({*held, *anew}, key=lambda d: anew.get(d, held.get(d, 0))):
            rows.append((
                _devices(problem, placed.devices), designs[placed.design] or "as it is",
                designs[design] or "as it is", _percent(held.get(design), found.makespan_ps),
                _percent(anew.get(design), found.makespan_ps),
            ))  # fmt: skip
    return Table(
        title=EXPLAINED[1],
        columns=(
            Column(name="set"), Column(name="design"), Column(name="other design"),
            Column(name="slower, choices held", unit="%", kind="number",
                   help="empty: it refuses what is chosen, or it does not fit"),
            Column(name="slower, chosen anew", unit="%", kind="number", bar=True,
                   help="choices of this set found anew by descent"),
        ),
        rows=tuple(rows),
        caption="All devices of a set under another design, other sets as they are.",
        filterable=False,
    )  # fmt: skip


def class_table(classes: Sequence[LayerClass]) -> Table:
    """Return what each class of layers takes under each design on one device."""
    columns = list(dict.fromkeys(key for one in classes for key in one.seconds))
    kinds = {kind for kind, _ in columns}
    heads = [
        (f"{kind}: " if len(kinds) > 1 else "") + (design or "as it is") for kind, design in columns
    ]
    rows: list[tuple[Cell, ...]] = []
    for one in classes:
        liked = sorted(((n, key) for key, n in one.prefers.items() if n), key=lambda x: -x[0])
        said = ", ".join(
            f"{100 * n / one.layers:.3g} % {heads[columns.index(key)]}" for n, key in liked
        )
        rows.append((one.name, one.layers, said or None, *(one.seconds.get(k) for k in columns)))
    return Table(
        title=EXPLAINED[2],
        columns=(
            Column(name="class", help="operator, kernel and stride"),
            Column(name="layers", kind="number"),
            Column(name="prefers", help="share of its layers that are fastest under a design"),
            *(Column(name=head, unit="s", kind="number") for head in heads),
        ),
        rows=tuple(rows),
        caption="All layers of a class on one device, computing alone. Empty: the design refuses "
        "some of them, and the device's own units do them.",
        filterable=False,
    )  # fmt: skip


def _labels(problem: SetProblem, found: Explanation, plan: Plan) -> list[str]:
    """Return the names that sets have elsewhere on the page."""
    named = {frozenset(group.devices): group.name for group in sets_of(plan)}
    ends = problem.tables.ends
    return [
        named.get(frozenset(ends[d] for d in placed.devices), _devices(problem, placed.devices))
        for placed in found.mapping.sets
    ]


def _devices(problem: SetProblem, devices: Sequence[int]) -> str:
    return devices_text([problem.tables.ends[device] for device in devices])


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
    ))  # fmt: skip


def _percent(makespan_ps: int | None, now_ps: int) -> float | None:
    return None if makespan_ps is None else 100 * (makespan_ps - now_ps) / max(1, now_ps)
