"""Genetic search: an engine for any genomes, the two-level search over sets, plain baselines."""

from ._engine import Evolution, Evolved, evolve
from ._local import local_search
from ._plain import random_sets, single_set, uniform_sets
from ._settings import TwoLevelSearch
from ._two_level import FoundSets, two_level

__all__ = [
    "Evolution",
    "Evolved",
    "FoundSets",
    "TwoLevelSearch",
    "evolve",
    "local_search",
    "random_sets",
    "single_set",
    "two_level",
    "uniform_sets",
]
