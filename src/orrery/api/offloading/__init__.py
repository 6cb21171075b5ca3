"""Training steps whose saved tensors wait on an SSD: measured, planned, overlapped."""

from ._offload import offload
from ._options import OffloadOptions
from ._session import Planning, TrainingSession

__all__ = ["OffloadOptions", "Planning", "TrainingSession", "offload"]
