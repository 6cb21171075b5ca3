"""From a network to a binary by way of TVM.

Models:  Relax, executed by its virtual machine or compiled; kernels alone, or with what follows
         fused into them; a library with all in it, or an object whose weights lie beside it.
Ignores: tuning, graphics processors.
Judge:   the library is loaded and run by TVM, outputs compared with ONNX Runtime's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orrery.graph import CANONICAL_OPSET, Graph, onnx_bytes

from ._compile import BuildError
from ._targets import find_target

_LIMIT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TvmRecipe:
    """How TVM is asked to build.

    Attributes
    ----------
    target : a key of `TARGETS`
    fused : whether operators are put together first (the pipeline "zero")
    mode : ``bytecode`` for the virtual machine, or ``compiled``: the calls are machine code too
    form : ``shared``, or ``object`` with the constants in a file beside it
    """

    target: str = "x86-64"
    fused: bool = True
    mode: Literal["bytecode", "compiled"] = "bytecode"
    form: Literal["shared", "object"] = "shared"

    @property
    def label(self) -> str:
        """One word for file names."""
        fused = "fused" if self.fused else "unfused"
        return "_".join(("tvm", self.target, self.form, self.mode, fused))


@dataclass(frozen=True, slots=True, kw_only=True)
class TvmBinary:
    """What TVM built.

    Attributes
    ----------
    path : of the library or object
    companion : the virtual machine's program and the weights, of an object
    code : the program as TVM prints it, for tests
    """

    path: Path
    recipe: TvmRecipe
    entry: str
    code: str
    companion: Path | None = None


def build_tvm(
    graph: Graph, folder: Path, recipe: TvmRecipe | None = None, *, name: str = ""
) -> TvmBinary:
    """Build a network with TVM into `folder`.

    Raises
    ------
    MissingCompilerError : the linker of the target is not installed
    BuildError : TVM or the linker failed; its last words
    """
    recipe = recipe or TvmRecipe()
    target = find_target(recipe.target)
    name = name or f"{graph.name}_{recipe.label}"
    work = folder / f"{name}.build"
    work.mkdir(parents=True, exist_ok=True)
    (work / "model.onnx").write_bytes(onnx_bytes(graph))
    words: dict[str, Any] = {"kind": "llvm", "mtriple": target.triple}
    if target.cpu:
        words["mcpu"] = target.cpu
    if target.features:
        words["mattr"] = target.features.split(",")
    if "hf" in target.triple:
        words["mfloat-abi"] = "hard"
    path = (folder / f"{name}{'.so' if recipe.form == 'shared' else '.o'}").resolve()
    answer = _ask(work, {
        "do": "build", "target": words, "fused": recipe.fused, "mode": recipe.mode,
        "form": recipe.form, "path": str(path), "opset": CANONICAL_OPSET,
        "linker": target.tool("gcc") if recipe.form == "shared" else "",
    })  # fmt: skip
    companion = answer["companion"]
    return TvmBinary(
        path=path, recipe=recipe, entry="main", code=(work / "code.txt").read_text(),
        companion=Path(companion) if companion else None,
    )  # fmt: skip


def run_tvm(
    path: Path, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, entry: str = "main"
) -> dict[str, NDArray[Any]]:
    """Run a library with TVM's own virtual machine, in a process of its own.

    Raises
    ------
    BuildError : it does not load, or fails
    """
    work = path.with_name(path.name + ".run")
    work.mkdir(exist_ok=True)
    for index, value in enumerate(inputs.values()):
        np.save(work / f"in{index}.npy", np.asarray(value))
    _ask(work, {"do": "run", "path": str(path.resolve()), "entry": entry, "inputs": len(inputs),
                "outputs": list(outputs)})  # fmt: skip
    return {name: np.load(work / f"out{index}.npy") for index, name in enumerate(outputs)}


def _ask(work: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    (work / "request.json").write_text(json.dumps(dict(request)))
    (work / "answer.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"{__package__}._tvm_child", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    answer = work / "answer.json"
    if done.returncode or not answer.exists():
        raise BuildError(["TVM"], done.stderr or done.stdout)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found
