"""How do bytes get off a GPU and back while it computes? Pinned memory, streams, events."""

from ._cuda import CudaDevice, CudaMeter, Leaving
from ._known import known_gpu

__all__ = ["CudaDevice", "CudaMeter", "Leaving", "known_gpu"]
