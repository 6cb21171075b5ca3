"""What would the circuit be? Hardware parts, Verilog, co-simulation, synthesis."""

from ._build import build
from ._circuit import Circuit, Finding, Port, Stream, Timing
from ._engines import Engine
from ._lint import lint
from ._simulate import (
    Cosimulation,
    EnginesDisagree,
    HandshakeError,
    Simulation,
    StreamRun,
    cosimulate,
    simulation,
)
from ._words import pack_words, unpack_words
from ._yosys import ToolError, run_yosys

__all__ = [
    "Circuit",
    "Cosimulation",
    "Engine",
    "EnginesDisagree",
    "Finding",
    "HandshakeError",
    "Port",
    "Simulation",
    "Stream",
    "StreamRun",
    "Timing",
    "ToolError",
    "build",
    "cosimulate",
    "lint",
    "pack_words",
    "run_yosys",
    "simulation",
    "unpack_words",
]
