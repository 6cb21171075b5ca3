"""What a plan's parts take by its price, for the replay and for the checker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orrery.certificate import Certificate, Computation
from orrery.plan import Assignment, Plan

if TYPE_CHECKING:
    from orrery.certify import Report
    from orrery.cost import PlanCost
    from orrery.graph import Graph
    from orrery.hardware import System

__all__ = ["check", "computation_seconds", "first_line", "part_seconds", "period_s"]


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
    from orrery.sim import least_period

    return least_period(plan, system, part_seconds(price), expansion=price.expansion)


def computation_seconds(plan: Plan, price: PlanCost) -> Callable[[Computation], float | None]:
    """Return the seconds of a computation of a certificate; None for no part of the plan."""
    from orrery.sim import part_of

    assignments = {assignment.region: assignment for assignment in plan.assignments}
    written = price.expansion
    steps = {step.assignment.region: step for step in written.steps} if written else {}
    seconds = part_seconds(price)

    def of(computation: Computation) -> float | None:
        assignment = assignments.get(computation.region)
        if assignment is None or computation.device not in assignment.devices:
            return None
        party = assignment.devices.index(computation.device)
        step = steps.get(computation.region)
        rounds = 1 if step is None or step.sharding is None else step.sharding.rounds
        if not 0 <= computation.round < rounds:
            return None
        said = (computation.reads, computation.writes, computation.partial)
        if step is not None and said != part_of(step, party, computation.round):
            return None
        return seconds(assignment, party, computation.round)

    return of


def check(
    certificate: Certificate, plan: Plan, graphs: Sequence[Graph], system: System, price: PlanCost
) -> Report:
    """Check a certificate; the checker is told what parts take and believes nothing else."""
    from orrery.certify import check_certificate

    return check_certificate(certificate, plan, graphs, system, computation_seconds(plan, price))


def first_line(report: Report) -> str:
    """Return in a line whether a certificate holds."""
    return str(report).split("\n", 1)[0]
