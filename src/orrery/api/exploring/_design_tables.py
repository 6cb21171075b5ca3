"""What another design would cost, and which design suits which layers."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.mapping import Explanation, LayerClass, SetProblem
from orrery.report import Cell, Column, Table

from ..pages._set_names import devices_text

#: titles of the sections
EXPLAINED = (
    "What another choice would cost", "What another design would cost",
    "Which design suits which layers",
)  # fmt: skip


def design_table(problem: SetProblem, found: Explanation) -> Table:
    """Return what every set would take under each other design."""
    sets = found.mapping.sets
    rows: list[tuple[Cell, ...]] = []
    for reason in found.sets:
        placed = sets[reason.set_number]
        designs = problem.designs[placed.set_class]
        held = {other.design: other.makespan_ps for other in reason.held}
        anew = {other.design: other.makespan_ps for other in reason.anew}
        for design in sorted({*held, *anew}, key=lambda d: anew.get(d, held.get(d, 0))):
            rows.append((
                device_names(problem, placed.devices), designs[placed.design] or "as it is",
                designs[design] or "as it is", _percent(held.get(design), found.makespan_ps),
                _percent(anew.get(design), found.makespan_ps),
            ))  # fmt: skip
    return Table(
        title=EXPLAINED[1],
        columns=(
            Column(name="set"), Column(name="design"), Column(name="other design"),
            Column.number("slower, choices held", "%",
                          help="empty: it refuses what is chosen, or it does not fit"),
            Column.number("slower, chosen anew", "%",
                          help="choices of this set found anew by descent", bar=True),
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
            Column.number("layers"),
            Column(name="prefers", help="share of its layers that are fastest under a design"),
            *(Column.number(head, "s") for head in heads),
        ),
        rows=tuple(rows),
        caption="All layers of a class on one device, computing alone. Empty: the design refuses "
        "some of them, and the device's own units do them.",
        filterable=False,
    )  # fmt: skip


def device_names(problem: SetProblem, devices: Sequence[int]) -> str:
    """Return devices by name, briefly."""
    return devices_text([problem.tables.ends[device] for device in devices])


def _percent(makespan_ps: int | None, now_ps: int) -> float | None:
    return None if makespan_ps is None else 100 * (makespan_ps - now_ps) / max(1, now_ps)
