"""Price a plan, replay it, check what it is said to do, and put the figures on a card."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from orrery.cost import PlanCost
from orrery.cost import price as price_plan
from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import Ceilings
from orrery.plan import Plan
from orrery.report import Need, judge, make_scorecard
from orrery.sim import replay_certified

from .._machines import cost_models
from .._result import InfeasibleError, MapResult
from ._durations import check
from ._seconds import first_line, part_seconds, period_s, with_period


def judge_plan(
    graphs: Sequence[Graph],
    system: System,
    plan: Plan,
    *,
    needs: Sequence[Need] = (),
    strict: bool = False,
) -> MapResult:
    """Price, replay and check a plan, whoever made it, and put the figures on a card."""
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
    if plan.objective == "throughput":
        certificate = with_period(certificate, plan, period_s(plan, system, price))
    report = check(certificate, plan, graphs, system)
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
    """Return a judge of plans: their replayed makespan, after how long the next input can follow,
    or their joules over the replayed makespan.

    A plan that does not fit takes for ever.
    """
    costs = cost_models(system)

    def seconds(plan: Plan) -> float:
        price = price_plan(plan, graphs, system, costs)
        if price.infeasible:
            return math.inf
        if objective == "throughput":
            return period_s(plan, system, price)
        timeline, _ = replay_certified(
            plan, graphs, system, part_seconds(price), expansion=price.expansion
        )
        if objective == "energy":
            return _joules(plan, system, price.at_makespan(timeline.makespan_s))
        return timeline.makespan_s

    return seconds


def _joules(plan: Plan, system: System, price: PlanCost) -> float:
    from ..figures import why_no_energy

    if price.total.energy_j is None or price.idle_unknown:
        used = [d for d in system.devices if any(d.name in a.devices for a in plan.assignments)]
        idle = f"no idle power is known for {', '.join(price.idle_unknown)}"
        raise SpecError(
            f"energy of a plan on {system.name}",
            found=idle if price.idle_unknown else why_no_energy(used, price),
            wanted="joules of all devices, links and idle power",
            fix="add `idle_power`, `mac_energy`, `other_energy` to its devices and `energy` to "
            "their memories and links, or search for latency",
        )  # fmt: skip
    return price.total.energy_j


def ceilings_of(
    needs: Sequence[Need], graphs: Sequence[Graph], system: System, objective: str
) -> tuple[Ceilings, Callable[[Plan], bool] | None]:
    """Return the ceilings that a search knows among needs, and whether a plan keeps them.

    The second is None where no need bounds what pulls against the objective. It asks for nothing
    else: a need that no plan meets, or that mapping cannot know, gives no ceiling away.
    """
    limits: dict[str, float] = {}
    for need in needs:
        if need.upper and need.figure in ("latency", "energy", "devices"):
            limits[need.figure] = min(need.limit, limits.get(need.figure, math.inf))
    ceilings = Ceilings(
        latency_s=limits.get("latency"), energy_j=limits.get("energy"),
        devices=int(limits["devices"]) if "devices" in limits else None,
    )  # fmt: skip
    other = {"latency": "energy", "energy": "latency"}.get(objective)
    known = ("latency", "energy", "devices", "price")
    bounding = tuple(need for need in needs if need.upper and need.figure in known)
    if not any(need.figure in ("price", other) for need in bounding):
        return ceilings, None

    def keeps(plan: Plan) -> bool:
        return judge_plan(graphs, system, plan, needs=bounding).needs_met

    return ceilings, keeps
