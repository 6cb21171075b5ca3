"""From a case to a file: the compilers of `orrery.runtime.binaries`, and copies without names.

A binary is built once for all copies of it. What a machine has not is said with what to install.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shutil import which

from orrery.errors import MissingExtraError, OrreryError
from orrery.graph import Graph
from orrery.runtime.binaries import (
    IreeRecipe,
    MissingCompilerError,
    TvmRecipe,
    blind_module,
    build_c,
    build_iree,
    build_tvm,
    find_target,
    rename,
    strip,
)

from ._cases import C_OPTIONS, Asked, network_of

__all__ = ["Built", "Workshop", "tool_version"]

#: compiler -> package and extra
_PACKAGES = {"tvm": ("apache-tvm", "tvm"), "iree": ("iree-base-compiler", "iree")}

#: Numbers are written into the source up to so many bytes; above, they are included as a file.
_LITERALS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A file to recover a network from, and what else its user would say of it."""

    path: Path
    companion: Path | None = None
    base: int | None = None
    architecture: str | None = None


@cache
def tool_version(compiler: str, target: str) -> str:
    """Return which compiler it is, in one line.

    Raises
    ------
    MissingCompilerError, MissingExtraError : it is not installed
    """
    machine = find_target(target)
    if compiler in _PACKAGES:
        package, extra = _PACKAGES[compiler]
        if compiler == "tvm":
            machine.tool("gcc")  # links
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            raise MissingExtraError(package, extra, purpose="building test binaries") from None
    command = machine.tool("gcc")
    if compiler == "clang":
        found = which("clang")
        if found is None:
            raise MissingCompilerError("clang", "clang", purpose="building test binaries")
        command = found
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


class Workshop:
    """Builds binaries into a folder, each once.

    Parameters
    ----------
    network : name -> the network; another table for tests
    """

    def __init__(self, folder: Path, network: Callable[[str], Graph] = network_of) -> None:
        self.folder = folder
        self.network = cache(network)
        self._made: dict[Asked, Built | OrreryError] = {}

    def build(self, asked: Asked) -> Built:
        """Return the file of a case.

        Raises
        ------
        MissingCompilerError, MissingExtraError : the compiler is not installed
        BuildError : it does not compile this network
        """
        plain = replace(asked, copy="as built")
        if plain not in self._made:
            try:
                self._made[plain] = self._built(plain)
            except OrreryError as error:
                self._made[plain] = error
        made = self._made[plain]
        if isinstance(made, OrreryError):
            raise made
        return made if asked.copy == "as built" else self._copied(asked, made)

    def _built(self, asked: Asked) -> Built:
        tool_version(asked.compiler, asked.target)
        graph = self.network(asked.network)
        # A file's own name would tell a reader what stands in it.
        folder = self.folder / f"b{len(self._made)}"
        folder.mkdir(parents=True)
        if asked.compiler == "tvm":
            recipe = TvmRecipe(target=asked.target, fused=asked.options != "unfused")
            if "compiled" in asked.options:
                recipe = replace(recipe, mode="compiled")
            if asked.options == "object":
                recipe = replace(recipe, form="object", mode="compiled")
            tvm = build_tvm(graph, folder, recipe, name="network")
            return Built(path=tvm.path, companion=tvm.companion)
        if asked.compiler == "iree":
            made = build_iree(graph, folder, IreeRecipe(target=asked.target), name="network")
            return Built(path=made.path)
        found = replace(C_OPTIONS[asked.options][0], target=asked.target)
        if asked.compiler == "clang":
            found = replace(found, compiler="clang")
        if sum(constant.type.size_bytes for constant in graph.constants.values()) > _LITERALS:
            found = replace(found, style=replace(found.style, weights="blob"))
        binary = build_c(graph, folder, found, name="network")
        bare = found.form == "firmware"
        return Built(path=binary.path, base=binary.base, architecture="thumb" if bare else None)

    def _copied(self, asked: Asked, made: Built) -> Built:
        copy = made.path.with_name(f"{asked.copy}{made.path.suffix}")
        if copy.exists():
            return replace(made, path=copy)
        keep = list(_weights(self.network(asked.network)))
        if asked.compiler == "iree":
            blind_module(made.path, copy, zeroed=asked.copy == "stripped")
        elif asked.copy == "stripped":
            strip(made.path, copy, target=asked.target, keep=keep)
        else:
            rename(made.path, copy, keep=keep)
        return replace(made, path=copy)


def _weights(graph: Graph) -> Iterable[bytes]:
    return (constant.array().tobytes() for constant in graph.constants.values())
