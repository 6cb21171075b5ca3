"""``orrery simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api

from ._map import finish
from ._options import JsonFlag, Needs, Options, Out


def simulate(
    plan: Path,
    /,
    *,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    on: str | None = None,
    need: Needs = (),
    out: Out = None,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Replay a plan event by event, with links shared by concurrent transfers.

    Parameters
    ----------
    plan
        A plan.json; give the network options it was made with.
    model
        The plan's network, when it is a file and not a library name; repeatable.
    on
        The plan's system, when it is a file and not a catalogue name.
    """
    result = api.simulate(plan, models=model, on=on, options=options, needs=need)
    return finish(result, out, as_json=json)
