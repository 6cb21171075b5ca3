"""What frameworks wrap around their kernels: order of calls, buffers, constants."""

from . import _vmfb_device
from ._kernels import PREFIX, kernel_table
from ._sequence import COPY, FILL, CallKey, Kernel, KernelCall, Place, Sequence
from ._stream import ContainerError
from ._vm_calls import follow_vm_program
from ._vm_program import (
    VmCall,
    VmConstant,
    VmFunction,
    VmOperand,
    VmProgram,
    find_vm_programs,
    read_vm_program,
)
from ._vmfb import ModuleFunction, Segment, VmfbModule, is_vmfb, read_vmfb
from ._vmfb_calls import follow_vmfb

_ANSWERS = _vmfb_device  # importing it fills the table of answers

__all__ = [
    "COPY",
    "FILL",
    "PREFIX",
    "CallKey",
    "ContainerError",
    "Kernel",
    "KernelCall",
    "ModuleFunction",
    "Place",
    "Segment",
    "Sequence",
    "VmCall",
    "VmConstant",
    "VmFunction",
    "VmOperand",
    "VmProgram",
    "VmfbModule",
    "find_vm_programs",
    "follow_vm_program",
    "follow_vmfb",
    "is_vmfb",
    "kernel_table",
    "read_vm_program",
    "read_vmfb",
]
