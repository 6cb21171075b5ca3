"""Some positions of a layer instead of all: which ones, and what they say of the rest."""

from ._sample import Sample, draw_sample
from ._strata import PILOT, STRATA, Stratum, cut, student

__all__ = ["PILOT", "STRATA", "Sample", "Stratum", "cut", "draw_sample", "student"]
