"""What each parameter of a space does to a figure.

Models:  the logarithm of a figure as a sum of one term for every parameter's value (main effects),
         fitted by least squares: on a full grid these are the means over all other parameters. A
         random subset and steps around a base are fitted the same way.
Ignores: interactions of parameters; what they leave unexplained is said.
Judge:   plain means on full grids, ratios to the base one at a time, figures that are products by
         construction (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._parameters import Parameter

__all__ = ["Effect", "Effects", "main_effects"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one parameter does to one figure, the others as they were.

    Attributes
    ----------
    means : per value the (geometric) mean of the figure, relative to the least; None where no
        point has the value
    elasticity : by how many percent the figure moves when the parameter grows by one percent, a
        straight line through the logarithms; None where the values are no numbers above zero
    """

    parameter: str
    means: tuple[float | None, ...]
    elasticity: float | None

    @property
    def ratio(self) -> float:
        """The largest mean over the least."""
        return max(mean for mean in self.means if mean is not None)

    @property
    def best(self) -> int:
        """Place of the value with the least mean."""
        return min((mean, place) for place, mean in enumerate(self.means) if mean is not None)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All parameters' effects on a figure, in the order of the parameters.

    Attributes
    ----------
    effects : None for a parameter with one value only, or that never moved without another
    unexplained : share of the figure's variation that is no main effect
    points : that the fit rests on
    """

    effects: tuple[Effect | None, ...]
    unexplained: float
    points: int


def main_effects(
    parameters: Sequence[Parameter],
    points: Sequence[Sequence[int]],
    figures: Sequence[float | None],
) -> Effects | None:
    """Fit main effects; points whose figure is not known, or not above zero, are left out.

    Parameters
    ----------
    points : points × parameters, the place of each value
    figures : one per point

    Returns
    -------
    None where fewer than two points remain.
    """
    kept = [
        n for n, figure in enumerate(figures)
        if figure is not None and figure > 0 and np.isfinite(figure)
    ]  # fmt: skip
    if len(kept) < 2:
        return None
    places = np.array([points[n] for n in kept], np.int64).reshape(len(kept), len(parameters))
    logs = np.log(np.array([figures[n] for n in kept], np.float64))
    blocks = [_dummies(places[:, axis]) for axis in range(len(parameters))]
    terms, left = _fit(blocks, logs)
    spread = float(((logs - logs.mean()) ** 2).sum())
    effects = tuple(
        _effect(parameter, axis, blocks, terms[axis], places, logs)
        for axis, parameter in enumerate(parameters)
    )
    # what is left of sums that should vanish is rounding
    share = left / spread if spread > 1e-18 * len(kept) and left > 1e-12 * spread else 0.0
    return Effects(effects=effects, unexplained=share, points=len(kept))


def _effect(
    parameter: Parameter, axis: int, blocks: Sequence[NDArray[np.float64]],
    terms: NDArray[np.float64], places: NDArray[np.int64], logs: NDArray[np.float64],
) -> Effect | None:  # fmt: skip
    block = blocks[axis]
    others = [one for number, one in enumerate(blocks) if number != axis]
    if block.shape[1] == 0 or _rank([*others, block]) < _rank(others) + block.shape[1]:
        return None
    levels = np.unique(places[:, axis])
    values = np.concatenate([[0.0], terms])
    values -= values.min()
    means: list[float | None] = [None] * len(parameter.values)
    for level, value in zip(levels, values, strict=True):
        # equal figures must not seem to differ by rounding of the fit
        means[level] = float(np.exp(value)) if value > 1e-9 else 1.0
    elasticity = None
    numbers = parameter.numbers
    if numbers is not None and all(number > 0 for number in numbers):
        line = np.log(np.array(numbers, np.float64))[places[:, axis]][:, None]
        slope = float(_fit([*others, line], logs)[0][-1][0])
        elasticity = slope if abs(slope) > 1e-9 else 0.0
    return Effect(parameter=parameter.name, means=tuple(means), elasticity=elasticity)


def _dummies(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a column for every value that points have but the first."""
    table: NDArray[np.float64] = np.equal.outer(places, np.unique(places)[1:]).astype(np.float64)
    return table


def _joined(blocks: Sequence[NDArray[np.float64]], rows: int) -> NDArray[np.float64]:
    return np.concatenate([np.ones((rows, 1)), *blocks], axis=1)


def _rank(blocks: Sequence[NDArray[np.float64]]) -> int:
    if not blocks:
        return 1
    table = _joined(blocks, blocks[0].shape[0])
    return int(np.linalg.matrix_rank(table.T @ table, hermitian=True))


def _fit(
    blocks: Sequence[NDArray[np.float64]], logs: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], float]:
    """Return every block's terms, and the sum of squares that is left."""
    table = _joined(blocks, len(logs))
    found: NDArray[np.float64] = np.linalg.lstsq(table, logs, rcond=None)[0].astype(np.float64)
    rest = logs - table @ found
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    return [found[a:b] for a, b in pairwise(ends)], float((rest**2).sum())
