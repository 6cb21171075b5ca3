"""What something takes: seconds, joules, bytes, and where each joule comes from.

The laws of combination stand here, once. What is not known is None and stays None when combined:
a sum with an unknown part is unknown, never a sum of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from orrery.graph import Region, Statistics
from orrery.hardware import Device
from orrery.plan import KernelSchedule
from orrery.provenance import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One line of an energy bill: an integer count of actions at a sourced price each."""

    resource: str
    action: str
    count: int
    energy_j_each: float
    source: Source

    @property
    def energy_j(self) -> float:
        return self.count * self.energy_j_each


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a region, a transfer or a plan takes.

    Attributes
    ----------
    latency_s : seconds from start to end
    energy_j : joules, or None when not known
    offchip_bytes : bytes to and from off-chip memory, or None when not known
    peak_bytes : memory name -> most bytes in use at once
    charges : the energy bill, item by item (may be empty when energy is known only as a whole)
    macs_nominal, macs_performed : MACs that the network asks for, and that the machine issues
        (padding and tile remainders included; sparse or fast algorithms issue fewer)
    """

    latency_s: float
    energy_j: float | None = None
    offchip_bytes: int | None = None
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    charges: tuple[Charge, ...] = ()
    macs_nominal: int = 0
    macs_performed: int = 0

    def in_series(self, after: Cost) -> Cost:
        """One after the other on the same resource: times add, memory peaks do not."""
        peaks = {
            name: max(self.peak_bytes.get(name, 0), after.peak_bytes.get(name, 0))
            for name in (*self.peak_bytes, *after.peak_bytes)
        }
        return self._joined(after, self.latency_s + after.latency_s, peaks)

    def in_parallel(self, beside: Cost) -> Cost:
        """Both at once on separate resources: the longer time counts, memory adds."""
        peaks = {
            name: self.peak_bytes.get(name, 0) + beside.peak_bytes.get(name, 0)
            for name in (*self.peak_bytes, *beside.peak_bytes)
        }
        return self._joined(beside, max(self.latency_s, beside.latency_s), peaks)

    def _joined(self, other: Cost, latency_s: float, peaks: Mapping[str, int]) -> Cost:
        energy = (
            None
            if self.energy_j is None or other.energy_j is None
            else self.energy_j + other.energy_j
        )
        traffic = (
            None
            if self.offchip_bytes is None or other.offchip_bytes is None
            else self.offchip_bytes + other.offchip_bytes
        )
        return Cost(
            latency_s=latency_s,
            energy_j=energy,
            offchip_bytes=traffic,
            peak_bytes=peaks,
            charges=self.charges + other.charges,
            macs_nominal=self.macs_nominal + other.macs_nominal,
            macs_performed=self.macs_performed + other.macs_performed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a cost model cannot price a region on a device.

    `uncountable` says that no model on any device could: what the region asks for is not known
    before it runs (a loop that data ends, a size that data decides).
    """

    reason: str
    uncountable: bool = False


class CostModel(Protocol):
    """What one region takes on one device. Answers, never searches.

    `refuses` is cheap and imports nothing heavy; when it returns None, `cost` does not raise.
    A model whose price depends on what constants hold, not on their shapes alone, has a true
    attribute `reads_values`; others need none.
    """

    @property
    def name(self) -> str: ...

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why this model cannot price the region there, or None when it can."""
        ...

    def cost(
        self,
        region: Region,
        device: Device,
        schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:
        """Price the region; a model that needs a loop nest refuses ``schedule=None``."""
        ...
