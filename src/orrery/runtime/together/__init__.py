"""One network on several workers of this machine at once."""

from ._executor import Outcome, PlacedNetwork, Step
from ._pool import (
    LocalWorker,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    core_sets,
)

__all__ = [
    "LocalWorker",
    "Outcome",
    "PlacedNetwork",
    "Step",
    "WorkerFailedError",
    "WorkerHungError",
    "WorkerPool",
    "core_sets",
]
