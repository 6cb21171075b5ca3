"""What trades for what: searches for little energy, under ceilings, and for a Pareto front."""

from ._afford import Budget
from ._front import conflict, front_plans, non_dominated
from ._joules import EnergyUnknownError, Joules, fill_joules
from ._plans import best_traded, layers_bound_j, sets_bound_j
from ._search import NO_CEILINGS, Ceilings, Trader

__all__ = [
    "NO_CEILINGS",
    "Budget",
    "Ceilings",
    "EnergyUnknownError",
    "Joules",
    "Trader",
    "best_traded",
    "conflict",
    "fill_joules",
    "front_plans",
    "layers_bound_j",
    "non_dominated",
    "sets_bound_j",
]
