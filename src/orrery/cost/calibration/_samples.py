"""Measured layers, and what a fit gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import Region
from orrery.hardware import Device
from orrery.progress import Progress
from orrery.provenance import Basis, Source

from .._work import work_of
from ._fit import Design, Fit, Status, fit
from ._price import macs_by_class
from ._read import MeasuredRow
from ._validate import LEAST_NETWORKS, Validation, Without, cross_validate

LEAST_ROWS = 10
#: rows per constant that a fit needs at least
_ROWS_EACH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured layer of a network.

    Attributes
    ----------
    macs : (class of operators, element type) -> multiply-accumulates
    others, traffic_bytes : other operations; bytes that cross the border of the layer once
    latency_s, energy_j : measured; an energy includes what the device takes while it idles
    """

    network: str
    layer: str
    macs: Mapping[tuple[str, str], int]
    others: int
    traffic_bytes: int
    latency_s: float
    energy_j: float | None = None

    @property
    def does_anything(self) -> bool:
        """Whether there is anything to price: views take nothing."""
        return bool(self.macs or self.others or self.traffic_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A constant before and after.

    Attributes
    ----------
    before, value : None: not known
    error : standard error, relative; None where it was not fitted
    status : fitted; bounded: the rows only show on which side of `value` it lies; kept: they do
        not tell
    """

    name: str
    unit: str
    before: float | None
    value: float | None
    error: float | None
    status: Status
    note: str = ""


def sample_of(
    region: Region, network: str, latency_s: float, energy_j: float | None = None
) -> Sample:
    """Return the sample of a region that a cost model can price."""
    work = work_of(region)
    return Sample(network=network, layer=region.name, macs=macs_by_class(region),
                  others=work.others, traffic_bytes=work.traffic_bytes, latency_s=latency_s,
                  energy_j=energy_j)  # fmt: skip


def sample_of_work(row: MeasuredRow, device: Device) -> Sample:
    """Return the sample of a row that tells its work itself.

    Raises
    ------
    SpecError : it tells none, or the device lacks a rate it needs
    """
    if row.work is None:
        raise SpecError(row.where, found="no work", wanted="macs, other_operations and bytes",
                        fix="add the columns")  # fmt: skip
    name, dtype, macs, others, size_bytes = row.work
    lacking = [
        what for what, needed in (
            (f"rate of MACs in {dtype}", macs and dtype not in device.compute.macs_per_s),
            ("rate of other operations", others and device.compute.others_per_s is None),
            ("off-chip bandwidth", size_bytes and device.offchip.bandwidth_bytes_per_s is None),
        ) if needed
    ]  # fmt: skip
    if lacking:
        raise SpecError(row.where, found=f"{device.name} without {' and '.join(lacking)}",
                        wanted="every rate that a row needs",
                        fix="add it to the device")  # fmt: skip
    return Sample(network=row.network, layer=row.layer, macs={(name, dtype): macs} if macs else {},
                  others=others, traffic_bytes=size_bytes, latency_s=row.latency_s,
                  energy_j=row.energy_j)  # fmt: skip


def measured_source(where: str, note: str) -> Source:
    """Return the source of a constant from measurements."""
    return Source(basis=Basis.MEASURED, where=where, note=note)


def check_enough(where: str, networks: Sequence[str], constants: int) -> None:
    """Refuse too few rows or networks to fit and to judge the fit.

    Raises
    ------
    SpecError : says how many are needed
    """
    different, rows = len(set(networks)), max(LEAST_ROWS, _ROWS_EACH * constants)
    if different < LEAST_NETWORKS:
        raise SpecError(
            where, found=f"{different} network{'' if different == 1 else 's'}",
            wanted=f"{LEAST_NETWORKS} or more: one to hold out, one for the interval, one to fit",
            fix="measure layers of more networks",
        )  # fmt: skip
    if len(networks) < rows:
        raise SpecError(where, found=f"{len(networks)} usable rows", fix="measure more layers",
                        wanted=f"{rows} or more for {constants} constants")  # fmt: skip


def fitted(
    design: Design,
    measured: NDArray[np.float64],
    networks: Sequence[str],
    confidence: float,
    progress: Progress,
    unfitted: NDArray[np.float64] | None = None,
    without: Without | None = None,
) -> tuple[Fit, Validation, NDArray[np.float64]]:
    """Fit and cross-validate; also the larger of both standard errors of each constant.

    Where some networks left out took a constant with them, only the fit's own error is known.
    `unfitted` and `without` as `cross_validate` takes them.
    """
    found = fit(design, measured)
    validation = cross_validate(design, measured, networks, confidence=confidence,
                                progress=progress, unfitted=unfitted, without=without)  # fmt: skip
    larger = np.fmax(found.errors, validation.spread)
    return found, validation, np.where(np.isnan(found.errors), np.nan, larger)
