"""Loop nests of layers on spatial accelerators: what a given nest takes, level by level."""

from ._count import Flow, NestCounts, count_nest
from ._mapping import SPACE, NestMapping
from ._problem import LOOPS, Index, NestProblem, NestTensor

__all__ = [
    "LOOPS",
    "SPACE",
    "Flow",
    "Index",
    "NestCounts",
    "NestMapping",
    "NestProblem",
    "NestTensor",
    "count_nest",
]
