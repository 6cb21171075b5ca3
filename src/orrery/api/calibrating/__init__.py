"""Constants of machines fitted to the user's own measurements, and the table these stand in."""

from ._calibrate import calibrate
from ._profile import layer_rows, profile_table, write_layers
from ._result import CalibrationFile, CalibrationResult, read_calibration

__all__ = [
    "CalibrationFile",
    "CalibrationResult",
    "calibrate",
    "layer_rows",
    "profile_table",
    "read_calibration",
    "write_layers",
]
