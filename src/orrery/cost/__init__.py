"""What would it take? Formulas, collectives, whole plans. Answers, never searches."""

from ._cost import Charge, Cost, CostModel, Refusal

__all__ = ["Charge", "Cost", "CostModel", "Refusal"]
