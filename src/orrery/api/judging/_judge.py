"""Price a plan, replay it, check what it is said to do, and put the figures on a card."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orrery.plan import Plan

from .._machines import cost_models
from .._result import InfeasibleError, MapResult
from ._seconds import check, first_line, part_seconds

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.hardware import System
    from orrery.report import Need

__all__ = ["judge_plan", "plan_seconds"]


def judge_plan(
    graphs: Sequence[Graph],
    system: System,
    plan: Plan,
    *,
    needs: Sequence[Need] = (),
    strict: bool = False,
) -> MapResult:
    """Price, replay and check a plan, whoever made it, and put the figures on a card."""
    from orrery.cost import price as price_plan
    from orrery.report import judge, make_scorecard
    from orrery.sim import replay_certified

    from ..figures import WHY_UNKNOWN, plan_figures
    from ..pages import map_page, regions_of

    price = price_plan(plan, graphs, system, cost_models(system))
    if price.infeasible:
        raise InfeasibleError(f"{plan.system.name}: this plan", price.infeasible[0])
    if strict:
        price.coverage.require_complete(f"{plan.system.name}")
    regions = regions_of(graphs, plan)
    made = {
        name: sum(region.graph.known_bytes(t) or 0 for t in region.outputs)
        for name, region in regions.items()
    }
    timeline, certificate = replay_certified(
        plan, graphs, system, part_seconds(price), expansion=price.expansion,
        output_bytes=lambda a: made[a.region],
    )  # fmt: skip
    report = check(certificate, plan, graphs, system, price)
    price = price.at_makespan(timeline.makespan_s)
    evidence = plan_figures(graphs, system, plan, price, timeline)
    card = make_scorecard(evidence[0].subject, evidence, reasons=WHY_UNKNOWN)
    verdicts = judge(card, needs)
    page = map_page(graphs, system, plan, price, timeline, card, verdicts, first_line(report))
    return MapResult(
        plan=plan, system=system, price=price, timeline=timeline, certificate=certificate,
        report=report, evidence=tuple(evidence), scorecard=card, verdicts=verdicts, page=page,
    )  # fmt: skip


def plan_seconds(
    graphs: Sequence[Graph], system: System, objective: str = "latency"
) -> Callable[[Plan], float]:
    """Return a judge of plans: their replayed makespan, or after how long an input can follow.

    A plan that does not fit takes for ever.
    """
    from orrery.cost import price as price_plan
    from orrery.sim import replay_certified

    costs = cost_models(system)

    def seconds(plan: Plan) -> float:
        price = price_plan(plan, graphs, system, costs)
        if price.infeasible:
            return math.inf
        if objective == "throughput":
            return max(price.busy_s.values())
        timeline, _ = replay_certified(
            plan, graphs, system, part_seconds(price), expansion=price.expansion
        )
        return timeline.makespan_s

    return seconds
