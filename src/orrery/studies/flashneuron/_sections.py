"""Tables and curves of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.report import Axis, Cell, Column, Line, Point, Section, Series, Table, Text
from orrery.runtime.training import Cap

from ._case import Case
from ._case import Point as CapPoint
from ._published import differences
from ._trial import OURS, WAY_NAMES


def sections_of(
    cases: Sequence[Case], cap: Cap, folder: Path, machine: str, lost: Sequence[str]
) -> tuple[Section, ...]:
    """Return all that shows more than single figures."""
    found: list[Section] = [_networks(cases), _batches(cases), _rates(cases)]
    if any(len(case.points) > 1 for case in cases):
        found.append(_curve(cases))
    engines = {o.engine for case in cases for o in case.main.outcomes.values() if o.engine}
    return (*found, Text(title="How to read this", tone="note", paragraphs=(
        f"Measured on {machine}. Each trial is a process of its own under a {cap.said}. Ends are "
        "found by doubling, then by halving the difference; a batch fits when all its steps ran. "
        "There the C library gives freed memory back at once, in every way: as it comes, less "
        "would fit.",
        *(f"Offloading moved with {engine}." for engine in sorted(engines)),
        *differences(cap.said, str(folder)), *lost,
    )))  # fmt: skip


def _number(name: str, unit: str = "", text: str = "", *, bar: bool = False) -> Column:
    return Column(name=name, unit=unit, kind="number", help=text, bar=bar)


def _networks(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            c.network.name, c.network.theirs, c.network.shape.layers, float(c.weight_bytes),
            100 * c.weight_bytes / c.main.cap_bytes, float(c.main.outcomes["none"].start_bytes),
            float(c.main.cap_bytes), c.main.found["none"].largest,
        )
        for c in cases
    ]  # fmt: skip
    return Table(
        title="Networks", rows=tuple(rows),
        columns=(Column(name="network"), Column(name="stands for"), _number("layers"),
                 _number("weights", "bytes"), _number("of the cap", "%"),
                 _number("before the first step", "bytes", "resident, libraries counted"),
                 _number("cap", "bytes"), _number("plain largest batch")),
        caption="Layers are convolutions and products with weights.",
    )  # fmt: skip


def _batches(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        for point in case.points:
            rows += [_batch_row(case.network.name, point, way) for way in point.found]
    return Table(
        title="Largest batch under a cap", rows=tuple(rows),
        columns=(Column(name="network"), _number("cap", "bytes"), Column(name="way"),
                 _number("largest batch", bar=True), _number("does not fit"),
                 _number("of the plain one", "x"),
                 _number("counted peak", "bytes", "by whoever caps"),
                 _number("step", "s", "of the trial, alone"), Column(name="why not more")),
        caption="Empty: nothing larger was tried, or nothing fits.",
    )  # fmt: skip


def _batch_row(name: str, point: CapPoint, way: str) -> tuple[Cell, ...]:
    end, outcome = point.found[way], point.outcomes[way]
    return (
        name, float(point.cap_bytes), way, end.largest, end.refused, point.gain(way),
        None if outcome.cap_peak_bytes is None else float(outcome.cap_peak_bytes),
        outcome.steps[-1].seconds if outcome.steps and outcome.fits else None,
        point.whys.get(way, ""),
    )  # fmt: skip


def _rates(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        for what, found in (("equal", case.equal), ("largest", case.largest)):
            for way, times in found.times_s.items():
                if not times:
                    continue
                last, ratio = found.outcomes[way].steps[-1], found.faster(way, "none")
                value, (low, high) = ratio or (None, (None, None))
                rows.append((
                    case.network.name, what, way, found.batches[way],
                    1 / found.comparison.median_s(way), value, low, high,
                    float(last.moved_bytes), last.waited_s,
                    None if last.hidden_share is None else 100 * last.hidden_share,
                    last.cpu_s, last.io_cpu_s, last.recompute_s, last.planned_s, len(times),
                ))  # fmt: skip
    return Table(
        title="Samples a second, in turn", rows=tuple(rows),
        columns=(Column(name="network"), Column(name="batch"), Column(name="way"),
                 _number("samples"), _number("samples/s", "1/s", bar=True),
                 _number("of the plain rate", "x", "within rounds"), _number("from", "x"),
                 _number("to", "x"), _number("moved", "bytes", "a step"),
                 _number("waited", "s"), _number("hidden", "%"),
                 _number("processor time", "s", "a step, all threads"),
                 _number("of that moving", "s"), _number("made again", "s", "of a step"),
                 _number("planned step", "s"), _number("rounds")),
        caption="Ours and naive files under the first cap; the others without one, where they are "
        "quickest. Naive files move too; nobody counts it there.",
    )  # fmt: skip


def _curve(cases: Sequence[Case]) -> Series:
    lines = []
    for case in cases:
        points = sorted(case.points, key=lambda point: point.cap_bytes)
        for way in WAY_NAMES:
            known = [p for p in points if way in p.found and p.found[way].largest]
            if len(known) > 1:
                lines.append(Line(name=f"{case.network.name}, {way}", points=tuple(
                    Point(x=p.cap_bytes / 2**20, y=float(p.found[way].largest),
                          label=f"{p.gain():.3g} x" if way == OURS and p.gain() else "")
                    for p in known
                )))  # fmt: skip
    return Series(
        title="Largest batch over caps",
        lines=tuple(lines),
        x=Axis(name="cap", unit="MiB"),
        y=Axis(name="largest batch", log=True),
        caption="What is before the first step leaves that much less for the batch.",
    )
