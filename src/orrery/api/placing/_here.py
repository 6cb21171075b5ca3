"""Run a network on the workers of this machine, in the quickest way that was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.progress import Progress
from orrery.provenance import Basis, Source
from orrery.report import Page
from orrery.store import Cache

from .._inputs import make_inputs
from .._options import ModelOptions
from .._resolve import load_model
from .._run_result import RunResult, facts, run_context, tolerance
from ..checking import judge_outputs
from ._choose import PLACED, choose, local_workers
from ._page import placing_sections

__all__ = ["run_here"]


def run_here(
    model: object,
    *,
    on: str,
    backends: Sequence[str],
    inputs: Any,
    seed: int,
    repeats: int,
    check: bool,
    options: ModelOptions | None,
    fresh: bool,
    others: bool,
    progress: Progress,
) -> RunResult:
    """Place a network on the workers here, compare, and run it in the quicker way.

    Parameters
    ----------
    backends : names of `BACKENDS`; none: those that are installed, PyTorch apart
    repeats : rounds in which all ways are compared
    fresh : time subgraphs again even where a profile of them is kept
    others : whether options of plans or profiles were given too, which mean nothing here
    """
    planned = isinstance(model, str | Path) and str(model).endswith(".json")
    if on != "this-machine" or planned or others or repeats < 1:
        raise SpecError(
            "run --on",
            found=f"{on!r}, {'a plan' if planned else 'a network'}, {repeats} repeats"
            + (", options of plans or profiles" if others else ""),
            wanted="this-machine, a network and 1 repeat or more",
            fix="to plan for another machine, see `orrery map`",
        )
    from orrery.runtime import describe_machine
    from orrery.runtime.together import Fallback, WorkerPool

    graph = load_model(model, options)
    given = make_inputs(graph, inputs, seed)
    cache = None if fresh else Cache("profiles")
    with WorkerPool(local_workers(backends)) as pool:
        choice = choose(graph, given, pool, repeats=repeats, cache=cache, progress=progress)
        ways = sorted(choice.networks, key=lambda name: (name != choice.best, name))
        served = Fallback({name: choice.networks[name] for name in ways})
        outcome = served.run(given)
        timeline = choice.networks[served.current or choice.best].timeline(outcome)
        placed = outcome if choice.best == PLACED else choice.networks[PLACED].run(given)
    found = choice.comparison
    how = "placed on several workers" if choice.best == PLACED else choice.best
    low, high = found.interval_s(choice.best)
    figure = Evidence(
        subject=f"{graph.name} here", metric="latency", value=found.median_s(choice.best),
        unit="s", interval=(low, high), context=run_context(graph, how),
        source=Source(
            basis=Basis.MEASURED, where=describe_machine().summary,
            note=f"median of {found.rounds} rounds, all ways in turn",
        ),
    )  # fmt: skip
    judgement = None
    if check:
        judgement = judge_outputs(outcome.outputs, graph.evaluate(given), tolerance(graph))
    page = Page(
        title=f"{graph.name} on this machine",
        sections=(facts(outcome.outputs, [figure], judgement), *placing_sections(choice, placed)),
    )
    return RunResult(outputs=outcome.outputs, evidence=(figure,), judgement=judgement, page=page,
                     timeline=timeline)  # fmt: skip
