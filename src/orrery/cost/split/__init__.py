"""What a plan takes whose regions are split over sets of devices."""

from ._answers import Answer, ShardPrices, kind_of
from ._check import check_split
from ._memory import split_memory
from ._steps import PricedStep, StepCost, price_steps
from ._times import SplitTimes, split_times

__all__ = [
    "Answer",
    "PricedStep",
    "ShardPrices",
    "SplitTimes",
    "StepCost",
    "check_split",
    "kind_of",
    "price_steps",
    "split_memory",
    "split_times",
]
