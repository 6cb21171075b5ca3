"""A spatial array whose runs were measured: overhead of a run, bandwidth of the off-chip memory.

Models:  latency = overhead per run + cycles / clock, with the cycles of `orrery.cost.nest` for the
         nests that were handed in, as a function of the off-chip bandwidth. That function is convex
         and made of straight pieces; it is sampled at `_FACTORS` and lies on the lines between
         them.
Ignores: that other nests may have run than those handed in; a bandwidth under which the search
         would have chosen other nests.
Judge:   arrays made up with known constants (tests); measured mappings of Gemmini (tests); cross
         validation by network on the user's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orrery.hardware import Architecture
from orrery.progress import SILENT, Progress

from ..nest import NestCost, NestMapping, NestProblem, nest_cost
from ._fit import Design, Floats
from ._samples import Constant, check_enough, fitted, measured_source
from ._validate import CONFIDENCE, Validation, left_out_error

__all__ = ["ArraySample", "CalibratedArray", "calibrate_array"]

#: how many times slower than stated the off-chip memory is tried
_FACTORS = np.geomspace(1 / 16, 64, 21)
_OVERHEAD_S = 1e-6
_NAMES = ("cycles", "off-chip bandwidth", "overhead of a run")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySample:
    """One measured layer, with the nests that it runs as, one after the other."""

    network: str
    layer: str
    nests: tuple[tuple[NestProblem, NestMapping], ...]
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedArray:
    """An array with fitted constants, and how well they foretell."""

    architecture: Architecture
    constants: tuple[Constant, ...]
    latency: Validation
    warnings: tuple[str, ...]


def calibrate_array(
    architecture: Architecture, samples: Sequence[ArraySample], *, where: str,
    confidence: float = CONFIDENCE, progress: Progress = SILENT,
) -> CalibratedArray:  # fmt: skip
    """Fit overhead and off-chip bandwidth of an array to measured layers.

    Parameters
    ----------
    where : stands in sources: the file that the measurements come from
    confidence : share of rows that the interval is to hold
    progress : told of every fit; asked whether to stop

    Raises
    ------
    SpecError : too few rows or networks
    """
    plain = replace(architecture, overhead_s=None, low_ratio=None, high_ratio=None,
                    interval_share=None, left_out_error=None)  # fmt: skip
    networks = [sample.network for sample in samples]
    design = _design(plain, samples)
    check_enough(where, networks, int(design.free.sum()))
    measured = np.array([sample.latency_s for sample in samples])
    found, validation, errors = fitted(design, measured, networks, confidence, progress)
    said = f"calibrated from {len(samples)} rows of {len(set(networks))} networks: {where}"
    factor, overhead_s = float(found.x[1]), float(found.x[2])
    bits = architecture.levels[0].read_bits_per_cycle
    notes = {"fitted": "", "kept": "the rows do not tell it; as before",
             "bounded": "the rows are too fast for the stated one; at least this"}  # fmt: skip
    errors = np.where(np.isnan(errors), np.nan, errors)
    constants = (
        Constant(name=_NAMES[1], unit="bit/cycle", before=bits,
                 value=None if bits is None else bits / factor, error=_known(errors[1]),
                 status=found.status[1], note=notes[found.status[1]] if bits else
                 "the array has none: add read_bandwidth to its first level to fit it"),
        Constant(name=_NAMES[2], unit="s", before=0.0, value=overhead_s, error=_known(errors[2]),
                 status=found.status[2], note=notes[found.status[2]]),
    )  # fmt: skip
    made = plain
    if bits is not None and found.status[1] != "kept":
        made = _slower(made, factor)
        memory = made.levels[0]
        source = measured_source(said, _error_text(errors[1]))
        changed = {name: source for name in ("read_bits_per_cycle", "write_bits_per_cycle")
                   if getattr(memory, name) is not None}  # fmt: skip
        memory = replace(memory, sources={**memory.sources, **changed})
        made = replace(made, levels=(memory, *made.levels[1:]))
    sources = dict(made.sources)
    if found.status[2] != "kept":
        sources["overhead_s"] = measured_source(said, _error_text(errors[2]))
        made = replace(made, overhead_s=overhead_s, sources=sources)
    ends = measured_source(said, "networks left out in turn; measured over computed, of one layer")
    sources |= dict.fromkeys(("low_ratio", "high_ratio", "interval_share", "left_out_error"), ends)
    low, high = validation.interval
    made = replace(made, low_ratio=low, high_ratio=high, interval_share=confidence,
                   left_out_error=left_out_error(validation), sources=sources)  # fmt: skip
    warnings = () if factor >= 1 else (
        f"layers are faster than the stated off-chip bandwidth allows: it is raised "
        f"{1 / factor:.3g} times",)  # fmt: skip
    return CalibratedArray(architecture=made, constants=constants, latency=validation,
                           warnings=warnings)  # fmt: skip


def _known(error: float) -> float | None:
    return None if np.isnan(error) else float(error)


def _error_text(error: float) -> str:
    return "" if np.isnan(error) else f"standard error: {100 * error:.2g} %"


def _slower(architecture: Architecture, factor: float) -> Architecture:
    """Return the array with an off-chip memory so many times slower."""
    memory = architecture.levels[0]

    def part(rate: float | None) -> float | None:
        return None if rate is None else rate / factor

    memory = replace(memory, read_bits_per_cycle=part(memory.read_bits_per_cycle),
                     write_bits_per_cycle=part(memory.write_bits_per_cycle))  # fmt: skip
    return replace(architecture, levels=(memory, *architecture.levels[1:]))


def _design(architecture: Architecture, samples: Sequence[ArraySample]) -> Design:
    """Return the design: a fixed constant of 1, the memory's slowness, seconds of overhead."""
    rated = architecture.levels[0].read_bits_per_cycle is not None
    factors = _FACTORS if rated else np.ones(1)
    lines = np.zeros((len(samples), max(1, len(factors) - 1), 3))
    added = np.zeros((len(samples), 3))
    slower = [_slower(architecture, float(factor)) for factor in factors]
    for row, one, sample in zip(lines, added, samples, strict=True):
        seconds = np.array(_seconds(slower, sample))
        if rated:
            slopes = np.diff(seconds) / np.diff(factors)
            row[:, 0], row[:, 1] = seconds[:-1] - slopes * factors[:-1], slopes
        else:
            row[0, 0] = seconds[0]
        one[2] = sum(problem.times for problem, _ in sample.nests)
    return Design(
        names=_NAMES, added=added, lines=lines, start=np.array([1.0, 1.0, 0.0]),
        guess=np.array([1.0, 1.0, _OVERHEAD_S]), free=np.array([False, rated, True]),
    )  # fmt: skip


def _seconds(slower: Sequence[Architecture], sample: ArraySample) -> Floats:
    """Return the seconds of a sample without overhead on each of some arrays."""
    found = np.zeros(len(slower))
    for problem, mapping in sample.nests:
        cost: NestCost | None = None
        for place, architecture in enumerate(slower):
            counts = None if cost is None else cost.counts  # the same whatever the bandwidth
            cost = nest_cost(problem, mapping, architecture, counts=counts)
            found[place] += cost.latency_s
    return found
