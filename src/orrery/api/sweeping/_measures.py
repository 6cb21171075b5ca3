"""What points are compared by: figures that are known of all of them, and the front over these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ._rows import Row

__all__ = ["Compared", "Measure", "compared"]

#: what makes workloads different ones: a machine is not better for a smaller network
_APART = ("model", "context", "phase", "precision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure to make less; `metric` is the evidence it comes from."""

    name: str
    metric: str
    unit: str
    per_inference: bool = False
    inverse: bool = False

    def of(self, row: Row) -> float | None:
        """Return the measure of a point; None where it is not known."""
        value = row.value(self.metric)
        if value is None or (self.inverse and value <= 0):
            return None
        value = 1 / value if self.inverse else value
        return value / row.batch if self.per_inference else value


_TIME = Measure(name="time per inference", metric="throughput", unit="s", inverse=True)
_PLAIN = (
    Measure(name="latency", metric="latency", unit="s"),
    Measure(name="energy", metric="energy", unit="J"),
    Measure(name="energy-delay product", metric="energy-delay product", unit="J s"),
)
_BATCHED = (
    _PLAIN[0],
    _TIME,
    Measure(name="energy per inference", metric="energy", unit="J", per_inference=True),
    Measure(name="energy-delay product per inference", metric="energy-delay product", unit="J s",
            per_inference=True),
)  # fmt: skip
_HARDWARE = (
    Measure(name="processing elements", metric="processing elements", unit=""),
    Measure(name="on-chip memory", metric="on-chip memory", unit="bytes"),
    Measure(name="off-chip bandwidth", metric="off-chip bandwidth", unit="bytes/s"),
    Measure(name="devices", metric="devices", unit=""),
    Measure(name="area", metric="area", unit="mm2"),
    Measure(name="price", metric="price", unit="USD"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Points that have figures, what they are compared by, and which nothing beats.

    Attributes
    ----------
    measures : to be shown, known of every point
    objectives : of the front: latency, energy and whatever of the hardware differs; area, where
        it is known, stands for elements and memories
    unknown : measure -> why it is not known of some point
    groups : workload -> numbers of its points; points of one workload are compared
    front : whether no other point of the workload is better in one objective and worse in none
    lean : the same over time and energy alone, whatever the hardware
    twin : number of an earlier point with the same objectives, else None
    """

    measures: tuple[Measure, ...]
    objectives: tuple[Measure, ...]
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


def compared(rows: Sequence[Row], varied: Sequence[str]) -> Compared:
    """Compare points that have figures.

    Parameters
    ----------
    varied : paths
    """
    from orrery.mapping import non_dominated

    of_work = _BATCHED if "batch" in varied else _PLAIN
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
    objectives = [m for m in known if m in of_work and not m.name.startswith("energy-delay")]
    objectives += moving
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        said = [f"{k}={v}" for k, v in row.choices.items() if set(k.split("&")) & set(_APART)]
        groups.setdefault(", ".join(said), []).append(number)
    front, lean = [False] * len(rows), [False] * len(rows)
    pure = [m for m in objectives if m in of_work]
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
    return Compared(measures=tuple(shown), objectives=tuple(objectives), unknown=unknown,
                    groups=groups, front=tuple(front), lean=tuple(lean),
                    twin=twin)  # fmt: skip
