"""A plan that may be on the front, with its replayed figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orrery.cost import CostModel
from orrery.cost import price as price_plan
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import Need, Verdict, judge, make_scorecard
from orrery.sim import replay_certified

from ..judging._seconds import part_seconds, period_s
from ._under_load import in_a_row


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
    def keeps_all(self) -> bool:
        """Whether every need is met."""
        return all(verdict.status == "pass" for verdict in self.verdicts)

    @property
    def figures(self) -> tuple[float | None, ...]:
        return (self.latency_s, self.period_s, self.energy_j, self.peak_bytes, self.devices)

    def rank(self, objective: str) -> tuple[float, ...]:
        """Return what is less the better the plan is."""
        times = (self.latency_s, self.period_s)
        if objective == "energy" and self.energy_j is not None:
            return (self.energy_j, *times, self.devices)
        return (*(times[::-1] if objective == "throughput" else times), self.devices)


def measured(
    plan: Plan, graphs: Sequence[Graph], system: System, costs: Mapping[str, CostModel],
    needs: Sequence[Need], *, loaded: bool,
) -> Candidate | None:  # fmt: skip
    """Price and replay a plan; None when it does not fit.

    Of `loaded` ones the throughput is that of inputs in a row, as far as one input can tell.
    """
    from ..figures import plan_figures

    price = price_plan(plan, graphs, system, costs)
    if price.infeasible:
        return None
    timeline, _ = replay_certified(
        plan, graphs, system, part_seconds(price), expansion=price.expansion
    )
    price = price.at_makespan(timeline.makespan_s)
    evidence = plan_figures(graphs, system, plan, price, timeline)
    period = period_s(plan, system, price)
    if loaded:
        evidence = [*in_a_row(evidence, graphs, period, "the least period of its plan")]
    card = make_scorecard(evidence[0].subject, evidence)
    return Candidate(
        plan=plan, latency_s=timeline.makespan_s, period_s=period,
        energy_j=None if price.idle_unknown else price.total.energy_j,
        peak_bytes=max(price.peak_bytes.values(), default=0),
        devices=len({name for a in plan.assignments for name in a.devices}),
        verdicts=judge(card, needs),
    )  # fmt: skip
