"""What the bound of a plan covers, in few words, wherever the bound or its gap is shown."""

from __future__ import annotations

from orrery.certificate import WHOLE_LAYERS
from orrery.mapping import MACHINE
from orrery.mapping.sets import PATH_BOUND, PROOF
from orrery.plan import Plan


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
