"""Fit the constants of a device or an array to measured layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orrery.cost.calibration import calibrate_device
from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Device, System, read_system_text, write_system
from orrery.progress import SILENT, Progress

from .._machines import load_system
from .._options import ModelOptions
from ._arrays import array_text_of, calibrated_array
from ._page import calibration_page
from ._result import CalibrationFile, CalibrationResult, left_out
from ._samples import read_tables, samples_of

EQUATION = (
    "overhead + max(MACs / (share x peak), other operations / (share x peak), "
    "off-chip bytes / (share x bandwidth)), MACs with a share per class of operators"
)


def calibrate(
    device: object, measurements: str | Path | Sequence[str | Path], *, of: str = "",
    confidence: float = 0.8, options: ModelOptions | None = None, progress: Progress = SILENT,
) -> CalibrationResult:  # fmt: skip
    """Fit the constants of a device to measured layers, and judge them on networks left out.

    Parameters
    ----------
    device : a system (YAML file, catalogue name, ``this-machine``, `System`) or a spatial array
        (YAML file, name of `arrays`)
    measurements : CSV files, columns ``network, layer, latency_s`` and perhaps ``energy_j``
    of : which device of the system, where it has several kinds; all that are like it get the
        same constants
    confidence : share of layers that intervals are to hold
    options : of the networks: batch, phase, sizes

    Raises
    ------
    SpecError : a table or device that cannot be used, or too few rows or networks
    """
    if not 0.5 <= confidence < 1:
        raise SpecError("--confidence", found=confidence, wanted="at least 0.5 and below 1",
                        fix="write e.g. 0.8")  # fmt: skip
    paths = [measurements] if isinstance(measurements, str | Path) else measurements
    files = [Path(path) for path in paths]
    if (text := array_text_of(device)) is not None:
        return calibrated_array(str(device), text, files, confidence, options, progress)
    try:
        system = load_system(device)
    except UnknownNameError as error:
        from orrery.hardware import architecture_names

        known = {*error.known, *architecture_names()}
        raise UnknownNameError("system or array", str(device), known) from None
    chosen = _chosen(system, of)
    rows, file = read_tables(files, chosen.compute.clock_hz)

    samples = samples_of(rows, chosen, options, progress)
    found = calibrate_device(chosen, samples, where=file, confidence=confidence,
                             progress=progress)  # fmt: skip
    text = write_system(_with(system, chosen, found.device))
    read_system_text(text, "calibrated.yaml")  # what cannot be read is not written
    subject = f"{chosen.name} of {system.name}"
    page = calibration_page(
        f"{subject}, calibrated", file, EQUATION, found.constants, found.latency, found.energy,
        [(f"{s.network}: {s.layer}", s.latency_s) for s in found.samples], confidence,
        found.warnings,
    )  # fmt: skip
    return CalibrationResult(
        yaml=text, page=page,
        file=CalibrationFile(
            machine=subject, measurements=file, confidence=confidence, constants=found.constants,
            latency=left_out(found.latency), warnings=found.warnings,
            energy=None if found.energy is None else left_out(found.energy),
        ),
    )  # fmt: skip


def _alike(device: Device) -> Device:
    return replace(device, name="", group="")


def _chosen(system: System, of: str) -> Device:
    """Return the device that was measured."""
    if of:
        return system.device(of)
    kinds: list[Device] = []
    for device in system.devices:
        if all(_alike(device) != _alike(kind) for kind in kinds):
            kinds.append(device)
    if len(kinds) > 1:
        names = ", ".join(kind.name for kind in kinds)
        raise SpecError(f"{system.name}: --of", found=f"{len(kinds)} kinds of devices",
                        wanted=f"one of {names}", fix="say which was measured")  # fmt: skip
    return kinds[0]


def _with(system: System, before: Device, after: Device) -> System:
    """Return the system with the constants of one device in all that are like it."""
    return replace(system, devices=tuple(
        replace(after, name=device.name, group=device.group)
        if _alike(device) == _alike(before) else device
        for device in system.devices
    ))  # fmt: skip
