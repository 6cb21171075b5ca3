"""``orrery simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api

from ._map import finish
from ._options import JsonFlag, Needs, Out


def simulate(
    plan: Path,
    /,
    *,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    on: str | None = None,
    need: Needs = (),
    inferences: int = 0,
    strict: Annotated[bool, Parameter(negative=())] = False,
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
    """
    result = api.simulate(plan, models=model, on=on, needs=need, strict=strict,
                          inferences=inferences)  # fmt: skip
    return finish(result, out, as_json=json)
