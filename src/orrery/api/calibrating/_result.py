"""What a calibration gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.evidence import Evidence
from orrery.provenance import Basis, Source
from orrery.report import Page
from orrery.store import whole_folder, write_record, write_text

if TYPE_CHECKING:
    from orrery.cost.calibration import Constant, Validation

__all__ = ["CalibrationResult", "calibration_evidence"]

#: what `CalibrationResult.write` writes
FILES = {
    "device": "calibrated.yaml",
    "evidence": "evidence.json",
    "report": "report.html",
    "report data": "report.json",
    "report text": "report.txt",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationResult:
    """A machine with fitted constants, and how well they foretell.

    Attributes
    ----------
    yaml : the machine with its new constants, for ``--on``
    constants : before and after, with standard errors
    latency, energy : what leaving networks out has shown; energy None: not measured
    evidence : errors and coverage as figures
    page : the report
    """

    yaml: str
    constants: tuple[Constant, ...]
    latency: Validation
    energy: Validation | None
    evidence: tuple[Evidence, ...]
    page: Page

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the machine, the evidence and the report: all of them, or none."""
        from orrery.report import write_report

        with whole_folder(Path(folder)) as fresh:
            write_text(fresh / FILES["device"], self.yaml)
            write_record(fresh / FILES["evidence"], "evidence", 1, self.evidence)
            write_report(self.page, fresh)
        return {name: Path(folder) / file for name, file in FILES.items()}


def calibration_evidence(
    subject: str, where: str, confidence: float, latency: Validation, energy: Validation | None
) -> Iterator[Evidence]:
    """Yield the errors of networks that were left out, before and after, and the coverage."""
    from orrery.cost.calibration import overall

    source = Source(basis=Basis.ESTIMATED, where=where, note="networks left out in turn")
    for what, validation in (("latency", latency), ("energy", energy)):
        if validation is None:
            continue
        context = {"of": what, "networks": str(len(validation.held)),
                   "rows": str(len(validation.priced)), "judge": "measured rows"}  # fmt: skip
        shares = overall(validation)
        for metric, value in shares.items():
            yield Evidence(subject=subject, metric=f"{metric} of {what}", value=100 * value,
                           unit="%", source=source, context=context)  # fmt: skip
        yield Evidence(subject=subject, metric=f"coverage of {what}", source=source, unit="%",
                       value=100 * validation.coverage,
                       context={**context, "confidence": f"{confidence:.0%}"})  # fmt: skip
