"""Points without figures, and what the figures of the others rest on."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.report import Column, Table, Text

from ._rows import Row


def alike(rows: Sequence[Row]) -> list[bool]:
    """Return whether each point has figures of as many layers as any other of its workload."""
    least: dict[str, Row] = {}
    for row in rows:
        if not row.reason:
            first = least.setdefault(workload_of(row), row)
            if len(row.lacking) < len(first.lacking):
                least[workload_of(row)] = row
    return [not row.reason and row.lacking.keys() == least[workload_of(row)].lacking.keys()
            for row in rows]  # fmt: skip


def workload_of(row: Row) -> str:
    """Return what of a point's choices makes its workload another one, in words."""
    return ", ".join(f"{path}={value}" for path, value in row.workload.items())


def without_figures(failed: Sequence[Row]) -> Text:
    """Return why points have no figures, equal reasons once."""
    by_reason: dict[str, list[str]] = {}
    for row in failed:
        by_reason.setdefault(row.reason, []).append(row.said)
    lines = tuple(f"{_some(points)}: {reason}" for reason, points in by_reason.items())
    return Text(title="Points without figures", paragraphs=lines, tone="warning")


def lower_bounds(rows: Sequence[Row], others: Sequence[Row]) -> Text:
    """Return which layers have no nest at which points; `others` lack more than they need."""
    points: dict[tuple[tuple[str, ...], bool], list[Row]] = {}
    for row in (row for row in rows if row.lacking):
        points.setdefault((tuple(row.lacking), row in others), []).append(row)
    lines = []
    for (layers, other), some in points.items():
        whys: dict[str, list[str]] = {}
        for layer in layers:
            whys.setdefault(some[0].lacking[layer], []).append(layer)
        told = "; ".join(f"{_some(names, ', ')} ({why})" for why, names in whys.items())
        said = "all points" if len(some) == len(rows) else _some([row.said for row in some])
        apart = " More than at other points: not compared with them." if other else ""
        lines.append(f"{said}: times and energies are lower bounds, without {told}.{apart}")
    return Text(title="Layers without a nest that fits", paragraphs=tuple(lines), tone="warning")


def _some(names: Sequence[str], between: str = "; ") -> str:
    more = f"{between}and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{between.join(names[:4])}{more}"


def grounds(rows: Sequence[Row]) -> Table:
    """Return what the figures rest on, once for all points where that is the same."""
    lines: dict[tuple[str, ...], int] = {}
    for row in rows:
        for metric, one in row.figures.items():
            if one.value is None:
                continue
            error = one.validation_set
            if one.validation_error is not None:
                error = f"{100 * one.validation_error:.3g} %, {error}".removesuffix(", ")
            inputs = one.rests_on.value if one.rests_on else "as described"
            key = (metric, one.basis.value, inputs, {"": "", "lower": "at least", "upper":
                   "at most"}[one.bound], error, one.note)  # fmt: skip
            lines[key] = lines.get(key, 0) + 1
    names = ("figure", "basis", "weakest input", "bound", "validation error", "note")
    return Table(
        title="What the figures rest on",
        columns=(*(Column(name=name) for name in names), Column.number("points")),
        rows=tuple((*(cell or None for cell in key), n) for key, n in sorted(lines.items())),
        caption="A machine that differs from its description rests on an assumption: that it "
        "could be built so.",
    )  # fmt: skip
