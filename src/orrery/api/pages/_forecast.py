"""What a plan's searcher expected, beside what its replay takes."""

from __future__ import annotations

from orrery.cost import PlanCost
from orrery.plan import Plan
from orrery.report import format_value
from orrery.timeline import Timeline

from ._bound import bound_words

#: Below this share the two are one figure with rounding.
_SAME = 5e-4


def forecast(plan: Plan, timeline: Timeline) -> str:
    """Return a sentence that sets the prediction beside the replay; empty without a prediction."""
    if plan.predicted_latency_s is None:
        return ""
    expected, took = plan.predicted_latency_s, timeline.makespan_s
    said = f"Predicted by {plan.searcher or 'its searcher'}: {format_value(expected, 's')}; "
    if abs(took - expected) <= _SAME * expected:
        return f"{said}the replay takes as long."
    if expected == 0:
        return f"{said}the replay takes {format_value(took, 's')}."
    share, word = 100 * (took / expected - 1), "more" if took > expected else "less"
    return f"{said}the replay takes {format_value(took, 's')}, {abs(share):.3g} % {word}."


def energy_bound(plan: Plan, price: PlanCost) -> str:
    """Return what the plan takes in joules beside what none takes less than; empty without one."""
    bound, joules = plan.lower_bound_j, price.total.energy_j
    if bound is None or joules is None:
        return ""
    share = max(0.0, joules / bound - 1) if bound > 0 else None
    gap = "" if share is None else f", gap {100 * share if share > 1e-6 else 0:.3g} %"
    return (f"Energy {format_value(joules, 'J')}{gap}; lower bound {format_value(bound, 'J')} "
            f"({bound_words(plan)}).")  # fmt: skip
