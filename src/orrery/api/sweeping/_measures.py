"""What points are compared by: figures that are known of all of them, and the front over these."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from orrery.mapping import non_dominated

from ._grounds import workload_of
from ._rows import Row

#: objective -> metrics that its search makes least, or weighs
_LEAST = {"latency": ("latency", "throughput"), "energy": ("energy",)}
_LEAST["throughput"] = _LEAST["latency"]
_LEAST["edp"] = (*_LEAST["latency"], *_LEAST["energy"], "energy-delay product")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure to make less, or a `by_product` of searches that make another figure least."""

    name: str
    metric: str
    unit: str
    per_inference: bool = False
    inverse: bool = False
    by_product: bool = False

    @property
    def title(self) -> str:
        """The name, and what the figure is worth."""
        return f"{self.name} (by-product)" if self.by_product else self.name

    def of(self, row: Row) -> float | None:
        """Return the measure of a point; None where it is not known."""
        value = row.value(self.metric)
        if value is None or (self.inverse and value <= 0):
            return None
        return (1 / value if self.inverse else value) / (row.batch if self.per_inference else 1)


_PLAIN = tuple(Measure(name=name, metric=name, unit=unit) for name, unit in
               (("latency", "s"), ("energy", "J"), ("energy-delay product", "J s")))  # fmt: skip
_BATCHED = (
    _PLAIN[0],
    Measure(name="time per inference", metric="throughput", unit="s", inverse=True),
    Measure(name="energy per inference", metric="energy", unit="J", per_inference=True),
    Measure(name="energy-delay product per inference", metric="energy-delay product", unit="J s",
            per_inference=True),
)  # fmt: skip
_HARDWARE = tuple(
    Measure(name=name, metric=name, unit=unit)
    for name, unit in (("processing elements", ""), ("on-chip memory", "bytes"),
                       ("off-chip bandwidth", "bytes/s"), ("devices", ""), ("area", "mm2"),
                       ("price", "USD"))
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Points that have figures, what they are compared by, and which nothing beats.

    Attributes
    ----------
    measures : to be shown, known of every point
    objectives : of the front: what the search makes least and whatever of the hardware differs;
        area, where it is known, stands for elements and memories
    unknown : measure -> why it is not known of some point
    groups : workload -> numbers of its points; points of one workload are compared
    front : whether no other point of the workload is better in one objective and worse in none
    pure : objectives that are not of the hardware
    lean : the same over these alone
    twin : number of an earlier point with the same objectives, else None
    """

    measures: tuple[Measure, ...]
    objectives: tuple[Measure, ...]
    pure: tuple[Measure, ...]
    unknown: dict[str, str]
    groups: dict[str, list[int]]
    front: tuple[bool, ...]
    lean: tuple[bool, ...]
    twin: dict[int, int] = field(default_factory=dict)

    def objective(self, name: str) -> Measure | None:
        """Return the measure that a search's objective makes least."""
        heads = {"edp": "energy-delay product", "throughput": "time per inference"}
        head = heads.get(name, name)
        return next((m for m in self.measures if m.name.startswith(head)), None)

    def best(self, rows: Sequence[Row], measure: Measure, group: str) -> int | None:
        """Return the number of a workload's point with the least of a measure."""
        known = [(value, n) for n in self.groups[group]
                 if (value := measure.of(rows[n])) is not None]  # fmt: skip
        return min(known)[1] if known else None


def compared(rows: Sequence[Row], varied: Sequence[str], searched: Collection[str]) -> Compared:
    """Compare points that have figures.

    Parameters
    ----------
    varied : paths
    searched : objectives of the points' searches; other figures are by-products
    """
    least = {metric for name in searched for metric in _LEAST[name]}
    of_work = [replace(m, by_product=m.metric not in least)
               for m in (_BATCHED if "batch" in varied else _PLAIN)]  # fmt: skip
    known, unknown = [], {}
    for measure in (*of_work, *_HARDWARE):
        lacking = [row for row in rows if measure.of(row) is None]
        if not lacking and rows:
            known.append(measure)
        elif any(measure.metric in row.figures for row in rows):
            figure = next((r.figures[measure.metric] for r in lacking
                           if measure.metric in r.figures), None)  # fmt: skip
            unknown[measure.name] = (figure.note if figure else "") or "not known"
    moving = [m for m in _HARDWARE if m in known and len({m.of(row) for row in rows}) > 1]
    if any(m.name == "area" for m in moving):  # which elements and memories take
        moving = [m for m in moving if m.name not in ("processing elements", "on-chip memory")]
    pure = [m for m in known if m in of_work and not m.by_product
            and not m.name.startswith("energy-delay")]  # fmt: skip
    objectives = [*pure, *moving]
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(workload_of(row), []).append(number)
    front, lean = [False] * len(rows), [False] * len(rows)
    twin: dict[int, int] = {}
    for numbers in groups.values():
        table = [[m.of(rows[n]) for m in objectives] for n in numbers]
        alone = [[m.of(rows[n]) for m in pure] for n in numbers]
        if pure:
            for n, mark, other in zip(numbers, non_dominated(table), non_dominated(alone),
                                      strict=True):  # fmt: skip
                front[n], lean[n] = mark, other
        first: dict[tuple[float | None, ...], int] = {}
        for n, line in zip(numbers, table, strict=True):
            earlier = first.setdefault(tuple(line), n)
            if earlier != n:
                twin[n] = earlier
    shown = [m for m in known if m in of_work or m in moving]
    return Compared(measures=tuple(shown), objectives=tuple(objectives),
                    pure=tuple(pure), unknown=unknown,
                    groups=groups, front=tuple(front), lean=tuple(lean),
                    twin=twin)  # fmt: skip
