"""One network on several workers of this machine at once."""

from ._compare import Comparison, compare
from ._executor import Outcome, PlacedNetwork, Step
from ._fallback import Fallback
from ._observe import Observed, observe
from ._pool import (
    LocalWorker,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    core_sets,
)
from ._profile import Profile, profile_subgraphs
from ._race import RaceResult, race

__all__ = [
    "Comparison",
    "Fallback",
    "LocalWorker",
    "Observed",
    "Outcome",
    "PlacedNetwork",
    "Profile",
    "RaceResult",
    "Step",
    "WorkerFailedError",
    "WorkerHungError",
    "WorkerPool",
    "compare",
    "core_sets",
    "observe",
    "profile_subgraphs",
    "race",
]
