"""The process that holds TVM: it builds and runs what a request on disk asks for, then ends.

TVM brings its own LLVM and takes seconds to load; neither belongs into the caller's process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def _build(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import onnx_frontend
    from tvm.support import cc

    # The front end's own reader: TVM asks for its message type, not for bytes.
    model = onnx_frontend.onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    module = onnx_frontend.from_onnx(
        model, opset=min(request["opset"], _NEWEST_OPSET), keep_params_in_input=False
    )
    target = tvm.target.Target(request["target"])
    if request["fused"]:
        with target:
            module = relax.get_pipeline("zero")(module)
    built = relax.build(module, target=target, exec_mode=request["mode"])
    path, companion = request["path"], None
    if request["form"] == "shared":
        built.export_library(path, fcompile=cc.cross_compiler(request["linker"]))
    else:
        built.mod.imports[0].write_to_file(path)
        companion = str(Path(path).with_suffix(".ro"))
        built.mod.write_to_file(companion)
    (folder / "code.txt").write_text(built.as_text())
    return {"companion": companion}


#: The front end reads operators as they were in this version at the latest.
_NEWEST_OPSET = 21


def _run(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(request["path"]), tvm.cpu())
    given = [
        tvm.runtime.tensor(np.load(folder / f"in{index}.npy")) for index in range(request["inputs"])
    ]
    found = machine[request["entry"]](*given)
    results = [found] if hasattr(found, "numpy") else list(found)
    for index, result in enumerate(results):
        np.save(folder / f"out{index}.npy", result.numpy())
    return {}


def main(folder: Path) -> None:
    """Do what ``request.json`` says and leave ``answer.json``."""
    request = json.loads((folder / "request.json").read_text())
    answer = (_build if request["do"] == "build" else _run)(request, folder)
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
