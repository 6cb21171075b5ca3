"""What a plan was expected to take beside what its replay takes, and what its bound covers."""

from __future__ import annotations

from orrery.certificate import WHOLE_LAYERS
from orrery.cost import PlanCost
from orrery.mapping import MACHINE
from orrery.mapping.sets import PATH_BOUND, PROOF
from orrery.plan import Plan
from orrery.report import format_value
from orrery.timeline import Timeline


def bound_words(plan: Plan) -> str:
    """Return of which plans the lower bound is proved; a gap says nothing of any others."""
    sizes = plan.settings.get("set_sizes")
    sets = f"sets of {sizes} equal devices" if sizes else "these sets of devices"
    words = {
        PROOF: f"{sets} in series, layers in this order",
        PATH_BOUND: f"{sets} in any order, messages free",
        WHOLE_LAYERS: "whole layers, links shared in any way",
    }
    return words.get(plan.bound, plan.bound) or "all plans"


def covers(plan: Plan) -> str:
    """Return of which plans a certificate's bound is claimed; empty where that is its own."""
    return "" if plan.lower_bound_s is None else bound_words(plan)


def machine_bound(plan: Plan) -> str:
    """Return the sentence of what no plan at all of the machine undercuts; empty without one."""
    return next((note for note in plan.notes if note.startswith(MACHINE)), "")


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
