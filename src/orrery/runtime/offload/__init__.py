"""What does happen when saved tensors wait on an SSD? Training steps within a memory limit."""

from ..moving import DamagedDataError, Journey, OffloadError, TransferCounts
from ._errors import OffloadInfeasibleError
from ._report import StepReport
from ._session import OffloadSession
from ._settings import OffloadSettings

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
