"""Charts of a mapped network: timeline, memory, energy."""

from __future__ import annotations

from orrery.cost import Cost
from orrery.hardware import System
from orrery.report import (
    MemoryChart,
    Section,
    Step,
    TimelineChart,
    Waterfall,
)
from orrery.timeline import PS_PER_S, Timeline


def timeline_chart(timeline: Timeline, system: System, bound_s: float | None = None) -> Section:
    """Return what each device and link does over time, devices first; a lower bound as a line."""
    return TimelineChart(
        title="Timeline",
        timeline=timeline,
        resources=tuple(d.name for d in system.devices if d.name in timeline.resources()),
        caption="Replayed event by event; transfers that meet on a link share its bandwidth. "
        "timeline.json opens in Perfetto.",
        marks={"lower bound": round(bound_s * PS_PER_S)} if bound_s else {},
    )


def memory_chart(timeline: Timeline, system: System) -> Section | None:
    """Return bytes in use per device over time."""
    if not timeline.memory:
        return None
    sizes = {device.name: device.offchip.size_bytes for device in system.devices}
    used = {sample.memory for sample in timeline.memory}
    return MemoryChart(
        title="Memory over time",
        samples=timeline.memory,
        end_ps=timeline.makespan_ps,
        capacity_bytes={name: size for name, size in sizes.items() if name in used},
        caption="Weights are resident from the start; an activation lives from the start of its "
        "region to the end of its last reader.",
    )


def energy_bill(cost: Cost) -> Section | None:
    """Return the energy by resource and action as a waterfall; None when it is not known."""
    if cost.energy_j is None or not cost.charges:
        return None
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for charge in cost.charges:
        key = f"{charge.resource}: {charge.action}"
        totals[key] = totals.get(key, 0.0) + charge.energy_j
        counts[key] = counts.get(key, 0) + charge.count
    ranked = sorted(totals, key=totals.__getitem__, reverse=True)
    steps = [Step(name=k, value=totals[k], note=f"{counts[k]:,} times") for k in ranked[:8]]
    if rest := ranked[8:]:
        note = f"{len(rest)} smaller items"
        steps.append(Step(name="all others", value=sum(totals[k] for k in rest), note=note))
    steps.append(Step(name="total", value=cost.energy_j, kind="level"))
    return Waterfall(
        title="Energy",
        steps=tuple(steps),
        unit="J",
        caption="Every joule is a count of actions at a sourced price each.",
    )
