"""Requests to files past the system's cache, several at once: by io_uring or by plain calls."""

from ._calls import CallChannel
from ._engines import Engine, EngineName, open_engine
from ._request import SECTOR_BYTES, Bytes, Channel, Request
from ._ring import address_of
from ._rings import RingChannel, why_no_ring

__all__ = [
    "SECTOR_BYTES",
    "Bytes",
    "CallChannel",
    "Channel",
    "Engine",
    "EngineName",
    "Request",
    "RingChannel",
    "address_of",
    "open_engine",
    "why_no_ring",
]
