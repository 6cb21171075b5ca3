"""Score a network on a system, or evidence that earlier commands wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.progress import SILENT, Progress
from orrery.report import Page, Section, Text, judge, make_scorecard, parse_needs
from orrery.store import read_record

from ._map import map
from ._options import BeyondOptions, ModelOptions, TaskOptions
from ._resolve import load_model
from ._result import MapResult
from .flexing import array_card, names_array
from .judging import LabelledTask, labelled_task


def score(
    models: object = (),
    *,
    on: object = None,
    evidence: Sequence[str | Path] = (),
    options: ModelOptions | None = None,
    needs: str | Sequence[str] = (),
    strict: bool = False,
    task: TaskOptions | None = None,
    beyond: BeyondOptions | None = None,
    progress: Progress = SILENT,
) -> Page:
    """Return a page with the seven metrics and the answers to needs.

    Parameters
    ----------
    models, on, options : a network and a system, mapped first, or an array, searched for the best
        loop nests; or none of them. With a task the system may be left out: then the network's own
        numbers alone are judged
    evidence : evidence.json files of earlier commands, put on the same card
    needs : e.g. ``["latency<33ms", "energy<=0.5J"]``
    strict : refuse when anything of the network could not be priced
    task : labelled data to run on the numerics of the plan's designs, and beside them on the
        network's own
    beyond : on an array, whether to map other layers too, and to make it smaller and larger

    Raises
    ------
    SpecError : no network and no figure; `strict` without a network; a task without one network,
        or whose data do not fit it
    CancelledError : the caller asked to stop while the task ran
    """
    from .figures import WHY_UNKNOWN

    networks = list(models) if isinstance(models, list | tuple) else [models]
    tasked = task is not None and task.data is not None
    if task not in (None, TaskOptions()) and not (tasked and len(networks) == 1):
        raise SpecError(
            "score", found=f"{len(networks)} networks" if tasked else "a task without data",
            wanted="one network and its labelled data", fix="give one network and --data X.npz",
        )  # fmt: skip
    beyond = beyond or BeyondOptions()
    if names_array(on, beyond):
        if len(networks) != 1 or evidence or strict:
            raise SpecError(f"score on {on}", found="networks, evidence files or strict",
                            wanted="one network on an array", fix="leave the rest out")  # fmt: skip
        return array_card(networks[0], str(on), options=options, beyond=beyond, task=task,
                          needs=needs, progress=progress)  # fmt: skip
    if beyond != BeyondOptions():
        raise SpecError("flexibility, scalability", found=f"system {on}" if on else "no array",
                        wanted="an array of `orrery arrays`, or its YAML file",
                        fix="give one, or leave them out")  # fmt: skip
    parsed = parse_needs(needs)
    if strict and not networks:
        raise SpecError(
            "score", found="strict with evidence files alone", wanted="a network to price",
            fix="leave out --strict: evidence does not say what it could not price",
        )  # fmt: skip
    figures: list[Evidence] = []
    for path in evidence:
        read = read_record(Path(path), "evidence", tuple[Evidence, ...], 1)
        if not read:
            raise SpecError(
                str(path), found="no figure", wanted="evidence of a run, a map or a simulation",
                fix="make the file again",
            )  # fmt: skip
        figures += read
    if not networks and not figures:
        raise SpecError("score", found="nothing", wanted="a network or evidence files",
                        fix="give at least one")  # fmt: skip
    asked = _asked(networks[0], options, task, progress) if task is not None and tasked else None
    sections: list[Section] = []
    result: MapResult | None = None
    if networks and (on is not None or asked is None):
        result = map(networks, on=on, options=options, strict=strict, progress=progress)
        figures += result.evidence
        coverage = result.price.coverage
        sections.append(Text(
            title="What the figures cover", paragraphs=(f"Coverage: {coverage}.",),
            tone="note" if coverage.complete else "warning",
        ))  # fmt: skip
    subjects = [figure.subject for figure in figures]
    if asked is not None:
        found, table = asked.measured(result)
        figures = [f for f in figures if f.metric != "accuracy" or f.value is not None] + found
        subjects = subjects or [asked.own.name]
        sections.insert(0, table)
    subject = "; ".join(dict.fromkeys(subjects))
    card = make_scorecard(subject, figures, reasons=WHY_UNKNOWN)
    return Page(title=subject, scorecard=card, verdicts=judge(card, parsed),
                sections=tuple(sections))  # fmt: skip


def _asked(
    model: object, options: ModelOptions | None, task: TaskOptions, progress: Progress
) -> LabelledTask:
    """Return the task with the network as it is, and as it is to be planned."""
    taken = options or ModelOptions()
    own = load_model(model, replace(taken, precision=None))
    graph = own if taken.precision is None else load_model(model, taken)
    return labelled_task(own, graph, task, progress)
