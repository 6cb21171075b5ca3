"""One network on several workers of this machine at once."""

from ._compare import Comparison, compare
from ._executor import Outcome, PlacedNetwork, Step
from ._fallback import Fallback
from ._pool import (
    LocalWorker,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    core_sets,
)
from ._profile import Profile, profile_subgraphs

__all__ = [
    "Comparison",
    "Fallback",
    "LocalWorker",
    "Outcome",
    "PlacedNetwork",
    "Profile",
    "Step",
    "WorkerFailedError",
    "WorkerHungError",
    "WorkerPool",
    "compare",
    "core_sets",
    "profile_subgraphs",
]
