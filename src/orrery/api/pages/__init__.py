"""From plans, prices and replays to figures and report sections."""

from ._compare import comparison
from ._context import BATCH_KEY, batch_of, precisions
from ._figures import WHY_UNKNOWN, plan_figures
from ._page import map_page
from ._render import Page, glance_text, needs_met, page_document, page_text
from ._tables import regions_of
from ._totals import totals_text

__all__ = [
    "BATCH_KEY",
    "WHY_UNKNOWN",
    "Page",
    "batch_of",
    "comparison",
    "glance_text",
    "map_page",
    "needs_met",
    "page_document",
    "page_text",
    "plan_figures",
    "precisions",
    "regions_of",
    "totals_text",
]
