"""The study: seven networks in every way this machine has, and every claim held against it."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.api.placing import choose, local_workers
from orrery.graph import Graph, build_model
from orrery.progress import SILENT, Progress
from orrery.runtime import describe_machine
from orrery.runtime.together import LocalWorker

from .._frame import StudyResult
from ._case import Effort
from ._measure import Chooser, measure_case
from ._records import claim_records, network_records
from ._sections import sections_of

__all__ = ["conduct_on", "duet_study"]


def duet_study(scale: float = 1.0, progress: Progress = SILENT) -> StudyResult:
    """Run networks on the workers of this machine, alone and placed together.

    Parameters
    ----------
    scale : from 1 on all seven networks, slow tails and compiled PyTorch (an hour and more); below,
        fewer networks and rounds: 0.3 takes minutes

    Raises
    ------
    SpecError : no back end is installed
    """
    effort = Effort.at(scale)
    graphs = [build_model(name) for name in effort.networks]
    return conduct_on(graphs, local_workers(), effort, progress)


def conduct_on(
    graphs: Sequence[Graph], workers: Sequence[LocalWorker], effort: Effort, progress: Progress, *,
    choose: Chooser = choose,
) -> StudyResult:  # fmt: skip
    """Conduct the study on given networks and workers, which `choose` places."""
    cases = []
    for done, graph in enumerate(graphs):
        progress.step("duet networks", done, len(graphs))
        cases.append(measure_case(graph, workers, effort, progress, choose=choose))
    return StudyResult(
        records=(*claim_records(cases), *(r for case in cases for r in network_records(case))),
        sections=tuple(sections_of(cases, effort, describe_machine().summary)),
    )
