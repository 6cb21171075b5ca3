"""Replay a plan from its file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._result import MapResult
from .judging import judge_plan
from .planned import load_planned

__all__ = ["simulate"]


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
    read, graphs, system = load_planned(Path(plan), models, on, seen_from_here=True)
    return judge_plan(graphs, system, read, needs=parsed, strict=strict)
