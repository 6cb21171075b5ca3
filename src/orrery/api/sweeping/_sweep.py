"""Price many variants of a machine or of a workload, keep what is finished, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec

from orrery.errors import CancelledError, SpecError
from orrery.hardware import Description
from orrery.mapping import MapSearch
from orrery.mapping.space import Parameter, points_of
from orrery.mapping.space import one_at_a_time as stepped
from orrery.progress import SILENT, Progress
from orrery.settings import to_record
from orrery.store import content_hash, encode

from .._options import ModelOptions
from ._asked import asked
from ._doubts import doubts_of
from ._kept import Kept
from ._machine import based, described
from ._price import read
from ._result import SweepResult, result_of
from ._rows import Header
from ._task import Task, engine, forget
from ._work import Wanted, priced, wanted_of


def sweep(
    model: object,
    *,
    on: str | Path,
    vary: Sequence[str],
    objective: str = "",
    kind: str = "",
    samples: int | None = None,
    seed: int = 0,
    one_at_a_time: bool = False,
    options: ModelOptions | None = None,
    search: MapSearch | str = "greedy",
    budget: int | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> SweepResult:
    """Price every variant of a machine or a workload; say what matters, and what nothing beats.

    Parameters
    ----------
    model : an ONNX file, a library name, or a `Graph`
    on : an array or a system: a YAML file, or a name of a catalogue
    vary : ``PATH=v1,v2,…``; a path leads into the YAML (``levels.sram.size``), or is ``model``,
        ``objective``, ``batch``, ``context``, ``phase``, ``precision``; ``8..64*2`` and
        ``8..64+8`` are ranges; paths joined with ``&`` move together
    objective : of the search: ``latency``, ``energy`` or ``edp`` on arrays; on systems
        ``latency``, ``throughput`` or ``energy``; empty: latency, or as `search` says
    kind : ``array`` or ``system`` where a name is both
    samples, seed : a random subset of so many points; the same seed gives the same
    one_at_a_time : the machine as it is described, and each parameter moved alone
    search : how to map on systems: a method, or settings; greedy is the fastest
    budget : evaluations per layer on an array; beyond them the best nest so far stands
    out : folder whose table keeps every finished point; what is there is not priced again
    jobs : processes; 0 for one per core

    Raises
    ------
    SpecError, UnknownNameError : no such machine, no such path; a folder of another sweep
    """
    if jobs < 0:
        raise SpecError("--jobs", found=jobs, wanted="0 (all cores) or more", fix="correct it")
    if one_at_a_time and samples is not None:
        raise SpecError("--samples", found="--one-at-a-time too", wanted="one of the two",
                        fix="leave one out")  # fmt: skip
    forget()
    machine, text = described(on, kind)
    search = MapSearch(search=search) if isinstance(search, str) else search
    chosen = objective or (search.objective if machine.kind == "system" else "latency")
    if machine.kind == "system":
        search = replace(search, objective=cast(Any, chosen))
    task = Task(engine=engine(), model=model, kind=machine.kind, text=text, file=str(on),
                objective=chosen, options=options or ModelOptions(), search=search,
                budget=budget)  # fmt: skip
    parameters = asked(vary, machine, task)
    if one_at_a_time:
        parameters, base = based(parameters, machine, task)
        points = stepped(parameters, base)
    else:
        points = points_of(parameters, samples=samples, seed=seed)
    header = _header(task, machine, parameters)
    wanted = [wanted_of(task, parameters, point) for point in points]
    interrupted = False
    with Kept(None if out is None else Path(out), header) as kept:
        _refuse_others(kept, wanted, out)
        missing = [one for one in wanted if one.key not in kept.rows]
        try:
            for row in priced(task, missing, jobs=jobs, progress=progress, total=len(wanted)):
                kept.add(row)
        except CancelledError:
            interrupted = True
    rows = kept.rows
    found = [(number, rows[one.key], point) for number, (one, point) in
             enumerate(zip(wanted, points, strict=True), 1) if one.key in rows]  # fmt: skip
    return result_of(
        header, machine, parameters, found, doubts=doubts_of(parameters, machine),
        asked=len(wanted), kept=len(wanted) - len(missing), interrupted=interrupted,
        how=f"--samples {samples} --seed {seed}" if samples is not None and not one_at_a_time
        else "one parameter at a time" if one_at_a_time else "full grid",
    )  # fmt: skip


def _header(task: Task, machine: Description, parameters: Sequence[Parameter]) -> Header:
    """Return what the sweep is about; a network that is varied is read point by point."""
    network = ""
    if not any("model" in parameter.paths for parameter in parameters):
        network = task.content()
    default = to_record(ModelOptions())
    given = {k: v for k, v in to_record(task.options).items() if v != default[k]}
    whole = msgspec.json.encode(encode(read(machine)), order="deterministic")
    header = Header(
        on=task.file, kind=task.kind, machine=content_hash(machine.content, whole),
        model=str(getattr(task.model, "name", task.model)),
        network=network, objective=task.objective, options=given,
        search=dict(to_record(task.search)) if task.kind == "system" else {"budget": task.budget},
        engine=task.engine,
    )  # fmt: skip
    # as it is when it is read again: lists for tuples
    return msgspec.json.decode(msgspec.json.encode(header), type=Header)


def _refuse_others(kept: Kept, wanted: Sequence[Wanted], out: str | Path | None) -> None:
    """Refuse a table with points that are not asked for; one with fewer may grow."""
    others = set(kept.rows) - {one.key for one in wanted}
    if others:
        one = kept.rows[min(others)]
        changed = any(one.choices == other.labels for other in wanted)  # all else is in the header
        why = "of a network that has changed since" if changed else "that are not asked for"
        raise SpecError(str(out), found=f"{len(others)} points {why}, as {one.said}",
                        wanted="a sweep that holds all points of the folder",
                        fix="add their values, or give another --out")  # fmt: skip
