"""One network on several workers of this machine at once."""

from ._capacity import DoesNotFitError, needed_bytes
from ._compare import SETTLED_S, Comparison, compare, in_turn
from ._devices import Devices, devices_here, torch_left_out, workers_here
from ._executor import CopyTime, Outcome, PlacedNetwork, Step
from ._fallback import Fallback
from ._interrupts import Interrupts
from ._links import Link, fit_link, measure_links
from ._memory import HOST, CudaMemory, Held, Memory, MemoryFullError, TensorMemory
from ._observe import Ask, Observed, observe, one_at_a_time, watched
from ._pool import (
    PROCESS,
    LocalWorker,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    core_sets,
)
from ._profile import Profile, profile_subgraphs
from ._race import RaceResult, race
from ._transfers import CopyFailedError, CopyHungError

__all__ = [
    "HOST",
    "PROCESS",
    "SETTLED_S",
    "Ask",
    "Comparison",
    "CopyFailedError",
    "CopyHungError",
    "CopyTime",
    "CudaMemory",
    "Devices",
    "DoesNotFitError",
    "Fallback",
    "Held",
    "Interrupts",
    "Link",
    "LocalWorker",
    "Memory",
    "MemoryFullError",
    "Observed",
    "Outcome",
    "PlacedNetwork",
    "Profile",
    "RaceResult",
    "Step",
    "TensorMemory",
    "WorkerFailedError",
    "WorkerHungError",
    "WorkerPool",
    "compare",
    "core_sets",
    "devices_here",
    "fit_link",
    "in_turn",
    "measure_links",
    "needed_bytes",
    "observe",
    "one_at_a_time",
    "profile_subgraphs",
    "race",
    "torch_left_out",
    "watched",
    "workers_here",
]
