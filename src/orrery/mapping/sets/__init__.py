"""Sets of devices that share layers: the problem, exact and heuristic searches, bounds."""

from ._exact import ChainOptimum, TooManyStatesError, chain_optimum, combine_networks
from ._fast import Evaluator, Running
from ._mapping import Placed, SetMapping, Times, evaluate, feasible, plan_of
from ._problem import Problem, fill_problem

__all__ = [
    "ChainOptimum",
    "Evaluator",
    "Placed",
    "Problem",
    "Running",
    "SetMapping",
    "Times",
    "TooManyStatesError",
    "chain_optimum",
    "combine_networks",
    "evaluate",
    "feasible",
    "fill_problem",
    "plan_of",
]
