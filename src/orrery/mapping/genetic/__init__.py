"""Genetic search: an engine for any genomes, the two-level search over sets, plain baselines."""

from ._engine import HOPELESS, Evolution, Evolved, Genomes, evolve
from ._local import local_search, shortage
from ._two_level import FoundSets, TwoLevelSearch, two_level

__all__ = [
    "HOPELESS",
    "Evolution",
    "Evolved",
    "FoundSets",
    "Genomes",
    "TwoLevelSearch",
    "evolve",
    "local_search",
    "shortage",
    "two_level",
]
