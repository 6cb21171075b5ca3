"""Loop nests of a network together: ceilings as they are asked for, sections of a page."""

from ._ceilings import ceilings, shortfall
from ._sections import Verdict, kept_table, nothing, outside_sets, together

__all__ = ["Verdict", "ceilings", "kept_table", "nothing", "outside_sets", "shortfall",
           "together"]  # fmt: skip
