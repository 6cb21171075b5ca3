"""Parts of circuits, written in Amaranth; importing this package loads it.

Streams are `amaranth.lib.stream`'s: valid does not wait for ready, a payload stays until it is
taken. Parts with plain ports become streams through `Streamed`.
"""

from ._arbiter import Arbiter
from ._bits import BarrelShifter, LeadingOne
from ._compare import ComparatorTree
from ._compress import CompressorTree
from ._float import BF16, FP16, FP32, FloatAdd, FloatFormat, FloatMultiply
from ._lookup import LookUpUnit
from ._memory import MemoryWrapper
from ._part import Part, part_circuit, shared
from ._queues import Fifo, RegisterSlice, SkidBuffer
from ._shared import Shared
from ._streamed import Streamed

__all__ = [
    "BF16",
    "FP16",
    "FP32",
    "Arbiter",
    "BarrelShifter",
    "ComparatorTree",
    "CompressorTree",
    "Fifo",
    "FloatAdd",
    "FloatFormat",
    "FloatMultiply",
    "LeadingOne",
    "LookUpUnit",
    "MemoryWrapper",
    "Part",
    "RegisterSlice",
    "Shared",
    "SkidBuffer",
    "Streamed",
    "part_circuit",
    "shared",
]
