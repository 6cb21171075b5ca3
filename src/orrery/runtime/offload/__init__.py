"""What does happen when saved tensors wait on an SSD? Training steps within a memory limit."""

from ._errors import DamagedDataError, OffloadError, OffloadInfeasibleError
from ._parcel import Journey
from ._report import StepReport
from ._session import OffloadSession
from ._settings import OffloadSettings
from ._transfers import TransferCounts

__all__ = [
    "DamagedDataError",
    "Journey",
    "OffloadError",
    "OffloadInfeasibleError",
    "OffloadSession",
    "OffloadSettings",
    "StepReport",
    "TransferCounts",
]
