"""From plans, prices and replays to report sections."""

from ._compare import comparison, regrets
from ._forecast import covers, energy_bound, forecast, machine_bound
from ._page import map_page
from ._render import (
    Page,
    glance_text,
    needs_met,
    page_document,
    page_text,
    titled_text,
    write_card,
)
from ._tables import regions_of
from ._totals import totals_text

__all__ = [
    "Page",
    "comparison",
    "covers",
    "energy_bound",
    "forecast",
    "glance_text",
    "machine_bound",
    "map_page",
    "needs_met",
    "page_document",
    "page_text",
    "regions_of",
    "regrets",
    "titled_text",
    "totals_text",
    "write_card",
]
