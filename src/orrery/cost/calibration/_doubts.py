"""Measurements and prices that no machine could have: mostly a wrong unit.

Models:  rows against the stated peaks, against what a board can draw, and against what a plan is
         refused for (`orrery.cost._guards`); fitted energies against the bands of the shipped
         tables. What a plan would be refused for is refused, the rest is a warning.
Judge:   tables whose unit is a thousand times off, either way (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orrery.errors import SpecError
from orrery.hardware import Device
from orrery.hardware.spatial import BANDS
from orrery.units import format_quantity

from .._guards import LEAST_ENERGY_J, MOST_POWER_W
from ._fit import Floats
from ._samples import Constant, Sample

#: times that rows may beat a stated peak before it is taken for a wrong unit
MOST_RAISED = 10.0
#: share of a peak below which the same is likely
LEAST_SHARE = 1e-3
_BITS = 8


def doubt_times(
    samples: Sequence[Sample], stated: Floats, shares: Mapping[str, float], where: str
) -> tuple[str, ...]:
    """Return warnings of shares that are too small to be true; refuse those that are too large.

    Parameters
    ----------
    stated : seconds of every row at the stated peaks
    shares : fitted shares of the stated peaks by name

    Raises
    ------
    SpecError : a peak is beaten by more than `MOST_RAISED` times; names the extreme row
    """
    faster = stated / np.array([sample.latency_s for sample in samples])
    name = max(shares, key=lambda one: shares[one])
    if shares[name] > MOST_RAISED:
        place = int(faster.argmax())
        raise SpecError(
            f"{where}: {_row(samples[place])}",
            found=f"{format_quantity(samples[place].latency_s, 's')}, {faster[place]:.3g} times "
            f"faster than the stated peaks allow; in all rows {name} {shares[name]:.3g} times",
            wanted=f"at most {MOST_RAISED:g} times",
            fix="check the unit of the latencies, or correct the peaks of the device",
        )  # fmt: skip
    name = min(shares, key=lambda one: shares[one])
    if shares[name] >= LEAST_SHARE:
        return ()
    place = int(faster.argmin())
    return (f"{name}: {100 * shares[name]:.3g} % of the stated peak, and {_row(samples[place])} "
            f"takes {format_quantity(samples[place].latency_s, 's')}, {1 / faster[place]:.3g} "
            "times what the peaks ask: the unit of the latencies may be wrong",)  # fmt: skip


def check_energies(samples: Sequence[Sample], device: Device, where: str) -> None:
    """Refuse energies that no board draws in that time.

    Raises
    ------
    SpecError : names the extreme row or the network
    """
    watts = np.array([(sample.energy_j or 0.0) / sample.latency_s for sample in samples])
    place = int(watts.argmax())
    if watts[place] > MOST_POWER_W:
        one = samples[place]
        raise SpecError(
            f"{where}: {_row(one)}",
            found=f"{format_quantity(one.energy_j or 0.0, 'J')} in "
            f"{format_quantity(one.latency_s, 's')}, {format_quantity(watts[place], 'W')}",
            wanted=f"at most {format_quantity(MOST_POWER_W, 'W')}",
            fix="check the units of energy and latency",
        )  # fmt: skip
    for network in dict.fromkeys(sample.network for sample in samples):
        mine = [sample for sample in samples if sample.network == network]
        drawn = sum(s.energy_j or 0.0 for s in mine) / sum(s.latency_s for s in mine)
        if device.max_power_w is not None and drawn > device.max_power_w:
            raise SpecError(
                f"{where}: {network}", found=f"{format_quantity(drawn, 'W')} on average",
                wanted=f"at most {format_quantity(device.max_power_w, 'W')}, the maximum of "
                f"{device.name}", fix="check the unit of the energies, or correct max_power",
            )  # fmt: skip


def doubt_energies(
    samples: Sequence[Sample], constants: Sequence[Constant], dynamic_j: Floats, seconds: Floats,
    where: str,
) -> tuple[str, ...]:  # fmt: skip
    """Return warnings of prices outside the physical bands; refuse what plans are refused for.

    Parameters
    ----------
    dynamic_j, seconds : fitted, of every row, without idle power

    Raises
    ------
    SpecError : a row whose fitted energy is below any arithmetic or above any board
    """
    for sample, joules, time in zip(samples, dynamic_j.tolist(), seconds.tolist(), strict=True):
        operations = sum(sample.macs.values()) + sample.others
        if not operations * LEAST_ENERGY_J <= joules <= MOST_POWER_W * time:
            raise SpecError(
                f"{where}: {_row(sample)}",
                found=f"fitted prices of {format_quantity(joules, 'J')} for {operations} "
                f"operations in {format_quantity(time, 's')}",
                wanted=f"{format_quantity(LEAST_ENERGY_J, 'J')} an operation or more, and "
                f"{format_quantity(MOST_POWER_W, 'W')} or less",
                fix="check the units of energy and latency",
            )  # fmt: skip
    found = []
    for one in constants:
        kind, each = ("off-chip memory", _BITS) if "off-chip" in one.name else ("MAC", 1)
        if one.unit != "J" or one.status == "kept" or one.value is None or "another" in one.name:
            continue
        least, most = (each * end for end in BANDS[kind])
        if not least <= one.value <= most:
            watts = [(s.energy_j or 0.0) / s.latency_s for s in samples]
            place = watts.index(min(watts) if one.value < least else max(watts))
            found.append(
                f"{one.name}: {format_quantity(one.value, 'J')}, outside the {kind}'s "
                f"{format_quantity(least, 'J')} to {format_quantity(most, 'J')} of the shipped "
                f"tables; {_row(samples[place])} draws {format_quantity(watts[place], 'W')}: the "
                "unit of the energies may be wrong"
            )
    return tuple(found)


def _row(sample: Sample) -> str:
    return f"{sample.network}: {sample.layer}"
