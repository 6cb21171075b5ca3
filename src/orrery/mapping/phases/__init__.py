"""Which subgraphs may run side by side, and on which workers of one machine they should."""

from ._bounds import Bounds, bounds_of
from ._exact import (
    Standing,
    all_placements,
    best_placement,
    quickest_placements,
    standing,
)
from ._explain import Loss, Losses, losses_of
from ._partition import Partition, Phase, Subgraph, partition
from ._problem import (
    Flow,
    Passage,
    PlacedPhase,
    PlacementProblem,
    Worker,
    flows_of,
)
from ._search import (
    Correction,
    Placed,
    Race,
    Raced,
    Ran,
    greedy_correction,
    single_workers,
)
from ._state import Timing
from ._tree import worthwhile

__all__ = [
    "Bounds",
    "Correction",
    "Flow",
    "Loss",
    "Losses",
    "Partition",
    "Passage",
    "Phase",
    "Placed",
    "PlacedPhase",
    "PlacementProblem",
    "Race",
    "Raced",
    "Ran",
    "Standing",
    "Subgraph",
    "Timing",
    "Worker",
    "all_placements",
    "best_placement",
    "bounds_of",
    "flows_of",
    "greedy_correction",
    "losses_of",
    "partition",
    "quickest_placements",
    "single_workers",
    "standing",
    "worthwhile",
]
