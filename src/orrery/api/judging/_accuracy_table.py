"""Accuracies of one data set side by side, differences in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from orrery.evidence import Evidence
from orrery.report import Cell, Column, Table
from orrery.runtime import LabelledData, TaskMetric, paired


def changed(first: NDArray[Any], second: NDArray[Any]) -> tuple[str, str]:
    """Return in words how much the share changed, and which samples did."""
    pair = paired(first, second)
    low, high = (100 * bound for bound in pair.interval)
    return (
        f"{100 * pair.change:+.2f} ({low:+.2f} to {high:+.2f})",
        f"{pair.lost} lost, {pair.gained} gained, p = {pair.p_value:.2g}",
    )


def table_row(
    metric: TaskMetric, figure: Evidence, scores: NDArray[Any], name: str, *change: str
) -> tuple[Cell, ...]:
    """Return a row of the table; a share with the digits that one sample in thousands moves."""
    form = "{:.2f} %" if metric.share else "{:.5g}"
    value, *between = (form.format(v) for v in (figure.value, *(figure.interval or ())))
    right = float(scores.sum()) if metric.share else None
    by, which = change or ("", "")
    return name, value, " to ".join(between), right, float(len(scores)), by, which


def table_of(
    metric: TaskMetric, data: LabelledData, rows: Sequence[tuple[Cell, ...]], held: str,
    hows: Sequence[str],
) -> Table:  # fmt: skip
    """Return the table; a column in which nothing stands is left out.

    Parameters
    ----------
    held : format that the differences are against
    hows : of each way of computing, in words
    """
    sure = f"95 % intervals: {metric.interval}" if rows[0][2] else "too few for an interval"
    in_pairs = "; of differences in pairs: exact, conservative" if metric.share else ""
    headings = ("numerics", metric.name, "95 % interval", "right", "samples",
                f"points against {held}", "samples (McNemar)")  # fmt: skip
    kept = [i for i in range(len(headings)) if any(row[i] not in (None, "") for row in rows)]
    numbers = ("right", "samples")
    return Table(
        title=f"{metric.figure.capitalize()} on {data.name}",
        columns=tuple(
            Column(name=headings[i], kind="number" if headings[i] in numbers else "text")
            for i in kept
        ),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
        caption=" ".join(f"{part[:1].upper()}{part[1:]}." for part in (
            "Measured: run by us", data.drawn, f"preprocessing: {data.preprocessing}",
            f"{sure}{in_pairs}", *hows)),
        filterable=False,
    )  # fmt: skip
