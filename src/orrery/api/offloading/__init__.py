"""Training steps whose saved tensors wait on an SSD: measured, planned, overlapped."""

from typing import TYPE_CHECKING

from ._callbacks import CALLBACKS, callback_class
from ._offload import offload
from ._options import OffloadOptions
from ._session import Planning, TrainingSession

if TYPE_CHECKING:
    from orrery.runtime.loops import OffloadLightningCallback, OffloadTrainerCallback

__all__ = [
    "OffloadLightningCallback",
    "OffloadOptions",
    "OffloadTrainerCallback",
    "Planning",
    "TrainingSession",
    "offload",
]


def __getattr__(name: str) -> object:
    # A class of another library, which is not loaded before somebody wants it.
    if name not in CALLBACKS:
        raise AttributeError(f"module 'orrery.api.offloading' has no attribute {name!r}")
    return callback_class(name)
