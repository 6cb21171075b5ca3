"""How a session's steps went, as curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from orrery.report import Axis, Line, Point, Series

if TYPE_CHECKING:
    from orrery.runtime.offload import StepReport

#: Points that a curve has at the most; of more steps the last are drawn.
_DRAWN = 500


def curves(reports: Sequence[StepReport]) -> list[Series]:
    """Return step time, hidden share, memory and what was written, each over two steps or more."""
    if len(reports) < 2:
        return []
    worn = dict(zip((r.step for r in reports),
                    accumulate(r.moved.written_bytes for r in reports), strict=True))  # fmt: skip
    wanted: list[tuple[str, str, dict[str, Callable[[StepReport], float | None]]]] = [
        ("Step time", "s", {"step": lambda r: r.step_s, "of it waited": lambda r: r.waited_s}),
        ("Hidden share", "", {"hidden": lambda r: r.hidden_share}),
        ("Memory of the process", "bytes", {"peak": lambda r: r.peak_bytes}),
        ("Written to the folders", "bytes", {"so far": lambda r: worn[r.step]}),
    ]
    found = []
    for title, unit, lines in wanted:
        drawn = tuple(_line(name, reports, value) for name, value in lines.items())
        if any(line.points for line in drawn):
            found.append(Series(title=title, x=Axis(name="step"), y=Axis(name=title, unit=unit),
                                lines=drawn))  # fmt: skip
    return found


def _line(
    name: str, reports: Sequence[StepReport], value: Callable[[StepReport], float | None]
) -> Line:
    points = ((report.step, value(report)) for report in reports[-_DRAWN:])
    return Line(name=name, points=tuple(Point(x=x, y=y) for x, y in points if y is not None))
