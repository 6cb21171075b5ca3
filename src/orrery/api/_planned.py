"""A plan file with the networks and the system it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.plan import Plan, check_plan, read_plan
from orrery.store import strict_convert

from ._machines import load_system
from ._options import ModelOptions
from ._resolve import load_model

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.hardware import System

__all__ = ["load_planned"]


def load_planned(
    path: Path, models: Sequence[object] = (), on: object = None
) -> tuple[Plan, list[Graph], System]:
    """Read a plan and get its networks and system again, as the plan remembers them.

    Parameters
    ----------
    models, on : where they are now, when not where they were when the plan was made

    Raises
    ------
    PlanMismatchError : they differ from what the plan was made for
    """
    plan = read_plan(path)
    origins = list(models) or [model.origin or model.name for model in plan.models]
    if len(origins) != len(plan.models):
        raise SpecError(
            "--model",
            found=f"{len(origins)} networks",
            wanted=f"{len(plan.models)}: {', '.join(m.name for m in plan.models)}",
            fix="give one per network of the plan, in its order",
        )
    graphs = [
        load_model(origin, strict_convert(dict(model.options), ModelOptions, where=str(path)))
        for origin, model in zip(origins, plan.models, strict=True)
    ]
    system = load_system(on or plan.system.origin or plan.system.name)
    check_plan(plan, graphs, system)
    return plan, graphs, system
