"""The roofline: a region takes as long as its slowest resource would alone, on any device.

Models:  peak arithmetic by element type, peak of all other operations, off-chip bandwidth; all
         three overlap perfectly, so the latency is the largest of the three times. Off-chip bytes
         are the region's inputs, weights and outputs, once each. Dynamic energy is operations and
         off-chip bytes at the device's prices. A device that was calibrated takes longer, see
         `calibration`.
Ignores: utilisation, launch overheads, dependencies inside a region, on-chip data movement, spills
         when the working set exceeds the on-chip memory, reuse between regions, idle power (whole
         plans charge it). Hence a lower bound of time and of energy, unless calibrated.
Judge:   closed forms; `_guards` on every result.
Source:  Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

from orrery.graph import Region, Statistics
from orrery.hardware import Device
from orrery.plan import KernelSchedule

from ._cost import Cost, Refusal
from ._energy import energy_charges
from ._guards import check_cost
from ._work import Work, count_problem, unpriceable, work_of
from .calibration import calibrated_s, macs_by_class


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The three times of a region on a device in seconds; the largest is its latency."""

    macs_s: float
    others_s: float
    traffic_s: float

    @property
    def latency_s(self) -> float:
        return max(self.macs_s, self.others_s, self.traffic_s)

    @property
    def limit(self) -> str:
        """What limits: ``MACs``, ``other operations`` or ``off-chip bandwidth``."""
        names = ("MACs", "other operations", "off-chip bandwidth")
        times = (self.macs_s, self.others_s, self.traffic_s)
        return names[times.index(max(times))]


@dataclass(frozen=True, slots=True)
class Roofline:
    """The model that prices any region on any device as it is."""

    name: str = "roofline"

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why not: unknown or lacking operators, open shapes, missing rates."""
        if device.operators is not None:
            lacking = sorted(region.operators - set(device.operators))
            if lacking:
                return Refusal(reason=f"{device.name} does not run {', '.join(lacking)}")
        problem = unpriceable(region) or count_problem(region)
        if problem is not None:
            return Refusal(reason=problem, uncountable=True)
        work = work_of(region)
        rates = device.compute.macs_per_s
        missing = sorted(dtype for dtype in work.macs if dtype not in rates)
        if missing:
            return Refusal(
                reason=f"{device.name} has no MAC rate for {', '.join(missing)}; "
                f"known: {', '.join(rates) or '(none)'}"
            )
        if work.others and device.compute.others_per_s is None:
            return Refusal(reason=f"{device.name} has no rate for operations that are not MACs")
        if work.traffic_bytes and device.offchip.bandwidth_bytes_per_s is None:
            return Refusal(reason=f"{device.name}: the bandwidth of {device.offchip.name} "
                           "is not known")  # fmt: skip
        return None

    def cost(
        self,
        region: Region,
        device: Device,
        schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:
        """Price the region; schedule and statistics change nothing here."""
        del schedule, statistics
        work = work_of(region)
        charges = energy_charges(work, device)
        cost = Cost(
            latency_s=_latency_s(region, work, device),
            energy_j=None if charges is None else sum(charge.energy_j for charge in charges),
            offchip_bytes=work.traffic_bytes,
            peak_bytes={device.offchip.name: work.traffic_bytes},
            charges=charges or (),
            macs_nominal=work.total_macs,
            macs_performed=work.total_macs,
        )
        check_cost(cost, work, row=region.name, device=device)
        return cost


def _latency_s(region: Region, work: Work, device: Device) -> float:
    if device.calibration is None:
        return bounds(work, device).latency_s
    return calibrated_s(macs_by_class(region), work, device, device.calibration)


def bounds(work: Work, device: Device) -> Bounds:
    """Return the three times of a piece of work at the peaks; every rate it needs must be known."""
    compute = device.compute
    macs_s = sum(count / compute.macs_per_s[dtype] for dtype, count in work.macs.items())
    others_s = work.others / compute.others_per_s if compute.others_per_s else 0.0
    bandwidth = device.offchip.bandwidth_bytes_per_s
    traffic_s = work.traffic_bytes / bandwidth if bandwidth else 0.0
    return Bounds(macs_s=macs_s, others_s=others_s, traffic_s=traffic_s)


#: The one instance everybody uses; it has no state.
roofline = Roofline()
