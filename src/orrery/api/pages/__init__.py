"""From plans, prices and replays to figures and report sections."""

from ._figures import WHY_UNKNOWN, batch_of, plan_figures
from ._page import map_page
from ._tables import regions_of

__all__ = ["WHY_UNKNOWN", "batch_of", "map_page", "plan_figures", "regions_of"]
