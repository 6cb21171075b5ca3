"""``orrery show`` on a 6 GB network: the structure of the 1.5B GPT-2 over a sparse weights file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from orrery.graph import ArrayConstant, build_model, onnx_bytes

from ._record import BIN, Figure, repeated, run_command


def make_sparse(folder: Path) -> tuple[Path, int]:
    """Write the network with all large weights in one sparse file; returns it and the bytes."""
    graph = build_model("gpt2-1.5b", context=64)
    large = {n: c for n, c in graph.constants.items() if c.type.elements > 4096}
    small = {n: ArrayConstant(c.array()) for n, c in graph.constants.items() if n not in large}
    hollow = replace(graph, constants=small, inputs=(*graph.inputs, *large))
    model = onnx.load_from_string(onnx_bytes(hollow))
    offset = 0
    given = [i for i in model.graph.input if i.name not in large]
    for value in [i for i in model.graph.input if i.name in large]:
        size = large[value.name].type.size_bytes
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        tensor = onnx.TensorProto(
            name=value.name, dims=shape, data_type=value.type.tensor_type.elem_type,
            data_location=onnx.TensorProto.EXTERNAL,
        )  # fmt: skip
        for key, text in (("location", "weights.bin"), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(text))
        model.graph.initializer.append(tensor)
        offset += size
    del model.graph.input[:]
    model.graph.input.extend(given)
    path = folder / "gpt2-1.5b.onnx"
    path.write_bytes(model.SerializeToString())
    with (folder / "weights.bin").open("wb") as handle:
        handle.truncate(offset)
    return path, offset


def figures() -> list[Figure]:
    """Time the command and take its peak memory, both as a whole process."""
    with tempfile.TemporaryDirectory() as folder:
        path, size = make_sparse(Path(folder))
        command = [str(BIN / "orrery"), "show", str(path)]
        peaks: list[float] = []

        def once() -> float:
            run = run_command(command)
            peaks.append(run.peak_bytes / 1e6)
            return run.wall_s

        note = f"{size / 1e9:.2f} GB of external data, sparse; whole process"
        wall = repeated("show, 1.5B GPT-2 with external data", "s", once, target=3.0, note=note)
        runs = tuple(peaks[1:])
        return [
            wall,
            Figure(name="show, peak memory", value=max(runs), unit="MB", runs=runs, target=400.0),
        ]
