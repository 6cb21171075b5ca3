"""The system of a plan as boxes and arrows."""

from __future__ import annotations

from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import Arrow, Box, Diagram, Section
from orrery.units import counted, format_quantity, format_si


def system_diagram(system: System, plan: Plan) -> Section:
    """Return devices and links; a device says how many regions it runs and how configured."""
    boxes = []
    for device in system.devices:
        mine = [a for a in plan.assignments if device.name in a.devices]
        designs = dict.fromkeys(a.design for a in mine if a.design)
        lines = (
            counted(len(mine), "region"),
            *designs,
            format_quantity(device.offchip.size_bytes, "bytes"),
        )
        boxes.append(Box(name=device.name, lines=lines, kind=device.kind, group=device.group))
    known = {box.name for box in boxes}
    ends = dict.fromkeys(end for link in system.links for end in link.ends)
    boxes += [
        Box(name=end, kind="host" if end == system.host else "switch")
        for end in ends
        if end not in known
    ]
    return Diagram(
        title=f"System {system.name}",
        boxes=tuple(boxes),
        arrows=tuple(_arrows(system)),
        caption=system.description,
    )


def _arrows(system: System) -> list[Arrow]:
    arrows = []
    for link in system.links:
        label = format_si(link.bandwidth_bytes_per_s, "B/s")
        hub, *others = link.ends
        arrows += [Arrow(source=hub, target=end, label=label, both=True) for end in others]
    return arrows
