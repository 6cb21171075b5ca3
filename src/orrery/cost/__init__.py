"""What would it take? Formulas, collectives, whole plans. Answers, never searches."""

from ._collectives import (
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    halo_exchange,
    reduce_scatter,
)
from ._cost import Charge, Cost, CostModel, Refusal
from ._coverage import Coverage, Unpriced, UnpricedError
from ._energy import bill, energy_charges, static_charge
from ._guards import ImplausibleCostError, check_cost
from ._plan_cost import PlanCost, price
from ._roofline import Bounds, Roofline, bounds, roofline
from ._transfer import Movement, host_hop, moves_cost, transfer_cost
from ._work import MOVES_NOTHING, Work, signature, work_of

__all__ = [
    "MOVES_NOTHING",
    "Bounds",
    "Charge",
    "Cost",
    "CostModel",
    "Coverage",
    "ImplausibleCostError",
    "Movement",
    "PlanCost",
    "Refusal",
    "Roofline",
    "Unpriced",
    "UnpricedError",
    "Work",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "bill",
    "bounds",
    "broadcast",
    "check_cost",
    "energy_charges",
    "halo_exchange",
    "host_hop",
    "moves_cost",
    "price",
    "reduce_scatter",
    "roofline",
    "signature",
    "static_charge",
    "transfer_cost",
    "work_of",
]
