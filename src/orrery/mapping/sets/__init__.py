"""Sets of devices that share layers: the problem, exact and heuristic searches, bounds."""

from ._bound import PATH_BOUND, path_bound_ps
from ._exact import ChainOptimum, TooManyStatesError, chain_optimum, combine_networks
from ._fast import Evaluator, Running
from ._mapping import Placed, SetMapping, Times, evaluate, feasible, plan_of
from ._problem import Problem, fill_problem
from ._series import best_series, period_ps

__all__ = [
    "PATH_BOUND",
    "ChainOptimum",
    "Evaluator",
    "Placed",
    "Problem",
    "Running",
    "SetMapping",
    "Times",
    "TooManyStatesError",
    "best_series",
    "chain_optimum",
    "combine_networks",
    "evaluate",
    "feasible",
    "fill_problem",
    "path_bound_ps",
    "period_ps",
    "plan_of",
]
