"""Loop nests of a network together: the search under ceilings, sections of a page."""

from ._sections import Verdict, kept_table, outside_sets, together
from ._seek import check_layer, part_lines, seek_together, without_nest

__all__ = [
    "Verdict",
    "check_layer",
    "kept_table",
    "outside_sets",
    "part_lines",
    "seek_together",
    "together",
    "without_nest",
]
