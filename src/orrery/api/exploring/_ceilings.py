"""Why no plan keeps all ceilings: which ones contradict, and how near one comes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orrery.errors import SpecError
from orrery.hardware import System
from orrery.mapping import Budget
from orrery.plan import Infeasible
from orrery.report import Need, Verdict

from .._result import InfeasibleError

#: figures that are sums over the devices of a plan
_SUMS = {"price": "price_usd", "area": "area_mm2"}


def budget_of(needs: Sequence[Need], system: System) -> Budget | None:
    """Return what devices ceilings of price and area allow together; None without such.

    Raises
    ------
    InfeasibleError : one device alone is too much, whichever it is
    """
    limits = [need for need in needs if need.upper and need.figure in _SUMS]
    if not limits:
        return None
    costs = [[getattr(d, _SUMS[n.figure]) for d in system.devices] for n in limits]
    for need, row in zip(limits, costs):
        least = min((value for value in row if value is not None), default=None)
        if least is not None and None not in row and not need.holds(least):
            raise InfeasibleError(f"{need.text!r} on {system.name}", Infeasible(
                what=f"{need.figure} of the least device of {system.name}", need=need.limit,
                have=least, unit=need.unit, remedies=(f"relax {need.text!r}", "use other devices"),
            ))  # fmt: skip

    def allowed(devices: Sequence[int]) -> bool:
        for need, row in zip(limits, costs):
            values = [row[d] for d in devices]
            if None in values or not need.holds(sum(values)):
                return False
        return True

    return Budget(allowed=allowed, cost=[math.inf if v is None else v for v in costs[0]])


def refuse_contradiction(needs: Sequence[Need], where: str) -> None:
    """Refuse two needs that no figure of any plan can meet together.

    Raises
    ------
    InfeasibleError : names the two
    """
    for most in (need for need in needs if need.upper):
        for least in (need for need in needs if not need.upper):
            if (most.figure, most.unit) != (least.figure, least.unit):
                continue
            strict = "=" not in most.relation or "=" not in least.relation
            if most.limit < least.limit or (strict and most.limit == least.limit):
                raise InfeasibleError(where, Infeasible(
                    what=f"{most.figure}: {most.text!r} and {least.text!r} contradict each other, "
                    "whatever the plan", need=most.limit, have=least.limit, unit=most.unit,
                    remedies=tuple(f"leave out or relax {n.text!r}" for n in (most, least)),
                ))  # fmt: skip


def why_none(
    plans: Sequence[Sequence[Verdict]], needs: Sequence[Need], clash: Sequence[int], system: System
) -> Infeasible:
    """Name the fewest needs that no plan meets together, and the nearest miss.

    Parameters
    ----------
    plans : of every plan, the verdict on each need
    clash : those needs, by number

    Raises
    ------
    SpecError : one of them is about a figure that is not known of any plan
    """
    first, others = clash[0], clash[1:]
    for number in clash:
        verdicts = [plan[number] for plan in plans]
        if all(verdict.status == "not known" for verdict in verdicts):
            raise SpecError(
                f"need {needs[number].text!r}", found=f"not known: {verdicts[0].note}",
                wanted=f"a figure that is known of plans on {system.name}",
                fix="leave the need out, or describe the system in more detail",
            )  # fmt: skip
    able = [plan for plan in plans if all(plan[n].status == "pass" for n in others)]
    have = _nearest([plan[first] for plan in able], needs[first])
    texts = [needs[n].text for n in clash]
    relaxed = [f"relax {text!r}" for text in texts]
    if others:
        what = f"{needs[first].figure} of the best plan that keeps {' and '.join(texts[1:])}: "
        what += f"none of the {len(plans)} plans tried keeps {' and '.join(map(repr, texts))}"
    else:
        what = f"{needs[first].figure} of the best plan: none of the {len(plans)} tried keeps "
        what += repr(texts[0])
    return Infeasible(
        what=what, need=needs[first].limit, have=have, unit=needs[first].unit,
        remedies=(*relaxed, "use faster, more, or other devices"), proved=False,
    )  # fmt: skip


def _nearest(verdicts: Sequence[Verdict], need: Need) -> float:
    """Return the best value of a figure that any verdict rests on, in the need's unit."""
    sign = -1 if need.upper else 1
    values = [
        need.limit * (1 + sign * v.margin_percent / 100)
        for v in verdicts if v.margin_percent is not None
    ]  # fmt: skip
    return (min if need.upper else max)(values, default=0.0)
