"""Positions drawn until what they take is known well enough.

Models:  a pilot of every stratum, then as many more, where they tell most (Neyman), as the pilot's
         deviations ask for; again if the interval is still too wide. Array cycles are counted
         tile by tile; ``buffered``, a tile takes as long as its slowest row or, if that is longer,
         as its activations take to arrive.
Ignores: that the slowest row of a sample is sought in the sample itself, which takes it for a
         little too slow; it is within the interval.
Judge:   all positions counted (tests/accel/bitlet/test_sampling.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .._engine import Array
from ._strata import Stratum, deviations, student

__all__ = ["Sample", "draw_sample"]

#: Positions -> cycles of rows (n, rows) and of tiles in lockstep (n, tiles).
Count = Callable[[Array], tuple[Array, Array]]
#: Draws beyond what the deviations so far ask for: they are guesses themselves.
_SPARE = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Counted positions by stratum, and what they say of all.

    Attributes
    ----------
    strata : with what was drawn
    arrival : cycles in which a position's activations arrive, tile by tile (tiles,)
    elements : rows side by side
    buffered : rows of a tile do not wait for one another
    unit : the least by which positions differ that were not counted
    """

    strata: Sequence[Stratum]
    arrival: Array
    elements: int
    buffered: bool
    unit: float

    @property
    def size(self) -> int:
        """Positions whose cycles are known."""
        return sum(len(s.places) if s.known else s.drawn for s in self.strata)

    @property
    def element_cycles(self) -> float:
        """Cycles over all rows and positions."""
        return float(sum(len(s.places) * s.each.sum(1).mean() for s in self.strata))

    def _columns(self) -> tuple[list[Array], Array]:
        """Return cycles of tiles, drawn position by position, and their least totals."""
        positions = sum(len(s.places) for s in self.strata)
        if not self.buffered:
            return [s.steps for s in self.strata], np.zeros(len(self.arrival))
        rows = np.sum([len(s.places) * s.each.mean(0) for s in self.strata], axis=0)
        starts = range(0, len(rows), self.elements)
        slowest = [s + int(np.argmax(rows[s : s + self.elements])) for s in starts]
        return [s.each[:, slowest] for s in self.strata], positions * self.arrival

    def _half(self, columns: list[Array]) -> tuple[float, Array]:
        """Return half the interval of the columns' sums, and the strata's deviations."""
        sizes = np.array([len(s.places) for s in self.strata])
        drawn = np.array([s.drawn for s in self.strata])
        whole = [s.drawn if s.known else len(s.places) for s in self.strata]
        found = deviations([c.sum(1) for c in columns], whole, self.unit)
        parts = sizes**2 * (1 - drawn / sizes) * found**2 / drawn
        total = float(parts.sum())
        if total == 0:
            return 0.0, found
        freedom = total**2 / float((parts**2 / np.maximum(drawn - 1, 1)).sum())
        return math.sqrt(total) * student(max(freedom, 4.0)), found

    def steps(self) -> tuple[Array, float, Array]:
        """Return cycles of each tile, half the 95 % interval of their sum, and deviations."""
        columns, least = self._columns()
        tiles = np.sum([len(s.places) * c.mean(0) for s, c in zip(self.strata, columns)], axis=0)
        if self.buffered:
            waits = least > tiles
            for t in np.flatnonzero(waits):  # surely so, and then it is no guess
                alone, _ = self._half([c[:, [t]] for c in columns])
                waits[t] = least[t] >= tiles[t] + alone
            columns = [np.where(waits, self.arrival, c) for c in columns]
            if waits.all():
                return least.astype(np.float64), 0.0, np.zeros(len(self.strata))
            tiles = np.maximum(tiles, least)
        half, found = self._half(columns)
        return np.asarray(tiles, np.float64), half, found


def draw_sample(count: Count, sample: Sample, error: float) -> Sample:
    """Draw positions into the sample's strata until the interval is as narrow as asked.

    Parameters
    ----------
    error : half the 95 % interval wanted, as a share of the array's cycles
    """
    strata = sample.strata
    wanted = np.array([s.least for s in strata])
    sizes = np.array([len(s.places) for s in strata])
    while True:
        fresh = [s.places[s.drawn : n] for s, n in zip(strata, wanted)]
        each, steps = count(np.concatenate(fresh))
        ends = np.cumsum([len(f) for f in fresh])[:-1]
        for stratum, e, t in zip(strata, np.split(each, ends), np.split(steps, ends)):
            if len(e):
                stratum.add(e, t)
        tiles, half, spread = sample.steps()
        if half <= error * tiles.sum():
            return sample
        # Neyman: a draw where size times deviation is greatest, as many as the variance asks for.
        drawn = np.array([s.drawn for s in strata])
        share = sizes * spread
        allowed = (error * float(tiles.sum()) / 2) ** 2 + float((sizes * spread**2).sum())
        total = _SPARE * float(share.sum()) ** 2 / allowed
        asked = np.ceil(total * share / share.sum()).astype(np.int64)
        open_ = np.array([not s.known for s in strata])
        grown = np.where(share > 0, np.maximum(asked, drawn), drawn)
        if (grown - drawn).sum() < 0.25 * drawn[open_].sum():
            grown = np.where(open_, np.ceil(drawn * 1.5).astype(np.int64), drawn)
        wanted = np.minimum(np.where(open_, grown, drawn), sizes)
        wanted = np.where(wanted > 0.75 * sizes, np.where(open_, sizes, drawn), wanted)
