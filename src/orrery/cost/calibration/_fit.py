"""Positive constants of a price that is a sum plus a maximum of sums, fitted to measurements.

Models:  price = added·x + max over lines of line·x, with one row of coefficients per measurement
         and constants x >= 0; the error is the logarithm of price over measurement, its loss
         Huber's, so that single bad rows pull little.
Ignores: errors of the coefficients themselves; correlation of rows within a network (the cross
         validation by network shows it).
Judge:   synthetic truths in the tests; every column against a brute-force grid.

A constant that the rows leave open, within a factor of e to the power `VAGUE` either way, keeps
its start. If the rows are then too fast for that start, it moves towards what they ask for, as
little as they allow, and is marked ``bounded``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: logarithmic error from which on a row counts in proportion only
DELTA = 0.1
#: standard error of a constant's logarithm beyond which the rows do not determine it
VAGUE = 0.4
#: noise that is granted to measurements whatever the fit says
LEAST_NOISE = 0.02
_ITERATIONS, _PRECISION = 60, 1e-7
#: how far from its start a constant may go
_WIDEST = np.log(1e6)
#: a loss that is so much higher is not the same any more
_SAME = 1.01

Status = Literal["fitted", "bounded", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The coefficients of measurements.

    Attributes
    ----------
    names : of the constants
    added : rows x constants
    lines : rows x lines x constants
    start : value that a constant has without measurements; zero: no such effect
    guess : where the search starts, above zero
    free : constants to fit; the others stay at their start
    """

    names: tuple[str, ...]
    added: Floats
    lines: Floats
    start: Floats
    guess: Floats
    free: NDArray[np.bool_]

    def rows(self, chosen: NDArray[np.bool_]) -> Design:
        """Return the design of some of the rows."""
        return Design(names=self.names, added=self.added[chosen], lines=self.lines[chosen],
                      start=self.start, guess=self.guess, free=self.free)  # fmt: skip

    def price(self, x: Floats) -> Floats:
        """Return the price of every row."""
        largest: Floats = (self.lines @ x).max(axis=1)
        return self.added @ x + largest

    def slopes(self, x: Floats) -> Floats:
        """Return the derivative of the logarithm of every price by that of every constant."""
        longest = (self.lines @ x).argmax(axis=1)
        gradient = self.added + self.lines[np.arange(len(longest)), longest]
        found: Floats = gradient * x / self.price(x)[:, None]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """Fitted constants.

    Attributes
    ----------
    x : of all constants, in the order of the design
    errors : standard error of the logarithm of each; NaN where it was not fitted
    status : per constant: fitted, bounded by the rows, or kept
    loss : mean over rows
    """

    x: Floats
    errors: Floats
    status: tuple[Status, ...]
    loss: float


def fit(design: Design, measured: Floats, near: Floats | None = None) -> Fit:
    """Fit the constants of a design to measurements above zero; the same input, the same result.

    Parameters
    ----------
    near : constants fitted to nearly the same rows, to search from; None: from several starts
    """
    target = np.log(measured)
    free: NDArray[np.bool_] = design.free & present(design.added, design.lines)
    begin = design.guess if near is None else np.where(near > 0, near, design.guess)
    x = np.where(free, begin, design.start)
    wide = near is None
    status: list[Status] = ["fitted" if one else "kept" for one in free]
    x, loss = _search(design, target, x, free, wide)
    while free.any():
        errors = _errors(design, target, x, free)
        worst = int(np.argmax(np.where(free, errors, -1.0)))
        if errors[worst] <= VAGUE:
            break
        free = free.copy()
        free[worst] = False
        x[worst], status[worst] = _left_open(design, target, x, worst, loss)
        x, loss = _search(design, target, x, free, wide)
    errors = _errors(design, target, x, free) if free.any() else np.full(len(x), np.nan)
    return Fit(x=x, errors=np.where(free, errors, np.nan), status=tuple(status), loss=loss)


def present(added: Floats, lines: Floats) -> NDArray[np.bool_]:
    """Return which constants any row depends on."""
    found: NDArray[np.bool_] = np.logical_or(
        (added > 0).any(axis=0), (lines > 0).any(axis=(0, 1)), dtype=bool
    )
    return found


def _loss(design: Design, target: Floats, x: Floats) -> float:
    size = np.abs(np.log(design.price(x)) - target)
    return float(np.where(size < DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).mean())


def _search(
    design: Design, target: Floats, x: Floats, free: NDArray[np.bool_], wide: bool
) -> tuple[Floats, float]:
    """Return the best constants that were found from here, or (wide) from several starts."""
    if not free.any():
        return x, _loss(design, target, x)
    starts = (x, *(_starts(design, target, x, free) if wide else ()))
    found = [_descend(design, target, begin, free) for begin in starts]
    return _settle(design, target, min(found, key=lambda one: one[1])[0], free)


def _starts(design: Design, target: Floats, x: Floats, free: NDArray[np.bool_]) -> Sequence[Floats]:
    """Return starts: all constants worse by one factor, and each as the rows it rules ask for."""
    starts = [np.where(free, design.guess * factor, x) for factor in (3.0, 20.0)]
    ruled = design.slopes(np.where(free, design.guess, x))
    own = x.copy()
    ratio = target - np.log(design.price(np.where(free, design.guess, x)))
    for place in np.flatnonzero(free):
        mine = ruled[:, place] > 0.5
        if mine.any():
            own[place] = design.guess[place] * float(np.exp(np.median(ratio[mine])))
    return [*starts, own]


def _settle(
    design: Design, target: Floats, x: Floats, free: NDArray[np.bool_]
) -> tuple[Floats, float]:
    """Descend; then try each constant further off, as a maximum has slopes of zero; descend."""
    x, loss = _descend(design, target, x, free)
    for _ in range(3):
        before = loss
        for place in np.flatnonzero(free):
            for factor in (0.2, 0.6, 0.85, 1.2, 1.7, 5.0):
                tried = x.copy()
                tried[place] = _clipped(design, tried * factor)[place]
                there = _loss(design, target, tried)
                if there < loss:
                    x, loss = tried, there
        x, loss = _descend(design, target, x, free)
        if loss > before * (1 - 1e-3):
            break
    return x, loss


def _clipped(design: Design, x: Floats) -> Floats:
    return np.clip(x, design.guess * np.exp(-_WIDEST), design.guess * np.exp(_WIDEST))


def _descend(
    design: Design, target: Floats, x: Floats, free: NDArray[np.bool_]
) -> tuple[Floats, float]:
    """Levenberg and Marquardt's steps on the logarithms of the free constants."""
    loss, damping = _loss(design, target, x), 1e-3
    for _ in range(_ITERATIONS):
        off = np.log(design.price(x)) - target
        weight = np.minimum(1.0, DELTA / np.maximum(np.abs(off), 1e-300))
        slopes = design.slopes(x)[:, free]
        normal = slopes.T @ (weight[:, None] * slopes)
        pull = slopes.T @ (weight * off)
        size = len(target)
        improved = False
        while damping < 1e6:
            step = np.linalg.solve(
                normal + damping * (np.diag(np.diag(normal)) + 1e-9 * size * np.eye(len(normal))),
                pull,
            )
            tried = x.copy()
            tried[free] = x[free] * np.exp(-np.clip(step, -2.0, 2.0))
            tried = np.where(free, _clipped(design, tried), x)
            there = _loss(design, target, tried)
            if there < loss:
                improved = loss - there > _PRECISION * loss
                x, loss, damping = tried, there, max(damping / 5, 1e-9)
                break
            damping *= 4
        if not improved:
            break
    return x, loss


def _errors(design: Design, target: Floats, x: Floats, free: NDArray[np.bool_]) -> Floats:
    """Return standard errors of the logarithms; infinite along a flat direction."""
    off = np.log(design.price(x)) - target
    weight = np.minimum(1.0, DELTA / np.maximum(np.abs(off), 1e-300))
    slopes = design.slopes(x)[:, free]
    normal = slopes.T @ (weight[:, None] * slopes)
    spare = max(1, len(target) - int(free.sum()))
    noise = max(float((weight * off**2).sum() / spare), LEAST_NOISE**2)
    values, vectors = np.linalg.eigh(normal)
    with np.errstate(divide="ignore"):
        variance = (vectors**2 / np.maximum(values, 1e-12)).sum(axis=1) * noise
    found = np.full(len(x), np.nan)
    found[free] = np.sqrt(variance)
    return found


def _left_open(
    design: Design, target: Floats, x: Floats, place: int, loss: float
) -> tuple[float, Status]:
    """Return where a constant stays that rows leave open: its start, or as near as they allow."""
    start, asked = float(design.start[place]), float(x[place])

    def allowed(value: float) -> bool:
        tried = x.copy()
        tried[place] = value
        return _loss(design, target, tried) <= loss * _SAME + 1e-6

    if asked >= start or allowed(start):
        return start, "kept"
    low, high = asked, start
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low, "bounded"
