"""From a network to a module by way of IREE.

Models:  its CPU compiler: a ``.vmfb`` file with an ELF of kernels inside, or that ELF alone, or
         objects for static linking.
Ignores: graphics processors, tuning.
Judge:   the module is run by IREE, outputs compared with ONNX Runtime's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import MissingExtraError
from orrery.graph import Graph, onnx_bytes

from ._compile import BuildError
from ._targets import find_target

_LIMIT_S = 1800.0

#: What LLVM is told besides the triple, by target.
_WORDS = {
    "x86-64": ("--iree-llvmcpu-target-cpu=x86-64-v3",),
    "aarch64": ("--iree-llvmcpu-target-cpu=cortex-a72",),
    "armv7": ("--iree-llvmcpu-target-float-abi=hard", "--iree-llvmcpu-target-cpu-features=+neon"),
    "thumb": ("--iree-llvmcpu-target-float-abi=hard", "--iree-llvmcpu-target-cpu-features=+neon"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IreeRecipe:
    """How IREE is asked to build.

    Attributes
    ----------
    target : a key of `TARGETS`
    static : kernels as an object for static linking beside the module, instead of an ELF in it;
        the only way for 32-bit ARM, whose embedded ELF lacks functions
    options : more flags of ``iree-compile``
    """

    target: str = "x86-64"
    static: bool = False
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """One word for file names."""
        static = ("static",) if self.static else ()
        return "_".join(
            ("iree", self.target, *static, *(o.strip("-").split("=")[0] for o in self.options))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IreeBinary:
    """What IREE built: the module, and the kernels: executables that it embeds, or an object."""

    path: Path
    recipe: IreeRecipe
    executables: tuple[Path, ...]


def build_iree(
    graph: Graph, folder: Path, recipe: IreeRecipe | None = None, *, name: str = ""
) -> IreeBinary:
    """Build a network with IREE into `folder`.

    Raises
    ------
    MissingExtraError : IREE is not installed
    BuildError : it does not compile the network
    """
    recipe = recipe or IreeRecipe()
    target = find_target(recipe.target)
    name = name or f"{graph.name}_{recipe.label}"
    work = folder / f"{name}.build"
    kernels = work / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (work / "model.onnx").write_bytes(onnx_bytes(graph))
    path = folder / f"{name}.vmfb"
    made = folder / f"{name}.o"
    words = ["--iree-llvmcpu-link-embedded=false", "--iree-llvmcpu-link-static"]
    words = [*words, f"--iree-llvmcpu-static-library-output-path={made}"] if recipe.static else []
    source = str(work / "model.mlir")
    _tool("iree-import-onnx", str(work / "model.onnx"), "-o", source)
    _tool(
        "iree-compile", source, "-o", str(path), "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        f"--iree-llvmcpu-target-triple={target.triple}", *_WORDS.get(recipe.target, ()),
        f"--iree-hal-dump-executable-binaries-to={kernels}", *words, *recipe.options,
    )  # fmt: skip
    return IreeBinary(
        path=path,
        recipe=recipe,
        executables=(made,) if recipe.static else tuple(sorted(kernels.iterdir())),
    )


def run_iree(
    path: Path, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, entry: str
) -> dict[str, NDArray[Any]]:
    """Run a module with IREE's own runtime.

    Raises
    ------
    MissingExtraError : IREE is not installed
    BuildError : it does not load, or fails
    """
    work = path.with_name(path.name + ".run")
    work.mkdir(exist_ok=True)
    words = [f"--module={path}", "--device=local-sync", f"--function={entry}"]
    for index, value in enumerate(inputs.values()):
        np.save(work / f"in{index}.npy", np.ascontiguousarray(value))
        words.append(f"--input=@{work / f'in{index}.npy'}")
    words += [f"--output=@{work / f'out{index}.npy'}" for index in range(len(outputs))]
    _tool("iree-run-module", *words)
    return {name: np.load(work / f"out{index}.npy") for index, name in enumerate(outputs)}


def _tool(name: str, *words: str) -> str:
    command = Path(sys.executable).with_name(name)
    found = str(command) if command.exists() else shutil.which(name)
    if found is None:
        raise MissingExtraError("iree-base-compiler", "iree", purpose="building with IREE")
    done = subprocess.run(
        [found, *words], capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        raise BuildError([name], done.stderr or done.stdout)
    return done.stdout
