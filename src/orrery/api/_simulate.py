"""Replay a plan from its file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.report import parse_needs

from ._result import MapResult
from .exploring import under_load
from .judging import judge_plan
from .planned import load_planned
from .tracing import write_chakra


def simulate(
    plan: str | Path,
    *,
    models: Sequence[object] = (),
    on: object = None,
    needs: str | Sequence[str] = (),
    strict: bool = False,
    inferences: int = 0,
    chakra: str | Path | None = None,
) -> MapResult:
    """Price and replay a plan file.

    Parameters
    ----------
    plan : a plan.json
    models, on : where its networks and its system are now, when they have moved
    needs, strict : as in `map`
    inferences : how many to replay in a row at most, so that their period and their latency under
        load are known; 0: none, but for a plan that was made for throughput
    chakra : folder for execution traces in Chakra's format, one file per device

    Raises
    ------
    PlanMismatchError : the networks or the system are not those of the plan
    """
    parsed = parse_needs(needs)
    read, graphs, system = load_planned(Path(plan), models, on, seen_from_here=True)
    result = judge_plan(graphs, system, read, needs=parsed, strict=strict)
    if chakra is not None:
        write_chakra(result, graphs, chakra)
    if inferences or read.objective == "throughput":
        return under_load(result, graphs, parsed, most=inferences)
    return result
