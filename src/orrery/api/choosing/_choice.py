"""What was found out about running a network on the workers here, and which way is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.mapping.phases import (
        Bounds,
        Losses,
        Placed,
        PlacementProblem,
        Standing,
        Timing,
    )
    from orrery.runtime.together import Comparison, PlacedNetwork, Profile

PLACED = "placed"  #: the name of the placement among the ways that are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look for a good placement.

    Attributes
    ----------
    profile_s : of timing subgraphs, at the most
    race_s, races_s : of one race between placements, and of all of them
    most_raced : placements that may run
    observed_s : of watching the one that was kept
    alone_s : of telling apart ways in one piece that the comparison of all leaves too near
    """

    profile_s: float = 30.0
    race_s: float = 10.0
    races_s: float = 40.0
    most_raced: int = 32
    observed_s: float = 5.0
    alone_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What explains a placement.

    Attributes
    ----------
    measured : medians of requests of the placement
    alone_s : per subgraph, where it is placed, with nothing beside it
    losses : where the time goes
    bounds : that no placement undercuts, by times alone
    company : that none undercuts while subgraphs slow each other down as measured; None where
        that was not measured, or they do not
    greedy : where greedy-correction stands by prediction alone
    kept : where the placement stands that racing kept
    """

    measured: Timing
    alone_s: tuple[float, ...]
    losses: Losses
    bounds: Bounds
    greedy: Standing
    kept: Standing
    company: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was found; `alone` names the whole network on one worker.

    Attributes
    ----------
    processes : whether the placement's workers are processes, save the last step's
    notes : what a reader should know of how it came about
    deviates : what the placement gives otherwise than is right, so that it is not taken
    told : the quickest way in one piece, where ways raced that the comparison left too near
    found : None where the placement could not be watched at work
    """

    problem: PlacementProblem
    profile: Profile
    placed: Placed
    networks: Mapping[str, PlacedNetwork]
    alone: tuple[str, ...]
    comparison: Comparison
    processes: bool = False
    notes: tuple[str, ...] = ()
    deviates: str = ""
    told: str = ""
    found: Found | None = None

    @property
    def pace(self) -> float | None:
        """How many times as long as while they were timed its subgraphs take now, one at a time.

        None where it is not known: the placement could not be watched at work.
        """
        return None if self.found is None else self.paced(self.found.alone_s)

    @property
    def foreseen(self) -> Timing:
        """What is predicted of the placement, at the machine's pace; as timed where unknown."""
        return self.problem.timing(self.placed.placement).at(self.pace or 1.0)

    def paced(self, alone_s: Sequence[float]) -> float | None:
        """Return how many times as long as while they were timed its subgraphs take.

        Parameters
        ----------
        alone_s : per subgraph, where it is placed, in seconds, with nothing beside it
        """
        return self.problem.paced(self.placed.placement, sum(alone_s))

    @property
    def single(self) -> str:
        """The quickest way in one piece."""
        return self.told or min(self.alone, key=self.comparison.median_s)

    @property
    def used(self) -> tuple[str, ...]:
        """The workers that the placement uses, by name."""
        return tuple(sorted({self.problem.workers[w].name for w in self.placed.placement}))

    @property
    def best(self) -> str:
        """The way to run it: the placement only where its gain over every other one is sure."""
        sure = not self.deviates and all(
            self.comparison.surely_quicker(PLACED, one) for one in self.alone
        )
        return PLACED if sure else self.single
