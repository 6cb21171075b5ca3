"""The settings of the two-level search, and what the engine gets of them on each level."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orrery.settings import require, setting

from ._engine import Evolution


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLevelSearch:
    """Settings of the two-level genetic search."""

    seed: int = setting(0, "seed of every draw; the same seed gives the same mapping")
    population: int = setting(16, "mappings per island in a generation of the upper level")
    generations: int = setting(30, "generations of the upper level, whole exchanges")
    islands: int = setting(2, "populations that breed apart, on cores of their own where there are")
    exchange: int = setting(5, "generations between two exchanges of the best among islands")
    elite: int = setting(2, "best mappings that stay as they are")
    tournament: int = setting(3, "mappings of which the best becomes a parent")
    crossover: float = setting(0.7, "share of children with two parents, 0 to 1")
    patience: int = setting(12, "generations without gain after which an island begins anew")
    most_sets: int = setting(4, "sets per network at most")
    lower_population: int = setting(8, "ways to share a set's units in a lower-level generation")
    lower_generations: int = setting(4, "generations of the lower level")
    polish: int = setting(1, "units that may answer a change in the final local search, 0 to 4")
    one_level: bool = setting(False, "share units greedily instead of by a lower-level search")
    communication: bool = setting(True, "weigh fetches between units when sharing them")

    def __post_init__(self) -> None:
        least = {"population": 2, "islands": 1, "exchange": 1, "elite": 1, "tournament": 1,
                 "patience": 1, "most_sets": 1, "lower_population": 2, "generations": 0,
                 "lower_generations": 0, "polish": 0, "seed": 0}  # fmt: skip
        where = "two-level search"
        require(where, self, **{name: (f"{bound} or more", getattr(self, name) >= bound)
                                for name, bound in least.items()})  # fmt: skip
        require(
            where, self, crossover=("0 to 1", 0 <= self.crossover <= 1),
            elite=(f"less than the population of {self.population}", self.elite < self.population),
            polish=("4 or less: the time grows with it", self.polish <= 4),
        )  # fmt: skip


def upper_level(settings: TwoLevelSearch) -> Evolution:
    """Return how the upper level breeds."""
    return Evolution(
        population=settings.population, elite=settings.elite, tournament=settings.tournament,
        crossover=settings.crossover, generations=settings.generations,
        patience=settings.patience, islands=settings.islands, apart=settings.exchange,
        seed=settings.seed,
    )  # fmt: skip


def lower_level(settings: TwoLevelSearch) -> Evolution:
    """Return how the ways to share one set's units breed."""
    s = settings
    return Evolution(
        population=s.lower_population, generations=s.lower_generations, islands=1,
        apart=max(1, s.lower_generations), elite=1, tournament=s.tournament,
        crossover=s.crossover, patience=s.patience, seed=s.seed,
    )  # fmt: skip


def closer_look(settings: TwoLevelSearch) -> Evolution:
    """Return how they breed once more for the sets that were found: twice as many, far longer."""
    lower = lower_level(settings)
    return replace(lower, population=2 * lower.population, generations=6 * lower.generations)
