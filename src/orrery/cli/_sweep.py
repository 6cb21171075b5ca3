"""``orrery sweep``."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from orrery import api

from ._options import JsonFlag, Model, Options, Out, show_page
from ._process import stoppable
from ._terminal import progress_bar, written


def sweep(
    model: Model,
    /,
    *,
    on: Annotated[str, Parameter(name="--on")],
    vary: Annotated[tuple[str, ...], Parameter(name="--vary", negative=())],
    objective: Literal["", "latency", "energy", "edp", "throughput"] = "",
    samples: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    seed: int = 0,
    one_at_a_time: Annotated[bool, Parameter(negative=())] = False,
    kind: Literal["", "array", "system"] = "",
    search: str = "greedy",
    budget: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    jobs: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    rows: Annotated[int, Parameter(validator=Number(gte=1))] = 20,
    out: Out = None,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Price variants of a machine or a workload: what matters most, and what nothing beats.

    On an array every point is priced by the best nest of each layer, on a system by a plan. With
    --out each finished point is kept at once: Ctrl-C loses none, and the same command goes on from
    there, also with more values or samples. Nothing moves unless it is told to: what a size takes
    along (fixed wiring, energy per access) is joined to it with &.

    Parameters
    ----------
    on
        Spatial accelerator or system: a YAML file, or a name of `orrery arrays` or `systems`.
    vary
        PATH=v1,v2,… with a path into the YAML (levels.sram.size, array.rows), or model, objective,
        batch, context, phase, precision; repeatable. 8..64*2 and 8..64+8 are ranges. Paths joined
        with & move together: 'array.rows&array.rows.fixed.Cout=16,32', or each by its own values:
        'levels.sram.size&levels.sram.read=1MiB:300pJ,2MiB:420pJ'.
    objective
        What each point's search makes least: on arrays latency, energy or edp, on systems latency,
        throughput or energy.
    samples
        Price a random subset of so many points instead of all; the same --seed gives the same.
    one_at_a_time
        Move each parameter alone, away from what the description says.
    kind
        What --on names, where it is both an array and a system.
    search
        On a system, how to map each point: a method of `orrery map --with`.
    budget
        On an array, evaluations per layer, e.g. 1000000; beyond them the best nest so far stands,
        and how much better one could be is said.
    jobs
        Processes; 0 for one per core. The result is the same.
    rows
        Most rows shown of a table (the files have all).
    """
    with stoppable() as cancelled, progress_bar(cancelled) as progress:
        result = api.sweep(
            model,
            on=on,
            vary=vary,
            objective=objective,
            kind=kind,
            samples=samples,
            seed=seed,
            one_at_a_time=one_at_a_time,
            options=options,
            search=search,
            budget=budget,
            out=out,
            jobs=jobs,
            progress=progress,
        )
        files = result.write(out) if out is not None else {}
    show_page(result.page, as_json=json, rows=rows, files=files)
    if files and not json:
        print(f"\nreport: {files['report']}")
        print(written("also:   ", {k: path for k, path in files.items() if k != "report"}))
    if result.interrupted:
        said = "the same command goes on from there" if out else "with --out they would be kept"
        print(f"orrery: interrupted after {len(result.rows)} points; {said}", file=sys.stderr)
        return 130
    return 0 if result.priced else 2
