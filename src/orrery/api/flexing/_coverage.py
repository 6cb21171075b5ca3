"""Flexibility: the share of the published suite that an array maps, and how well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orrery.evidence import Evidence
from orrery.hardware import Architecture
from orrery.progress import SILENT, Progress
from orrery.provenance import PROGRAM_VERSION, Basis, Source
from orrery.report import Cell, Column, Section, Table, Text

from ..validating import UNCHECKED
from ._runs import BUDGET, Run, run_layers
from ._suite import Suite, products_of, too_wide


def estimated(note: str = "") -> Source:
    """Return the source of what the engine of loop nests says."""
    return Source(basis=Basis.ESTIMATED, where=f"orrery {PROGRAM_VERSION} loop nests", note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The suite on one array.

    Attributes
    ----------
    runs : layer -> what it takes at the array's own precision, or why it does not map
    refused : precision -> why the array does not compute in it
    """

    suite: Suite
    architecture: Architecture
    runs: Mapping[str, Run]
    refused: Mapping[str, str]

    @property
    def mapped(self) -> tuple[str, ...]:
        """Layers that map at the array's own precision."""
        return tuple(name for name, run in self.runs.items() if run.found)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that the array computes in."""
        return tuple(name for name in self.suite.precisions if name not in self.refused)

    @property
    def share(self) -> float:
        """Share of all layers at all precisions that map."""
        every = len(self.suite.layers) * len(self.suite.precisions)
        return len(self.mapped) * len(self.precisions) / every

    def utilisations(self, names: Sequence[str] | None = None) -> list[float]:
        """Return how well layers that map use the array."""
        wanted = self.mapped if names is None else [n for n in names if self.runs[n].found]
        return [self.runs[name].utilisation or 0.0 for name in wanted]

    def figures(self, subject: str) -> Iterator[Evidence]:
        """Yield the share that maps, and the mean and the worst utilisation."""
        layers, precisions = len(self.suite.layers), len(self.suite.precisions)
        of = f"{layers} layers x {precisions} precisions ({self.suite.name})"
        none = "floating point never maps: a description has integers only"
        yield Evidence(subject=subject, metric="operator coverage", value=100 * self.share,
                       unit="%", source=estimated(none), context={"of": of})  # fmt: skip
        found = self.utilisations()
        beside = {"of": "peak MAC/s, waits for memory included",
                  "over": f"{len(found)} layers that map ({self.suite.name})"}  # fmt: skip
        for metric, value in (("suite utilisation", geometric_mean(found)),
                              ("least suite utilisation", min(found, default=None))):  # fmt: skip
            why = "" if found else "no layer of the suite maps"
            yield Evidence(subject=subject, metric=metric, value=_percent(value), unit="%",
                           source=estimated(why), context=beside)  # fmt: skip

    def sections(self) -> list[Section]:
        """Return the suite by kind of layer, then layer by layer, then what is refused."""
        groups = dict.fromkeys(layer.group for layer in self.suite.layers)
        by_group: list[tuple[Cell, ...]] = []
        for group in groups:
            names = [layer.name for layer in self.suite.layers if layer.group == group]
            used = self.utilisations(names)
            mean, worst = geometric_mean(used), min(used, default=None)
            by_group.append((group, len(names), len(used), _percent(mean), _percent(worst)))
        columns = (
            Column(name="kind"), Column.number("layers"), Column.number("map"),
            Column.number("mean use", "%", help="geometric mean of those"),
            Column.number("least use", "%"),
        )  # fmt: skip
        rows = tuple(self._row(layer.name, layer.group, layer.source)
                     for layer in self.suite.layers)  # fmt: skip
        said = ", ".join(self.precisions) or "none"
        return [
            Table(title="Flexibility: kinds of layers", columns=columns, rows=tuple(by_group),
                  caption=f"{len(self.mapped)} of {len(self.runs)} layers map, at {said}: "
                          f"{100 * self.share:.3g} % of all layers at all precisions. Use of the "
                          "multipliers, waits for memory included; a precision narrower than they "
                          "are runs at their width and gains nothing. Passes over data count as "
                          "not mapped; `nest` prices them as if multipliers made them. "
                          + UNCHECKED),
            Table(title="Flexibility: layers", rows=rows, columns=(
                Column(name="layer"), Column(name="kind"), Column.number("use", "%", bar=True),
                Column.number("gap", "%", help="by which a better nest could be faster at most"),
                Column(name="why not"), Column(name="shape from"),
                )),
            Text(title="Precisions that do not map", tone="note", paragraphs=tuple(
                f"{name}: {why}" for name, why in self.refused.items()) or ("None.",)),
        ]  # fmt: skip

    def _row(self, name: str, group: str, source: str) -> tuple[Cell, ...]:
        run = self.runs[name]
        gap = 100 * run.gap if run.found else None
        return name, group, _percent(run.utilisation), gap, run.reason or None, source


def cover(
    suite: Suite, architecture: Architecture, *, most: int = BUDGET, progress: Progress = SILENT
) -> Coverage:
    """Map a suite onto an array.

    Parameters
    ----------
    most : evaluations of nests per layer
    """
    products = {layer.name: products_of(layer) for layer in suite.layers}
    problems = {name: found for name, found in products.items() if not isinstance(found, str)}
    mapped = run_layers(problems, architecture, most=most, progress=progress)
    runs = {name: mapped.get(name) or Run(reason=str(found)) for name, found in products.items()}
    reasons = {name: too_wide(name, architecture) for name in suite.precisions}
    refused = {name: why for name, why in reasons.items() if why}
    return Coverage(suite=suite, architecture=architecture, runs=runs, refused=refused)


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean; None of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
