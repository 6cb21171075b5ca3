"""What physics forbids, checked on every estimate.

Models:  no more operations than the peak allows, no less time than compulsory traffic needs, no
         less energy than a femtojoule per operation performed, no more power than a hall of racks,
         nor on the whole than the boards say they take.
Ignores: whether a value is right; a guard only says that it cannot be.
Judge:   each guard is violated once on purpose in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from orrery.errors import OrreryError
from orrery.hardware import Device

from ._cost import Cost
from ._work import Work

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


def check_power(total: Cost, used: Sequence[Device], *, links: Collection[str] = ()) -> None:
    """Refuse devices whose power no board has, and a total that draws more than they may.

    Parameters
    ----------
    total : of a plan; its charges on `links` are not the devices'
    used : the devices that take part
    links : names of links, each of which may draw what a device without a known limit may

    Raises
    ------
    ImplausibleCostError : naming the device, or the total
    """
    for device in used:
        for what, watts in (("idle", device.idle_power_w), ("maximum", device.max_power_w)):
            if watts is not None and watts > MOST_POWER_W:
                raise ImplausibleCostError(
                    f"device {device.name}: {what} power", found=f"{watts:.3g} W",
                    wanted=f"at most {MOST_POWER_W:.0f} W",
                )  # fmt: skip
        idle, most = device.idle_power_w, device.max_power_w
        if idle is not None and most is not None and idle > most:
            raise ImplausibleCostError(f"device {device.name}: idle power", found=f"{idle:.4g} W",
                                       wanted=f"at most its maximum of {most:.4g} W")  # fmt: skip
    energy = total.energy_j
    if energy is None:
        return
    if not math.isfinite(energy) or energy < 0:
        raise ImplausibleCostError("total", found=f"{energy} J", wanted="a finite energy")
    if energy < total.macs_performed * LEAST_ENERGY_J:
        raise ImplausibleCostError(
            "total", found=f"{energy:.3g} J for {total.macs_performed} MACs",
            wanted="at least 1 fJ per operation",
        )  # fmt: skip
    over_links = sum(charge.energy_j for charge in total.charges if charge.resource in links)
    at_devices = sum(MOST_POWER_W if d.max_power_w is None else d.max_power_w for d in used)
    for where, joules, watts in (
        (f"total of {', '.join(device.name for device in used)}", energy - over_links, at_devices),
        (f"total of links {', '.join(sorted(links))}", over_links, MOST_POWER_W * len(links)),
    ):
        # What takes no time takes no energy either: every region was looked at.
        if joules > watts * total.latency_s * (1 + _SLACK):
            raise ImplausibleCostError(
                where, found=f"{joules:.3g} J in {total.latency_s:.3g} s",
                wanted=f"at most {watts:.4g} W",
            )  # fmt: skip
