"""What each region of a plan takes, term by term: computing, and waiting for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from orrery.cost import PlanCost
from orrery.plan import Plan

#: term of a step -> what it is called on the page
_TERMS = {"compute": "compute", "arrival": "resharding", "rotate": "rotation",
          "combine": "sums", "return": "return"}  # fmt: skip


class SplitStep(Protocol):
    """What the price of a split plan says of one region, term by term."""

    @property
    def arrival_s(self) -> float: ...
    @property
    def compute_s(self) -> tuple[float, ...]: ...
    @property
    def rotate_s(self) -> tuple[float, ...]: ...
    @property
    def combine_s(self) -> float: ...
    @property
    def return_s(self) -> float: ...
    @property
    def critical(self) -> str: ...
    @property
    def link(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Seconds of one region.

    Attributes
    ----------
    compute_s, rotation_s : of all rounds; rotation goes on while a round computes
    waiting_s : of rotation that outlasts its round's computing
    resharding_s, sums_s, return_s : before it starts, at its end, after it
    critical : the longest term; empty where nothing was priced
    link : the busiest link, where one is known
    """

    compute_s: float = 0.0
    rotation_s: float = 0.0
    waiting_s: float = 0.0
    resharding_s: float = 0.0
    sums_s: float = 0.0
    return_s: float = 0.0
    critical: str = ""
    link: str = ""

    @property
    def communication_s(self) -> float:
        """Seconds in which its devices wait for messages."""
        return self.resharding_s + self.waiting_s + self.sums_s

    @property
    def total_s(self) -> float:
        """Seconds from its start to its end; results return later and hold no device."""
        return self.compute_s + self.communication_s


def terms_of(plan: Plan, price: PlanCost, steps: Mapping[str, SplitStep]) -> dict[str, Terms]:
    """Return the terms of every region.

    Parameters
    ----------
    steps : region -> terms as priced, of a plan with split regions; others have theirs from the
        price of region and transfers, a fan-out counted once
    """
    found = {region: _of_step(step) for region, step in steps.items()}
    waits: dict[str, tuple[float, str]] = {}
    for transfer, movement in price.transfers:
        for region in transfer.consumers[:1]:
            seconds, link = waits.get(region, (0.0, ""))
            most = max(movement.link_bytes, key=movement.link_bytes.__getitem__, default="")
            waits[region] = (seconds + movement.latency_s, link or most)
    for assignment in plan.assignments:
        cost = price.per_region.get(assignment.region)
        if assignment.region in found or cost is None:
            continue
        wait, link = waits.get(assignment.region, (0.0, ""))
        critical = "compute" if cost.latency_s >= wait else "resharding"
        found[assignment.region] = Terms(
            compute_s=cost.latency_s, resharding_s=wait, critical=critical, link=link
        )
    return found


def _of_step(step: SplitStep) -> Terms:
    turns = list(zip(step.compute_s, step.rotate_s, strict=True))
    terms = Terms(
        compute_s=sum(step.compute_s), rotation_s=sum(step.rotate_s),
        waiting_s=sum(max(0.0, rotate - compute) for compute, rotate in turns),
        resharding_s=step.arrival_s, sums_s=step.combine_s, return_s=step.return_s, link=step.link,
    )  # fmt: skip
    busy = terms.total_s + terms.return_s
    return replace(terms, critical=_TERMS[step.critical] if busy else "")
