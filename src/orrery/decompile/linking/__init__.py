"""Which machine code belongs to which call of a framework's container, and how it is called."""

from ._compiled import traced_program
from ._dispatch import lift_dispatched, moved, own_kernel
from ._kernels import Place, find_kernels, in_order
from ._runtime import runtime_pointers

__all__ = [
    "Place",
    "find_kernels",
    "in_order",
    "lift_dispatched",
    "moved",
    "own_kernel",
    "runtime_pointers",
    "traced_program",
]
