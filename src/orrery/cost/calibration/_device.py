"""A device whose constants are fitted to measured layers: times, and energies where given.

Models:  times as in `_price`; energies as MACs, other operations and off-chip bytes at a price
         each, plus idle power over the time: fitted with measured times, foretold (networks left
         out in turn) with times that constants without those networks give.
Ignores: see `_price`; prices that depend on the class of operators or on values.
Judge:   synthetic devices in the tests; cross validation by network on the user's rows.

Rows may be faster than a stated peak (a peak that is too low, operands in caches). The peak is
then raised to what they show, so that no price falls below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orrery.hardware import OPERATOR_CLASSES, Calibration, Device
from orrery.progress import SILENT, Progress
from orrery.provenance import Source

from ._doubts import check_energies, doubt_energies, doubt_times
from ._fit import Design, Fit, Floats, fit, present
from ._samples import Constant, Sample, check_enough, fitted, measured_source
from ._validate import CONFIDENCE, Validation, left_out_error

#: overhead in seconds at which the search starts
_OVERHEAD_S = 1e-6
_LONE = "rests on so few networks that the others do not tell it; its error is the fit's own"
_OTHERS, _BANDWIDTH, _OVERHEAD = "other operations", "off-chip bandwidth", "overhead of a layer"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedDevice:
    """A device with fitted constants, and how well they foretell.

    Attributes
    ----------
    energy : validation of energies; None: not measured
    warnings : what the measurements contradict
    """

    device: Device
    samples: tuple[Sample, ...]
    constants: tuple[Constant, ...]
    latency: Validation
    energy: Validation | None
    warnings: tuple[str, ...]


def calibrate_device(
    device: Device, samples: Sequence[Sample], *, where: str, confidence: float = CONFIDENCE,
    progress: Progress = SILENT,
) -> CalibratedDevice:  # fmt: skip
    """Fit the constants of a device to measured layers.

    Parameters
    ----------
    samples : every rate they need must be known of the device
    where : stands in sources: the file that the measurements come from
    confidence : share of rows that the interval is to hold
    progress : told of every fit; asked whether to stop

    Raises
    ------
    SpecError : too few rows or networks
    """
    used = tuple(sample for sample in samples if sample.does_anything)
    networks = [sample.network for sample in used]
    design, classes = _times(device, used)
    check_enough(where, networks, int(design.free.sum()))
    measured = np.array([sample.latency_s for sample in used])
    found, validation, errors = fitted(design, measured, networks, confidence, progress)
    rows = f"{len(used)} rows of {len(set(networks))} networks"
    constants = _constants(design, found, errors, validation.spread)
    doubts = doubt_times(used, design.price(design.start), {
        one.name: one.value / 100 for one in constants
        if one.unit == "%" and one.value and one.status != "kept"
    }, where)  # fmt: skip
    made, warnings = _rebuilt(device, used, classes, constants, validation, confidence,
                              (where, rows))  # fmt: skip
    warnings += doubts
    energy = None
    billed = tuple(sample for sample in used if sample.energy_j is not None)
    if billed:
        check_energies(billed, device, where)
        times = _Times(design, measured, networks, found.x,
                       np.array([sample.energy_j is not None for sample in used]))  # fmt: skip
        made, more, energy, doubts = _priced(made, billed, times, where, confidence, progress)
        constants += more
        warnings += doubts
        idle, most = made.idle_power_w, made.max_power_w
        if idle is not None and most is not None and idle > most:
            made = replace(made, idle_power_w=device.idle_power_w, sources=device.sources)
            warnings += (f"the fitted idle power of {idle:.3g} W is above the stated maximum of "
                         f"{most:.3g} W, and was not taken: correct max_power",)  # fmt: skip
    unseen = [name for name in OPERATOR_CLASSES if name not in classes]
    if unseen:
        warnings += (
            f"no row has MACs of {', '.join(unseen)}: these are priced at the stated peak",
        )
    left = len(samples) - len(used)
    if left:
        warnings += (f"{left} rows of layers that only look at memory otherwise were left out",)
    return CalibratedDevice(device=made, samples=used, constants=constants, latency=validation,
                            energy=energy, warnings=warnings)  # fmt: skip


def _times(device: Device, samples: Sequence[Sample]) -> tuple[Design, tuple[str, ...]]:
    """Return the design of times at the stated peaks: a constant of 1 is the peak."""
    seen = {name for sample in samples for name, _ in sample.macs}
    classes = tuple(name for name in OPERATOR_CLASSES if name in seen)
    names = (*(f"MACs of {name}" for name in classes), _OTHERS, _BANDWIDTH, _OVERHEAD)
    lines = np.zeros((len(samples), 3, len(names)))
    compute, bandwidth = device.compute, device.offchip.bandwidth_bytes_per_s
    for row, sample in zip(lines, samples, strict=True):
        for (name, dtype), count in sample.macs.items():
            row[0, classes.index(name)] += count / compute.macs_per_s[dtype]
        row[1, -3] = sample.others / compute.others_per_s if compute.others_per_s else 0.0
        row[2, -2] = sample.traffic_bytes / bandwidth if bandwidth else 0.0
    added = np.zeros((len(samples), len(names)))
    added[:, -1] = 1.0
    start = np.array([1.0] * (len(names) - 1) + [0.0])
    return Design(
        names=names, added=added, lines=lines, start=start,
        guess=np.array([1.0] * (len(names) - 1) + [_OVERHEAD_S]),
        free=present(added, lines),
    ), classes  # fmt: skip


def _constants(design: Design, found: Fit, errors: Floats, spread: Floats) -> tuple[Constant, ...]:
    notes = {
        "fitted": "", "bounded": "the rows are too fast for the stated peak; at least this",
        "kept": "the rows do not tell it; as before",
    }  # fmt: skip
    made = []
    for place, name in enumerate(design.names):
        status, error = found.status[place], float(errors[place])
        seconds = name == _OVERHEAD
        value = float(found.x[place]) if seconds else 100 / float(found.x[place])
        made.append(Constant(
            name=name, unit="s" if seconds else "%", before=0.0 if seconds else 100.0,
            value=value, error=None if np.isnan(error) else error, status=status,
            note=_LONE if status == "fitted" and np.isnan(spread[place]) else notes[status],
        ))  # fmt: skip
    return tuple(made)


def _rebuilt(
    device: Device, samples: Sequence[Sample], classes: Sequence[str],
    constants: Sequence[Constant], validation: Validation, confidence: float,
    said: tuple[str, str],
) -> tuple[Device, tuple[str, ...]]:  # fmt: skip
    """Return the device with its shares, and peaks raised where measurements beat them."""
    known = {constant.name: constant for constant in constants}
    share = {name: (c.value or 0.0) / 100 for name, c in known.items() if c.unit == "%"}
    warnings, sources = [], {}
    compute, offchip = device.compute, device.offchip

    def source(names: Sequence[str], note: str = "") -> Source:
        errors = [f"{name} {100 * (known[name].error or 0):.2g} %" for name in names
                  if known[name].error is not None]  # fmt: skip
        text = f"standard error: {', '.join(errors)}" if errors else ""
        return measured_source(f"calibrated from {said[1]}: {said[0]}",
                               "; ".join(filter(None, (note, text))))  # fmt: skip

    def raised(name: str, factor: float) -> Source:
        warnings.append(f"layers are faster than the stated peak of {name} allows: "
                        f"it is raised {factor:.3g} times (too low, or caches)")  # fmt: skip
        return source([], f"{factor:.3g} times the figure before, which layers beat")

    macs = {name: share[f"MACs of {name}"] for name in classes}
    if (most := max(macs.values(), default=1.0)) > 1:
        seen = {dtype for sample in samples for _, dtype in sample.macs}
        compute = replace(
            compute, macs_per_s={t: r * most if t in seen else r
                                 for t, r in compute.macs_per_s.items()},
            sources={**compute.sources, "macs_per_s": raised("MACs", most)},
        )  # fmt: skip
        macs = {name: macs.get(name, 1.0) / most for name in OPERATOR_CLASSES}
    else:
        macs = {name: value for name, value in macs.items()
                if known[f"MACs of {name}"].status != "kept"}  # fmt: skip
    if share[_OTHERS] > 1 and compute.others_per_s is not None:
        compute = replace(
            compute, others_per_s=compute.others_per_s * share[_OTHERS],
            sources={**compute.sources, "others_per_s": raised(_OTHERS, share[_OTHERS])},
        )  # fmt: skip
    if share[_BANDWIDTH] > 1 and offchip.bandwidth_bytes_per_s is not None:
        offchip = replace(
            offchip, bandwidth_bytes_per_s=offchip.bandwidth_bytes_per_s * share[_BANDWIDTH],
            sources={**offchip.sources,
                     "bandwidth_bytes_per_s": raised(_BANDWIDTH, share[_BANDWIDTH])},
        )  # fmt: skip
    if macs:
        sources["mac_share"] = source([f"MACs of {name}" for name in classes])
    values: dict[str, float] = {}
    for field, name, value in (
        ("others_share", _OTHERS, share[_OTHERS]), ("bandwidth_share", _BANDWIDTH,
         share[_BANDWIDTH]), ("overhead_s", _OVERHEAD, known[_OVERHEAD].value or 0.0),
    ):  # fmt: skip
        if known[name].status != "kept" and (value < 1 or field == "overhead_s"):
            values[field], sources[field] = value, source([name])
    ends = source([], "networks left out in turn; measured over priced, of one layer")
    low, high = validation.interval
    ratios = {"low_ratio": low, "high_ratio": high, "interval_share": confidence,
              "left_out_error": left_out_error(validation)}  # fmt: skip
    values |= ratios
    sources |= dict.fromkeys(ratios, ends)
    memories = tuple(offchip if memory.offchip else memory for memory in device.memories)
    return replace(
        device, compute=compute, memories=memories,
        calibration=Calibration(mac_share=macs, sources=sources, **values),
    ), tuple(warnings)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Times:
    """What rows with an energy are priced to take, `chosen` of all that were timed.

    Attributes
    ----------
    x : constants fitted to all rows
    """

    design: Design
    measured: Floats
    networks: Sequence[str]
    x: Floats
    chosen: NDArray[np.bool_]

    def before(self) -> Floats:
        """Return seconds by the constants as they were."""
        return self.design.price(self.design.start)[self.chosen]

    def after(self, left: frozenset[str] = frozenset()) -> Floats:
        """Return seconds by constants fitted without some networks."""
        x = self.x
        if left:
            seen = np.array([name not in left for name in self.networks])
            x = fit(self.design.rows(seen), self.measured[seen]).x
        return self.design.price(x)[self.chosen]


def _priced(
    device: Device, samples: Sequence[Sample], times: _Times, where: str, confidence: float,
    progress: Progress,
) -> tuple[Device, tuple[Constant, ...], Validation, tuple[str, ...]]:  # fmt: skip
    """Fit prices of actions and idle power to measured energies."""
    compute, offchip = device.compute, device.offchip
    dtypes = sorted({dtype for sample in samples for _, dtype in sample.macs})
    columns = [
        *((f"energy of a MAC, {t}", "J", compute.mac_energy_j.get(t),
           [sum(n for (_, d), n in s.macs.items() if d == t) for s in samples]) for t in dtypes),
        ("energy of another operation", "J", compute.other_energy_j, [s.others for s in samples]),
        ("energy of a byte off-chip", "J", offchip.energy_j_per_byte,
         [s.traffic_bytes for s in samples]),
        ("idle power", "W", device.idle_power_w, [s.latency_s for s in samples]),
    ]  # fmt: skip
    added = np.array([column[3] for column in columns], float).T
    measured = np.array([sample.energy_j for sample in samples], float)
    networks = [sample.network for sample in samples]
    check_enough(f"{where}: energies", networks, len(columns))
    lines = np.zeros((len(samples), 1, len(columns)))
    with np.errstate(divide="ignore"):
        each = np.where(added > 0, measured[:, None] / added, np.nan)
    design = Design(
        names=tuple(column[0] for column in columns), added=added, lines=lines,
        start=np.array([column[2] or 0.0 for column in columns]),
        guess=np.array([0.3 * float(np.nanmedian(one)) if np.isfinite(one).any() else 1.0
                        for one in each.T]),
        free=present(added, lines),
    )  # fmt: skip

    def foretold(seconds: Floats) -> Design:
        return replace(design, added=np.column_stack((added[:, :-1], seconds)))

    found, validation, errors = fitted(
        design, measured, networks, confidence, progress,
        unfitted=foretold(times.before()).price(design.start),
        without=lambda left: (design, foretold(times.after(left))),
    )  # fmt: skip
    said = f"calibrated from {len(samples)} rows of {len(set(networks))} networks: {where}"
    constants, values, sources = [], {}, {}
    for place, (name, unit, before, _) in enumerate(columns):
        status, error = found.status[place], float(errors[place])
        value = float(found.x[place]) if status != "kept" else before
        note = {"fitted": "", "bounded": "at most this",
                "kept": "the rows do not tell it; as before"}[status]  # fmt: skip
        if status == "kept" and before is None and design.free[place]:
            note = "the rows do not tell it from zero; it stays not known"
        constants.append(Constant(name=name, unit=unit, before=before, value=value, status=status,
                                  error=None if np.isnan(error) else error, note=note))  # fmt: skip
        if value is not None and status != "kept":
            text = note if np.isnan(error) else f"standard error: {100 * error:.2g} %"
            values[name], sources[name] = value, measured_source(said, text)
    doubts = doubt_energies(samples, constants, added[:, :-1] @ found.x[:-1],
                            times.after(), where)  # fmt: skip
    return _with_prices(device, dtypes, values, sources), tuple(constants), validation, doubts


def _with_prices(
    device: Device, dtypes: Sequence[str], values: Mapping[str, float],
    sources: Mapping[str, Source],
) -> Device:  # fmt: skip
    compute = device.compute
    prices = {t: values[f"energy of a MAC, {t}"] for t in dtypes
              if f"energy of a MAC, {t}" in values}  # fmt: skip
    if prices:
        source = sources[f"energy of a MAC, {next(iter(prices))}"]
        compute = replace(compute, mac_energy_j={**compute.mac_energy_j, **prices},
                          sources={**compute.sources, "mac_energy_j": source})  # fmt: skip
    if (name := "energy of another operation") in values:
        compute = replace(compute, other_energy_j=values[name],
                          sources={**compute.sources, "other_energy_j": sources[name]})  # fmt: skip
    memories = device.memories
    if (name := "energy of a byte off-chip") in values:
        memories = tuple(
            replace(m, energy_j_per_byte=values[name],
                    sources={**m.sources, "energy_j_per_byte": sources[name]})
            if m.offchip else m for m in memories
        )  # fmt: skip
    device = replace(device, compute=compute, memories=memories)
    if (name := "idle power") in values:
        device = replace(device, idle_power_w=values[name],
                         sources={**device.sources, "idle_power_w": sources[name]})  # fmt: skip
    return device
