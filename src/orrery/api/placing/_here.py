"""Run a network on the workers of this machine, in the quickest way that was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, did_you_mean
from orrery.plan import read_plan
from orrery.progress import Progress

from .._options import ModelOptions
from .._run_result import RunResult
from ..keeping import is_placement
from ._open import opened

_HERE = "this-machine"

#: options of `run` that say nothing where a network is placed here, and why
_MEANS_NOTHING = {
    "--backend": "is of one back end, and each worker has its own (--workers chooses)",
    "--designs": "computes as the devices of a system would, and workers run as they are",
    "--profile": "times single layers, and workers run whole subgraphs",
    "--plan-model": "says where the network of a plan.json is, and this is a network",
}


def is_kept(model: object) -> bool:
    """Whether this is the file of a plan for the workers of this machine."""
    planned = isinstance(model, str | Path) and str(model).endswith(".json")
    return planned and is_placement(read_plan(Path(str(model))))


def run_here(
    model: object,
    *,
    on: str | None,
    backend: str,
    backends: Sequence[str],
    inputs: Any,
    seed: int,
    repeats: int,
    check: bool,
    options: ModelOptions | None,
    plan_models: Sequence[object],
    fresh: bool,
    designs: bool,
    profile: bool,
    progress: Progress,
) -> RunResult:
    """Place a network on the workers here, compare, and run it in the quicker way.

    A kept plan is run as it is.

    Parameters
    ----------
    backends : as `workers_here` takes them; none: all that are here, PyTorch on GPUs alone
    repeats : rounds in which all ways are compared, or a kept plan is timed
    fresh : time subgraphs again even where a profile of them is kept; of a kept plan, place its
        network anew
    backend, designs, profile : options that mean nothing here and are refused
    """
    planned = isinstance(model, str | Path) and str(model).endswith(".json")
    if on not in (None, _HERE):
        raise SpecError("run --on", found=on, wanted=f"{_HERE}{did_you_mean(str(on), [_HERE])}",
                        fix="to plan for another machine, see `orrery map`")  # fmt: skip
    unused = {
        "--backend": backend != "onnxruntime", "--designs": designs, "--profile": profile,
        "--plan-model": bool(plan_models) and not planned,
        "--workers": bool(backends) and planned and not fresh,
        "network options": planned and options not in (None, ModelOptions()),
    }  # fmt: skip
    listed = [name for name, given in unused.items() if given]
    if listed and planned:
        raise SpecError(
            f"run {model}", found=", ".join(listed),
            wanted="none of these: the plan knows its network and workers",
            fix="leave them out, or place the network anew with --fresh",
        )  # fmt: skip
    if listed:
        why = "; ".join(f"{name} {_MEANS_NOTHING[name]}" for name in listed)
        raise SpecError("run --on", found=", ".join(listed), wanted=f"none of these: {why}",
                        fix="leave them out")  # fmt: skip
    with opened(
        model, backends=backends, inputs=inputs, seed=seed, repeats=repeats, options=options,
        fresh=fresh, plan_models=plan_models, progress=progress,
    ) as (ready, given):  # fmt: skip
        return ready.answer(given, check=check, title=f"{ready.graph.name} on this machine")
