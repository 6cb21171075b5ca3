"""How far our figures were from others': reference sets, and which of them speaks for a figure."""

from ._near import OUTSIDE, Nearest, dataflow_of, nearest_set, operator_kind, over_parts
from ._recorded import read_sets, recorded_sets, sets_text
from ._same import catalogued
from ._set import ValidationRow, ValidationSet, measured_set

__all__ = [
    "OUTSIDE",
    "Nearest",
    "ValidationRow",
    "ValidationSet",
    "catalogued",
    "dataflow_of",
    "measured_set",
    "nearest_set",
    "operator_kind",
    "over_parts",
    "read_sets",
    "recorded_sets",
    "sets_text",
]
