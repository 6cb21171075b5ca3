"""``orrery simulate``, ``orrery chakra``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api

from ._map import finish
from ._options import JsonFlag, Needs, Out, show_page


def simulate(
    plan: Path,
    /,
    *,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    on: str | None = None,
    need: Needs = (),
    inferences: int = 0,
    strict: Annotated[bool, Parameter(negative=())] = False,
    chakra: Path | None = None,
    out: Out = None,
    json: JsonFlag = False,
) -> int:
    """Replay a plan event by event, with links shared by concurrent transfers.

    Parameters
    ----------
    plan
        A plan.json of `orrery map`; it remembers its networks, their options and its system.
    model
        Where the plan's network is now, when it has moved; repeatable.
    on
        Where the plan's system is now, when it has moved.
    inferences
        Replay so many inputs in a row at most (4 or more), until they leave in a steady rhythm.
    strict
        Refuse when anything of the network could not be priced.
    chakra
        Folder for execution traces in Chakra's format, one file per device; `orrery chakra` and
        simulators of its community read them.
    """
    result = api.simulate(plan, models=model, on=on, needs=need, strict=strict,
                          inferences=inferences, chakra=chakra)  # fmt: skip
    code = finish(result, out, as_json=json)
    if chakra is not None and not json:
        print(f"\ntraces: {chakra}")
    return code


def chakra(files: list[Path], /, *, out: Out = None, json: JsonFlag = False) -> int:
    """Read Chakra execution traces of all ranks, whoever wrote them, and play them.

    Every node starts when what it depends on has ended, and takes as long as it says.

    Parameters
    ----------
    files
        Files in the order of ranks, or one folder of NAME.RANK.et.
    """
    run = api.chakra(files)
    written = run.write(out) if out is not None else {}
    show_page(run.page, as_json=json, rows=200, files=written)
    if written and not json:
        print(f"\nreport: {written['report']}\nalso:   {written['timeline']}")
    return 0
