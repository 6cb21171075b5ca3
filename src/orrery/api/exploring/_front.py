"""The front of latency, throughput, energy, memory and devices; the best plan under ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orrery.errors import CancelledError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import Ceilings, Found, conflict, front_plans, non_dominated
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress
from orrery.report import Need

from .._machines import cost_models
from ..judging import judge_plan
from ._candidate import Candidate, measured
from ._ceilings import budget_of, why_none
from ._under_load import under_load


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """All candidates, the chosen one's plan, or why none keeps the ceilings."""

    candidates: tuple[Candidate, ...]
    best: Plan | Infeasible
    interrupted: bool = False


def front_of(
    found: Found, graphs: Sequence[Graph], system: System, objective: str,
    needs: Sequence[Need], ceilings: Ceilings, progress: Progress,
) -> Front:  # fmt: skip
    """Return plans that trade one figure for another, and the best that meets all needs.

    Raises
    ------
    SpecError : a need for a figure that is not known of any plan
    """
    costs, budget = cost_models(system), budget_of(needs, system)
    plans = [t.outcome for t in found.tried if isinstance(t.outcome, Plan)]
    interrupted = found.interrupted
    try:
        if not interrupted:
            plans += front_plans(found.problem(), costs, ceilings=ceilings, budget=budget,
                                 progress=progress)  # fmt: skip
    except CancelledError:
        interrupted = True
    loaded = objective == "throughput"
    looked = (measured(plan, graphs, system, costs, needs, loaded=loaded) for plan in plans)
    candidates = [one for one in looked if one is not None]
    marks = non_dominated([c.figures for c in candidates])
    candidates = [replace(c, on_front=mark) for c, mark in zip(candidates, marks)]
    chosen: Candidate | None = None
    for number in sorted(range(len(candidates)), key=lambda n: candidates[n].rank(objective)):
        one = candidates[number]
        if loaded and needs and one.keeps_all:  # what only inputs in a row can tell
            judged = judge_plan(graphs, system, one.plan)
            one = replace(one, verdicts=under_load(judged, graphs, needs).verdicts)
            candidates[number] = one
        if one.keeps_all:
            chosen = one
            break
    if chosen is None:
        met = [[v.status == "pass" for v in c.verdicts] for c in candidates]
        why = why_none([c.verdicts for c in candidates], needs, conflict(met), system)
        return Front(candidates=tuple(candidates), best=why, interrupted=interrupted)
    best = _of_periods(chosen.plan, found) if loaded else chosen.plan
    if interrupted and not found.interrupted:
        note = "The search was interrupted; this is the best plan it had found."
        best = replace(best, notes=(*best.notes, note))
    candidates = [replace(c, plan=best) if c is chosen else c for c in candidates]
    return Front(candidates=tuple(candidates), best=best, interrupted=interrupted)


def _of_periods(plan: Plan, found: Found) -> Plan:
    """Return a plan for throughput; of sets, with the bound that their search for it proved."""
    plan = replace(plan, objective="throughput", lower_bound_s=None)
    if plan.lower_bound_period_s is not None:
        return plan
    searched = next((t.outcome for t in found.tried if t.method == "exact-sets"), None)
    if not isinstance(searched, Plan) or not plan.is_split:
        return replace(plan, bound="")
    return replace(plan, lower_bound_period_s=searched.lower_bound_period_s, bound=searched.bound)
