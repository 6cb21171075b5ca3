"""Some positions of a layer instead of all: which ones, and what they say of the rest."""

from ._betting import Draws, Path
from ._sample import Found, Outline, counted, draw_sample

__all__ = ["Draws", "Found", "Outline", "Path", "counted", "draw_sample"]
