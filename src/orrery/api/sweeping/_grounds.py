"""Points without figures, and what the figures of the others rest on."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.report import Column, Table, Text

from ._rows import Row

__all__ = ["grounds", "without_figures"]


def without_figures(failed: Sequence[Row]) -> Text:
    """Return why points have no figures, equal reasons once."""
    by_reason: dict[str, list[str]] = {}
    for row in failed:
        by_reason.setdefault(row.reason, []).append(row.said)
    lines = tuple(
        f"{'; '.join(points[:4])}{f'; and {len(points) - 4} more' if len(points) > 4 else ''}: "
        f"{reason}"
        for reason, points in by_reason.items()
    )
    return Text(title="Points without figures", paragraphs=lines, tone="warning")


def grounds(rows: Sequence[Row]) -> Table:
    """Return what the figures rest on, once for all points where that is the same."""
    lines: dict[tuple[str, ...], int] = {}
    for row in rows:
        for metric, one in row.figures.items():
            if one.value is None:
                continue
            error = "" if one.validation_error is None else f"{100 * one.validation_error:.3g} %"
            inputs = one.rests_on.value if one.rests_on else "as described"
            key = (metric, one.basis.value, inputs, {"": "", "lower": "at least", "upper":
                   "at most"}[one.bound], error or one.validation_set, one.note)  # fmt: skip
            lines[key] = lines.get(key, 0) + 1
    names = ("figure", "basis", "weakest input", "bound", "validation error", "note")
    return Table(
        title="What the figures rest on",
        columns=(*(Column(name=name) for name in names), Column(name="points", kind="number")),
        rows=tuple((*(cell or None for cell in key), n) for key, n in sorted(lines.items())),
        caption="A machine that differs from its description rests on an assumption: that it "
        "could be built so.",
    )  # fmt: skip
