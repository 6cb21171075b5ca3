"""Weights from safetensors files: read as the format's own library writes them, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.graph import Graph, build_model, read_safetensors, with_weights

SMALL = {"width": 0.25, "depth": 0.2, "image": 16}


def save(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Write a file by the specification: header length, JSON header, tensors back to back."""
    names = {"float32": "F32", "float16": "F16", "int64": "I64"}
    header, body = {}, b""
    for name, array in tensors.items():
        offsets = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": names[str(array.dtype)], "shape": array.shape,
                        "data_offsets": offsets}  # fmt: skip
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def net() -> tuple[Graph, dict[str, np.ndarray]]:
    graph = build_model("resnet20", **SMALL)
    drawn = np.random.default_rng(1)
    weights = {
        n: drawn.uniform(0.5, 1.5, c.type.sizes).astype(np.float32)
        for n, c in graph.constants.items() if c.type.dtype == "float32"
    }  # fmt: skip
    return graph, weights


@pytest.mark.needs("safetensors")
def test_files_of_the_library_read_bit_for_bit(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    drawn = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "a": drawn.standard_normal((3, 4)).astype(np.float32), "b": np.arange(5),
        "half": drawn.standard_normal(7).astype(np.float16), "empty": np.zeros((0, 2)),
        "scalar": np.array(3.5), "flag": np.array([True, False]), "byte": np.arange(3, dtype="u1"),
    }  # fmt: skip
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    read = read_safetensors(tmp_path / "x.safetensors")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        found = read[name].array()
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_a_network_takes_weights_of_its_names_and_another_digest(tmp_path: Path) -> None:
    graph, weights = net()
    counter = {"bn1.num_batches_tracked": np.array(7)}
    path = save(tmp_path / "w.safetensors", {**weights, **counter})
    taken = with_weights(graph, read_safetensors(path), where="w")
    for name, array in weights.items():
        np.testing.assert_array_equal(taken.constants[name].array(), array)
    assert taken.digest != graph.digest
    assert taken.structure_digest == graph.structure_digest


def test_narrower_floats_are_widened_exactly(tmp_path: Path) -> None:
    graph, weights = net()
    half = {n: w.astype(np.float16) for n, w in weights.items()}
    path = save(tmp_path / "w.safetensors", half)
    taken = with_weights(graph, read_safetensors(path), where="w")
    for name, array in half.items():
        np.testing.assert_array_equal(taken.constants[name].array(), array.astype(np.float32))


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], list[str]]] = {
    "missing": (lambda w: w.pop("bn1.bias"), ["no bn1.bias for the network"]),
    "unexpected": (
        lambda w: w.update({"fc.weight": w.pop("linear.weight")}),
        ["no linear.weight", "fc.weight, which it does not have"],
    ),
    "shape": (
        lambda w: w.update({"linear.weight": w["linear.weight"].T.copy()}),
        ["linear.weight", "transpose"],
    ),
    "type": (
        lambda w: w.update({"linear.bias": np.arange(10)}), ["linear.bias", "int64", "float32"],
    ),
    "nothing": (lambda w: w.clear(), ["more for the network", "by name"]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_do_not_fit_are_refused_by_name(change: str, tmp_path: Path) -> None:
    graph, weights = net()
    CHANGES[change][0](weights)
    path = save(tmp_path / "w.safetensors", weights)
    with pytest.raises(SpecError) as refused:
        with_weights(graph, read_safetensors(path), where="w.safetensors")
    assert "w.safetensors" in str(refused.value)
    assert all(text in str(refused.value) for text in CHANGES[change][1])


def test_a_square_matrix_of_unknown_orientation_is_refused() -> None:
    """Frameworks store a linear layer's matrix either way; only the sizes can tell."""
    graph = build_model("bert-base", layers=1, hidden=32, heads=4, inner=64, vocabulary=50,
                        sequence=7)  # fmt: skip
    with pytest.raises(SpecError, match=r"square.*tell rows from columns"):
        with_weights(graph, graph.constants, where="w")


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "short": (b"\x10\0\0\0\0\0\0\0{}", "header says 16"),
    "huge": (b"\xff" * 8 + b"{}", "header says"),
    "no json": (b"\x02\0\0\0\0\0\0\0}{", "safetensors file"),
    "a list": (b"\x02\0\0\0\0\0\0\0[]", "no mapping"),
}
ENTRIES: dict[str, tuple[Any, str]] = {
    "type": ({"dtype": "F7", "shape": [1], "data_offsets": [0, 4]}, "element type F7"),
    "shape": ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "whole numbers"),
    "bytes": ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "the 8 bytes"),
    "beyond": ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "bytes 0 to 8 of 4"),
    "text": ("F32", "element type None"),
}


@pytest.mark.parametrize("damage", [*FILES, *ENTRIES, "absent", "folder"])
def test_damaged_files_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    said = "no such file"
    if damage in FILES:
        body, said = FILES[damage]
        path.write_bytes(body)
    elif damage in ENTRIES:
        entry, said = ENTRIES[damage]
        text = json.dumps({"w": entry}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    elif damage == "folder":
        path.mkdir()
        said = "folder"
    with pytest.raises(SpecError) as refused:
        read_safetensors(path)
    assert said in str(refused.value)
