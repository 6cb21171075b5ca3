"""What physics forbids, checked on every estimate.

Models:  no more operations than the peak allows, no less time than compulsory traffic needs, no
         less energy than a femtojoule per operation performed, no more power than a hall of racks.
Ignores: whether a value is right; a guard only says that it cannot be.
Judge:   each guard is violated once on purpose in the tests.
"""

from __future__ import annotations

import math

from orrery.errors import OrreryError
from orrery.hardware import Device

from ._cost import Cost
from ._work import Work

__all__ = ["ImplausibleCostError", "check_cost"]

#: Ten thousand times the Landauer limit of a 32-bit operation at room temperature; no published
#: arithmetic comes near it from above by less than a factor of ten.
LEAST_ENERGY_J = 1e-15
MOST_POWER_W = 1e5
_SLACK = 1e-9  # rounding of sums


class ImplausibleCostError(OrreryError):
    """An estimate that no machine could keep: a fault of the cost model or of the numbers."""

    def __init__(self, row: str, *, found: str, wanted: str) -> None:
        self.row = row
        super().__init__(
            f"{row}: found {found}, wanted {wanted}; "
            "correct the cost model or the numbers of the device"
        )


def check_cost(cost: Cost, work: Work, *, row: str, device: Device, as_is: bool = True) -> None:
    """Refuse an impossible cost, naming the row.

    Parameters
    ----------
    row : region (and device), for the message
    as_is : whether the device's own units compute; a configured design has its own peak and its
        own number format, which only its own model knows

    Raises
    ------
    ImplausibleCostError : below a bound that the device or physics sets
    """
    where = f"{row} on {device.name}"
    energy = cost.energy_j
    if not math.isfinite(cost.latency_s) or cost.latency_s < 0:
        raise ImplausibleCostError(where, found=f"{cost.latency_s} s", wanted="a finite time")
    if energy is not None and (not math.isfinite(energy) or energy < 0):
        raise ImplausibleCostError(where, found=f"{energy} J", wanted="a finite energy")
    reach = cost.latency_s * (1 + _SLACK)
    rates = device.compute.macs_per_s
    if as_is and rates and all(dtype in rates for dtype in work.macs):
        # What was performed counts, not what was asked for: skipping zeros is no magic.
        share = cost.macs_performed / work.total_macs if work.total_macs else 0.0
        least = share * sum(count / rates[dtype] for dtype, count in work.macs.items())
        if reach < least:
            raise ImplausibleCostError(
                where, found=f"{cost.macs_performed} MACs in {cost.latency_s:.3g} s",
                wanted=f"at least {least:.3g} s at the peak rate",
            )  # fmt: skip
    if cost.offchip_bytes is not None:
        if as_is and cost.offchip_bytes < work.traffic_bytes:
            raise ImplausibleCostError(
                where, found=f"{cost.offchip_bytes} bytes off-chip",
                wanted=f"at least the compulsory {work.traffic_bytes}",
            )  # fmt: skip
        bandwidth = device.offchip.bandwidth_bytes_per_s
        if bandwidth is not None and reach < cost.offchip_bytes / bandwidth:
            raise ImplausibleCostError(
                where, found=f"{cost.offchip_bytes} bytes off-chip in {cost.latency_s:.3g} s",
                wanted=f"at least {cost.offchip_bytes / bandwidth:.3g} s at {bandwidth:.3g} B/s",
            )  # fmt: skip
    if energy is None:
        return
    operations = cost.macs_performed + work.others
    if energy < operations * LEAST_ENERGY_J:
        raise ImplausibleCostError(
            where, found=f"{energy:.3g} J for {operations} operations",
            wanted="at least 1 fJ per operation",
        )  # fmt: skip
    if cost.offchip_bytes is None:
        raise ImplausibleCostError(where, found="an energy without off-chip traffic",
                                   wanted="off-chip bytes counted, or no energy")  # fmt: skip
    if energy > MOST_POWER_W * reach:
        raise ImplausibleCostError(
            where, found=f"{energy:.3g} J in {cost.latency_s:.3g} s",
            wanted=f"at most {MOST_POWER_W:.0f} W",
        )  # fmt: skip
