"""Who does what, when, where? Searches and schedulers; they produce plans as data."""

from ._greedy import GreedySearch, greedy

__all__ = ["GreedySearch", "greedy"]
