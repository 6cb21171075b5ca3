"""Weights are looked up where they are said to stand: in the binary, or in the file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orrery.api.recovering._certificates import weight_certificates
from orrery.decompile import COMPANION, RecoveredWeight
from orrery.graph import ArrayConstant, Graph
from orrery.graph.models import Builder


def _graph(values: np.ndarray) -> Graph:
    b = Builder("one")
    graph = b.finish({"y": b.op("MatMul", b.input("x", 2, 4), b.weight("w", 4, 3))})
    return Graph(
        name=graph.name, nodes=graph.nodes, inputs=graph.inputs, outputs=graph.outputs,
        types=graph.types, constants={"w": ArrayConstant(values)},
    )  # fmt: skip


def test_a_weight_of_the_companion(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    binary, beside = tmp_path / "net.o", tmp_path / "net.ro"
    binary.write_bytes(bytes(64))
    beside.write_bytes(bytes(16) + values.tobytes() + bytes(8))
    weight = RecoveredWeight(
        tensor="w", origin=f"constant 6{COMPANION} at 0x8+0x8 (48 bytes)", size_bytes=48
    )
    graph = _graph(values)
    (found,) = weight_certificates(binary, graph, [weight], None, None, beside).values()
    assert found.holds
    assert "own order" in found.text
    (turned,) = weight_certificates(
        binary, _graph(np.ascontiguousarray(values[::-1])), [weight], None, None, beside
    ).values()
    assert turned.holds
    assert "another order" in turned.text
    other = values.copy()
    other.view(np.uint32)[0, 0] ^= 1
    (wrong,) = weight_certificates(binary, _graph(other), [weight], None, None, beside).values()
    assert not wrong.holds
    assert "1 of 12" in wrong.text
    (absent,) = weight_certificates(binary, graph, [weight], None, None).values()
    assert not absent.holds
