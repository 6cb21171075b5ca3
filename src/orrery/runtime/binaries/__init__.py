"""Networks built into binaries by ordinary compilers: what recovery is tried and judged on."""

from ._c_network import CSource, c_source
from ._compile import BuildError, CBinary, CRecipe, build_c, run_c
from ._style import CStyle
from ._targets import TARGETS, MissingCompilerError, Target, find_target

__all__ = [
    "TARGETS",
    "BuildError",
    "CBinary",
    "CRecipe",
    "CSource",
    "CStyle",
    "MissingCompilerError",
    "Target",
    "build_c",
    "c_source",
    "find_target",
    "run_c",
]
