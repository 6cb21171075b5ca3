"""Who does what, when, where? Searches and schedulers; they produce plans as data."""

from ._greedy import GreedySearch, greedy
from .locality import (
    LocalityBound,
    LocalityFault,
    LocalityProblem,
    LocalitySchedule,
    LocalitySearch,
    anneal_locality,
    check_locality,
    critical_path_s,
    four_steps,
    locality_bound,
    one_per_kind,
    random_locality,
    safe_four_steps,
)

__all__ = [
    "GreedySearch",
    "LocalityBound",
    "LocalityFault",
    "LocalityProblem",
    "LocalitySchedule",
    "LocalitySearch",
    "anneal_locality",
    "check_locality",
    "critical_path_s",
    "four_steps",
    "greedy",
    "locality_bound",
    "one_per_kind",
    "random_locality",
    "safe_four_steps",
]
