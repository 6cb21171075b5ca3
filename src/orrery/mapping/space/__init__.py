"""Spaces of designs: parameters with their values, points of them, and what each one does."""

from ._effects import Effect, Effects, main_effects
from ._parameters import Parameter, read_parameter
from ._points import grid_size, one_at_a_time, points_of

__all__ = [
    "Effect",
    "Effects",
    "Parameter",
    "grid_size",
    "main_effects",
    "one_at_a_time",
    "points_of",
    "read_parameter",
]
