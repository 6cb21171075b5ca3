"""When the steps of a split plan run if nothing waits for a shared link.

Models:  a step starts when all its devices have ended their steps before it and all steps that it
         comes after have ended; it holds all its devices to its end. Returns start there and hold
         no device.
Ignores: contention.
Judge:   closed forms; a naive longest path over random plans (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.timeline import PS_PER_S

from .._expand import Expansion
from .._plan_order import PlanTimes
from ._steps import PricedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTimes:
    """Start and end of each step, end of each return (in the order of the expansion)."""

    starts_ps: tuple[int, ...]
    ends_ps: tuple[int, ...]
    returned_ps: tuple[int, ...]
    makespan_ps: int

    def as_seconds(self, expansion: Expansion) -> PlanTimes:
        """Return the same by region and in seconds; a split plan lists no transfers."""
        names = [step.assignment.region for step in expansion.steps]
        busy: dict[str, int] = {}
        for step, start, end in zip(expansion.steps, self.starts_ps, self.ends_ps):
            for device in step.assignment.devices:
                busy[device] = busy.get(device, 0) + end - start
        return PlanTimes(
            starts_s={n: start / PS_PER_S for n, start in zip(names, self.starts_ps)},
            ends_s={n: end / PS_PER_S for n, end in zip(names, self.ends_ps)},
            sent_s=(), arrivals_s=(), busy_s={n: ps / PS_PER_S for n, ps in busy.items()},
            makespan_s=self.makespan_ps / PS_PER_S,
        )  # fmt: skip


def split_times(expansion: Expansion, priced: Sequence[PricedStep]) -> SplitTimes:
    """Return when each step runs and when everything has ended."""
    free = dict.fromkeys(range(len(expansion.ends)), 0)
    starts, ends = [], list[int]()
    for step, price in zip(expansion.steps, priced, strict=True):
        start = max((*(free[party] for party in step.parties), *(ends[i] for i in step.after)))
        starts.append(start)
        ends.append(start + price.duration_ps)
        for party in step.parties:
            free[party] = ends[-1]
    waiting = [iter(price.returns_ps) for price in priced]
    returned = tuple(ends[number] + next(waiting[number]) for number, _ in expansion.returns)
    return SplitTimes(
        starts_ps=tuple(starts), ends_ps=tuple(ends), returned_ps=returned,
        makespan_ps=max((*ends, *returned), default=0),
    )  # fmt: skip
