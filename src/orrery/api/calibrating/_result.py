"""What a calibration gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orrery.cost.calibration import Constant, Held, Validation, overall
from orrery.report import Page, write_result
from orrery.store import read_record, write_record, write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """How constants foretell networks that were left out in turn.

    Attributes
    ----------
    interval : ends, as ratios measured / priced
    coverage : share of rows left out that lay in an interval made without them
    errors : median and 90th percentile, before and after, of abs(priced / measured - 1)
    """

    networks: tuple[Held, ...]
    interval: tuple[float, float]
    coverage: float
    errors: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFile:
    """What `calibration.json` holds.

    Attributes
    ----------
    machine : the device or array
    measurements : the files with their content hashes
    confidence : share of rows that intervals are to hold
    energy : None: not measured
    """

    machine: str
    measurements: str
    confidence: float
    constants: tuple[Constant, ...]
    latency: LeftOut
    energy: LeftOut | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """A machine with fitted constants, and how well they foretell.

    Attributes
    ----------
    yaml : the machine with its new constants, for ``--on``
    file : constants before and after with standard errors, networks left out, as data
    page : the report
    """

    yaml: str
    file: CalibrationFile
    page: Page

    @property
    def constants(self) -> tuple[Constant, ...]:
        """The constants, before and after."""
        return self.file.constants

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the machine, the constants and the report: all of them, or none."""
        return write_result(folder, self.page, {
            "device": ("calibrated.yaml", lambda path: write_text(path, self.yaml)),
            "calibration": ("calibration.json",
                            lambda path: write_record(path, "calibration", 1, self.file)),
        })  # fmt: skip


def read_calibration(path: Path) -> CalibrationFile:
    """Read a ``calibration.json`` of `CalibrationResult.write`."""
    return read_record(path, "calibration", CalibrationFile, 1)


def left_out(validation: Validation) -> LeftOut:
    """Return a validation as data."""
    return LeftOut(networks=validation.held, interval=validation.interval,
                   coverage=validation.coverage, errors=overall(validation))  # fmt: skip
