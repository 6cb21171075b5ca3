"""What would the circuit be? Hardware parts, Verilog, co-simulation, synthesis."""

from ._build import build
from ._circuit import Circuit, Finding, Port, Stream, Timing
from ._yosys import ToolError, run_yosys

__all__ = [
    "Circuit",
    "Finding",
    "Port",
    "Stream",
    "Timing",
    "ToolError",
    "build",
    "run_yosys",
]
