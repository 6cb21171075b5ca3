"""A plan from its file, with the networks and the system it was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan, check_plan, read_plan
from orrery.store import strict_convert

from .._machines import load_system
from .._options import ModelOptions
from .._resolve import distinct, load_model
from ._origins import found_again


def load_planned(
    path: Path,
    models: Sequence[object] = (),
    on: object = None,
    *,
    seen_from_here: bool = False,
) -> tuple[Plan, list[Graph], System]:
    """Read a plan and get its networks and system again, as the plan remembers them.

    Parameters
    ----------
    models, on : where they are now, when not where they were when the plan was made
    seen_from_here : return the plan with its networks where they were found, to be written anew;
        else as it stands in the file

    Raises
    ------
    PlanMismatchError : they differ from what the plan was made for
    """
    from ..keeping import refuse_placement

    plan = read_plan(path)
    refuse_placement(path, plan)
    graphs, origins = planned_networks(plan, path, models)
    system = _system(plan, path, on)
    check_plan(plan, graphs, system)
    if seen_from_here:
        plan = replace(
            plan,
            models=tuple(
                replace(model, origin=str(origin)) if isinstance(origin, str | Path) else model
                for model, origin in zip(plan.models, origins, strict=True)
            ),
        )
    return plan, graphs, system


def planned_networks(
    plan: Plan, path: Path, models: Sequence[object] = ()
) -> tuple[list[Graph], list[object]]:
    """Return a plan's networks, from where they are now, and what each was taken from."""
    origins: list[object] = list(models) or [
        found_again(m.origin or m.name, path) for m in plan.models
    ]
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
                origin,
                _options(model.options, path),
            )
            for origin, model in zip(origins, plan.models, strict=True)
        ],
        origins,
    )
    return graphs, origins


def _options(given: Mapping[str, object], path: Path) -> ModelOptions:
    """Return how a network of a plan was taken, its weights from where they are now."""
    options = strict_convert(dict(given), ModelOptions, where=str(path))
    if options.weights is None:
        return options
    return replace(options, weights=found_again(options.weights, path, "weights"))


def _system(plan: Plan, path: Path, on: object) -> System:
    """Return the system: as given, as written beside the plan, or from where it came."""
    beside = path.parent / "system.yaml"
    if on is None and beside.is_file():
        system = load_system(beside)
        if system.digest == plan.system.digest:
            return system
    return load_system(on or found_again(plan.system.origin or plan.system.name, path, "system"))
