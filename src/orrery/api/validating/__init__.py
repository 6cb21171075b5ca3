"""How far off are we? Reference sets replayed, and their error beside every figure."""

from ._beside import UNCHECKED, beside, nearest_of
from ._parts import Part, error_table, known_errors, nest_part
from ._replay import ValidationRun, validate, validation_sets

__all__ = [
    "UNCHECKED",
    "Part",
    "ValidationRun",
    "beside",
    "error_table",
    "known_errors",
    "nearest_of",
    "nest_part",
    "validate",
    "validation_sets",
]
