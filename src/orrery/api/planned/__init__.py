"""A plan and the files it speaks of: where they lie, and how they are found again."""

from ._load import load_planned, planned_networks
from ._origins import placed_beside

__all__ = ["load_planned", "placed_beside", "planned_networks"]
