"""``orrery run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, Options, Out, show_page
from ._terminal import progress_bar, written


def run(
    model: str,
    /,
    *,
    backend: Literal["onnxruntime", "openvino", "torch", "reference"] = "onnxruntime",
    inputs: Path | None = None,
    seed: int = 0,
    repeats: int = 20,
    designs: Annotated[bool, Parameter(negative=())] = False,
    check: Annotated[bool, Parameter(negative=())] = False,
    profile: Annotated[bool, Parameter(negative=())] = False,
    plan_model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    on: Literal["this-machine"] | None = None,
    workers: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    fresh: Annotated[bool, Parameter(negative=())] = False,
    onnx: Annotated[bool, Parameter(negative=())] = False,
    out: Out = None,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Execute a network or a plan on this machine and time it.

    Parameters
    ----------
    model
        ONNX file, a name of `orrery models`, or a plan.json.
    backend
        What executes: ONNX Runtime, OpenVINO, PyTorch node by node, or the NumPy reference (slow,
        the definition of right).
    inputs
        An .npz file with one array per input; without it inputs are drawn from the seed.
    seed
        Of the drawn inputs.
    repeats
        Timed runs.
    designs
        Of a plan: compute every region bit for bit as the design it is planned on would.
    check
        Also run the NumPy reference and compare; exit code 1 when they differ by more than
        rounding explains, or with --designs, than a design states of itself.
    profile
        Of a network: also time every layer, nothing fused; with --out the table goes to
        layers.csv, which `orrery calibrate` takes.
    plan_model
        Where a plan's network is now, when it has moved; repeatable.
    on
        `this-machine`: cut the network into parts, place them on the processors and back ends that
        are here, and run it so where that is surely quicker than the whole on one of them. With
        --out, plan.json keeps the placement: `orrery run DIR/plan.json` runs it again as it is.
    workers
        With --on: BACKEND, BACKEND@DEVICE or DEVICE, where a device is a set of processors (cpu0,
        cpu0-3) or a GPU (cuda:0); repeatable. Otherwise all back ends that are installed, PyTorch
        on GPUs alone.
    fresh
        With --on: time the parts again, even where times of them are kept. With a plan.json that
        came of --on: place its network anew.
    onnx
        With --on and --out: also write placed.onnx, the network with the worker, back end and
        device of every node in its metadata.
    """
    if onnx and (out is None or (on is None and not model.endswith(".json"))):
        raise SpecError("--onnx", found="no --out" if out is None else "no --on",
                        wanted="--on this-machine and --out", fix="add it")  # fmt: skip
    with progress_bar() as progress:
        result = api.run(
            model,
            backend=backend,
            inputs=inputs,
            seed=seed,
            repeats=repeats,
            check=check,
            options=options,
            plan_models=plan_model,
            designs=designs,
            profile=profile,
            on=on,
            backends=workers,
            fresh=fresh,
            progress=progress,
        )
    files = result.write(out, onnx=onnx) if out is not None else {}
    show_page(result.page, as_json=json, files=files)
    if files and not json:
        print("\n" + written("written: ", files))
    return 0 if result.agrees else 1
