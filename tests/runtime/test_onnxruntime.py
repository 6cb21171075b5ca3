"""ONNX Runtime: what it raises names the node; large models go through a file."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from orrery.errors import MissingExtraError, ModelError, OrreryError, SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, build_model
from orrery.runtime import OnnxRuntimeBackend, layer_times

from .graphs import diamond, image

pytestmark = pytest.mark.needs("onnxruntime")


def test_a_model_beyond_the_limit_goes_through_a_file() -> None:
    graph = diamond()
    inputs = image(graph)
    small = OnnxRuntimeBackend(threads=1).prepare(graph).run(inputs)
    large = OnnxRuntimeBackend(threads=1, largest_in_memory_bytes=0).prepare(graph).run(inputs)
    assert all(np.array_equal(small[name], large[name]) for name in small)


def test_an_error_while_running_names_the_node() -> None:
    node = Node(name="picky gather", op="Gather", inputs=("x", "i"), outputs=("y",))
    graph = Graph(
        name="net", nodes=(node,), inputs=("x", "i"), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(4,)),
               "i": TensorType(dtype="int64", shape=(1,))},
    ).infer()  # fmt: skip
    executable = OnnxRuntimeBackend(threads=1).prepare(graph)
    with pytest.raises(ModelError, match=r"net: node 'picky gather': .* wanted .*; try"):
        executable.run({"x": np.zeros(4, np.float32), "i": np.array([9])})


def test_an_error_while_preparing_names_the_node() -> None:
    graph = diamond()
    nodes = (*graph.nodes[:-1], replace(graph.nodes[-1], op="Foo", domain="com.example"))
    broken = replace(graph, nodes=nodes)
    with pytest.raises(ModelError, match="diamond: node 'scale'"):
        OnnxRuntimeBackend().prepare(broken)


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'CPUExecutionProvider'"):
        OnnxRuntimeBackend(providers=("CpuExecutionProvider",)).prepare(diamond())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'orrery\[run\]'"):
        OnnxRuntimeBackend().prepare(diamond())


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph(name="g", nodes=(Node(name="n", op="Step", domain="orrery.training", inputs=("x",),
                                     outputs=("y",)),), inputs=("x",), outputs=("y",),
               types={"x": TensorType(dtype="float32", shape=(1,))}), "orrery.training.Step"),
        (Graph(name="g", nodes=(), inputs=("x",), outputs=("x",),
               types={"x": TensorType(dtype="bfloat16", shape=(1,))}), "bfloat16"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_a_reason(graph: Graph, message: str) -> None:
    reason = OnnxRuntimeBackend().refuses(graph)
    assert reason is not None and message in reason
    with pytest.raises(ModelError, match=message):
        OnnxRuntimeBackend().prepare(graph)


def test_constants_as_outputs() -> None:
    graph = Graph(
        name="constant", nodes=(Node(name="n", op="Relu", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y", "c"), types={"x": TensorType(dtype="float32", shape=(2,))},
        constants={"c": ArrayConstant(np.arange(3.0))},
    ).infer()  # fmt: skip
    outputs = OnnxRuntimeBackend().prepare(graph).run({"x": np.ones(2, np.float32)})
    assert np.array_equal(outputs["c"], np.arange(3.0))


def test_a_scalar_input_stays_one() -> None:
    graph = Graph(
        name="scalar", nodes=(Node(name="n", op="Neg", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y",), types={"x": TensorType(dtype="float32", shape=())},
    ).infer()  # fmt: skip
    result = OnnxRuntimeBackend(threads=1).prepare(graph).run({"x": np.array(3, np.float32)})
    assert result["y"].shape == () and result["y"] == -3


def test_a_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "onnxruntime":
                raise ImportError("half an installation", name="onnxruntime.capi")

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(OrreryError, match=r"does not load .half an installation") as caught:
        OnnxRuntimeBackend().prepare(diamond())
    assert not isinstance(caught.value, MissingExtraError)


def test_every_layer_is_timed_under_its_own_name() -> None:
    """The sum of the layers' times is of the order of a whole run of the same graph."""
    graph = build_model("resnet20")
    inputs = {name: np.zeros(graph.type(name).shape, np.float32) for name in graph.inputs}
    times = layer_times(graph, inputs, threads=1, warmup=1, repeats=4)
    assert set(times) <= {node.name for node in graph.nodes}
    convolutions = {node.name for node in graph.nodes if node.op == "Conv"}
    assert convolutions <= set(times)
    assert all(seconds > 0 for seconds in times.values())
    assert sum(times[name] for name in convolutions) > 0.3 * sum(times.values())
