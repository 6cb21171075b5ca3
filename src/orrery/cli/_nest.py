"""``orrery nest``, ``orrery arrays``, ``orrery timeloop``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, Model, Needs, Options, Out, show_page
from ._terminal import progress_bar


def nest(
    model: Model,
    /,
    *,
    on: Annotated[str, Parameter(name="--on")],
    objective: Literal["latency", "energy", "edp"] = "latency",
    layer: str = "",
    bill: Annotated[bool, Parameter(negative=())] = False,
    fuse: Literal["none", "tails", "on-chip"] = "none",
    need: Needs = (),
    macs_only: Annotated[bool, Parameter(negative=())] = False,
    export: str = "",
    opinion: str = "",
    rows: Annotated[int, Parameter(validator=Number(gte=1))] = 60,
    zeros: Annotated[api.ZeroOptions, Parameter(name="*", group="Zeros in the data")] = (
        api.ZeroOptions()  # noqa: B008  # frozen
    ),
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
    out: Out = None,
) -> int:
    """Find the best loop nest of every layer on one array: cycles, energy, traffic per memory.

    Every tiling, order and place on the array is covered; layers that are equal are searched once,
    and what was found is kept on disk.

    Parameters
    ----------
    on
        YAML file of a spatial accelerator, ours or Timeloop's (or a folder of those), or a name of
        `orrery arrays`.
    objective
        What to make least: cycles, joules, or joules times cycles (edp). Of equally fast nests
        those of least energy are taken, of equally frugal ones the fastest.
    layer
        Show this layer's nest, where it loses speed, and what would help.
    bill
        List every charge of the energy bill: how often, at which price, from which source.
    fuse
        Let element-wise operators join the nest before them (tails); let tensors stay on chip
        between layers as well (on-chip).
    macs_only
        Leave passes over data (pooling, what nothing fuses) to another unit.
    export
        Write array, layers and nests for another tool: zigzag:FOLDER or accelforge:FOLDER.
    opinion
        Show what another tool says of the same layers: zigzag:PATH or accelforge:PATH of its
        results.
    rows
        Most rows shown of a table (JSON has all).
    """
    if fuse != "none" and (export or opinion):
        raise SpecError("--fuse", found="--export or --opinion", wanted="layers one by one",
                        fix="leave out one of them: other tools see no tensor stay")  # fmt: skip
    with progress_bar() as progress:
        result = api.nest(model, on=on, objective=objective, layer=layer, bill=bill,
                          fuse=fuse, need=need, macs_only=macs_only, options=options,
                          zeros=zeros, progress=progress)  # fmt: skip
    files = {}
    if export:
        exported = api.export_nests(model, result, export, options=options)
        result, files = exported.result, {path.name: path for path in exported.files}
    if opinion:
        result = api.with_opinion(model, result, opinion, options=options)
    files |= result.write(out) if out is not None else {}
    show_page(result.page, as_json=json, rows=rows, files=files)
    return 0 if result.needs_met else 1


def arrays(name: str | None = None, /, *, json: JsonFlag = False) -> int:
    """List the spatial accelerators of the catalogue, or print one as YAML.

    Parameters
    ----------
    name
        An array to print: a starting point for one of your own. Of a file (ours or Timeloop's, or
        a folder of those), the array as it is understood.
    """
    if name is None:
        show_page(api.arrays(), as_json=json, rows=10_000)
    else:
        print(api.array_text(name), end="")
    return 0


def timeloop(
    files: list[Path],
    /,
    *,
    objective: Literal["latency", "energy", "edp"] | None = None,
    bill: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
) -> int:
    """Read files for Timeloop, v0.2 to v0.4: the array, and what the mapping in them takes.

    Says what was assumed and what could not be taken over. For a network on such an array:
    orrery nest MODEL --on FILE (or the folder).

    Parameters
    ----------
    files
        Architecture, constraints, problem, mapping, Accelergy's ERT: files, or one folder of them.
    objective
        Find the best nest too. Without a mapping in the files the best is found in any case.
    bill
        List every charge of the energy bill: how often, at which price, from which source.
    """
    page = api.timeloop(files, objective=objective or "", bill=bill)
    show_page(page, as_json=json, rows=200)
    return 0
