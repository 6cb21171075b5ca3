"""Sets of devices that share layers: the problem, exact and heuristic searches, bounds."""

from ._bound import PATH_BOUND, path_bound_ps, series_bound_ps
from ._exact import ChainOptimum, TooManyStatesError, chain_optimum
from ._explain import (
    Explanation,
    LayerClass,
    explain_sets,
    layer_classes,
    mapping_of,
)
from ._fast import Evaluator, Running
from ._mapping import Placed, SetMapping, evaluate, feasible, plan_of
from ._problem import Problem, fill_problem, fill_problems, restrict
from ._sensitivity import (
    Sensitivity,
    compare_cases,
    fill_scaled,
    scale_links,
    set_texts,
)
from ._series import (
    PROOF,
    best_mapping,
    best_series,
    combine_networks,
    period_ps,
    refused_by_all,
    series_optimum,
)

__all__ = [
    "PATH_BOUND",
    "PROOF",
    "ChainOptimum",
    "Evaluator",
    "Explanation",
    "LayerClass",
    "Placed",
    "Problem",
    "Running",
    "Sensitivity",
    "SetMapping",
    "TooManyStatesError",
    "best_mapping",
    "best_series",
    "chain_optimum",
    "combine_networks",
    "compare_cases",
    "evaluate",
    "explain_sets",
    "feasible",
    "fill_problem",
    "fill_problems",
    "fill_scaled",
    "layer_classes",
    "mapping_of",
    "path_bound_ps",
    "period_ps",
    "plan_of",
    "refused_by_all",
    "restrict",
    "scale_links",
    "series_bound_ps",
    "series_optimum",
    "set_texts",
]
