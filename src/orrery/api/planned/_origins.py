"""Where the networks and the system of a plan are: relative to the plan's own folder.

A folder that holds plan and network can move as a whole, and a plan can be opened from anywhere.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from orrery.errors import SpecError
from orrery.graph import MODELS
from orrery.hardware import THIS_MACHINE, system_names
from orrery.plan import Plan

_FLAG = {
    "model": "say where it is now: --model PATH (for `run`: --plan-model PATH)",
    "system": "say where it is now: --on PATH",
    "weights": "put it there, or map the network again",
}


def placed_beside(plan: Plan, folder: Path) -> Plan:
    """Return a plan to be written into a folder: its files are named as seen from there.

    Before: ``nets/a.onnx``, as seen from the current folder. After, in ``out``:
    ``../nets/a.onnx``.
    """
    return replace(
        plan,
        models=tuple(
            replace(
                m,
                origin=_seen_from(folder, m.origin),
                options={
                    key: _seen_from(folder, str(value)) if key == "weights" else value
                    for key, value in m.options.items()
                },
            )
            for m in plan.models
        ),
        system=replace(plan.system, origin=_seen_from(folder, plan.system.origin)),
    )


def _seen_from(folder: Path, origin: str) -> str:
    path = Path(origin)
    if _is_known(origin) or not path.is_file():
        return origin
    # Folders without links, in which ".." means what it says; a link to the file stays one.
    path = path.parent.resolve() / path.name
    try:
        seen = Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # on another drive there is no way from here to there
        return str(path)
    return seen if "/" in seen else f"./{seen}"


def found_again(
    origin: str, plan: Path, kind: Literal["model", "system", "weights"] = "model"
) -> str:
    """Return where a file of a plan is: as seen from the plan, from here, or beside the plan.

    Plans of earlier versions and plans never written with their folder in mind are as seen from
    here; names of the library and the catalogue stay as they are.

    Raises
    ------
    SpecError : it is in none of these places
    """
    if _is_known(origin) or not ("/" in origin or os.sep in origin or "." in origin):
        return origin
    for place in (plan.parent / origin, Path(origin), plan.parent / Path(origin).name):
        if place.is_file():
            return str(place)
    raise SpecError(
        str(plan),
        found=f"no {kind} at {origin}, relative to {plan.parent.resolve()}",
        wanted=f"the {'network' if kind == 'model' else kind} of the plan",
        fix=_FLAG[kind],
    )


def _is_known(origin: str) -> bool:
    """Return whether text is a name of the library or the catalogue, and so no path."""
    name = origin.partition("(")[0].strip()  # a catalogue name may carry options
    return not origin or origin in MODELS or name in (THIS_MACHINE, *system_names())
