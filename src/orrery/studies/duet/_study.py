"""The study: seven networks in every way this machine has, and every claim held against it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from orrery.api.placing import choose, local_workers
from orrery.errors import CancelledError, OrreryError
from orrery.graph import Graph, build_model
from orrery.progress import SILENT, Progress
from orrery.report import Text
from orrery.runtime import describe_machine, usable_cores
from orrery.runtime.together import LocalWorker
from orrery.store import Cache

from .._frame import StudyResult
from ._case import Case, Effort
from ._keep import kept_or_measured
from ._measure import Chooser, measure_case
from ._records import claim_records, network_records
from ._sections import sections_of

#: Programs of others per processor from which times are theirs too.
_IDLE = 0.25


def duet_study(scale: float = 1.0, progress: Progress = SILENT) -> StudyResult:
    """Run networks on the workers of this machine, alone and placed together.

    Parameters
    ----------
    scale : from 1 on all seven networks, slow tails and compiled PyTorch (two hours; a network that
        is done is kept, so that a run that was interrupted goes on); below, fewer networks and
        rounds: 0.3 takes minutes

    Raises
    ------
    SpecError : no back end is installed
    """
    effort = Effort.at(scale)
    graphs = [build_model(name) for name in effort.networks]
    cache = Cache("duet") if scale >= 1 else None
    return conduct_on(graphs, local_workers(), effort, progress, cache=cache)


def conduct_on(
    graphs: Sequence[Graph], workers: Sequence[LocalWorker], effort: Effort, progress: Progress, *,
    choose: Chooser = choose, cache: Cache | None = None,
) -> StudyResult:  # fmt: skip
    """Conduct the study on given networks and workers, which `choose` places.

    A network that cannot be measured does not lose the others; the report says why.

    Parameters
    ----------
    cache : where networks that are done are kept, and taken from; None measures all

    Raises
    ------
    OrreryError : the last reason, when none of them can
    CancelledError : the user asked to stop
    """
    cases, said = list[Case](), list[str]()
    busy = _busy()  # once: afterwards it is we who keep the machine busy

    def measured(graph: Graph) -> Case:
        return replace(measure_case(graph, workers, effort, progress, choose=choose), busy=busy)

    for done, graph in enumerate(graphs):
        progress.step("duet networks", done, len(graphs))
        try:
            case, kept = kept_or_measured(graph, workers, effort, cache, partial(measured, graph))
        except CancelledError:
            raise
        except OrreryError as error:
            if not cases and done + 1 == len(graphs):
                raise
            said.append(f"{graph.name} is left out: {error}")
        else:
            cases.append(case)
            if kept and cache is not None:
                said.append(f"{graph.name} was measured in an earlier run, on {case.date}, and "
                            f"kept. To measure it again, delete {cache.folder}.")  # fmt: skip
    return result_of(cases, effort, said=said)


def result_of(cases: Sequence[Case], effort: Effort, *, said: Sequence[str] = ()) -> StudyResult:
    """Return what follows from networks that were measured.

    Parameters
    ----------
    said : sentences about networks
    """
    return StudyResult(
        records=(*claim_records(cases), *(r for case in cases for r in network_records(case))),
        sections=(*_warnings(cases), *sections_of(cases, effort, describe_machine().summary, said)),
    )  # fmt: skip


def _warnings(cases: Sequence[Case]) -> list[Text]:
    """Return a warning of the networks that were measured while others used the machine."""
    said: dict[str, list[str]] = {}
    for case in cases:
        if case.busy:
            said.setdefault(case.busy, []).append(f"{case.name} on {case.date}")
    told = tuple(f"{', '.join(names)}: {busy}" for busy, names in said.items())
    return [Text(title="The machine was busy", tone="warning", paragraphs=told)] if told else []


def _busy() -> str | None:
    """Return a warning where others use this machine as well; nothing is measured yet.

    Empty: nobody does; None: not known.
    """
    if not hasattr(os, "getloadavg"):  # not on every operating system
        return None
    load, own = os.getloadavg()[0], usable_cores()
    if load <= _IDLE * own:
        return ""
    return (f"when the run began {load:.1f} programs wanted to run on {own} processors. Who shares "
            "processors waits for others' turns: this is a rehearsal and no result.")  # fmt: skip
