"""Which subgraphs may run side by side, and on which workers of one machine they should."""

from ._partition import Partition, Phase, Subgraph, partition
from ._problem import (
    Flow,
    Passage,
    PlacedPhase,
    PlacementProblem,
    Timing,
    Worker,
    flows_of,
)
from ._search import (
    Correction,
    Placed,
    all_placements,
    best_placement,
    greedy_correction,
    single_workers,
)

__all__ = [
    "Correction",
    "Flow",
    "Partition",
    "Passage",
    "Phase",
    "Placed",
    "PlacedPhase",
    "PlacementProblem",
    "Subgraph",
    "Timing",
    "Worker",
    "all_placements",
    "best_placement",
    "flows_of",
    "greedy_correction",
    "partition",
    "single_workers",
]
