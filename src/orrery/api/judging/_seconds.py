"""What a plan's parts take by its price, for the replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from orrery.certificate import Certificate
from orrery.certify import Report
from orrery.cost import PlanCost
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.sim import least_period
from orrery.timeline import PS_PER_S


def part_seconds(price: PlanCost) -> Callable[[Assignment, int, int], float]:
    """Return the seconds of a party's part of a round.

    What nobody can price takes no time: coverage names it and ``strict`` refuses it.
    """
    whole = {name: cost.latency_s for name, cost in price.per_region.items()}

    def seconds(assignment: Assignment, party: int, turn: int) -> float:
        step = price.steps.get(assignment.region)
        if step is None:
            return whole.get(assignment.region, 0.0)
        return step.party_s[turn][party] if step.party_s else 0.0

    return seconds


def period_s(plan: Plan, system: System, price: PlanCost) -> float:
    """Return after how long the next input can follow: what keeps a device or a link busiest."""
    return least_period(plan, system, part_seconds(price), expansion=price.expansion)


def with_period(certificate: Certificate, plan: Plan, seconds: float) -> Certificate:
    """Return a certificate that states the period, and the bound of it that the plan has."""
    least = plan.lower_bound_period_s
    return replace(
        certificate, period_ps=round(seconds * PS_PER_S),
        lower_bound_period_ps=None if least is None else math.floor(least * PS_PER_S),
        period_bound="" if least is None else plan.bound,
    )  # fmt: skip


def first_line(report: Report) -> str:
    """Return in a line whether a certificate holds."""
    return str(report).split("\n", 1)[0]
