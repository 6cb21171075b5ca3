"""Zero bits of a network's weights, judged by plain NumPy; a Bitlet system maps and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orrery.api import show
from orrery.api.bits import FORMATS, bit_sections
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    read_safetensors,
    with_weights,
)
from orrery.report import Table


def network(weights: np.ndarray) -> Graph:
    """Two products that share their weights, and a bias that is none of them."""
    node = {"op": "Gemm", "attributes": {}}
    return Graph(
        name="two", nodes=(Node(name="one", inputs=("x", "w", "b"), outputs=("y",), **node),
                           Node(name="two", inputs=("y", "w"), outputs=("z",), **node)),
        inputs=("x",), outputs=("z",), types={"x": TensorType(dtype="float32", shape=(1, 4))},
        constants={"w": ArrayConstant(weights), "b": ArrayConstant(np.zeros(4, np.float32))},
    ).infer()  # fmt: skip


def places(words: np.ndarray, bits: int) -> list[float]:
    """Percent of zeros of the lowest bits, highest first."""
    return [100 * float(np.mean((words >> (bits - 1 - k)) & 1 == 0)) for k in range(bits)]


def tables(graph: Graph, *formats: str) -> tuple[Table, Table]:
    first, second = bit_sections(graph, formats)
    assert isinstance(first, Table)
    assert isinstance(second, Table)
    return first, second


def test_zeros_are_those_that_numpy_counts() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    weights[0, 1], weights[2, 2] = 0, 1e-6
    first, second = tables(network(weights), "fp32", "fp16", "int8")
    columns = list(zip(*first.rows))
    words = weights.view(np.uint32)
    assert columns[1][0] == pytest.approx(100 / 16)  # the zero has no hidden one
    assert columns[1][1:] == pytest.approx(places(words, 23))
    half = weights.astype(np.float16).view(np.uint16)
    assert columns[2][1:11] == pytest.approx(places(half, 10))
    assert columns[2][11:] == (None,) * 13
    largest = np.abs(weights).max(0, keepdims=True)  # a grid a filter, which are columns here
    grid = np.rint(weights.astype(np.float64) / (largest / 127)).astype(np.int64)
    assert columns[3][:8] == pytest.approx(places(np.abs(grid), 8))
    fp32, _, int8 = second.rows
    assert fp32[1] == 16
    assert fp32[2] == pytest.approx(np.mean(places(words, 23)))
    assert fp32[3] == pytest.approx((100 / 16 + sum(places(words, 23))) / 24)
    assert (fp32[4], int8[4]) == (48.6, None)
    assert fp32[5:7] == pytest.approx((100 / 16, 200 / 16))
    assert int8[3] == pytest.approx(np.mean(places(np.abs(grid), 8)))
    # -127 to 127: the highest place is never used, so it says nothing of the weights.
    assert int8[2] == pytest.approx(np.mean(places(np.abs(grid), 7)))
    assert int8[2] < int8[3]


def test_formats_and_weights_that_cannot_be_are_refused() -> None:
    good = network(np.ones((4, 4), np.float32))
    with pytest.raises(SpecError, match=r"fp23.*did you mean"):
        bit_sections(good, ("fp23",))
    with pytest.raises(SpecError, match="found 'none'"):
        bit_sections(good, ())
    with pytest.raises(SpecError, match="weights 'w': found 'a value that is not finite'"):
        bit_sections(network(np.full((4, 4), np.inf, np.float32)), ("fp32",))


def test_a_network_without_weights_says_so() -> None:
    node = Node(name="relu", op="Relu", inputs=("x",), outputs=("y",))
    graph = Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="float32", shape=(2,))}).infer()  # fmt: skip
    (said,) = bit_sections(graph, tuple(FORMATS))
    assert said.title == "Bits"


def test_the_command_takes_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "resnet20", "--bits", "--formats", "int4, fp16", "--rows", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Zero bits per significance position" in shown
    assert "int4" in shown
    assert "fp32" not in shown
    assert main(["show", "resnet20", "--bits", "--formats", "int5"]) == 2
    assert "int5" in capsys.readouterr().err


@pytest.mark.shared_data
def test_trained_weights_have_the_published_sparsity(shared_data: Path) -> None:
    path = shared_data / "cifar10/resnet20.safetensors"
    graph = with_weights(build_model("resnet20"), read_safetensors(path), where="resnet20")
    found = next(s for s in show(graph, statistics=True, formats=("fp32",)).sections
                 if s.title == "Bit sparsity of the weights")  # fmt: skip
    assert isinstance(found, Table)
    held = [c.array() for n, c in read_safetensors(path).items() if len(c.type.shape) > 1]
    words = np.concatenate([w.ravel() for w in held]).view(np.uint32)
    stored = np.mean(places(words, 23))
    assert found.rows[0][2] == pytest.approx(stored)
    assert found.rows[0][3] == pytest.approx(stored * 23 / 24, abs=0.01)
    assert found.rows[0][3] == pytest.approx(48.6, abs=0.1)


def test_a_system_of_arrays_takes_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "plan"
    arguments = ["map", "resnet20", "--on", "bitlet-x4", "--out", str(folder)]
    assert main(arguments) == 0
    assert "bitlet(precision='fixed8')" in (folder / "plan.json").read_text()
    # Layers and shards of one shape differ in their weights: all who price must tell them apart.
    assert "certificate: holds" in capsys.readouterr().out
    assert main(["score", str(folder / "evidence.json")]) == 0
    assert "fixed8" in capsys.readouterr().out


def test_signed_digits_stand_beside_ones() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    _, table = tables(network(weights), "int8", "fp32")
    names = [column.name for column in table.columns]
    step = np.abs(weights).max(0, keepdims=True) / 127
    whole = np.abs(np.rint(weights / step)).astype(np.int64)
    row = dict(zip(names, table.rows[0]))
    assert row["ones a weight"] == pytest.approx(np.bitwise_count(whole).mean())
    digits = np.bitwise_count((3 * whole ^ whole) >> 1).mean()
    assert row["signed digits a weight"] == pytest.approx(digits)
    assert digits < np.bitwise_count(whole).mean()
    floating = dict(zip(names, table.rows[1]))
    assert floating["signed digits a weight"] < floating["ones a weight"]  # type: ignore[operator]
    assert floating["cycles of 64, signed"] is None
