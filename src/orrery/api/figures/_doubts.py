"""The assumed constants that a figure rests on: nothing assumed may pass as known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orrery.accel import resolve
from orrery.cost import PlanCost
from orrery.hardware import Device, System
from orrery.plan import Plan
from orrery.provenance import Basis, Source
from orrery.report import Column, Section, Table


def doubts(used: Sequence[Device], system: System, plan: Plan) -> str:
    """Return a short sentence that says on what kinds of constants a plan's figures rest."""
    found = dict.fromkeys(
        (label, "unconfirmed" if "unconfirmed" in str(source) else "assumed")
        for label, _, source in _doubtful(used, system, plan)
    )
    by_mark = {
        mark: [name for name, m in found if m == mark] for mark in ("assumed", "unconfirmed")
    }
    parts = [f"{mark} constants of {', '.join(names)}" for mark, names in by_mark.items() if names]
    return f"rests on {' and '.join(parts)}" if parts else ""


def rests_on(used: Sequence[Device], system: System, plan: Plan) -> Basis | None:
    """Return ``assumed`` when any constant that a plan's figures rest on is, else None."""
    every = (source.basis for _, _, source in _doubtful(used, system, plan))
    return Basis.ASSUMED if Basis.ASSUMED in every else None


def doubtful(system: System, plan: Plan) -> Section | None:
    """Return a table of the assumed or unconfirmed constants that a plan's figures rest on."""
    used = [d for d in system.devices if any(d.name in a.devices for a in plan.assignments)]
    found = {(label, field): source for label, field, source in _doubtful(used, system, plan)}
    if not found:
        return None
    columns = (Column(name="of"), Column(name="constant"), Column(name="source"))
    return Table(
        title="Constants that nobody has confirmed",
        columns=columns,
        rows=tuple((label, field, str(source)) for (label, field), source in found.items()),
        caption="Figures marked assumed or unconfirmed rest on these. Put your own in a YAML file: "
        f"'orrery systems {system.name}' prints this system as one.",
    )


def _doubtful(
    used: Sequence[Device], system: System, plan: Plan
) -> Iterator[tuple[str, str, Source]]:
    links = {name for transfer in plan.transfers for route in transfer.links for name in route}
    if plan.is_split:  # its messages are derived: any link of its devices may carry them
        ends = {device.name for device in used}
        links = {link.name for link in system.links if ends & set(link.ends)}
    records: list[tuple[str, object]] = []
    for device in used:
        records += [(device.kind, device), (f"{device.kind} arithmetic", device.compute)]
        records += [(memory.name, memory) for memory in device.memories]
    for design in dict.fromkeys(a.design for a in plan.assignments if a.design):
        records.append((design, resolve(design).device.compute))
    records += [("links", link) for link in system.links if link.name in links]
    for label, record in records:
        for field, source in record.sources.items():  # type: ignore[attr-defined]  # five kinds of record, each with sources
            if source.basis is Basis.ASSUMED or "unconfirmed" in str(source):
                yield label, field, source


def why_no_energy(used: Sequence[Device], price: PlanCost) -> str:
    """Return why the energy of a plan is not known."""
    if not price.coverage.complete:
        return "not everything was priced"
    for device in used:
        if device.offchip.energy_j_per_byte is None or not device.compute.mac_energy_j:
            return f"no energy per operation or per off-chip byte is known for {device.name}"
    return "the cost models of these regions know no energy"
