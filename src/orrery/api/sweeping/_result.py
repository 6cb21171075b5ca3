"""What a sweep gives back: rows, the front over them, what each parameter does, a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.errors import printable
from orrery.hardware import Description
from orrery.mapping.space import Parameter
from orrery.report import Page, render_text, write_result
from orrery.store import read_record, write_record, write_text

from ._grounds import alike
from ._measures import Compared, compared
from ._page import sweep_page
from ._rows import Header, Row, SweepFile
from ._task import WORKLOAD


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """Points of a sweep and everything that follows from them.

    Attributes
    ----------
    file : the rows as data, as `write` keeps them
    compared : what points are compared by, and the front
    best : YAML of the machine with the least of the objective, or empty
    kept : points that an earlier run had priced
    interrupted : whether the user stopped it before all points were priced
    """

    file: SweepFile
    compared: Compared
    page: Page
    best: str = ""
    kept: int = 0
    interrupted: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every point, in the order of the grid."""
        return self.file.rows

    @property
    def priced(self) -> tuple[Row, ...]:
        """The points that have figures."""
        return tuple(row for row in self.file.rows if not row.reason)

    @property
    def front(self) -> tuple[Row, ...]:
        """The points that no other of their workload beats."""
        keys = set(self.file.front)
        return tuple(row for row in self.file.rows if row.key in keys)

    @property
    def text(self) -> str:
        """The page as text."""
        return printable(render_text(self.page))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write rows as JSON and CSV, the report, and the best machine: all of them, or none."""
        files: dict[str, tuple[str, Callable[[Path], None]]] = {
            "sweep": ("sweep.json",
                      lambda path: write_record(path, "sweep", 1, self.file, indent=None)),
            "table": ("sweep.csv", lambda path: write_text(path, self._csv())),
        }  # fmt: skip
        if self.best:
            files["best"] = "best.yaml", lambda path: write_text(path, self.best)
        return write_result(folder, self.page, files)

    def _csv(self) -> str:
        metrics = {name: figure.unit for row in self.rows for name, figure in row.figures.items()}
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        heads = [f"{name} ({unit})" if unit else name for name, unit in metrics.items()]
        table.writerow(["point", *self.file.values, *heads, "front", "reason"])
        keys = set(self.file.front)
        for number, row in zip(self.file.points, self.rows, strict=True):
            figures = [row.value(name) for name in metrics]
            table.writerow([number, *row.choices.values(), *figures, int(row.key in keys),
                            row.reason or row.without])  # fmt: skip
        return buffer.getvalue()


def read_sweep(path: Path) -> SweepFile:
    """Read a ``sweep.json`` of `SweepResult.write`."""
    return read_record(path, "sweep", SweepFile, 1)


def result_of(
    header: Header, machine: Description, parameters: Sequence[Parameter],
    found: Sequence[tuple[int, Row, Sequence[int]]], *, doubts: tuple[str, ...], asked: int,
    kept: int, interrupted: bool, how: str,
) -> SweepResult:  # fmt: skip
    """Return the result for rows, each with its number and the places of its values."""
    same = alike([row for _, row, _ in found])
    priced = [(row, point) for (_, row, point), mark in zip(found, same, strict=True) if mark]
    searched = {value[p.paths.index("objective")] for p in parameters if "objective" in p.paths
                for value in p.values}  # fmt: skip
    outcome = compared([row for row, _ in priced], [p for one in parameters for p in one.paths],
                       searched or {header.objective})  # fmt: skip
    file = SweepFile(
        header=header, values={p.name: p.labels for p in parameters}, how=how, doubts=doubts,
        rows=tuple(row for _, row, _ in found), points=tuple(number for number, _, _ in found),
        front=tuple(row.key for (row, _), mark in zip(priced, outcome.front, strict=True) if mark),
    )  # fmt: skip
    page = sweep_page(file, parameters, priced, outcome, asked=asked, interrupted=interrupted)
    return SweepResult(file=file, compared=outcome, page=page, kept=kept, interrupted=interrupted,
                       best=_best(header, machine, priced, outcome, parameters))  # fmt: skip


def _best(
    header: Header, machine: Description, priced: Sequence[tuple[Row, Sequence[int]]],
    outcome: Compared, parameters: Sequence[Parameter],
) -> str:  # fmt: skip
    """Return the YAML of the machine with the least of the objective, for a single workload."""
    measure = outcome.objective(header.objective)
    changing = [path for p in parameters for path in p.paths if path not in WORKLOAD]
    if not changing or measure is None or len(outcome.groups) != 1:
        return ""
    best = outcome.best([row for row, _ in priced], measure, next(iter(outcome.groups)))
    if best is None:
        return ""
    for parameter, place in zip(parameters, priced[best][1], strict=True):
        for path, value in zip(parameter.paths, parameter.values[place], strict=True):
            machine = machine if path in WORKLOAD else machine.changed(path, value)
    return machine.text
