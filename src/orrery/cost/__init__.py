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
from ._expand import Expansion, Holding, Step, expand, strategy_of
from ._guards import ImplausibleCostError, check_cost, check_power
from ._plan_check import check_flow
from ._plan_cost import PlanCost, price
from ._plan_regions import PlannedRegion, plan_regions
from ._roofline import Bounds, Roofline, bounds, roofline
from ._transfer import Movement, host_hop, moves_cost, transfer_cost
from ._work import MOVES_NOTHING, Work, signature, work_of
from .sharding import (
    Box,
    Layout,
    Message,
    Operand,
    Phase,
    Resharding,
    Shard,
    ShardedCost,
    Sharding,
    Shared,
    Strategy,
    combining,
    phases_cost,
    reshard,
    resharding_seconds,
    shard,
    shard_region,
    sharded_cost,
    strategies,
    transitions,
)
from .split import StepCost

__all__ = [
    "MOVES_NOTHING",
    "Bounds",
    "Box",
    "Charge",
    "Cost",
    "CostModel",
    "Coverage",
    "Expansion",
    "Holding",
    "ImplausibleCostError",
    "Layout",
    "Message",
    "Movement",
    "Operand",
    "Phase",
    "PlanCost",
    "PlannedRegion",
    "Refusal",
    "Resharding",
    "Roofline",
    "Shard",
    "ShardedCost",
    "Sharding",
    "Shared",
    "Step",
    "StepCost",
    "Strategy",
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
    "check_flow",
    "check_power",
    "combining",
    "energy_charges",
    "expand",
    "halo_exchange",
    "host_hop",
    "moves_cost",
    "phases_cost",
    "plan_regions",
    "price",
    "reduce_scatter",
    "reshard",
    "resharding_seconds",
    "roofline",
    "shard",
    "shard_region",
    "sharded_cost",
    "signature",
    "static_charge",
    "strategies",
    "strategy_of",
    "transfer_cost",
    "transitions",
    "work_of",
]
