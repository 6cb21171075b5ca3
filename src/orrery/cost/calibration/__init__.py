"""Constants of machines fitted to measured layers, and how far to trust them."""

from ._array import ArraySample, CalibratedArray, calibrate_array
from ._device import CalibratedDevice, calibrate_device
from ._price import calibrated_s, macs_by_class, operator_class
from ._read import MeasuredRow, read_measurements
from ._samples import Constant, Sample, sample_of, sample_of_work
from ._validate import CONFIDENCE, Held, Validation, overall

__all__ = [
    "CONFIDENCE",
    "ArraySample",
    "CalibratedArray",
    "CalibratedDevice",
    "Constant",
    "Held",
    "MeasuredRow",
    "Sample",
    "Validation",
    "calibrate_array",
    "calibrate_device",
    "calibrated_s",
    "macs_by_class",
    "operator_class",
    "overall",
    "read_measurements",
    "sample_of",
    "sample_of_work",
]
