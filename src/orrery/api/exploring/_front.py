"""The front of latency, throughput, energy, memory and devices; the best plan under ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orrery.errors import CancelledError
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress

from .._machines import cost_models
from ..judging._seconds import part_seconds, period_s
from ._ceilings import why_none

if TYPE_CHECKING:
    from orrery.cost import CostModel
    from orrery.graph import Graph
    from orrery.hardware import System
    from orrery.mapping import Ceilings, Found
    from orrery.report import Need, Verdict

__all__ = ["Candidate", "Front", "front_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plan with its replayed figures.

    Attributes
    ----------
    energy_j : None where it is not known, idle power included
    on_front : no other plan is nowhere worse and somewhere better
    """

    plan: Plan
    latency_s: float
    period_s: float
    energy_j: float | None
    peak_bytes: int
    devices: int
    verdicts: tuple[Verdict, ...]
    on_front: bool = False

    @property
    def figures(self) -> tuple[float | None, ...]:
        return (self.latency_s, self.period_s, self.energy_j, self.peak_bytes, self.devices)


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
    from orrery.mapping import conflict, front_plans, non_dominated

    costs = cost_models(system)
    plans = [t.outcome for t in found.tried if isinstance(t.outcome, Plan)]
    interrupted = found.interrupted
    try:
        if not interrupted:
            plans += front_plans(found.problem(), costs, ceilings=ceilings, progress=progress)
    except CancelledError:
        interrupted = True
    candidates = [c for plan in plans if (c := _measured(plan, graphs, system, costs, needs))]
    marks = non_dominated([c.figures for c in candidates])
    candidates = [replace(c, on_front=mark) for c, mark in zip(candidates, marks)]
    kept = [c for c in candidates if all(v.status == "pass" for v in c.verdicts)]
    if not kept:
        met = [[v.status == "pass" for v in c.verdicts] for c in candidates]
        why = why_none([c.verdicts for c in candidates], needs, conflict(met), system)
        return Front(candidates=tuple(candidates), best=why, interrupted=interrupted)

    def rank(one: Candidate) -> tuple[float, ...]:
        times = (one.latency_s, one.period_s)
        if objective == "energy" and one.energy_j is not None:
            return (one.energy_j, *times, one.devices)
        return (*(times[::-1] if objective == "throughput" else times), one.devices)

    best = min(kept, key=rank).plan
    if interrupted and not found.interrupted:
        note = "The search was interrupted; this is the best plan it had found."
        best = replace(best, notes=(*best.notes, note))
    return Front(candidates=tuple(candidates), best=best, interrupted=interrupted)


def _measured(
    plan: Plan, graphs: Sequence[Graph], system: System, costs: Mapping[str, CostModel],
    needs: Sequence[Need],
) -> Candidate | None:  # fmt: skip
    """Price and replay a plan; None when it does not fit."""
    from orrery.cost import price as price_plan
    from orrery.report import judge, make_scorecard
    from orrery.sim import replay_certified

    from ..figures import plan_figures

    price = price_plan(plan, graphs, system, costs)
    if price.infeasible:
        return None
    timeline, _ = replay_certified(
        plan, graphs, system, part_seconds(price), expansion=price.expansion
    )
    price = price.at_makespan(timeline.makespan_s)
    evidence = plan_figures(graphs, system, plan, price, timeline)
    card = make_scorecard(evidence[0].subject, evidence)
    return Candidate(
        plan=plan, latency_s=timeline.makespan_s, period_s=period_s(plan, system, price),
        energy_j=None if price.idle_unknown else price.total.energy_j,
        peak_bytes=max(price.peak_bytes.values(), default=0),
        devices=len({name for a in plan.assignments for name in a.devices}),
        verdicts=judge(card, needs),
    )  # fmt: skip
