"""Where the sum of a finite population lies, from draws whose bounds are known.

Models:  positions drawn one after the other without replacement, each with a chance in proportion
         to how far its cycles can lie apart (its width). So the surplus of a draw over the least,
         as a share of its width, is a number from 0 to `most` whose mean is the surplus of all
         that is left over their widths. Somebody bets at every draw that a supposed sum is too
         high (or too low), never more than is left; at the true sum this capital is a martingale,
         so it grows forty-fold with a chance of one in forty at most (Ville), wherever one stops.
         The interval is what neither side refutes. Nothing is supposed of how cycles are spread: a
         few positions far from all that were drawn are reckoned with as far as bounds let them be.
         Bets follow what was drawn before. Predictions (a share of the width for each bin) take
         away the variance that they explain; they too come from earlier draws alone.
Ignores: nothing, where values are those of positions. See `_sample` for the rows of ``buffered``.
Judge:   coverage over hundreds of seeds, also where a few positions take several times the
         others (tests/accel/bitlet/test_sampling.py).
Source:  Waudby-Smith and Ramdas, JRSS B 86, 2024 (bets); Des Raj, JASA 51, 1956 (estimate).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._engine import Array

#: Each side errs once in forty draws of a whole sample.
_LOG_CHANCE = math.log(40)
#: Share of the capital that a bet may lose.
_STAKE = 0.8
#: A prediction of a bin counts draws of all bins as so many of its own.
_SHRINK = 4.0
#: Share predicted of the first draw.
_FIRST = 0.5
#: Variance of a share reckoned with before anything was drawn.
_PRIOR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Which positions were drawn, in order.

    Attributes
    ----------
    width : greatest less least cycles of each drawn (n,), all above 0
    bins : of each drawn (n,)
    ends : after how many draws a round ended
    open_ : summed width of what is not drawn yet, before each draw, by bin (n, bins)
    """

    width: Array
    bins: Array
    ends: Sequence[int]
    open_: Array

    def path(self, surplus: Array, most: float = 1.0) -> Path:
        """Return what draws say of the summed surplus.

        Parameters
        ----------
        surplus : of each drawn over its least (n,)
        most : the greatest surplus as a share of the width, of any position
        """
        shares = surplus / self.width
        count = self.open_.shape[1]
        guess = np.empty((len(shares), count))
        begin = self.ends[0]
        past = np.cumsum(shares[:begin]) - shares[:begin]
        guess[:begin] = ((past + _FIRST) / (np.arange(begin) + 1))[:, None]
        for end in self.ends[1:]:
            number = np.bincount(self.bins[:begin], minlength=count)
            total = np.bincount(self.bins[:begin], weights=shares[:begin], minlength=count)
            guess[begin:end] = (total + _SHRINK * shares[:begin].mean()) / (number + _SHRINK)
            begin = end
        left = self.open_.sum(1)
        off = shares - guess[np.arange(len(shares)), self.bins]
        before = np.cumsum(surplus) - surplus
        rest = float(left[-1] - self.width[-1]) * most
        return Path(
            off=off, left=left, base=before + (self.open_ * guess).sum(1),
            drawn=float(surplus.sum()), high=most - guess.min(1), low=guess.max(1), rest=rest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Draws beside what was foretold of them.

    Attributes
    ----------
    off : share of the width by which each draw lies above its prediction (n,)
    left : width that was not drawn before it (n,)
    base : surplus drawn before it, and predicted of all the rest (n,)
    drawn : surplus of all draws
    high, low : how far a draw can lie above, below its prediction (n,)
    rest : the most surplus of what is still not drawn
    """

    off: Array
    left: Array
    base: Array
    drawn: float
    high: Array
    low: Array
    rest: float

    @property
    def estimate(self) -> float:
        """The summed surplus: the mean of what each draw says, weighed by what was known then."""
        if self.rest <= 0:
            return self.drawn
        weight = 1 / np.square(self.left)
        said = self.base + self.left * self.off
        found = float((weight * said).sum() / weight.sum())
        return min(max(found, self.drawn), self.drawn + self.rest)

    def _bets(self) -> Array:
        """Return the bet of each draw from those before it, as a share of the capital."""
        n = len(self.off)
        squares = np.cumsum(self.off**2) - self.off**2
        spread = (_PRIOR + squares) / np.arange(1, n + 1)
        return np.asarray(np.sqrt(2 * _LOG_CHANCE / (spread * n)))

    def _refuted(self, total: float, bets: Array, *, high: bool) -> bool:
        """Whether draws speak against the sum being so high (or so low)."""
        mean = (total - self.base) / self.left
        if high:
            stake = np.minimum(bets, _STAKE / np.maximum(self.high - mean, 1e-12))
            gain = stake * (mean - self.off)
        else:
            stake = np.minimum(bets, _STAKE / np.maximum(self.low + mean, 1e-12))
            gain = stake * (self.off - mean)
        return float(np.log1p(np.maximum(gain, -_STAKE)).sum()) >= _LOG_CHANCE

    def below(self, total: float) -> bool:
        """Whether the sum is surely no more than `total`."""
        if total >= self.drawn + self.rest:
            return True
        return total >= self.estimate and self._refuted(total, self._bets(), high=True)

    def half(self) -> float:
        """Return half the 95 % interval around the estimate."""
        if self.rest <= 0:
            return 0.0
        bets, middle = self._bets(), self.estimate
        found = 0.0
        for far, high in ((self.drawn + self.rest, True), (self.drawn, False)):
            near, beyond = middle, far
            for _ in range(40):
                between = (near + beyond) / 2
                if self._refuted(between, bets, high=high):
                    beyond = between
                else:
                    near = between
            found = max(found, abs(beyond - middle))
        return found
