"""Who does what, when, where? Searches and schedulers; they produce plans as data."""

from ._baselines import balanced, random_mapping, single_device
from ._dag_bound import Bound, dag_bound, split_bound
from ._dag_exact import Certified, DagSearch, exact_dag
from ._explain_layers import LayerReason, LayersExplained, explain_layers
from ._greedy import GreedySearch, greedy
from ._methods import MACHINE, METHODS, Found, MapSearch, Tried, map_by
from ._tables import Tables, fill_tables, number_workload, with_links
from .locality import (
    LocalityBound,
    LocalityFault,
    LocalityProblem,
    LocalitySchedule,
    LocalitySearch,
    anneal_locality,
    branch_bound,
    check_locality,
    critical_path_s,
    four_steps,
    locality_bound,
    one_per_kind,
    random_locality,
    safe_four_steps,
)
from .sets import (
    Explanation,
    LayerClass,
    explain_sets,
    layer_classes,
    mapping_of,
)
from .sets import Problem as SetProblem
from .trade import Budget, Ceilings, EnergyUnknownError, conflict, front_plans, non_dominated

__all__ = [
    "MACHINE",
    "METHODS",
    "Bound",
    "Budget",
    "Ceilings",
    "Certified",
    "DagSearch",
    "EnergyUnknownError",
    "Explanation",
    "Found",
    "GreedySearch",
    "LayerClass",
    "LayerReason",
    "LayersExplained",
    "LocalityBound",
    "LocalityFault",
    "LocalityProblem",
    "LocalitySchedule",
    "LocalitySearch",
    "MapSearch",
    "SetProblem",
    "Tables",
    "Tried",
    "anneal_locality",
    "balanced",
    "branch_bound",
    "check_locality",
    "conflict",
    "critical_path_s",
    "dag_bound",
    "exact_dag",
    "explain_layers",
    "explain_sets",
    "fill_tables",
    "four_steps",
    "front_plans",
    "greedy",
    "layer_classes",
    "locality_bound",
    "map_by",
    "mapping_of",
    "non_dominated",
    "number_workload",
    "one_per_kind",
    "random_locality",
    "random_mapping",
    "safe_four_steps",
    "single_device",
    "split_bound",
    "with_links",
]
