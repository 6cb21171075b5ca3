"""Charts out of characters: a plot with two axes, a sparkline, a strip of busy time."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from orrery.timeline import Span

from ._format import format_value
from ._sections import Axis, Series

_LEVELS = " ▁▂▃▄▅▆▇█"
_MARKS = "●▲■◆○△□◇"
_HEIGHT = 14


def plot(series: Series, width: int) -> str:
    """Draw lines and points on a grid of characters, with a legend below.

    Bounds are drawn with ``·``, other lines and points with a mark of their own.
    """
    points = [point for line in series.lines for point in line.points]
    if not points:
        return "No points."
    x_low, x_high = _range([point.x for point in points], series.x)
    y_low, y_high = _range([point.y for point in points], series.y)
    labels = [format_value(_back(level, series.y), series.y.unit) for level in (y_high, y_low)]
    margin = max(len(label) for label in labels)
    cells = width - margin - 3
    grid = [[" "] * cells for _ in range(_HEIGHT)]

    def put(x: float, y: float, mark: str) -> None:
        column = round((_forth(x, series.x) - x_low) / (x_high - x_low) * (cells - 1))
        row = round((y_high - _forth(y, series.y)) / (y_high - y_low) * (_HEIGHT - 1))
        grid[row][column] = mark

    marks = iter(_MARKS * (1 + len(series.lines) // len(_MARKS)))
    legend = []
    # Bounds first, so that points stay visible on top of them.
    for line in sorted(series.lines, key=lambda line: line.style != "bound"):
        mark = "·" if line.style == "bound" else next(marks)
        if line.style != "scatter":
            for begin, end in zip(line.points, line.points[1:]):
                for number in range(cells):
                    part = number / cells
                    x = _back(_mix(_forth(begin.x, series.x), _forth(end.x, series.x), part),
                              series.x)  # fmt: skip
                    y = _back(_mix(_forth(begin.y, series.y), _forth(end.y, series.y), part),
                              series.y)  # fmt: skip
                    put(x, begin.y if line.style == "step" else y, "·")
        if line.style != "bound":
            for point in line.points:
                put(point.x, point.y, mark)
        legend.append(f"{mark} {line.name}")
    left = [labels[0]] + [""] * (_HEIGHT - 2) + [labels[1]]
    lines = [f"{series.y.name}{' (log)' if series.y.log else ''}"]
    lines += [f"{label:>{margin}} │{''.join(row).rstrip()}" for label, row in zip(left, grid)]
    lines.append(f"{'':>{margin}} └{'─' * cells}")
    low, high = (format_value(_back(level, series.x), series.x.unit) for level in (x_low, x_high))
    name = f"{series.x.name}{' (log)' if series.x.log else ''}"
    room = cells - len(low) - len(high)
    between = name if len(name) + 2 <= room else ""
    lines.append(f"{'':>{margin}}  {low}{between:^{max(1, room)}}{high}")
    if not between:
        lines.append(f"{'':>{margin}}  {name:^{cells}}".rstrip())
    lines.append(textwrap.fill("   ".join(name.replace(" ", "\xa0") for name in legend), width))
    return "\n".join(lines).replace("\xa0", " ")


def sparkline(samples: Sequence[tuple[int, int]], end: int, cells: int, *, top: int) -> str:
    """Draw the largest value in each of `cells` equal slices of time; a value holds until the next.

    Parameters
    ----------
    samples : (time, value) in order of time
    top : the value that fills a whole character
    """
    ends = [time for time, _ in samples[1:]] + [end]
    highest = [0] * cells
    for (begin, value), finish in zip(samples, ends):
        first = min(cells - 1, begin * cells // max(1, end))
        last = min(cells - 1, max(first, math.ceil(finish * cells / max(1, end)) - 1))
        for cell in range(first, last + 1):
            highest[cell] = max(highest[cell], value)
    return "".join(level(value, top) for value in highest)


def level(value: float, top: float) -> str:
    """Return a character as high as a value, `top` being a whole one; only zero is blank."""
    return _LEVELS[min(8, math.ceil(8 * value / top)) if top else 0]


def strip(spans: Sequence[Span], end_ps: int, cells: int) -> str:
    """Draw how busy one resource is in each of `cells` equal slices of time."""
    covered = [0.0] * cells
    size = max(1, end_ps) / cells
    reach = 0
    for span in sorted(spans, key=lambda span: span.start_ps):
        begin, finish = max(span.start_ps, reach), span.end_ps
        reach = max(reach, finish)
        cell = int(begin / size)
        while begin < finish and cell < cells:
            border = finish if cell == cells - 1 else min(finish, (cell + 1) * size)
            covered[cell] += border - begin
            begin, cell = border, cell + 1  # type: ignore[assignment]  # a slice border is a float
    return "".join(_LEVELS[min(8, math.ceil(8 * part / size - 1e-9))] for part in covered)


def _forth(value: float, axis: Axis) -> float:
    return math.log10(value) if axis.log else value


def _back(value: float, axis: Axis) -> float:
    return float(10.0**value) if axis.log else value


def _range(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    low, high = _forth(min(values), axis), _forth(max(values), axis)
    if not axis.log:
        low = min(0.0, low)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _mix(begin: float, end: float, part: float) -> float:
    return begin + (end - begin) * part
