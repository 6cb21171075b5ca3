"""Constants of machines fitted to the user's own measurements."""

from ._calibrate import calibrate
from ._result import CalibrationResult

__all__ = ["CalibrationResult", "calibrate"]
