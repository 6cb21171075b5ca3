"""Loop nests of layers on spatial accelerators: what a given nest takes, level by level."""

from ._mapping import SPACE, NestMapping
from ._problem import Index, NestProblem, NestTensor

__all__ = ["SPACE", "Index", "NestMapping", "NestProblem", "NestTensor"]
