"""Energy bills: integer counts of actions at sourced prices.

Models:  operations, off-chip bytes, link bytes, and idle power over a stretch of time.
Ignores: on-chip data movement, clocks and leakage beyond a device's stated idle power.
Judge:   closed forms; the bill adds up to the total (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orrery.hardware import Device, System
from orrery.provenance import Source
from orrery.timeline import PS_PER_S

from ._cost import Charge
from ._work import Work

#: The action of idle power, in picoseconds.
IDLE = "idle picosecond"


def energy_charges(work: Work, device: Device) -> tuple[Charge, ...] | None:
    """Return the dynamic energy of a region, item by item, or None when a price is missing.

    Off-chip traffic is always an item of it: without its price there is no energy at all.
    """
    compute = device.compute
    rows: list[tuple[str, int, float | None, Source | None]] = [
        (f"MAC {dtype}", count, compute.mac_energy_j.get(dtype),
         compute.sources.get("mac_energy_j"))
        for dtype, count in work.macs.items()
    ]  # fmt: skip
    if work.others:
        rows.append(("other operation", work.others, compute.other_energy_j,
                     compute.sources.get("other_energy_j")))  # fmt: skip
    # What moves nothing needs no price.
    charges = [offchip_charge(device, work.traffic_bytes)] if work.traffic_bytes else []
    for action, count, price, source in rows:
        known = price is not None and source is not None
        charges.append(Charge(resource=device.name, action=action, count=count,
                              energy_j_each=price, source=source) if known else None)  # type: ignore[arg-type]  # fmt: skip
    found = tuple(charge for charge in charges if charge is not None)
    return found if len(found) == len(charges) else None


def offchip_charge(device: Device, size_bytes: int) -> Charge | None:
    """Return the energy of bytes to or from a device's off-chip memory; None: not known."""
    memory = device.offchip
    if memory.energy_j_per_byte is None:
        return None
    return Charge(resource=f"{device.name}.{memory.name}", action="byte off-chip",
                  count=size_bytes, energy_j_each=memory.energy_j_per_byte,
                  source=memory.sources["energy_j_per_byte"])  # fmt: skip


def link_charges(system: System, link_bytes: Mapping[str, int]) -> tuple[Charge, ...] | None:
    """Return the energy of bytes over links, or None when a link has no price."""
    charges = []
    for name, size_bytes in link_bytes.items():
        link = system.link(name)
        if link.energy_j_per_byte is None:
            return None
        charges.append(Charge(resource=name, action="byte over link", count=size_bytes,
                              energy_j_each=link.energy_j_per_byte,
                              source=link.sources["energy_j_per_byte"]))  # fmt: skip
    return tuple(charges)


def static_charge(device: Device, duration_s: float) -> Charge | None:
    """Return idle power over a stretch of time, counted in picoseconds; None: not known."""
    if device.idle_power_w is None:
        return None
    return Charge(resource=device.name, action=IDLE,
                  count=round(duration_s * PS_PER_S),
                  energy_j_each=device.idle_power_w / PS_PER_S,
                  source=device.sources["idle_power_w"])  # fmt: skip


def bill(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Return the charges with equal lines joined: one line per resource, action and price."""
    counts: dict[tuple[str, str, float, Source], int] = {}
    for charge in charges:
        key = (charge.resource, charge.action, charge.energy_j_each, charge.source)
        counts[key] = counts.get(key, 0) + charge.count
    return tuple(
        Charge(resource=resource, action=action, count=count, energy_j_each=price, source=source)
        for (resource, action, price, source), count in counts.items()
    )
