"""What flexibility takes and gives: an array against itself with one thing fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orrery.evidence import Evidence
from orrery.progress import SILENT, Progress
from orrery.report import Cell, Column, Section, Table

from ..validating import UNCHECKED
from ._coverage import Coverage, estimated, geometric_mean
from ._runs import BUDGET, Run, run_layers
from ._suite import products_of
from ._variations import Variation, variations

NO_CONTROL = "control and configuration are in no description"
NO_AREA = "no area of a fixed-function variant was published; the report has shares of other chips"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """The flexible array against fixed ones.

    Attributes
    ----------
    coverage : the flexible array on the suite's layers, one of each kind among them
    runs : variation -> layer -> what it takes there
    """

    coverage: Coverage
    tried: tuple[Variation, ...]
    runs: Mapping[str, Mapping[str, Run]]

    def ratios(self, variation: Variation, layer: str = "") -> tuple[float | None, float | None]:
        """Return time and energy of the flexible array per that of a fixed one.

        Geometric means over the layers that map on both, or of one layer.
        """
        times, energies = [], []
        for name, run in self.runs[variation.name].items():
            own = self.coverage.runs[name]
            if run.found and own.found and layer in ("", name):
                times.append(own.cycles / run.cycles)
                if own.energy_j is not None and run.energy_j:
                    energies.append(own.energy_j / run.energy_j)
        return geometric_mean(times), geometric_mean(energies)

    def refusal(self, variation: Variation) -> str:
        """Return why nothing maps onto a fixed design; empty where something does."""
        runs = self.runs[variation.name].values()
        return "" if any(run.found for run in runs) else next((r.reason for r in runs), "no layer")

    def figures(self, subject: str) -> Iterator[Evidence]:
        """Yield what is known of overheads against fixed designs; that of area never is."""
        for variation in self.tried:
            on = variation.made_for or "one layer of each kind"
            beside = {"baseline": f"{variation.name} ({variation.what}), on {on}"}
            ratios = self.ratios(variation, variation.made_for)
            for metric, ratio in zip(("time overhead", "energy overhead"), ratios, strict=True):
                if ratio is not None:
                    yield Evidence(subject=subject, metric=metric, value=ratio, unit="x",
                                   source=estimated(NO_CONTROL), context=beside)  # fmt: skip
        yield Evidence(subject=subject, metric="area overhead", value=None, unit="x",
                       source=estimated(NO_AREA))  # fmt: skip

    def sections(self) -> list[Section]:
        """Return the fixed designs, and what is published of the overhead of others."""
        rows: list[tuple[Cell, ...]] = []
        for variation in self.tried:
            runs = self.runs[variation.name]
            time, energy = self.ratios(variation)
            made_for = variation.made_for
            own_time, own_energy = self.ratios(variation, made_for) if made_for else (None, None)
            used = [run.utilisation or 0.0 for run in runs.values() if run.found]
            mean = geometric_mean(used)
            what = self.refusal(variation) or variation.what
            rows.append((variation.name, what, len(used), mean and 100 * mean, time,
                         energy, own_time, own_energy))  # fmt: skip
        own = self.coverage.utilisations([layer.name for layer in self.coverage.suite.core.layers])
        columns = (
            Column(name="one thing fixed"), Column(name="what"), Column.number("layers that map"),
            Column.number("mean use", "%"), Column.number("time", "x", help="flexible / fixed"),
            Column.number("energy", "x", help="flexible / fixed"),
            Column.number("time there", "x", help="on what it was made for"),
            Column.number("energy there", "x", help="on what it was made for"),
        )  # fmt: skip
        number, mean = len(self.coverage.suite.core.layers), geometric_mean(own) or 0.0
        listed = Table(
            title="Flexibility: what it takes and gives", columns=columns, rows=tuple(rows),
            caption=f"Of {number} layers, one of each kind, the flexible array maps {len(own)}, "
            f"mean use {100 * mean:.3g} %. Below 1 the freedom pays. Control and configuration are "
            "in no description: a wired array takes no less than the flexible one there. "
            + UNCHECKED,
        )  # fmt: skip
        published = Table(
            title="Flexibility: published shares of support hardware", filterable=False,
            columns=(Column(name="array"), Column(name="what"), Column.number("share", "%"),
                     Column(name="of"), Column(name="source")),
            rows=tuple((o.array, o.what, o.share, o.of, o.source)
                       for o in self.coverage.suite.overheads),
        )  # fmt: skip
        return [listed, published]


def overhead(coverage: Coverage, *, most: int = BUDGET, progress: Progress = SILENT) -> Overhead:
    """Map one layer of each kind onto an array with one thing fixed at a time."""
    tried = tuple(variations(coverage))
    found = {layer.name: products_of(layer) for layer in coverage.suite.core.layers}
    problems = {name: parts for name, parts in found.items() if not isinstance(parts, str)}
    runs = {v.name: run_layers(problems, v.array, most=most, progress=progress) for v in tried}
    return Overhead(coverage=coverage, tried=tried, runs=runs)
