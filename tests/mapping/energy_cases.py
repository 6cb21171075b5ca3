"""Random systems with energies of everything, and cost models that know them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orrery.cost import Cost, CostModel, work_of
from orrery.graph import Region, Statistics
from orrery.hardware import Device, Link, System
from orrery.plan import KernelSchedule

from .random_graphs import MADE_UP, MODELS, Scaled


@dataclass(frozen=True)
class Metered:
    """A scaled roofline whose work takes so many joules per second of it, and more per byte."""

    model: Scaled

    @property
    def name(self) -> str:
        return self.model.name

    def refuses(self, region: Region, device: Device) -> object:
        return self.model.refuses(region, device)

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        cost = self.model.cost(region, device, schedule, statistics)
        # The faster a design, the dearer its second: time and energy pull apart.
        watts = 3.0 * device.compute.macs_per_s["float32"] / 1e9 / self.model.factor**1.5
        return Cost(latency_s=cost.latency_s, energy_j=watts * cost.latency_s,
                    offchip_bytes=work_of(region).traffic_bytes)  # fmt: skip


METERED: Mapping[str, CostModel] = {
    name: Metered(model)  # type: ignore[dict-item, arg-type]  # a model as far as searches ask
    for name, model in MODELS.items()
}


def powered(system: System, seed: int) -> System:
    """Return the same system with random energies; equal devices stay equal."""
    rng = random.Random(f"powered {seed}")
    drawn: dict[str, tuple[float, float]] = {}
    devices = []
    for device in system.devices:
        alike = repr(replace(device, name="-"))
        idle, byte = drawn.setdefault(
            alike, (rng.choice([0.0, 0.2, 1.0, 4.0]), rng.choice([1e-10, 1e-9]))
        )
        memory = replace(
            device.offchip, energy_j_per_byte=byte,
            sources={**device.offchip.sources, "energy_j_per_byte": MADE_UP},
        )  # fmt: skip
        devices.append(replace(
            device, memories=(memory,), idle_power_w=idle, max_power_w=9e4,
            sources={**device.sources, "idle_power_w": MADE_UP, "max_power_w": MADE_UP},
        ))  # fmt: skip
    links = tuple(_fed(link, rng.choice([1e-10, 1e-9, 5e-9])) for link in system.links)
    return replace(system, devices=tuple(devices), links=links)


def _fed(link: Link, joules: float) -> Link:
    sources = {**link.sources, "energy_j_per_byte": MADE_UP}
    return replace(link, energy_j_per_byte=joules, sources=sources)
