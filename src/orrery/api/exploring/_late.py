"""Why a replay ends later than the search expected, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import format_value
from orrery.timeline import PS_PER_S, Span, Timeline
from orrery.units import counted

#: Below this share the two are one figure with rounding.
_SAME = 5e-4


def late_line(plan: Plan, timeline: Timeline, system: System) -> str:
    """Say what of a replay comes after the predicted end; empty where nothing does."""
    expected, took = plan.predicted_latency_s, timeline.makespan_s
    if not expected or took <= expected * (1 + _SAME):
        return ""
    moved = [span for span in timeline.spans if span.kind == "transfer"]
    work_ps = max((s.end_ps for s in timeline.spans if s.kind != "transfer"), default=0)
    work = work_ps / PS_PER_S
    said = f"The replay takes {100 * (took / expected - 1):.3g} % longer than predicted. Its work "
    if work > expected * (1 + _SAME):
        said += f"ends at {format_value(work, 's')}, {100 * (work / expected - 1):.3g} % after the "
        said += f"prediction{_most(moved, system, 'transfers that meet on links hold it up')}"
    else:
        said += f"ends at {format_value(work, 's')}, as predicted"
    late = [span for span in moved if span.end_ps > work_ps]
    if took <= work * (1 + _SAME) or not late:
        return f"{said}."
    last = max(late, key=lambda span: span.end_ps)
    tensors = counted(len({span.name for span in late}), "tensor")
    return (
        f"{said}; {format_value(took - work, 's')} later the last of {tensors} that then are still "
        f"on their way ({last.name}) is where results and next values of states belong"
        f"{_most(late, system, 'the prediction lets each have its links to itself')}."
    )


def _most(spans: Sequence[Span], system: System, what: str) -> str:
    """Name the link that some transfers keep busiest, with their bytes and its bandwidth."""
    carried: dict[str, int] = {}
    for span in spans:
        carried[span.resource] = carried.get(span.resource, 0) + int(span.details.get("bytes", 0))
    rate = {link.name: link.bandwidth_bytes_per_s for link in system.links}
    link = max(carried, key=lambda name: carried[name] / rate[name], default="")
    if not link:
        return ""
    size, speed = format_value(carried[link], "bytes"), format_value(rate[link], "bytes/s")
    return f": {what}, the busiest being {link} ({size} of them at {speed})"
