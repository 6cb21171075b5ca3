"""How speed grows with size: a series of sizes, each with its speed and what holds it up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orrery.evidence import Evidence
from orrery.report import Cell, Column, Table

from ..validating import UNCHECKED
from ._coverage import estimated

#: an efficiency below this share of the one before is a knee
KNEE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size.

    Attributes
    ----------
    size : times the one that is described
    speed : inferences a second; None where the size was not reached, as `reason` says
    held_up : the step of the waterfall that loses most
    """

    name: str
    size: float
    speed: float | None
    utilisation: float | None = None
    held_up: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A series of sizes, the smallest first; one of them is the size that is described, 1.

    Attributes
    ----------
    ideal : whether speed grows as fast as size at best; a batch only fills what there is
    """

    name: str
    what: str
    points: tuple[Point, ...]
    ideal: bool = True

    @property
    def baseline(self) -> Point:
        """The size that is described."""
        return next(point for point in self.points if point.size == 1)

    def speedup(self, point: Point) -> float | None:
        """Return how many times as fast a size is as the one that is described."""
        first = self.baseline.speed
        return point.speed / first if point.speed is not None and first else None

    def efficiency(self, point: Point) -> float | None:
        """Return the share of the ideal speed-up that a size reaches."""
        speedup = self.speedup(point)
        return speedup / point.size if speedup is not None and self.ideal else None

    def figures(self, subject: str) -> Iterator[Evidence]:
        """Yield the efficiency of every larger size; the speed-up where size is no ideal."""
        kept = self.name.partition(", ")[2]
        baseline = f"{self.baseline.name}; {kept}" if kept else self.baseline.name
        metric, unit = ("scaling efficiency", "%") if self.ideal else ("speed-up", "x")
        for point in self.points:
            if point.size <= 1:
                continue
            beside = {"baseline": baseline, "size": point.name}
            share = self.efficiency(point)
            value = self.speedup(point) if not self.ideal else share and 100 * share
            note = point.reason or (f"held up by {point.held_up}" if point.held_up else "")
            why = note if value is not None else note or "its baseline is not known"
            yield Evidence(subject=subject, metric=metric, value=value, unit=unit,
                           source=estimated(why), context=beside)  # fmt: skip

    def section(self) -> Table:
        """Return the sizes side by side, and where the knee is."""
        rows: list[tuple[Cell, ...]] = []
        for point in self.points:
            share = self.efficiency(point)
            rows.append((
                point.name, point.speed, self.speedup(point),
                None if share is None else 100 * share,
                None if point.utilisation is None else 100 * point.utilisation,
                point.held_up or point.reason or None,
            ))  # fmt: skip
        return Table(
            title=f"Scalability: {self.name}", rows=tuple(rows),
            caption=f"{self._said()} {UNCHECKED}",
            columns=(
                Column(name="size"), Column.number("inferences", "/s"),
                Column.number("speed-up", "x"), Column.number("of ideal", "%", bar=True),
                Column.number("use", "%"),
                Column(name="loses most by", help="step of the bounds waterfall"),
            ),
        )  # fmt: skip

    def _said(self) -> str:
        start = f"{self.what[:1].upper()}{self.what[1:]}."
        for before, point in zip(self.points, self.points[1:], strict=False):
            share, last = self.efficiency(point), self.efficiency(before)
            if share is not None and last is not None and share < KNEE * last:
                return (f"{start} The knee lies between {before.name} and {point.name}, where most "
                        f"is lost by {point.held_up or 'what is shared'}.")  # fmt: skip
        return start
