"""The largest batch that fits, by doubling and halving the difference.

Models:  what fits fits with less, so that a batch above one that does not fit is not tried.
Judge:   every threshold up to 300 (tests/studies/flashneuron/test_search.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Between which batches the end lies.

    Attributes
    ----------
    largest : that fits; 0: none that was tried
    refused : the smallest that does not; None: all that were tried fit
    """

    largest: int
    refused: int | None


def largest_batch(
    fits: Callable[[int], bool], *, start: int, most: int, near: float = 0.0
) -> Found:
    """Return the largest batch that fits.

    Parameters
    ----------
    start : tried first; from there it is doubled, or halved until one fits
    most : no larger one is tried
    near : the difference of a batch that fits and one that does not, as a share of the former,
        from which nobody looks closer; 0: to the last sample
    """
    low, high = 0, None
    batch = max(1, min(start, most))
    while True:
        if fits(batch):
            low = batch
            if high is not None or batch >= most:
                break
            batch = min(2 * batch, most)
        else:
            high = batch
            if low or batch == 1:
                break
            batch = batch // 2
    while high is not None and low and high - low > max(1.0, near * low):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Found(largest=low, refused=high)
