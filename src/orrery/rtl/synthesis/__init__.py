"""Circuits as gates and as FPGA resources, each netlist checked against its RTL."""

from ._area import synthesise
from ._liberty import OWN_LIBRARY, read_library
from ._library import Library
from ._netlist import MiscompiledError, verify_netlist
from ._record import (
    Macro,
    MemoryUse,
    ModuleArea,
    Resources,
    Step,
    Synthesis,
    TimingPath,
    Verified,
)
from ._resources import FAMILIES, resources

__all__ = [
    "FAMILIES",
    "OWN_LIBRARY",
    "Library",
    "Macro",
    "MemoryUse",
    "MiscompiledError",
    "ModuleArea",
    "Resources",
    "Step",
    "Synthesis",
    "TimingPath",
    "Verified",
    "read_library",
    "resources",
    "synthesise",
    "verify_netlist",
]
