"""From plans, prices and replays to report sections."""

from ._compare import comparison, regrets
from ._forecast import covers, energy_bound, forecast, machine_bound
from ._page import map_page
from ._tables import regions_of

__all__ = [
    "comparison",
    "covers",
    "energy_bound",
    "forecast",
    "machine_bound",
    "map_page",
    "regions_of",
    "regrets",
]
