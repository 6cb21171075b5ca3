"""Replay a plan from its file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.errors import SpecError
from orrery.plan import check_plan, read_plan

from ._map import judge_plan
from ._options import ModelOptions
from ._resolve import load_models, load_system
from ._result import MapResult

__all__ = ["simulate"]


def simulate(
    plan: str | Path,
    *,
    models: Sequence[object] = (),
    on: object = None,
    options: ModelOptions | None = None,
    needs: Sequence[str] = (),
) -> MapResult:
    """Price and replay a plan file.

    Parameters
    ----------
    plan : a plan.json
    models, on : the networks and the system, when their names in the plan are not those of the
        library and the catalogue; content that differs from the planned one is refused
    options : as given when the plan was made (batch, phase, …)

    Raises
    ------
    PlanMismatchError : the networks or the system are not those of the plan
    """
    from orrery.report import parse_need

    parsed = [parse_need(text) for text in needs]
    read = read_plan(Path(plan))
    names = list(models) or [model.name for model in read.models]
    if len(names) != len(read.models):
        raise SpecError(
            "--model",
            found=f"{len(names)} networks",
            wanted=f"{len(read.models)}: {', '.join(m.name for m in read.models)}",
            fix="give one per network of the plan, in its order",
        )
    graphs = load_models(names, options)
    system = load_system(on or read.system.name)
    check_plan(read, graphs, system)
    return judge_plan(graphs, system, read, needs=parsed)
