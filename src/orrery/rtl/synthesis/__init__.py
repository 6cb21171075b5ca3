"""Circuits as gates and as FPGA resources, each netlist checked against its RTL."""

from ._area import synthesise
from ._liberty import OWN_LIBRARY, read_library
from ._netlist import MiscompiledError, verify_netlist
from ._record import (
    Macro,
    Resources,
    Synthesis,
    TimingPath,
)
from ._resources import resources

__all__ = [
    "OWN_LIBRARY",
    "Macro",
    "MiscompiledError",
    "Resources",
    "Synthesis",
    "TimingPath",
    "read_library",
    "resources",
    "synthesise",
    "verify_netlist",
]
