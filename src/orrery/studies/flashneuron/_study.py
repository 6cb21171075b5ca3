"""The study: networks of 200 layers under real caps, in five ways, beside what was published."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import CancelledError, MissingExtraError, OrreryError
from orrery.progress import SILENT, Progress
from orrery.runtime import describe_machine
from orrery.runtime.training import Cap, cap_here

from .._frame import StudyResult
from ._case import Effort
from ._journal import Journal
from ._measure import measure_case
from ._published import Network
from ._records import claim_records, network_records
from ._sections import sections_of


def flashneuron_study(scale: float = 1.0, progress: Progress = SILENT) -> StudyResult:
    """Train deep networks within caps of memory, with and without saved tensors on the SSD.

    Files are in the folder that the system's ``TMPDIR`` names; what was measured is kept until the
    study is whole, so that one that was stopped goes on where it was.

    Parameters
    ----------
    scale : from 1 on three networks under three caps; below, fewer networks, and ends found less
        closely

    Raises
    ------
    MissingExtraError : PyTorch is not installed
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("torch", "torch", purpose="training under a cap")
    with tempfile.TemporaryDirectory(prefix="orrery-flashneuron-") as folder:
        effort = Effort.at(scale)
        return conduct_on(effort.networks, cap_here(), Path(folder), effort, progress)


def conduct_on(
    networks: Sequence[Network], cap: Cap, folder: Path, effort: Effort, progress: Progress, *,
    journal: Journal | None = None,
) -> StudyResult:  # fmt: skip
    """Conduct the study on given networks, with files in a given folder.

    A network that cannot be measured does not lose the others; the report says why.

    Raises
    ------
    OrreryError : the last reason, when none of them can
    CancelledError : the user asked to stop
    """
    journal = journal or Journal()
    cases, lost = [], list[str]()
    for done, network in enumerate(networks):
        progress.step("flashneuron networks", done, len(networks))
        try:
            cases.append(measure_case(network, cap, folder, effort, journal, progress))
        except CancelledError:
            raise
        except OrreryError as error:
            if not cases and done + 1 == len(networks):
                raise
            lost.append(f"{network.name} is left out: {error}")
    if journal.taken:
        lost.append(f"{journal.taken} measurements are of a study that was stopped before.")
    result = StudyResult(
        records=(*claim_records(cases), *(r for case in cases for r in network_records(case))),
        sections=sections_of(cases, cap, folder.parent, describe_machine().summary, lost),
    )
    journal.finish()
    return result
