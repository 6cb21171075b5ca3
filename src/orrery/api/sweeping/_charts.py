"""The front of a sweep: a table, and charts over two measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from orrery.report import Axis, Cell, Column, Line, Point, Series, Table
from orrery.units import counted

from ._measures import Compared, Measure
from ._rows import Row

#: points that a chart can show: beyond them those off the front are thinned out
_MOST = 1_500


def front_charts(rows: Sequence[Row], names: Sequence[int], outcome: Compared) -> list[Series]:
    """Return time against energy, and time against whatever hardware differs."""
    if len(outcome.objectives) < 2:
        return []
    across = outcome.objectives[0]
    return [_chart(rows, names, outcome, across, other) for other in outcome.objectives[1:]]


def _chart(
    rows: Sequence[Row], names: Sequence[int], outcome: Compared, across: Measure, up: Measure
) -> Series:
    groups = outcome.groups if len(outcome.groups) < 5 else {"": list(range(len(rows)))}
    lines: list[Line] = []
    every = max(1, len(rows) // _MOST)
    for group, numbers in groups.items():
        said = f", {group}" if group else ""
        on = [n for n in numbers if outcome.front[n]]
        off = [n for n in numbers if not outcome.front[n]][::every]
        best = _lower_left(rows, on, across, up)
        kinds = {"on the front": on, "beaten": off, "front of these two": best}
        for name, some in kinds.items():
            if found := _points(rows, names, some, across, up):
                style: Literal["step", "scatter"] = "step" if some is best else "scatter"
                lines.append(Line(name=f"{name}{said}", points=found, style=style))
    values = [(across.of(row), up.of(row)) for row in rows]
    xs, ys = ([v[i] for v in values if v[i]] for i in (0, 1))
    return Series(
        title=f"{up.name[0].upper()}{up.name[1:]} against {across.name}",
        x=Axis(name=across.name, unit=across.unit, log=_wide(xs)),
        y=Axis(name=up.name, unit=up.unit, log=_wide(ys)),
        lines=tuple(lines),
        caption="Every point of the sweep; the front weighs all objectives, the stepped line these "
        "two alone." + (f" One of {every} beaten points is shown." if every > 1 else ""),
    )  # fmt: skip


def _wide(values: Sequence[float | None]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and 0 < min(known) < max(known)


def _points(
    rows: Sequence[Row],
    names: Sequence[int],
    numbers: Sequence[int],
    across: Measure,
    up: Measure,
) -> tuple[Point, ...]:
    found = []
    for n in numbers:
        x, y = across.of(rows[n]), up.of(rows[n])
        if x is not None and y is not None:
            found.append(Point(x=x, y=y, label=f"{names[n]}: {rows[n].said}"))
    return tuple(found)


def _lower_left(
    rows: Sequence[Row], numbers: Sequence[int], across: Measure, up: Measure
) -> list[int]:
    """Return the points that nothing beats in these two measures, from left to right."""
    found: list[int] = []
    lowest = float("inf")
    order = sorted(numbers, key=lambda n: (across.of(rows[n]) or 0.0, up.of(rows[n]) or 0.0))
    for n in order:
        y = up.of(rows[n])
        if y is not None and y < lowest:
            found.append(n)
            lowest = y
    return found


def columns(row: Row, measures: Sequence[Measure], *more: Column) -> tuple[Column, ...]:
    """Return the columns of a table of points."""
    return (
        Column.number("point"),
        *(Column(name=name) for name in shortened(row.choices)),
        *(Column.number(m.title, m.unit) for m in measures),
        *more,
    )


def cells(row: Row, measures: Sequence[Measure]) -> list[Cell]:
    """Return the cells of a point."""
    return [*row.choices.values(), *(m.of(row) for m in measures)]


def front_table(rows: Sequence[Row], points: Sequence[int], outcome: Compared) -> Table:
    """Return the points that nothing beats, first those that win on any hardware."""
    numbers = [n for n, mark in enumerate(outcome.front) if mark]
    numbers.sort(key=lambda n: [not outcome.lean[n],
                                *(m.of(rows[n]) or 0.0 for m in outcome.objectives)])  # fmt: skip
    twins: dict[int, list[str]] = {}
    for n, earlier in outcome.twin.items():
        twins.setdefault(earlier, []).append(str(points[n]))
    names = ", ".join(m.name for m in outcome.objectives)
    left_out = "; ".join(f"{name} ({why})" for name, why in outcome.unknown.items())
    caption = f"Of {counted(len(rows), 'point')}, those that no other beats in one of {names} "
    caption += "without losing in another" + (
        ", among points of one workload." if len(outcome.groups) > 1 else "."
    )
    alone = ", ".join(m.name for m in outcome.pure)
    if 2 * len(numbers) > len(rows) > 3:
        caption += (f" {len(numbers)} of {len(rows)} are, which says little; first those that "
                    f"nothing beats in {alone} alone.")  # fmt: skip
    caption += f" Not known of every point, and so not compared: {left_out}." if left_out else ""
    return Table(
        title="Points that nothing beats",
        columns=columns(rows[0], outcome.measures,
                         Column(name=f"{alone} alone", help="whether nothing beats it in these "
                                "alone, whatever the hardware"),
                         Column(name="as good", help="points with the same figures")),
        rows=tuple((points[n], *cells(rows[n], outcome.measures),
                    "yes" if outcome.lean[n] else None, ", ".join(twins.get(n, [])) or None)
                   for n in numbers),
        caption=caption,
    )  # fmt: skip


def shortened(names: Iterable[str]) -> list[str]:
    """Return parameters without what paths begin with, where they stay different.

    ``levels.buffer.size&levels.buffer.shares.weight`` is ``buffer.size&shares.weight``.
    """
    full = list(names)
    found = []
    for name in full:
        first, *more = name.split("&")
        holder = first.rpartition(".")[0] + "."
        found.append("&".join([first.partition(".")[2] or first,
                               *(path.removeprefix(holder) for path in more)]))  # fmt: skip
    return found if len(set(found)) == len(full) else full
