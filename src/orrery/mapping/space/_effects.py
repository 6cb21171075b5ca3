"""What each parameter of a space does to a figure.

Models:  the logarithm of a figure as a sum of one term for every parameter's value (main effects),
         fitted by least squares: on a full grid these are the means over all other parameters. A
         random subset and steps around a base are fitted the same way.
Ignores: interactions of parameters; what they leave unexplained is said.
Judge:   plain means on full grids, ratios to the base one at a time, figures that are products by
         construction (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._parameters import Parameter


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
    fit = _Fit(parameters, places, logs - logs.mean())
    everything = range(len(parameters))
    terms = fit.terms(everything)
    effects = tuple(_effect(fit, axis, terms) for axis in everything)
    left, spread = fit.left(terms), float((fit.logs**2).sum())
    # what is left of sums that should vanish is rounding
    share = left / spread if spread > 1e-18 * len(kept) and left > 1e-12 * spread else 0.0
    return Effects(effects=effects, unexplained=share, points=len(kept))


class _Fit:
    """Least squares on any choice of parameters, from products that are summed once."""

    def __init__(
        self, parameters: Sequence[Parameter], places: NDArray[np.int64],
        logs: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.parameters, self.places, self.logs = parameters, places, logs
        blocks = [_dummies(column) for column in places.T]
        lines = [_line(p, column) for p, column in zip(parameters, places.T, strict=True)]
        self.table = np.concatenate([np.ones((len(logs), 1)), *blocks, *lines], axis=1)
        ends = np.cumsum([1, *(block.shape[1] for block in blocks), *(b.shape[1] for b in lines)])
        spans = [list(range(a, b)) for a, b in pairwise(ends)]
        self.blocks, self.lines = spans[: len(blocks)], spans[len(blocks) :]
        self.products = self.table.T @ self.table
        self.aims = self.table.T @ logs

    def columns(self, axes: Iterable[int]) -> list[int]:
        return [0, *(column for axis in axes for column in self.blocks[axis])]

    def rank(self, axes: Iterable[int]) -> int:
        some = self.columns(axes)
        return int(np.linalg.matrix_rank(self.products[np.ix_(some, some)], hermitian=True))

    def terms(self, axes: Iterable[int], more: Sequence[int] = ()) -> dict[int, float]:
        """Return the coefficient of every column that takes part."""
        some = [*self.columns(axes), *more]
        found = np.linalg.lstsq(self.products[np.ix_(some, some)], self.aims[some], rcond=None)[0]
        return {column: float(value) for column, value in zip(some, found, strict=True)}

    def left(self, terms: Mapping[int, float]) -> float:
        """Return the sum of squares that terms leave."""
        rest = self.logs - self.table[:, list(terms)] @ np.array(list(terms.values()))
        return float((rest**2).sum())


def _effect(fit: _Fit, axis: int, terms: Mapping[int, float]) -> Effect | None:
    parameter, block = fit.parameters[axis], fit.blocks[axis]
    others = [other for other in range(len(fit.parameters)) if other != axis]
    if not block or fit.rank([*others, axis]) < fit.rank(others) + len(block):
        return None
    values = np.array([0.0, *(terms[column] for column in block)])
    values -= values.min()
    means: list[float | None] = [None] * len(parameter.values)
    for level, value in zip(np.unique(fit.places[:, axis]), values, strict=True):
        # equal figures must not seem to differ by rounding of the fit
        means[level] = float(np.exp(value)) if value > 1e-9 else 1.0
    elasticity = None
    if line := fit.lines[axis]:
        slope = fit.terms(others, line)[line[0]]
        elasticity = slope if abs(slope) > 1e-9 else 0.0
    return Effect(parameter=parameter.name, means=tuple(means), elasticity=elasticity)


def _line(parameter: Parameter, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithms of a parameter's values as a column; none where there are none."""
    numbers = parameter.numbers
    if numbers is None or min(numbers) <= 0:
        return np.empty((len(places), 0))
    logs = np.log(np.array(numbers, np.float64))[places]
    column: NDArray[np.float64] = (logs - logs.mean())[:, None]
    return column


def _dummies(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a column for every value that points have but the first."""
    table: NDArray[np.float64] = np.equal.outer(places, np.unique(places)[1:]).astype(np.float64)
    return table
