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
from .synthesis import (
    Macro,
    MiscompiledError,
    Resources,
    Synthesis,
    resources,
    synthesise,
    verify_netlist,
)

__all__ = [
    "Circuit",
    "Cosimulation",
    "Engine",
    "EnginesDisagree",
    "Finding",
    "HandshakeError",
    "Macro",
    "MiscompiledError",
    "Port",
    "Resources",
    "Simulation",
    "Stream",
    "StreamRun",
    "Synthesis",
    "Timing",
    "ToolError",
    "build",
    "cosimulate",
    "lint",
    "pack_words",
    "resources",
    "run_yosys",
    "simulation",
    "synthesise",
    "unpack_words",
    "verify_netlist",
]
