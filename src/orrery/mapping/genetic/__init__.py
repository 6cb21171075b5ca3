"""Genetic search: an engine for any genomes, the two-level search over sets, plain baselines."""

from ._engine import HOPELESS, Evolution, Evolved, Genomes, evolve
from ._local import local_search, shortage
from ._plain import UniformSets, random_sets, single_set, uniform_sets
from ._settings import TwoLevelSearch
from ._two_level import FoundSets, two_level

__all__ = [
    "HOPELESS",
    "Evolution",
    "Evolved",
    "FoundSets",
    "Genomes",
    "TwoLevelSearch",
    "UniformSets",
    "evolve",
    "local_search",
    "random_sets",
    "shortage",
    "single_set",
    "two_level",
    "uniform_sets",
]
