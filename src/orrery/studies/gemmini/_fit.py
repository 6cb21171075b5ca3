"""Two constants from half of the shapes, and how well the rest is foretold."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._price import Constants, TileTime, cycles
from ._rows import MeasuredRow

#: floors in cycles and bytes per cycle that are tried, coarse; the best is refined three times
_FLOORS, _RATES = (50.0, 1000.0), (1.0, 64.0)
_STEPS, _ROUNDS = 13, 4


def halves(keys: Sequence[tuple[int, ...]], seed: int) -> tuple[set[tuple[int, ...]], ...]:
    """Return the layers in two halves at random: to fit, to judge."""
    mixed = sorted(set(keys))
    random.Random(seed).shuffle(mixed)
    return set(mixed[: len(mixed) // 2]), set(mixed[len(mixed) // 2 :])


def fit(tiles: Sequence[TileTime], measured: Sequence[float]) -> Constants:
    """Return the constants with the least mean absolute error of the logarithm.

    A grid that closes in: the loss has a kink at every row, and two dimensions need no more.
    """
    logs = np.log(np.asarray(measured))

    def loss(constants: Constants) -> float:
        ours = np.log([cycles(tile, constants) for tile in tiles])
        return float(np.abs(ours - logs).mean())

    floors, rates = _FLOORS, _RATES
    best = Constants(floor_cycles=floors[0], bytes_per_cycle=rates[0])
    for _ in range(_ROUNDS):
        grid = [Constants(floor_cycles=float(f), bytes_per_cycle=float(r))
                for f in np.geomspace(*floors, _STEPS)
                for r in np.geomspace(*rates, _STEPS)]  # fmt: skip
        best = min(grid, key=loss)
        floors = _around(best.floor_cycles, floors)
        rates = _around(best.bytes_per_cycle, rates)
    return best


def _around(middle: float, span: tuple[float, float]) -> tuple[float, float]:
    step = (span[1] / span[0]) ** (1 / (_STEPS - 1))
    return middle / step, middle * step


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the correlation of ranks, ties sharing their mean rank; 0 where one is constant."""
    a, b = (_ranks(np.asarray(values, float)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: NDArray[np.float64] = ends - (counts - 1) / 2
    return mean[inverse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One layer under all its mappings.

    Attributes
    ----------
    ratios : ours / measured, per mapping
    regret : cycles of the mapping that we rank best, over those of the best one
    """

    key: tuple[int, ...]
    rows: int
    rank: float
    ratios: tuple[float, ...]
    regret: float
    product: bool


def shapes_of(rows: Sequence[MeasuredRow], ours: Sequence[float]) -> tuple[Shape, ...]:
    """Return the layers of some rows, each with how its mappings are ranked."""
    found = []
    for key in sorted({row.key for row in rows}):
        places = [i for i, row in enumerate(rows) if row.key == key]
        measured, guessed = [rows[i].cycles for i in places], [ours[i] for i in places]
        chosen = measured[int(np.argmin(guessed))]
        found.append(Shape(
            key=key, rows=len(places), rank=spearman(guessed, measured),
            ratios=tuple(g / m for g, m in zip(guessed, measured, strict=True)),
            regret=chosen / min(measured), product=rows[places[0]].is_product,
        ))  # fmt: skip
    return tuple(found)
