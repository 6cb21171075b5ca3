"""A spatial array whose runs were measured: overhead of a run, bandwidth of the off-chip memory.

Models:  latency = overhead per run + cycles / clock, cycles of `orrery.cost.nest` for the nests
         that a search finds at the fitted off-chip bandwidth. For nests that stay, time is a convex
         function of the bandwidth made of straight pieces; it is sampled at `_FACTORS` and lies on
         the lines between them. Search and fit alternate, from the best of the bandwidths of
         `_GRID`, until the bandwidth stands (at most `_ROUNDS` times). Fits that leave networks out
         do the same by the rest alone, at bandwidths rounded to steps of `_STEP`, so that few
         are searched.
Ignores: that other nests may have run than the search finds.
Judge:   arrays made up with known constants (tests); measured mappings of Gemmini (tests); cross
         validation by network on the user's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orrery.hardware import Architecture
from orrery.progress import SILENT, Progress

from ..nest import NestCost, NestMapping, NestProblem, nest_cost
from ._fit import LEAST_NOISE, Design, Floats, fit
from ._samples import Constant, check_enough, fitted, measured_source
from ._validate import CONFIDENCE, Validation, left_out_error

#: how many times slower than stated the off-chip memory is tried
_FACTORS = np.geomspace(1 / 16, 64, 21)
_OVERHEAD_S = 1e-6
#: how many times slower than stated the memory is at which nests are searched first
_GRID = (1.0, 0.25, 3.0, 9.0, 27.0)
#: searches after those, and the change of the bandwidth's logarithm at which it stands
_ROUNDS, _STANDS = 6, 0.01
#: steps of the bandwidths at which fits that leave networks out search nests
_STEP = 1.2
#: step away from a bandwidth that shows whether the rows tell it
_APART = 1.5
#: likelihood ratio, doubled and in logarithms, that chance exceeds in one case of twenty
_SURE = 3.84
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
    samples: tuple[ArraySample, ...]
    constants: tuple[Constant, ...]
    latency: Validation
    warnings: tuple[str, ...]


def calibrate_array(
    architecture: Architecture, search: Callable[[Architecture], Sequence[ArraySample]], *,
    where: str, confidence: float = CONFIDENCE, progress: Progress = SILENT,
) -> CalibratedArray:  # fmt: skip
    """Fit overhead and off-chip bandwidth of an array to measured layers.

    Parameters
    ----------
    search : the measured layers with the nests that they run as on an array; always the same
        layers, in the same order
    where : stands in sources: the file that the measurements come from
    confidence : share of rows that the interval is to hold
    progress : told of every fit; asked whether to stop

    Raises
    ------
    SpecError : too few rows or networks
    """
    plain = replace(architecture, overhead_s=None, low_ratio=None, high_ratio=None,
                    interval_share=None, left_out_error=None)  # fmt: skip
    nests = _Search(plain, search)
    networks = [sample.network for sample in nests.stated]
    rated = architecture.levels[0].read_bits_per_cycle is not None
    check_enough(where, networks, 1 + rated)
    everyone = np.ones(len(networks), bool)
    now, stands = nests.settled(everyone) if rated else (None, True)
    samples = nests.samples(now or 1.0)
    unfitted = np.array([_seconds([plain], sample)[0] for sample in nests.stated])

    def without(left: frozenset[str]) -> tuple[Design, Design]:
        seen = np.array([name not in left for name in networks])
        design = nests.design(nests.settled(seen, _STEP)[0] if rated else None)
        return design, design

    found, validation, errors = fitted(nests.design(now), nests.measured, networks, confidence,
                                       progress, unfitted, without)  # fmt: skip
    warnings: tuple[str, ...] = ()
    if now is not None and not stands:
        warnings += (
            "the off-chip bandwidth has not settled: the nests that it is fitted with "
            f"were searched at {float(found.x[1]) / now:.3g} times the one written",
        )
    vague = now is not None and not all(nests.tells(f, now, 1.0, everyone)
                                        for f in (now * _APART, now / _APART))  # fmt: skip
    said = f"calibrated from {len(samples)} rows of {len(set(networks))} networks: {where}"
    factor, overhead_s = float(found.x[1]), float(found.x[2])
    bits = architecture.levels[0].read_bits_per_cycle
    notes = {"fitted": "", "kept": "the rows do not tell it; as before",
             "bounded": "the rows are too fast for the stated one; at least this"}  # fmt: skip
    if vague:
        errors[1] = np.nan
        warnings += (f"the rows tell the off-chip bandwidth no closer than within a factor of "
                     f"{_APART:g}",)  # fmt: skip
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
    if factor < 1:
        warnings += (f"layers are faster than the stated off-chip bandwidth allows: it is raised "
                     f"{1 / factor:.3g} times",)  # fmt: skip
    return CalibratedArray(architecture=made, samples=tuple(samples), constants=constants,
                           latency=validation, warnings=warnings)  # fmt: skip


class _Search:
    """Nests of the measured layers, searched at one bandwidth after the other."""

    def __init__(
        self, plain: Architecture, search: Callable[[Architecture], Sequence[ArraySample]]
    ) -> None:
        self._plain, self._search = plain, search
        self.stated = search(plain)
        self.measured = np.array([sample.latency_s for sample in self.stated])
        self._tried: dict[float, Sequence[ArraySample]] = {1.0: self.stated}
        self._there: dict[float, Design] = {}
        self._around: dict[float | None, Design] = {}

    def samples(self, factor: float) -> Sequence[ArraySample]:
        """Return the layers with the nests of a bandwidth."""
        if factor not in self._tried:
            self._tried[factor] = self._search(_slower(self._plain, factor))
        return self._tried[factor]

    def design(self, factor: float | None) -> Design:
        """Return the design with the nests of a bandwidth; None: a bandwidth that stays."""
        if factor not in self._around:
            near = np.ones(1) if factor is None else _near(factor)
            self._around[factor] = _design(self._plain, self.samples(factor or 1.0), near)
        return self._around[factor]

    def loss(self, factor: float, seen: NDArray[np.bool_]) -> float:
        """Return the loss of rows at a bandwidth with its nests, whatever the overhead."""
        if factor not in self._there:
            slower = _slower(self._plain, factor)
            self._there[factor] = _design(slower, self.samples(factor), np.ones(1))
        return fit(self._there[factor].rows(seen), self.measured[seen]).loss

    def settled(
        self, seen: NDArray[np.bool_], step: float | None = None
    ) -> tuple[float | None, bool]:
        """Return the bandwidth whose nests are fitted to itself, and whether it is one.

        None where rows do not tell it from the stated one.

        Parameters
        ----------
        seen : rows that it is fitted to: nothing hangs on the others
        step : look at whole powers of it alone, and at `_GRID`; None: anywhere
        """
        losses: dict[float, float] = {}

        def loss(factor: float) -> float:
            if factor not in losses:
                losses[factor] = self.loss(factor, seen)
            return losses[factor]

        def near(factor: float) -> float:
            return factor if step is None else float(step ** round(np.log(factor) / np.log(step)))

        now, stands = min(_GRID, key=loss), False
        for _ in range(_ROUNDS):
            asked = fit(self.design(now).rows(seen), self.measured[seen])
            wanted = near(float(asked.x[1]))
            if asked.status[1] == "kept":
                wanted = min(near(now / _APART), near(now * _APART), key=loss)
            if abs(np.log(wanted / now)) < _STANDS:
                stands = True
                break
            if loss(wanted) > loss(now):
                wanted = near((wanted * now) ** 0.5)  # with other nests it is a step too far
            now = min(now, wanted, key=loss)
        return now if self.tells(1.0, now, _SURE, seen) else None, stands

    def tells(self, other: float, best: float, least: float, seen: NDArray[np.bool_]) -> bool:
        """Return whether a bandwidth fits worse by as much as a likelihood ratio asks for."""
        floor = LEAST_NOISE**2
        ratio = (self.loss(other, seen) + floor) / (self.loss(best, seen) + floor)
        return bool(seen.sum() * np.log(ratio) > least)


def _near(factor: float) -> Floats:
    """Return factors to sample, densely around one of them."""
    return np.unique((*_FACTORS, *(factor * np.geomspace(0.7, 1 / 0.7, 9)), 1.0))


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


def _design(
    architecture: Architecture, samples: Sequence[ArraySample], factors: Floats = _FACTORS
) -> Design:
    """Return the design: a fixed constant of 1, the memory's slowness, seconds of overhead.

    A single factor leaves the memory as it is.
    """
    rated = architecture.levels[0].read_bits_per_cycle is not None and len(factors) > 1
    factors = factors if rated else np.ones(1)
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
