"""Replay a plan from its file, whoever wrote it; and how the networks of a plan are found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.plan import Plan, check_plan, read_plan
from orrery.store import strict_convert

from ._machines import load_system
from ._options import ModelOptions
from ._resolve import distinct, load_model
from ._result import MapResult
from .judging import judge_plan

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.hardware import System

__all__ = ["load_planned", "simulate"]


def simulate(
    plan: str | Path,
    *,
    models: Sequence[object] = (),
    on: object = None,
    needs: str | Sequence[str] = (),
    strict: bool = False,
) -> MapResult:
    """Price and replay a plan file.

    Parameters
    ----------
    plan : a plan.json
    models, on : where its networks and its system are now, when they have moved
    needs, strict : as in `map`

    Raises
    ------
    PlanMismatchError : the networks or the system are not those of the plan
    """
    from orrery.report import parse_needs

    parsed = parse_needs(needs)
    read, graphs, system = load_planned(Path(plan), models, on)
    return judge_plan(graphs, system, read, needs=parsed, strict=strict)


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
    graphs = distinct(
        [
            load_model(
                _found(origin, path),
                strict_convert(dict(model.options), ModelOptions, where=str(path)),
            )
            for origin, model in zip(origins, plan.models, strict=True)
        ],
        origins,
    )
    system = _system(plan, path, on)
    check_plan(plan, graphs, system)
    return plan, graphs, system


def _found(origin: object, plan: Path) -> object:
    """Return where a network is: where it was, or beside the plan."""
    if not isinstance(origin, str) or "." not in Path(origin).name or Path(origin).exists():
        return origin
    beside = plan.parent / Path(origin).name
    if beside.exists():
        return str(beside)
    raise SpecError(
        str(plan),
        found=f"no network at {origin}, where the plan was made from",
        wanted="the network of the plan",
        fix="say where it is now: --model PATH (for `run`: --plan-model PATH)",
    )


def _system(plan: Plan, path: Path, on: object) -> System:
    """Return the system: as given, as written beside the plan, or from where it came."""
    beside = path.parent / "system.yaml"
    if on is None and beside.is_file():
        system = load_system(beside)
        if system.digest == plan.system.digest:
            return system
    return load_system(on or plan.system.origin or plan.system.name)
