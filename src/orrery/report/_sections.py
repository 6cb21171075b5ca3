"""What a page is made of: neutral records that know nothing of networks or machines.

Numbers stay numbers, in internal units (seconds, joules, bytes); renderers turn them into text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from orrery.errors import SpecError, did_you_mean
from orrery.timeline import MemorySample, Timeline

from ._needs import Verdict
from ._scorecard import Scorecard

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Paragraphs; `tone` says whether they inform or warn."""

    title: str
    paragraphs: tuple[str, ...]
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    unit : of the numbers, internal (``s``, ``bytes``, ``J``, ``MAC``); empty for counts and text
    kind : ``number`` cells sort by value, ``text`` cells as people count (conv2 before conv10)
    help : one sentence that explains the heading
    bar : draw each number also as a bar, relative to the largest of its column
    """

    name: str
    unit: str = ""
    kind: Literal["text", "number"] = "text"
    help: str = ""
    bar: bool = False

    @classmethod
    def number(cls, name: str, unit: str = "", help: str = "", *, bar: bool = False) -> Column:
        """Return a column of numbers."""
        return cls(name=name, unit=unit, kind="number", help=help, bar=bar)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under typed columns; None is a cell that is not known.

    Attributes
    ----------
    sort_by : column that orders the rows; empty keeps their order
    descending : the largest first
    filterable : offer a text filter over the rows
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    sort_by: str = ""
    descending: bool = False
    filterable: bool = True

    def __post_init__(self) -> None:
        where = f"table {self.title!r}"
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise SpecError(f"{where}: columns", found=", ".join(names),
                            wanted="different names", fix="rename one")  # fmt: skip
        if self.sort_by and self.sort_by not in names:
            raise SpecError(f"{where}: sort_by", found=self.sort_by, wanted="a column",
                            fix=f"name one{did_you_mean(self.sort_by, names)}")  # fmt: skip
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise SpecError(f"{where}: row {number}", found=f"{len(row)} cells",
                                wanted=f"{len(self.columns)} cells",
                                fix="fill with None")  # fmt: skip
            for column, cell in zip(self.columns, row):
                if cell is None:
                    continue
                if isinstance(cell, str) != (column.kind == "text"):
                    raise SpecError(f"{where}: row {number}, column {column.name!r}", found=cell,
                                    wanted=f"a {column.kind}, or None",
                                    fix="change the cell or the column's kind")  # fmt: skip
                if not isinstance(cell, str):
                    _finite([cell], f"{where}: row {number}, column {column.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale with its name and internal unit; a logarithmic one holds numbers above zero."""

    name: str
    unit: str = ""
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value, with a label when it stands for a thing of its own."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points that belong together: joined, in steps, or scattered; a bound is drawn as a limit."""

    name: str
    points: tuple[Point, ...]
    style: Literal["line", "step", "scatter", "bound"] = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Lines and points over two axes; a roofline is one with two bounds and scattered layers."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for line in self.lines:
            where = f"series {self.title!r}: {line.name!r}"
            _finite((value for point in line.points for value in (point.x, point.y)), where)
            for axis, name in ((self.x, "x"), (self.y, "y")):
                lowest = min((getattr(point, name) for point in line.points), default=1.0)
                if axis.log and lowest <= 0:
                    raise SpecError(f"{where}: {name}", found=lowest, wanted="numbers above zero "
                                    "on a logarithmic axis", fix="leave the point out")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineChart:
    """Spans per resource over time; `resources` orders the rows (default: first use).

    `marks` are instants by name, in picoseconds, drawn as lines across all rows: a bound, a
    deadline.
    """

    title: str
    timeline: Timeline
    resources: tuple[str, ...] = ()
    caption: str = ""
    marks: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, time_ps in self.marks.items():
            if time_ps < 0:
                raise SpecError(f"timeline {self.title!r}: mark {name!r}", found=f"{time_ps} ps",
                                wanted="a time of 0 or later", fix="leave it out")  # fmt: skip

    def rows(self) -> tuple[str, ...]:
        """Return every resource once, those named by `resources` first."""
        return tuple(dict.fromkeys((*self.resources, *self.timeline.resources())))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChart:
    """Bytes in use per memory over time, against its size where that is known."""

    title: str
    samples: tuple[MemorySample, ...]
    end_ps: int
    capacity_bytes: Mapping[str, int] = field(default_factory=dict)
    caption: str = ""

    def tracks(self) -> dict[str, list[MemorySample]]:
        """Return the samples of each memory in order of time."""
        tracks: dict[str, list[MemorySample]] = {}
        for sample in sorted(self.samples, key=lambda sample: sample.time_ps):
            tracks.setdefault(sample.memory, []).append(sample)
        return tracks


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One bar of a waterfall: a change that adds to the last level, or a level of its own."""

    name: str
    value: float
    kind: Literal["change", "level"] = "change"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """How a total comes about, step by step: an energy bill, or bounds that tighten."""

    title: str
    steps: tuple[Step, ...]
    unit: str
    caption: str = ""

    def __post_init__(self) -> None:
        _finite((step.value for step in self.steps), f"waterfall {self.title!r}")

    def bars(self) -> tuple[tuple[float, float], ...]:
        """Return where each bar begins and ends, in `unit`."""
        bars, level = [], 0.0
        for step in self.steps:
            begin = 0.0 if step.kind == "level" else level
            level = step.value if step.kind == "level" else level + step.value
            bars.append((begin, level))
        return tuple(bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One thing of a strip: whose it is, how it is done, and how much it takes.

    Attributes
    ----------
    group : gives the colour; tiles of one group need not be neighbours
    letter : one character that stands for how it is done; empty for nothing to say
    value : in the strip's unit, drawn as height; None when not known
    part : how much of the value is what the strip's `part` names; drawn solid, on top
    note : more words, one fact a line
    """

    name: str
    group: str
    letter: str = ""
    value: float | None = None
    part: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Many things in order at one glance, such as the layers of a network.

    Attributes
    ----------
    measure, unit : what the values are
    part : what the solid part of a value is; empty where tiles have none
    letters : letter -> what it stands for; every letter of a tile is explained
    groups : order of the colours (default: first use)
    """

    title: str
    tiles: tuple[Tile, ...]
    measure: str
    unit: str = ""
    part: str = ""
    letters: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        for tile in self.tiles:
            where = f"strip {self.title!r}: {tile.name!r}"
            if tile.letter and (len(tile.letter) != 1 or tile.letter not in self.letters):
                raise SpecError(f"{where}: letter", found=tile.letter,
                                wanted="one character that `letters` explains",
                                fix="explain it, or leave it out")  # fmt: skip
            if tile.value is not None:
                _finite([tile.value], where)
                if tile.value < 0:
                    raise SpecError(f"{where}: value", found=tile.value, wanted="0 or more",
                                    fix="a strip shows amounts; use a waterfall")  # fmt: skip
            if not 0 <= tile.part <= (tile.value or 0.0):
                raise SpecError(f"{where}: part", found=tile.part, wanted="a part of the value",
                                fix="give at most the value")  # fmt: skip

    def order(self) -> tuple[str, ...]:
        """Return every group once, those named by `groups` first."""
        return tuple(dict.fromkeys((*self.groups, *(tile.group for tile in self.tiles))))

    def runs(self) -> list[tuple[str, tuple[Tile, ...]]]:
        """Return neighbours of one group together, in order."""
        return [(group, tuple(run)) for group, run in groupby(self.tiles, lambda t: t.group)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A thing in a diagram, e.g. a device, host or switch; a group stands together."""

    name: str
    lines: tuple[str, ...] = ()
    kind: str = "device"
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """A connection of two boxes; `both` ways unless said otherwise."""

    source: str
    target: str
    label: str = ""
    both: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """Boxes and arrows, such as the devices and links of a system."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        names = [box.name for box in self.boxes]
        if len(set(names)) != len(names):
            raise SpecError(f"diagram {self.title!r}: boxes", found=", ".join(names),
                            wanted="different names", fix="rename one")  # fmt: skip
        for arrow in self.arrows:
            for end in (arrow.source, arrow.target):
                if end not in names:
                    raise SpecError(f"diagram {self.title!r}: arrows", found=end, wanted="a box",
                                    fix=f"add the box{did_you_mean(end, names)}")  # fmt: skip


Section = Text | Table | Series | TimelineChart | MemoryChart | Waterfall | Strip | Diagram


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One report.

    Attributes
    ----------
    verdicts : answers to the needs that the user stated, shown beside the scorecard
    provenance : what made the page: program, model and system with their hashes, seed, settings
    """

    title: str
    subtitle: str = ""
    scorecard: Scorecard | None = None
    verdicts: tuple[Verdict, ...] = ()
    sections: tuple[Section, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def _finite(values: Iterable[float], where: str) -> None:
    for value in values:
        if not math.isfinite(value):
            raise SpecError(where, found=value, wanted="finite numbers",
                            fix="leave it out, or give None in a table")  # fmt: skip
