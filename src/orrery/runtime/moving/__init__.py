"""Bytes of saved tensors on their way between memory and files: blocks, checks, two-ended arena."""

from ._arena import Arena
from ._blocks import SECTOR_BYTES, Bytes, padded
from ._errors import DamagedDataError, OffloadError
from ._folders import ScratchFile
from ._parcel import Journey, Parcel, Source
from ._transfers import TransferCounts, Transfers

__all__ = [
    "SECTOR_BYTES",
    "Arena",
    "Bytes",
    "DamagedDataError",
    "Journey",
    "OffloadError",
    "Parcel",
    "ScratchFile",
    "Source",
    "TransferCounts",
    "Transfers",
    "padded",
]
