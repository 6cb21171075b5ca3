"""A sweep as a page: best points, the front, what each parameter does, every point."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.mapping.space import Parameter
from orrery.report import Cell, Column, Page, Section, Table, Text, format_value
from orrery.units import counted

from ._charts import cells, columns, front_charts, front_table, shortened
from ._grounds import grounds, lower_bounds, without_figures
from ._measures import Compared
from ._rows import Row, SweepFile
from ._slopes import slope_sections

#: most points on the page; the files have all
MOST_ROWS = 2_000
#: percent that the best nest may be from its bound by rounding
_PROVED = 1e-6

Priced = Sequence[tuple[Row, Sequence[int]]]


def sweep_page(
    file: SweepFile, parameters: Sequence[Parameter], priced: Priced, outcome: Compared, *,
    asked: int, interrupted: bool,
) -> Page:  # fmt: skip
    """Return the page of a sweep."""
    header, rows = file.header, [row for row, _ in priced]
    sections: list[Section] = []
    if file.doubts:
        sections.append(Text(title="What did not move along", paragraphs=file.doubts,
                             tone="warning"))  # fmt: skip
    if interrupted:
        sections.append(Text(
            title="Interrupted", tone="warning",
            paragraphs=(f"{len(file.rows)} of {counted(asked, 'point')} are priced; the same "
                        "command goes on from there.",),
        ))  # fmt: skip
    if any(row.lacking for row in file.rows):
        others = [row for row in file.rows if row.lacking and row not in rows]
        sections.append(lower_bounds([row for row in file.rows if not row.reason], others))
    if aside := [m.name for m in outcome.measures if m.by_product]:
        sections.append(_by_products(aside, header.objective))
    if priced:
        slopes = slope_sections(parameters, priced, outcome, header.objective)
        keys = {row.key for row in rows}
        points = [n for n, row in zip(file.points, file.rows, strict=True) if row.key in keys]
        sections += [
            _best(rows, outcome), front_table(rows, points, outcome),
            *front_charts(rows, points, outcome), *slopes, _all(file, rows, points, outcome),
            grounds(rows),
        ]  # fmt: skip
    gaps = [gap for row in rows if (gap := row.value("gap")) and gap > _PROVED]
    if gaps:
        sections.append(Text(
            title="Not proved best", tone="note",
            paragraphs=(f"Nests of {counted(len(gaps), 'point')} may not be the best: with a "
                        f"larger --budget {header.objective} could fall by up to "
                        f"{max(gaps):.2g} %. Differences below that say nothing.",),
        ))  # fmt: skip
    failed = [row for row in file.rows if row.reason]
    if failed:
        sections.append(without_figures(failed))
    name = header.model if "model" not in file.values else "networks"
    said = [counted(len(file.rows), "point"), file.how,
            f"{header.kind}, searched for {header.objective}"]  # fmt: skip
    said += [f"{len(failed)} without figures"] if failed else []
    return Page(
        title=f"Sweep of {name} on {header.on}", subtitle=", ".join(said),
        sections=tuple(sections),
        provenance={"network": header.network or "varied", "machine": header.machine},
    )  # fmt: skip


def _by_products(names: Sequence[str], objective: str) -> Text:
    """Say what figures are worth that no search made least."""
    return Text(
        title="By-products", tone="note",
        paragraphs=(f"{', '.join(names)}: what the mappings that were searched for {objective} "
                    "happen to take, not the least that there is. They are shown, and take no "
                    "part in the front or in the ranking of parameters; with another --objective, "
                    "or --vary objective=latency,energy, they do.",),
    )  # fmt: skip


def _best(rows: Sequence[Row], outcome: Compared) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for group in outcome.groups:
        for measure in outcome.measures:
            values = [measure.of(row) or 0.0 for row in (rows[n] for n in outcome.groups[group])]
            best = outcome.best(rows, measure, group)
            if best is None or max(values) == min(values):
                continue
            ratio = max(values) / min(values) if min(values) > 0 else None
            lines.append((measure.title, group or "all points",
                          format_value(min(values), measure.unit), ratio,
                          *rows[best].choices.values()))  # fmt: skip
    return Table(
        title="Least of each measure",
        columns=(Column(name="measure"), Column(name="among"), Column(name="least"),
                 Column.number("worst by", "x",
                               help="the largest of the sweep, in multiples of the least"),
                 *(Column(name=name) for name in shortened(rows[0].choices))),
        rows=tuple(lines), filterable=False,
        caption="Of equal points the first." + (
            " A by-product could be less under another --objective."
            if any(m.by_product for m in outcome.measures) else ""),
    )  # fmt: skip


def _all(file: SweepFile, rows: Sequence[Row], points: Sequence[int], outcome: Compared) -> Table:
    shown = list(range(len(rows)))[:MOST_ROWS]
    more = f" The first {MOST_ROWS:,}; sweep.csv has all." if len(rows) > len(shown) else ""
    return Table(
        title="All points",
        columns=columns(rows[0], outcome.measures, Column(name="front")),
        rows=tuple((points[n], *cells(rows[n], outcome.measures),
                    "yes" if outcome.front[n] else None) for n in shown),
        caption=f"Points with figures, {file.how}.{more}",
    )  # fmt: skip
