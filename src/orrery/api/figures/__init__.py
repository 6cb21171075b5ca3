"""From priced and replayed plans to figures that say what they rest on."""

from ._checked import plan_figures
from ._context import (
    batch_of,
    counts_as,
    is_training,
    precisions,
    shared_context,
)
from ._doubts import doubtful, why_no_energy
from ._figures import WHY_UNKNOWN
from ._intervals import with_ends

__all__ = [
    "WHY_UNKNOWN",
    "batch_of",
    "counts_as",
    "doubtful",
    "is_training",
    "plan_figures",
    "precisions",
    "shared_context",
    "why_no_energy",
    "with_ends",
]
