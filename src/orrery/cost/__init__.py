"""What would it take? Formulas, collectives, whole plans. Answers, never searches."""

from ._cost import Charge, Cost, CostModel, Refusal
from ._guards import ImplausibleCostError, check_cost
from ._roofline import Bounds, Roofline, bounds, roofline
from ._work import Work, signature, work_of

__all__ = [
    "Bounds",
    "Charge",
    "Cost",
    "CostModel",
    "ImplausibleCostError",
    "Refusal",
    "Roofline",
    "Work",
    "bounds",
    "check_cost",
    "roofline",
    "signature",
    "work_of",
]
