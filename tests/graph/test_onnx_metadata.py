"""Text pairs of nodes and of the model in ONNX files; judges: onnx.checker, ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, read_onnx, write_onnx


def network(elements: int = 4) -> Graph:
    weight = ArrayConstant(np.linspace(-1, 1, elements, dtype=np.float32))
    return Graph(
        name="net", inputs=("x",), outputs=("y",), metadata={"made": "by hand"},
        nodes=(Node(name="add", op="Add", inputs=("x", "w"), outputs=("t",)),
               Node(name="relu", op="Relu", inputs=("t",), outputs=("y",))),
        types={"x": TensorType(dtype="float32", shape=(elements,))}, constants={"w": weight},
    ).infer()  # fmt: skip


NOTES = {"add": {"layer_ann": "cpu0.p0", "mine": "a b"}, "relu": {"layer_ann": "cpu1.p1"}}


@pytest.mark.parametrize("external", [False, True])
def test_nodes_and_model_carry_what_they_are_given(tmp_path: Path, external: bool) -> None:
    graph, path = network(1 << 10), tmp_path / "n.onnx"
    write_onnx(graph, path, external_data=external, node_metadata=NOTES, metadata={"plan": "42"})
    model = onnx.load(path)
    onnx.checker.check_model(str(path), full_check=True)
    assert model.ir_version >= 10
    assert {n.name: {p.key: p.value for p in n.metadata_props} for n in model.graph.node} == NOTES
    assert {p.key: p.value for p in model.metadata_props} == {"made": "by hand", "plan": "42"}
    assert (tmp_path / "n.onnx.data").exists() == external
    again = read_onnx(path)
    assert again.digest == graph.digest  # notes are no part of what is computed
    assert again.metadata["plan"] == "42"


@pytest.mark.needs("onnxruntime")
def test_onnx_runtime_reads_it_and_takes_the_layer_names(tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "n.onnx"
    write_onnx(network(), path, node_metadata=NOTES)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.layer_assignment_settings", "cpu(cpu0., cpu1.)")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.zeros(4, np.float32)})
    np.testing.assert_allclose(y, np.maximum(np.linspace(-1, 1, 4), 0), atol=1e-6)


def test_a_node_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refusal:
        write_onnx(network(), tmp_path / "n.onnx", node_metadata={"rely": {"a": "b"}})
    assert str(refusal.value) == (
        "net: metadata: found \"no node 'rely'\", wanted nodes of the graph; "
        "correct the name, did you mean 'relu'?"
    )
    assert not list(tmp_path.iterdir())
