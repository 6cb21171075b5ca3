"""Intervals for shares and means of samples, and for the difference of two shares in pairs.

Models:  samples drawn independently from what the data set stands for.
Ignores: that the data set is finite; labels that are wrong.
Judge:   SciPy's tables and enumeration of coverage (tests/runtime/test_accuracy.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95

#: Below so many samples the mean of arbitrary errors is not near enough to normal.
_ENOUGH = 30


def wilson(hits: int, samples: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927, JASA 22)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, scale = hits / samples, 1 + z * z / samples
    centre = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples**2))
    low = 0.0 if hits == 0 else (centre - half) / scale
    high = 1.0 if hits == samples else (centre + half) / scale
    return low, high


def exact_share(hits: int, samples: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper & Pearson 1934): covers at least so often."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _share_with_tail(hits, samples, tail)
    high = 1.0 if hits == samples else 1 - _share_with_tail(samples - hits, samples, tail)
    return low, high


def _share_with_tail(hits: int, samples: int, tail: float) -> float:
    """Return the share at which so many hits or more have the probability `tail`."""
    counts = np.arange(hits, samples + 1, dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, samples + 1)))])
    ways = logs[samples] - logs[hits:] - logs[samples - hits :: -1]
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        if share <= 0.0 or share >= 1.0:
            break
        logs_at = ways + counts * math.log(share) + (samples - counts) * math.log1p(-share)
        if np.exp(logs_at).sum() < tail:
            low = share
        else:
            high = share
    return (low + high) / 2


def mean_interval(
    values: NDArray[Any], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the normal interval of a mean; None below 30 samples."""
    if len(values) < _ENOUGH:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    mean, half = float(values.mean()), z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedChange:
    """How the second of two ways answers the same samples, against the first.

    Attributes
    ----------
    lost, gained : samples that only the first, and only the second, got right
    change : of the share that is right
    interval : exact and conservative: gains and losses each by `exact_share`, with half the error
    p_value : of McNemar's exact test that gains and losses are equally likely
    """

    lost: int
    gained: int
    change: float
    interval: tuple[float, float]
    p_value: float


def paired(
    first: NDArray[Any], second: NDArray[Any], confidence: float = CONFIDENCE
) -> PairedChange:
    """Compare two ways of answering by which samples each got right (truth values)."""
    lost, gained = int((first & ~second).sum()), int((second & ~first).sum())
    changed, samples, each = lost + gained, len(first), (1 + confidence) / 2
    (lost_low, lost_high), (gained_low, gained_high) = (
        exact_share(n, samples, each) for n in (lost, gained)
    )
    below = sum(math.comb(changed, k) for k in range(min(lost, gained) + 1))
    return PairedChange(
        lost=lost, gained=gained, change=(gained - lost) / samples,
        interval=(gained_low - lost_high, gained_high - lost_low),
        p_value=min(1.0, 2 * below / 2**changed),
    )  # fmt: skip
