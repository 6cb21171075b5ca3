"""One network on several workers of this machine at once."""

from ._executor import Outcome, PlacedNetwork, Step
from ._pool import (
    LocalWorker,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    core_sets,
)
from ._profile import Profile, profile_subgraphs

__all__ = [
    "LocalWorker",
    "Outcome",
    "PlacedNetwork",
    "Profile",
    "Step",
    "WorkerFailedError",
    "WorkerHungError",
    "WorkerPool",
    "core_sets",
    "profile_subgraphs",
]
