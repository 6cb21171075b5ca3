"""Networks built into binaries by ordinary compilers: what recovery is tried and judged on."""

from ._blind import blind_module, own_names, rename, strip
from ._c_network import c_source
from ._compile import CBinary, CRecipe, build_c, run_c
from ._iree import IreeRecipe, build_iree, run_iree
from ._networks import OPERATORS, SMALL_NETWORKS
from ._style import CStyle
from ._targets import MissingCompilerError, find_target
from ._tvm import TvmBinary, TvmRecipe, build_tvm, run_tvm

__all__ = [
    "OPERATORS",
    "SMALL_NETWORKS",
    "CBinary",
    "CRecipe",
    "CStyle",
    "IreeRecipe",
    "MissingCompilerError",
    "TvmBinary",
    "TvmRecipe",
    "blind_module",
    "build_c",
    "build_iree",
    "build_tvm",
    "c_source",
    "find_target",
    "own_names",
    "rename",
    "run_c",
    "run_iree",
    "run_tvm",
    "strip",
]
