"""The tables of a mapped network: layers and devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.cost import Cost, PlanCost, plan_regions
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Plan
from orrery.report import Column, Section, Table
from orrery.timeline import Timeline

from ._set_names import devices_text


def regions_of(graphs: Sequence[Graph], plan: Plan) -> dict[str, Region]:
    """Return the region behind each region name of a plan."""
    return {name: planned.region for name, planned in plan_regions(plan, graphs).items()}


def by_device(plan: Plan) -> Mapping[str, list[str]]:
    """Return the regions that each device runs, or has a part in, in plan order."""
    found: dict[str, list[str]] = {}
    for assignment in plan.assignments:
        for device in assignment.devices:
            found.setdefault(device, []).append(assignment.region)
    return found


def layer_table(plan: Plan, price: PlanCost, regions: dict[str, Region]) -> Section:
    columns = (
        Column(name="layer"),
        Column(name="operator"),
        Column(name="device"),
        Column(name="design", help="what the device is configured with; empty: as it is"),
        Column.number("MACs", "MAC"),
        Column.number("weights", "bytes"),
        Column.number("off-chip", "bytes", help="bytes to and from DRAM"),
        Column.number("time", "s", bar=True),
        Column.number("energy", "J"),
        Column.number(
            "useful MACs",
            "%",
            help="MACs asked for as a share of those the machine issues: below 100 % where "
            "tiles are padded, above where an algorithm needs fewer multiplications",
        ),
    )
    rows = []
    for assignment in plan.assignments:
        region, cost = regions[assignment.region], price.per_region.get(assignment.region)
        rows.append(
            (
                assignment.region,
                ", ".join(dict.fromkeys(n.operator for n in region.members)),
                devices_text(assignment.devices),
                assignment.design or "",
                _macs(region),
                region.size_bytes(region.weights),
                *_priced(cost),
            )
        )
    return Table(
        title="Layers",
        columns=columns,
        rows=tuple(rows),
        caption="In plan order. An empty cell is not known.",
    )


def _macs(region: Region) -> int | None:
    counts = [region.graph.known_operations(node) for node in region.members]
    return None if None in counts else sum(c.macs for c in counts if c is not None)


def _priced(cost: Cost | None) -> tuple[float | int | None, ...]:
    if cost is None:
        return None, None, None, None
    share = 100 * cost.macs_nominal / cost.macs_performed if cost.macs_performed else None
    return cost.offchip_bytes, cost.latency_s, cost.energy_j, share


def device_table(system: System, plan: Plan, timeline: Timeline) -> Section:
    busy, total = timeline.busy_s(), timeline.makespan_s
    columns = (
        Column(name="device"),
        Column.number("regions"),
        Column.number("busy", "s"),
        Column.number("share of time", "%", bar=True),
        Column.number("weights and resident tensors", "bytes"),
        Column.number("memory", "bytes"),
    )
    mine = by_device(plan)
    rows = tuple(
        (
            d.name,
            len(mine.get(d.name, [])),
            busy.get(d.name, 0.0),
            100 * busy.get(d.name, 0.0) / total if total else 0.0,
            plan.resident_bytes.get(d.name, 0),
            d.offchip.size_bytes,
        )
        for d in system.devices
    )
    return Table(title="Devices", columns=columns, rows=rows, filterable=len(rows) > 12)
