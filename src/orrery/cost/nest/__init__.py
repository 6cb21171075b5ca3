"""Loop nests of layers on spatial accelerators: what a given nest takes, level by level."""

from ._count import Flow, NestCounts, count_nest
from ._fit import check_mapping, footprint_bits
from ._layers import nest_problem
from ._mapping import SPACE, NestMapping
from ._price import NestCost, nest_cost
from ._problem import LOOPS, Index, NestProblem, NestTensor
from ._time import NestTime
from ._zeros import Operations, Zeros

__all__ = [
    "LOOPS",
    "SPACE",
    "Flow",
    "Index",
    "NestCost",
    "NestCounts",
    "NestMapping",
    "NestProblem",
    "NestTensor",
    "NestTime",
    "Operations",
    "Zeros",
    "check_mapping",
    "count_nest",
    "footprint_bits",
    "nest_cost",
    "nest_problem",
]
