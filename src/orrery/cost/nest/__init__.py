"""Loop nests of layers on spatial accelerators: what a given nest takes, level by level."""

from ._bounds import Bound, Change, Explanation, explain_nest, nest_bounds
from ._count import Flow, NestCounts, count_nest
from ._fit import check_mapping, footprint_bits
from ._fused import OTHER_UNIT, Stage, Stages, Tail, Tile, row_tiles, stages_of
from ._layers import nest_problem, operand_density
from ._mapping import SPACE, NestMapping
from ._price import NestCost, nest_cost
from ._problem import LOOPS, Index, NestProblem, NestTensor
from ._resident import (
    TailCost,
    keep_on_chip,
    keeping_levels,
    room_bits,
    tail_cost,
    tensor_bits,
    with_tail,
)
from ._time import NestTime
from ._timeloop import nest_of_timeloop, problem_of_timeloop
from ._zeros import Operations, Zeros

__all__ = [
    "LOOPS",
    "OTHER_UNIT",
    "SPACE",
    "Bound",
    "Change",
    "Explanation",
    "Flow",
    "Index",
    "NestCost",
    "NestCounts",
    "NestMapping",
    "NestProblem",
    "NestTensor",
    "NestTime",
    "Operations",
    "Stage",
    "Stages",
    "Tail",
    "TailCost",
    "Tile",
    "Zeros",
    "check_mapping",
    "count_nest",
    "explain_nest",
    "footprint_bits",
    "keep_on_chip",
    "keeping_levels",
    "nest_bounds",
    "nest_cost",
    "nest_of_timeloop",
    "nest_problem",
    "operand_density",
    "problem_of_timeloop",
    "room_bits",
    "row_tiles",
    "stages_of",
    "tail_cost",
    "tensor_bits",
    "with_tail",
]
