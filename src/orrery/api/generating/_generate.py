"""Write the circuit of an accelerator: Verilog, bench, README, record, page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.errors import SpecError
from orrery.progress import SILENT, Progress
from orrery.report import Page, write_report
from orrery.store import whole_folder, write_text

from ._page import circuit_page

if TYPE_CHECKING:
    from orrery.accel import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult:
    """The files of a circuit and its page.

    Attributes
    ----------
    accelerator : the canonical call
    files : file name -> text
    """

    accelerator: str
    files: Mapping[str, str] = field(repr=False)
    page: Page = field(repr=False)

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the files and the report: all of them, or none.

        Raises
        ------
        SpecError : the folder holds another circuit, or files that are not of this one
        """
        from orrery.rtl.bench import refuse_others

        folder = Path(folder)
        refuse_others(folder, self.files)
        with whole_folder(folder) as fresh:
            for name, text in self.files.items():
                write_text(fresh / name, text)
            report = [path.name for path in write_report(self.page, fresh)]
        return {name: folder / name for name in (*self.files, *report)}


def generate(
    accelerator: str | Accelerator, *, area: bool = False, mutate: int = 0,
    progress: Progress = SILENT,
) -> GenerateResult:  # fmt: skip
    """Return the circuit of an accelerator as files.

    Parameters
    ----------
    accelerator : a name or a call such as ``bitlet(group=16)``, or a record
    area : synthesise it too, to cells and for an FPGA; large circuits take minutes
    mutate : try the bench on so many designs with one operator changed, and write down how many it
        catches; a run of the bench each and up to a minute for each that passes, so 60 take
        minutes for a small circuit, hours for a large one; needs Icarus Verilog
    progress : told of the steps of `area`

    Raises
    ------
    UnknownNameError : no such accelerator; offers the nearest
    SpecError : it has no circuit, or its parameters make none; a number of mutants below 0
    """
    from orrery.accel import resolve

    made = resolve(accelerator) if isinstance(accelerator, str) else accelerator
    if made.generate is None:
        those = ", ".join(_with_circuit()) or "none yet"
        raise SpecError(
            f"generate {made.name}", found="an accelerator without circuit",
            wanted=f"one with a circuit: {those}", fix="name one of these",
        )  # fmt: skip
    asked: dict[str, Any] = {}
    if area:
        asked["area"] = True
        if progress is not SILENT:
            asked["progress"] = progress
    if mutate:
        asked["mutate"] = mutate
    files = dict(made.generate(**asked))
    return GenerateResult(accelerator=made.name, files=files, page=circuit_page(made.name, files))


def _with_circuit() -> list[str]:
    """Return the accelerators of the catalogue that have a circuit."""
    from orrery.accel import ACCELERATORS

    return [name for name in ACCELERATORS.names() if ACCELERATORS[name]().generate is not None]
