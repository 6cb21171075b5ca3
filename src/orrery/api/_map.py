"""Spread networks over a system, and judge the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orrery.errors import SpecError
from orrery.mapping import METHODS, MapSearch, map_by
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.report import parse_needs
from orrery.settings import read_settings, to_record

from ._machines import cost_models, load_system, workers
from ._options import ModelOptions
from ._resolve import load_models
from ._result import InfeasibleError, MapResult
from .exploring import explained, front_of, refuse_contradiction, under_load, with_front
from .judging import ceilings_of, judge_plan, plan_seconds
from .nests import with_nests

__all__ = ["MapSearch", "map", "read_factors", "read_search", "search_methods"]


def map(
    models: object,
    *,
    on: object,
    options: ModelOptions | None = None,
    search: MapSearch | None = None,
    compare: Sequence[str] = (),
    robust: Sequence[float] = (),
    needs: str | Sequence[str] = (),
    strict: bool = False,
    explain: bool = False,
    pareto: bool = False,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> MapResult:
    """Spread one network, or several at once, over a system.

    Parameters
    ----------
    models : an ONNX file, a library name, a `Graph`, or a list of these
    on : a YAML file, a catalogue name, ``this-machine``, or a `System`
    options : batch, phase, context, symbolic sizes, training
    search : how to search, and for what
    compare : further methods to try, whose plans are compared; the best of all is kept
    robust : factors by which the bandwidth of all links may turn out other; the plan that regrets
        least over these (and 1) is kept
    needs : e.g. ``["latency<33ms"]``, answered in `MapResult.verdicts`; a ceiling of energy bounds
        a search for latency, one of latency a search for energy
    strict : refuse when anything of the network could not be priced
    explain : say on the page what every other choice would cost, however long that takes
    pareto : search for plans that trade one figure for another as well, and keep the fastest that
        meets all needs; the page shows them
    jobs : processes to search with, this one included; 0 for all cores. The result is the same

    Raises
    ------
    InfeasibleError : no plan exists; says what is short, or which needs contradict each other
    OrreryError : a network, system, option or need that cannot be read
    """
    parsed = parse_needs(needs)
    wanted = list(models) if isinstance(models, list | tuple) else [models]
    graphs = load_models(wanted, options)
    system = load_system(on)
    where = f"{', '.join(g.name for g in graphs)} on {system.name}"
    refuse_contradiction(parsed, where)
    costs = cost_models(system)
    settings = search or MapSearch()
    ceilings, keeps = ceilings_of(parsed, graphs, system, settings.objective)
    with workers(jobs, system) as executor:
        found = map_by(
            graphs, system, costs, settings, also=compare, robust=robust,
            judge=plan_seconds(graphs, system, settings.objective), ceilings=ceilings,
            keeps=keeps, strict=not pareto,  # the front says itself which needs contradict
            executor=executor, progress=progress,
        )  # fmt: skip
    best, front = found.best, None
    if pareto and isinstance(best, Plan):
        front = front_of(found, graphs, system, settings.objective, parsed, ceilings, progress)
        best, found = front.best, replace(found, interrupted=front.interrupted)
    if isinstance(best, Infeasible):
        raise InfeasibleError(where, best)
    plan = remember(with_nests(best, graphs, system, costs), wanted, on, options)
    result = judge_plan(graphs, system, plan, needs=parsed, strict=strict)
    if settings.objective == "throughput":
        result = under_load(result, graphs, parsed)
    result = explained(result, found, asked=explain, progress=progress)
    result = replace(result.compared(found.tried), interrupted=found.interrupted)
    return result if front is None else with_front(result, front)


def remember(
    plan: Plan, models: Sequence[object], on: object, options: ModelOptions | None
) -> Plan:
    """Write into a plan where its networks and its system came from, where that is text."""
    record = to_record(options or ModelOptions())
    default = to_record(ModelOptions())
    given = {key: value for key, value in record.items() if value != default[key]}
    return replace(
        plan,
        models=tuple(
            replace(m, origin=str(origin), options=given) if isinstance(origin, str | Path) else m
            for m, origin in zip(plan.models, models, strict=True)
        ),
        system=replace(plan.system, origin=str(on) if isinstance(on, str | Path) else ""),
    )


def read_factors(text: str) -> tuple[float, ...]:
    """Return factors of bandwidths from text such as ``0.25,0.5,1``; none from an empty one."""
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(float(word))
        except ValueError:
            raise SpecError("--robust", found=word, wanted="numbers with commas between",
                            fix="e.g. 0.25,0.5,1,2,4") from None  # fmt: skip
    return tuple(found)


def read_search(path: Path | None, given: MapSearch | None = None) -> MapSearch:
    """Return the searcher's settings: from a YAML file, or as given, or the defaults."""
    if path is None:
        return given or MapSearch()
    if given not in (None, MapSearch()):
        raise SpecError(
            "--settings",
            found="a file and flags",
            wanted="one of the two",
            fix="put the flags into the file, or leave it out",
        )
    return read_settings(path, MapSearch)


def search_methods() -> dict[str, str]:
    """Return every way of mapping by name, with what it does in one line."""
    return {name: does for name, (does, _) in METHODS.items()}
