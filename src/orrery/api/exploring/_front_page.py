"""The front as a table and as charts."""

from __future__ import annotations

from dataclasses import replace

from orrery.report import Axis, Cell, Column, Line, Point, Section, Series, Table

from .._result import MapResult
from ._candidate import Candidate
from ._front import Front

#: titles of the sections
FRONT = ("Plans that trade one figure for another", "Latency by number of devices",
         "Latency and energy")  # fmt: skip


def with_front(result: MapResult, front: Front) -> MapResult:
    """Return the result with the front on its page."""
    before, *after = result.page.sections
    sections = (before, *front_sections(front), *after)
    return replace(result, page=replace(result.page, sections=sections))


def front_text(result: MapResult, *, width: int = 96) -> str:
    """Return the front as text; empty where nobody asked."""
    from .._render import titled_text

    return titled_text(result.page, FRONT[:1], width=width)


def front_sections(front: Front) -> tuple[Section, ...]:
    """Return a table of the plans that no other beats in everything, and what they trade."""
    shown = [c for c in front.candidates if c.on_front or c.plan == front.best]
    shown.sort(key=lambda c: (c.latency_s, c.devices))
    charts = [_devices_chart(front)]
    if all(c.energy_j is not None for c in shown):
        charts.append(_energy_chart(shown))
    return (_table(front, shown), *charts)


def _table(front: Front, shown: list[Candidate]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in shown:
        sets = len({a.devices for a in one.plan.assignments})
        met = [v.need.text for v in one.verdicts if v.status == "pass"]
        missed = [v.need.text for v in one.verdicts if v.status != "pass"]
        said = "chosen" if one.plan == front.best else ""
        said = "; ".join(
            filter(
                None,
                (
                    said,
                    f"misses {', '.join(missed)}" if missed else "",
                    f"keeps {', '.join(met)}" if met and missed else "",
                ),
            )
        )
        rows.append((
            one.plan.searcher, one.devices, sets, one.latency_s, one.plan.lower_bound_s,
            one.period_s, one.plan.lower_bound_period_s, one.energy_j, one.peak_bytes, said or None,
        ))  # fmt: skip
    return Table(
        title=FRONT[0],
        columns=(
            Column(name="found by"),
            Column.number("devices"),
            Column.number("sets", help="different sets of devices that share layers"),
            Column.number("latency", "s", help="replayed", bar=True),
            Column.number("its lower bound", "s",
                help="for plans of this form on as many devices, or under the same ceilings"),
            Column.number("period", "s",
                help="after which the next input can follow: the busiest device or link"),
            Column.number("bound of the period", "s",
                          help="for plans of this form, where its search was for throughput"),
            Column.number("energy", "J", help="idle power included"),
            Column.number("peak memory", "bytes", help="of the fullest device"),
            Column(name="note"),
        ),
        rows=tuple(rows),
        caption=f"Of {len(front.candidates)} plans, those that no other beats in something without "
        "losing elsewhere. Latencies and periods are proved against their bounds where there are "
        "any; what lies between is the best found"
        + (", and the search was interrupted." if front.interrupted else "."),
        filterable=False,
    )  # fmt: skip


def _devices_chart(front: Front) -> Series:
    bounds = sorted({
        (float(c.devices), c.plan.lower_bound_s) for c in front.candidates
        if c.plan.searcher == "front: latency" and c.plan.lower_bound_s is not None
    })  # fmt: skip

    def points(on_front: bool) -> tuple[Point, ...]:
        return tuple(
            Point(x=float(c.devices), y=c.latency_s, label=c.plan.searcher)
            for c in front.candidates if c.on_front == on_front
        )  # fmt: skip

    lines = [Line(name="on the front", points=points(True), style="scatter"),
             Line(name="beaten", points=points(False), style="scatter"),
             Line(name="lower bound", points=tuple(Point(x=x, y=y) for x, y in bounds),
                  style="step")]  # fmt: skip
    return Series(
        title=FRONT[1], x=Axis(name="devices"), y=Axis(name="latency", unit="s"),
        lines=tuple(line for line in lines if line.points),
    )  # fmt: skip


def _energy_chart(shown: list[Candidate]) -> Series:
    points = tuple(Point(x=c.latency_s, y=c.energy_j or 0.0, label=f"{c.devices} devices")
                   for c in shown)  # fmt: skip
    return Series(
        title=FRONT[2], x=Axis(name="latency", unit="s"), y=Axis(name="energy", unit="J"),
        lines=(Line(name="on the front", points=points, style="scatter"),),
    )  # fmt: skip
