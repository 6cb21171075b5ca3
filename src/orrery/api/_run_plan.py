"""Execute a plan on this machine, which plays all of its devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.accel import plan_evaluators
from orrery.evidence import Evidence
from orrery.progress import Progress
from orrery.provenance import Basis, Source
from orrery.report import Page, TimelineChart
from orrery.runtime import Backend, Execution, execute, region_evaluator

from ._inputs import make_inputs
from ._run_result import RunResult, facts, run_context, tolerance
from .checking import judge_designs, judge_outputs
from .planned import load_planned


def run_plan(
    path: Path,
    backend: Backend,
    inputs: str | Path | Mapping[str, NDArray[Any]] | None,
    seed: int,
    *,
    check: bool,
    models: Sequence[object],
    designs: bool,
    progress: Progress,
) -> RunResult:
    """Run a plan with a thread per device of it, a process per device where regions are split."""
    plan, graphs, system = load_planned(path, models)
    given = {
        m.prefix + name: value
        for m, graph in zip(plan.models, graphs, strict=True)
        for name, value in make_inputs(graph, inputs, seed, m.prefix).items()
    }
    evaluate = region_evaluator(backend)
    if designs:
        devices = plan_evaluators(plan, evaluate)
    else:
        devices = {device: evaluate for a in plan.assignments for device in a.devices}
    done = execute(
        plan, graphs, given, devices, system=system, warmup=1, progress=progress
    )  # fmt: skip
    figure = Evidence(
        subject=f"{', '.join(g.name for g in graphs)} by plan here",
        metric="latency",
        value=done.timeline.makespan_s,
        unit="s",
        context=run_context(graphs[0], backend.name),
        source=Source(
            basis=Basis.MEASURED,
            where=done.source.where,
            note=f"{done.source.note}; this machine plays the plan's devices",
        ),
    )
    figures = (figure, *_messages(done, figure))
    judgement = None
    rounding = max(tolerance(graph) for graph in graphs)
    if check and designs:
        judgement = judge_designs(
            plan, graphs, given, done.outputs, otherwise=evaluate, rounding=rounding
        )
    elif check:
        wanted = {
            m.prefix + name: value
            for m, graph in zip(plan.models, graphs, strict=True)
            for name, value in graph.evaluate(
                {name: given[m.prefix + name] for name in graph.inputs}
            ).items()
        }
        judgement = judge_outputs(done.outputs, wanted, rounding)
    chart = TimelineChart(title="Measured timeline", timeline=done.timeline)
    page = Page(
        title=f"{path.name} on this machine, {backend.name}",
        sections=(facts(done.outputs, figures, judgement), chart),
    )
    return RunResult(
        outputs=done.outputs,
        evidence=figures,
        judgement=judgement,
        page=page,
        timeline=done.timeline,
    )


def _messages(done: Execution, figure: Evidence) -> list[Evidence]:
    """Return what processes sent each other; nothing where one process did everything."""
    if not done.ends:
        return []
    source = replace(figure.source, note=f"counted by the senders; {figure.source.note}")
    counts = {
        "processes": (len(done.ends), ""),
        "messages": (done.messages, ""),
        "message bytes": (done.sent_bytes, "bytes"),
    }
    return [
        replace(figure, metric=metric, value=float(value), unit=unit, source=source)
        for metric, (value, unit) in counts.items()
    ]
