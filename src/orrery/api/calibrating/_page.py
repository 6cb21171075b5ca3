"""The report of a calibration: constants, networks left out, residuals."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.cost.calibration import Constant, Validation, overall
from orrery.report import Axis, Column, Line, Page, Point, Section, Series, Table, Text
from orrery.units import counted, format_quantity


def calibration_page(
    title: str, file: str, equation: str, constants: Sequence[Constant], latency: Validation,
    energy: Validation | None, points: Sequence[tuple[str, float]], confidence: float,
    warnings: Sequence[str],
) -> Page:  # fmt: skip
    """Return the report.

    Parameters
    ----------
    points : name and measured seconds of every row, in the order of ``latency.priced``
    """
    sections: list[Section] = [_summary(constants, latency, confidence, equation)]
    if warnings:
        sections.append(Text(title="What the measurements contradict", paragraphs=tuple(warnings),
                             tone="warning"))  # fmt: skip
    sections += [_constants(constants), _networks("latency", latency, confidence)]
    if energy is not None:
        sections.append(_networks("energy", energy, confidence))
    sections.append(_residuals(latency, points))
    rows = counted(sum(one.rows for one in latency.held), "row")
    return Page(title=title, subtitle=f"{rows} of {counted(len(latency.held), 'network')}, {file}",
                sections=tuple(sections), provenance={"measurements": file})  # fmt: skip


def _summary(
    constants: Sequence[Constant], latency: Validation, confidence: float, equation: str
) -> Text:
    low, high = latency.interval

    errors = overall(latency)
    before, after = (100 * errors[f"median error {when}"] for when in ("before", "after"))
    open_ones = [c.name for c in constants if c.status == "kept"]
    lines = [
        f"Median error of networks left out: {before:.3g} % before, {after:.3g} % after.",
        f"{confidence:.0%} intervals: {low:.3g} to {high:.3g} times the price of a layer; "
        f"{latency.coverage:.0%} of the rows left out were inside, of networks that neither the "
        "constants nor the interval saw.",
        f"Price: {equation}.",
        "Assumed: the next network is like these, its layers like theirs. Errors within a network "
        "go together, so few networks tell less than many rows do. The share inside is one of "
        "layers, not of sums over networks.",
    ]
    if open_ones:
        lines.append(f"The rows do not tell: {', '.join(open_ones)}. Each stays as it was, with "
                     "its source.")  # fmt: skip
    return Text(title="Result", paragraphs=tuple(lines))


def _constants(constants: Sequence[Constant]) -> Table:
    def shown(value: float | None, unit: str) -> str:
        if value is None:
            return "not known"
        return f"{value:.3g} %" if unit == "%" else format_quantity(value, unit)

    return Table(
        title="Constants",
        columns=(Column(name="constant"), Column(name="before"), Column(name="now"),
                 Column.number("standard error", "%"), Column(name="how"), Column(name="note")),
        rows=tuple((c.name, shown(c.before, c.unit), shown(c.value, c.unit),
                    None if c.error is None else 100 * c.error, c.status, c.note)
                   for c in constants),
        caption=("In %: of the stated peak. " if any(c.unit == "%" for c in constants) else "")
        + "Standard errors: the larger of the fit's own and of the jackknife over networks. They "
        "hold if the price has the right form; what it leaves out shows in the errors of networks "
        "left out alone.",
    )  # fmt: skip


def _networks(what: str, validation: Validation, confidence: float) -> Table:
    numbers = (("rows", ""), ("median before", "%"), ("90th percentile before", "%"),
               ("median after", "%"), ("90th percentile after", "%"),
               (f"in the {confidence:.0%} interval", "%"),
               ("sum, priced / measured", "x"))  # fmt: skip
    return Table(
        title=f"Errors of {what}, each network left out in turn",
        columns=(Column(name="network"),
                 *(Column.number(name, unit) for name, unit in numbers)),
        rows=tuple((one.network, one.rows, *(100 * e for e in (*one.before, *one.after)),
                    100 * one.covered, one.total) for one in validation.held),
        caption="Constants and interval were fitted without the network of the line"
        + (", and without those left out together with it." if len(validation.held) > 10 else ".")
        + (" Idle power counts over the time that such constants give, not the measured one."
           if what == "energy" else ""),
    )  # fmt: skip


def _residuals(latency: Validation, points: Sequence[tuple[str, float]]) -> Series:
    low, high = latency.interval
    spots = tuple(Point(x=measured, y=measured / priced, label=name) for (name, measured), priced
                  in zip(points, latency.priced.tolist(), strict=True))  # fmt: skip
    ends = (min(p.x for p in spots), max(p.x for p in spots))
    bounds = [Line(name=name, style="bound", points=tuple(Point(x=x, y=y) for x in ends))
              for name, y in (("lower end", low), ("upper end", high))]  # fmt: skip
    return Series(
        title="Residuals", x=Axis(name="measured latency", unit="s", log=True),
        y=Axis(name="measured over priced", log=True),
        lines=(Line(name="rows left out", style="scatter", points=spots), *bounds),
        caption="Every row by constants without its network. A slope or a step shows what the "
        "price leaves out.",
    )  # fmt: skip
