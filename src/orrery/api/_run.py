"""Execute a network, or a plan, on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source
from orrery.report import Page, TimelineChart

from ._inputs import agreement, make_inputs
from ._options import ModelOptions
from ._planned import load_planned
from ._resolve import load_model
from ._run_result import RunResult, facts, run_context

if TYPE_CHECKING:
    from orrery.runtime import Backend

__all__ = ["run"]


def run(
    model: object,
    *,
    backend: str = "onnxruntime",
    inputs: str | Path | Mapping[str, NDArray[Any]] | None = None,
    seed: int = 0,
    repeats: int = 20,
    check: bool = False,
    options: ModelOptions | None = None,
    plan_models: Sequence[object] = (),
    designs: bool = False,
    progress: Progress = SILENT,
) -> RunResult:
    """Run a network, or a plan.json with one thread per device, and time it.

    Parameters
    ----------
    model : an ONNX file, a library name, a `Graph`, or a plan.json
    backend : ``onnxruntime`` or ``reference`` (NumPy, slow, the definition of what is right)
    inputs : an .npz file or arrays by input name; None draws them from `seed`
    repeats : timed runs of a network; a plan is run twice and the second is timed
    check : also run the NumPy reference and compare every output
    plan_models : where a plan's networks are now, when they have moved
    designs : of a plan: compute every region bit for bit as the design it is planned on would
    """
    from orrery.runtime import BACKENDS, measure

    chosen = BACKENDS[backend]()
    if isinstance(model, str | Path) and str(model).endswith(".json"):
        return _run_plan(
            Path(model),
            chosen,
            inputs,
            seed,
            check=check,
            models=plan_models,
            designs=designs,
            progress=progress,
        )
    graph = load_model(model, options)
    if (why := chosen.refuses(graph)) is not None:
        raise SpecError(
            f"{graph.name} with {backend}",
            found=why,
            wanted="a network it can run",
            fix="try --backend reference",
        )
    given = make_inputs(graph, inputs, seed)
    executable = chosen.prepare(graph)
    outputs = executable.run(given)
    timing = measure(executable, given, repeats=repeats, progress=progress)
    figure = timing.evidence(
        f"{graph.name} here",
        run_context(graph, chosen.name) | {"confidence": f"{timing.confidence:.1%}"},
    )
    error = agreement(outputs, graph.evaluate(given)) if check else None
    title = f"{graph.name} on this machine, {chosen.name}"
    page = Page(title=title, sections=(facts(outputs, [figure], error),))
    return RunResult(outputs=outputs, evidence=(figure,), worst_error=error, page=page)


def _run_plan(
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
    from orrery.accel import plan_evaluators
    from orrery.runtime import execute, region_evaluator

    plan, graphs, _ = load_planned(path, models)
    given = {
        m.prefix + name: value
        for m, graph in zip(plan.models, graphs, strict=True)
        for name, value in make_inputs(graph, inputs, seed, m.prefix).items()
    }
    evaluate = region_evaluator(backend)
    if designs:
        devices = plan_evaluators(plan, evaluate)
    else:
        devices = {assignment.device: evaluate for assignment in plan.assignments}
    done = execute(plan, graphs, given, devices, warmup=1, progress=progress)
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
    error = None
    if check:
        wanted = {
            m.prefix + name: value
            for m, graph in zip(plan.models, graphs, strict=True)
            for name, value in graph.evaluate(
                {name: given[m.prefix + name] for name in graph.inputs}
            ).items()
        }
        error = agreement(done.outputs, wanted)
    chart = TimelineChart(title="Measured timeline", timeline=done.timeline)
    page = Page(
        title=f"{path.name} on this machine, {backend.name}",
        sections=(facts(done.outputs, [figure], error), chart),
    )
    return RunResult(
        outputs=done.outputs,
        evidence=(figure,),
        worst_error=error,
        page=page,
        timeline=done.timeline,
    )
