"""What a plan's searcher expected, beside what its replay takes."""

from __future__ import annotations

from orrery.plan import Plan
from orrery.report import format_value
from orrery.timeline import Timeline

__all__ = ["forecast"]

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
