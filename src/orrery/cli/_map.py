"""``orrery map``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api

from ._options import JsonFlag, Needs, Options, Out, show_page
from ._process import stoppable
from ._terminal import columns, progress_bar, written


def map_command(
    models: Annotated[list[str], Parameter(name="MODEL", negative=())],
    /,
    *,
    on: str,
    need: Needs = (),
    out: Out = None,
    settings: Path | None = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    explain: Annotated[bool, Parameter(negative=())] = False,
    pareto: Annotated[bool, Parameter(negative=())] = False,
    search: Annotated[
        api.MapSearch,
        Parameter(name="*", group="Search settings", negative_bool="no-", negative_iterable=()),
    ] = api.MapSearch(),  # noqa: B008  # frozen
    with_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--with",
            negative=(),
            help="Further search methods to try and to compare; the best plan of all is kept: "
            + "; ".join(f"{name} ({does})" for name, does in api.search_methods().items())
            + ".",
        ),
    ] = (),
    robust: str = "",
    jobs: int = 0,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Spread a network over a system and say what that takes.

    Writes plan.json, timeline.json (opens in Perfetto), evidence.json and report.html when --out
    is given. Ctrl-C ends the search and keeps the best plan until then; a second one ends at once.

    Parameters
    ----------
    models
        ONNX files or names of `orrery models`; several are mapped together.
    on
        System: a YAML file, a name of `orrery systems`, or this-machine.
    settings
        YAML file with the search settings below, by name; instead of their flags.
    robust
        Factors of all links' bandwidths, e.g. 0.25,0.5,1,2,4: keep the plan that regrets least
        wherever among these (and 1) they turn out.
    jobs
        Processes to search with; 0 for one per core, 1 for none beside the command's own. The
        result is the same.
    strict
        Refuse when anything of the network could not be priced.
    explain
        Say what every other choice would cost, and which design suits which layers.
    pareto
        Search for plans that trade latency, throughput, energy, memory and devices for each other
        as well; keep the fastest that meets every --need, or say which needs contradict.
    """
    with stoppable() as cancelled, progress_bar(cancelled) as progress:
        result = api.map(
            models,
            on=on,
            options=options,
            search=api.read_search(settings, search),
            compare=[name for names in with_ for name in names.split(",")],
            robust=api.read_factors(robust),
            needs=need,
            strict=strict,
            explain=explain,
            pareto=pareto,
            jobs=jobs,
            progress=progress,
        )
    code = finish(result, out, as_json=json)
    if pareto and not json:
        print(f"\n{api.front_text(result, width=columns())}", end="")
    if explain and not json:
        print(f"\n{api.explained_text(result, width=columns())}", end="")
    if result.interrupted:
        print(f"orrery: {result.plan.notes[-1]}", file=sys.stderr)
        return 130
    return code


def finish(result: api.MapResult, out: Path | None, *, as_json: bool) -> int:
    """Write the files, print the scorecard and where the report is.

    Returns 1 when a need is not met, or when the certificate does not hold.
    """
    files = result.write(out) if out is not None else {}
    if as_json:
        show_page(result.page, as_json=True, files=files)
    else:
        print(result.render(columns()), end="")
        load = api.under_load_text(result, width=columns())
        print(f"\n{load}" if load else "", end="")
        if files:
            print(f"\nreport: {files['report']}")
            print(written("also:   ", {k: path for k, path in files.items() if k != "report"}))
    return 0 if result.needs_met and result.report.holds else 1
