"""Fit the constants of a spatial array to measured layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.cost import Refusal
from orrery.cost.calibration import ArraySample, MeasuredRow, calibrate_array
from orrery.cost.nest import LOOPS, NestProblem, nest_problem
from orrery.errors import SpecError
from orrery.hardware import (
    Architecture,
    architecture_names,
    architecture_text,
    load_architecture,
    measured_text,
    system_names,
)
from orrery.hardware.spatial import read_architecture_text
from orrery.plan import Infeasible
from orrery.progress import Progress
from orrery.store import Cache
from orrery.units import counted

from .._options import ModelOptions
from ._page import calibration_page
from ._result import CalibrationFile, CalibrationResult, left_out
from ._samples import read_tables, regions_of

EQUATION = (
    "overhead per run + cycles / clock, cycles of the best loop nest at the fitted off-chip "
    "bandwidth"
)


def array_text_of(device: object) -> str | None:
    """Return the YAML of the spatial array that a name or a file means, None when it means none.

    A name that systems and arrays share means the system.
    """
    text = str(device)
    if text in architecture_names() and text not in system_names():
        return architecture_text(text)
    if not isinstance(device, str | Path) or not Path(text).is_file():
        return None
    if not text.endswith((".yaml", ".yml")):
        return None
    written = Path(text).read_text(encoding="utf-8", errors="replace")
    return written if any(line.startswith("array:") for line in written.splitlines()) else None


def calibrated_array(
    name: str, text: str, paths: Sequence[Path], confidence: float,
    options: ModelOptions | None, progress: Progress,
) -> CalibrationResult:  # fmt: skip
    """Fit overhead and off-chip bandwidth of an array; `text` is its YAML."""
    architecture = load_architecture(name, loops=tuple(LOOPS))
    rows, file = read_tables(paths, architecture.clock_hz)
    layers = _Layers(rows, options, progress)
    found = calibrate_array(architecture, layers.search, where=file, confidence=confidence,
                            progress=progress)  # fmt: skip
    warnings = (*found.warnings, *layers.left_out)
    page = calibration_page(
        f"{architecture.name}, calibrated", file, EQUATION, found.constants, found.latency, None,
        [(f"{s.network}: {s.layer}", s.latency_s) for s in found.samples], confidence, warnings,
    )  # fmt: skip
    text = measured_text(text, found.architecture)
    read_architecture_text(text, "calibrated.yaml", loops=tuple(LOOPS))
    return CalibrationResult(
        yaml=text, page=page,
        file=CalibrationFile(
            machine=architecture.name, measurements=file, confidence=confidence, energy=None,
            constants=found.constants, latency=left_out(found.latency), warnings=warnings,
        ),
    )  # fmt: skip


class _Layers:
    """Measured layers, and the search of their best nests."""

    def __init__(
        self, rows: Sequence[MeasuredRow], options: ModelOptions | None, progress: Progress
    ) -> None:
        told = next((row for row in rows if row.work is not None), None)
        if told is not None:
            raise SpecError(told.where, found="work without shapes", wanted="a layer of a network, "
                            "whose shape an array needs",
                            fix="leave out the columns of work")  # fmt: skip
        self._problems: dict[str, NestProblem] = {}
        self._parts: list[tuple[MeasuredRow, list[str]]] = []
        self._progress = progress
        self._lacking: list[str] = []
        self._unfit: dict[str, str] = {}
        for number, (row, region) in enumerate(regions_of(rows, options, progress)):
            found = nest_problem(region)
            if isinstance(found, Refusal):
                self._lacking.append(row.layer)
                continue
            keys = [f"{number}.{part}" for part in range(len(found))]
            self._problems |= dict(zip(keys, found, strict=True))
            self._parts.append((row, keys))

    def search(self, architecture: Architecture) -> tuple[ArraySample, ...]:
        """Return the layers with their best nests; layers that do not fit are left out."""
        from orrery.mapping.nest import nest_network

        nests = nest_network(self._problems, architecture, "latency", cache=Cache("nests"),
                             progress=self._progress)  # fmt: skip
        samples = []
        for row, keys in self._parts:
            mappings = []
            for key in keys:
                nest = nests[key]
                if isinstance(nest, Infeasible):
                    self._unfit[f"{row.network}: {row.label}"] = str(nest)
                    break
                mappings.append((self._problems[key], nest.mapping))
            else:
                samples.append(ArraySample(network=row.network, layer=row.label,
                                           nests=tuple(mappings),
                                           latency_s=row.latency_s))  # fmt: skip
        return tuple(samples)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What has no part in the fit, in sentences."""
        said = []
        if self._lacking:
            said.append(f"left out: {counted(len(self._lacking), 'row')} of layers without a loop "
                        "nest")  # fmt: skip
        if self._unfit:
            name, why = next(iter(self._unfit.items()))
            said.append(f"left out: {counted(len(self._unfit), 'row')} of layers for which the "
                        f"array has no nest, e.g. {name}: {why}")  # fmt: skip
        return tuple(said)
