"""Whether what is said of inputs in a row can be: no device works longer than the period.

Models:  no input follows sooner than any device computes for one; the bound is the plan's own.
Ignores: links, and devices that wait for messages: a period may be longer than what is asked here.
Judge:   replays of plans for throughput; forged claims (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from orrery.certificate import Certificate, Computation
from orrery.plan import Plan

from ._report import Violations


def check_period(
    certificate: Certificate, plan: Plan, computations: Sequence[Computation], found: Violations
) -> None:
    """Check a period against what devices compute, and its bound against the plan's."""
    least = plan.lower_bound_period_s
    bound = None if least is None else floor(least * 10**12)
    said = (certificate.lower_bound_period_ps, certificate.period_bound)
    if said != (bound, "" if bound is None else plan.bound):
        found.add("claim", "certificate: bound of the period", f"{said[0]} ps ({said[1]})",
                  f"the plan's {bound} ps ({plan.bound})")  # fmt: skip
    period = certificate.period_ps
    if period is None:
        if bound is not None:
            found.add("claim", "certificate: period", "none", "one, as there is a bound of it")
        return
    busy: dict[str, int] = {}
    for one in computations:
        busy[one.device] = busy.get(one.device, 0) + one.end_ps - one.start_ps
    most = max(busy.values(), default=0)
    # Whoever measured the period counted whole picoseconds too, perhaps of other instants.
    if period + len(computations) < max(most, bound or 0):
        found.add("claim", "certificate: period", f"{period} ps",
                  f"at least {max(most, bound or 0)} ps, as long as a device computes or the bound "
                  "says")  # fmt: skip
