"""Execute a network, or a plan, on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.progress import SILENT, Progress
from orrery.report import Page, Section

from ._inputs import make_inputs
from ._options import ModelOptions
from ._resolve import load_model
from ._run_plan import run_plan
from ._run_result import RunResult, facts, run_context, tolerance
from .checking import judge_outputs


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
    profile: bool = False,
    on: str | None = None,
    backends: Sequence[str] = (),
    fresh: bool = False,
    progress: Progress = SILENT,
) -> RunResult:
    """Run a network, or a plan.json with a thread or process per device, and time it.

    Parameters
    ----------
    model : an ONNX file, a library name, a `Graph`, or a plan.json
    backend : ``onnxruntime``, ``openvino``, ``torch`` (node by node) or ``reference`` (NumPy, slow,
        the definition of what is right)
    inputs : an .npz file or arrays by input name; None draws them from `seed`
    repeats : timed runs of a network; a plan is run twice and the second is timed
    check : also run the NumPy reference and compare every output; with `designs`, every region
        against the reference by the tolerance that its design states
    plan_models : where a plan's networks are now, when they have moved
    designs : of a plan: compute every region bit for bit as the design it is planned on would
    profile : of a network, with ONNX Runtime: also time every layer, nothing fused, as
        `calibrate` wants it
    on : ``this-machine``: place the network's parts on the workers that are here (sets of
        processors, back ends), where that is quicker than the whole on one; a plan.json that came
        of this is run as it is
    backends : the workers: ``BACKEND``, ``BACKEND@DEVICE`` or ``DEVICE``; none: all back ends that
        are installed, PyTorch on GPUs alone
    fresh : with `on`, time the parts again even where a profile of them is kept; of a plan.json
        that came of it, place its network anew
    """
    from .placing import is_kept, run_here

    if on is not None or is_kept(model):
        return run_here(
            model, on=on, backend=backend, backends=backends, inputs=inputs, seed=seed,
            repeats=repeats, check=check, options=options, plan_models=plan_models, fresh=fresh,
            designs=designs, profile=profile, progress=progress,
        )  # fmt: skip
    if backends or fresh:
        raise SpecError("run", found="--workers" if backends else "--fresh",
                        wanted="--on this-machine with it", fix="add it")  # fmt: skip
    from orrery.runtime import BACKENDS, layer_times, measure

    chosen = BACKENDS[backend]()
    planned = isinstance(model, str | Path) and str(model).endswith(".json")
    if not planned and (designs or plan_models):
        raise SpecError(
            "run",
            found="plan options with a network",
            wanted="a plan.json",
            fix="leave out --designs and --plan-model",
        )
    if not planned and repeats < 1:  # said before the network is made and run
        raise SpecError("run: repeats", found=repeats, wanted="1 or more",
                        fix="correct the number")  # fmt: skip
    if profile and (planned or backend != "onnxruntime"):
        raise SpecError(
            "run",
            found="--profile with a plan" if planned else f"--profile with {backend}",
            wanted="a network on onnxruntime, which times its layers",
            fix="leave out --profile",
        )
    if planned and options not in (None, ModelOptions()):
        raise SpecError(
            "run",
            found="network options with a plan",
            wanted="none: the plan knows them",
            fix="leave them out, or map the network again with them",
        )
    if isinstance(model, str | Path) and planned:
        return run_plan(
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
            fix="take a smaller batch or size" if "memory" in why else "try --backend reference",
        )
    given = make_inputs(graph, inputs, seed)
    executable = chosen.prepare(graph)
    outputs = executable.run(given)
    timing = measure(executable, given, repeats=repeats, progress=progress)
    figure = timing.evidence(
        f"{graph.name} here",
        run_context(graph, chosen.name),
    )
    judgement = None
    if check:
        judgement = judge_outputs(outputs, graph.evaluate(given), tolerance(graph))
    title = f"{graph.name} on this machine, {chosen.name}"
    sections: list[Section] = [facts(outputs, [figure], judgement)]
    layers: tuple[tuple[str, ...], ...] = ()
    if profile:
        from .calibrating import layer_rows, profile_table

        times = layer_times(graph, given, repeats=repeats, progress=progress)
        sections.append(profile_table(graph, times))
        layers = layer_rows(model if isinstance(model, str | Path) else graph.name, times, options)
    page = Page(title=title, sections=tuple(sections))
    return RunResult(
        outputs=outputs,
        evidence=(figure,),
        judgement=judgement,
        page=page,
        layers=layers,
    )
