"""The layers of the busiest kind of device against what bounds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orrery.accel import resolve
from orrery.cost import PlanCost
from orrery.graph import Region
from orrery.hardware import Device, System
from orrery.plan import Plan
from orrery.report import Axis, Line, Point, Section, Series

from ._tables import by_device


def roofline_chart(
    system: System, plan: Plan, price: PlanCost, regions: Mapping[str, Region]
) -> Section | None:
    """Return the roofline of the device that works longest, with all devices like it.

    Operations are those the machine performs: an algorithm that needs fewer MACs than the network
    asks for still stays under its bound. None when the device's rates are not known.
    """
    mine = by_device(plan)
    busiest = system.device(max(mine, key=lambda name: price.busy_s.get(name, 0.0)))
    alike = [d.name for d in system.devices if d.name in mine and _same(d, busiest)]
    bandwidth = busiest.offchip.bandwidth_bytes_per_s
    points: dict[str, list[Point]] = {}
    types: set[str] = set()
    for assignment in plan.assignments:
        cost = price.per_region.get(assignment.region)
        # What several devices share has no place under the roof of one.
        if assignment.device not in alike or cost is None or len(assignment.devices) > 1:
            continue
        region = regions[assignment.region]
        operations = 2 * cost.macs_performed + region.operations.others
        if not (operations and cost.offchip_bytes and cost.latency_s):
            continue
        used = assignment.design if cost.macs_performed and assignment.design else ""
        points.setdefault(used, []).append(
            Point(
                x=operations / cost.offchip_bytes,
                y=operations / cost.latency_s,
                label=assignment.region,
            )
        )
        types |= {region.graph.type(t).dtype for t in region.outputs}
    if not points or not bandwidth:
        return None
    peaks = {name: _peak(busiest, name, types) for name in points}
    every = [point.x for group in points.values() for point in group]
    lines = []
    for name, peak in peaks.items():
        label = name or "as it is"
        if peak:
            lines.append(
                Line(
                    name=f"bound, {label}",
                    style="bound",
                    points=tuple(_bound(peak, bandwidth, every)),
                )
            )
    for name, group in points.items():
        lines.append(
            Line(name=f"layers, {name or 'as it is'}", points=tuple(group), style="scatter")
        )
    others = f" The layers of {len(alike)} devices alike are shown." if len(alike) > 1 else ""
    return Series(
        title=f"Roofline of {busiest.name}",
        x=Axis(name="operations per off-chip byte", unit="op/B", log=True),
        y=Axis(name="operations per second", unit="op/s", log=True),
        lines=tuple(lines),
        caption="On the slope off-chip bandwidth limits a layer, under the flat part arithmetic. "
        f"Operations performed; a MAC counts as two.{others}",
    )


def _same(one: Device, other: Device) -> bool:
    return one.compute == other.compute and one.memories == other.memories


def _peak(device: Device, design: str, types: Iterable[str]) -> float | None:
    if design:
        # A design computes in its own format, whatever the network's tensors say.
        rates = list(resolve(design).device.compute.macs_per_s.values())
    else:
        rates = [rate for t, rate in device.compute.macs_per_s.items() if t in types]
    return 2 * max(rates) if rates else None


def _bound(peak: float, bandwidth: float, every: Iterable[float]) -> Iterable[Point]:
    knee, xs = peak / bandwidth, list(every)
    start, end = min(knee, *xs) / 2, 2 * max(knee, *xs)
    yield Point(x=start, y=start * bandwidth)
    yield Point(x=knee, y=peak)
    yield Point(x=end, y=peak)
