"""Mapping layers onto typed accelerators whose memories hold weights: tables, searches, bounds."""

from ._anneal import LocalitySearch, anneal_locality
from ._baselines import one_per_kind, random_locality, safe_four_steps
from ._bound import LocalityBound, critical_path_s, locality_bound
from ._branch import branch_bound
from ._check import LocalityFault, check_locality
from ._four_steps import four_steps
from ._problem import LocalityProblem, LocalitySchedule, bind_weights, retime, sequence_of

__all__ = [
    "LocalityBound",
    "LocalityFault",
    "LocalityProblem",
    "LocalitySchedule",
    "LocalitySearch",
    "anneal_locality",
    "bind_weights",
    "branch_bound",
    "check_locality",
    "critical_path_s",
    "four_steps",
    "locality_bound",
    "one_per_kind",
    "random_locality",
    "retime",
    "safe_four_steps",
    "sequence_of",
]
