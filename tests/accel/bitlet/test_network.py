"""Whole networks: the sum of their layers, and a trained one on a real image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from orrery.accel.bitlet._cycles import BitletArray, count_layer, schedule
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import number_format
from orrery.accel.bitlet._function import BitletFunction
from orrery.accel.bitlet._network import run_network
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    example_inputs,
    read_safetensors,
    with_weights,
)

F = np.float32


def array(precision: str) -> BitletArray:
    return BitletArray(engine=Engine(format=number_format(precision)))


def small(side: int = 12) -> Graph:
    """Convolve, rectify, convolve."""
    draw = np.random.default_rng(0)
    shape, pads = (9, 9, 3, 3), {"pads": (1,) * 4}
    weights = {n: ArrayConstant(draw.standard_normal(shape).astype(F)) for n in ("v", "w")}
    nodes = (
        Node(name="one", op="Conv", inputs=("x", "v"), outputs=("a",), attributes=pads),
        Node(name="relu", op="Relu", inputs=("a",), outputs=("b",)),
        Node(name="two", op="Conv", inputs=("b", "w"), outputs=("y",)),
    )  # fmt: skip
    types = {"x": TensorType(dtype="float32", shape=(1, 9, side, side))}
    return Graph(name="small", nodes=nodes, inputs=("x",), outputs=("y",), types=types,
                 constants=weights).infer()  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "fixed8"])
def test_a_network_is_its_layers_one_after_another(precision: str) -> None:
    graph, design = small(), array(precision)
    inputs = example_inputs(graph)
    found = run_network(graph, inputs, design)
    function = BitletFunction(engine=design.engine)
    one, _, two = graph.regions()
    middle = np.maximum(function(one, inputs)["a"], 0)
    assert found.outputs["y"].tobytes() == function(two, {"b": middle})["y"].tobytes()
    counts = [count_layer(one, inputs, design), count_layer(two, {"b": middle}, design)]
    assert [x.array_cycles for x in found.layers.values()] == [c.array_cycles for c in counts]
    assert found.array_cycles == sum(c.array_cycles for c in counts)
    assert found.latency_s == pytest.approx(sum([*schedule(c, design)][-1].end for c in counts))
    assert found.cycles_per_64_macs == (
        64 * sum(c.element_cycles for c in counts) / sum(c.macs for c in counts)
    )
    assert not found.elsewhere
    assert "cycles exactly, " in found.summary


def test_a_sampled_network_prints_its_interval() -> None:
    graph, design = small(30), array("fp32")
    inputs = example_inputs(graph)
    exact = run_network(graph, inputs, design, bits=False)
    found = run_network(graph, inputs, design, bits=False, exact_macs=0, error=0.03)
    layers = found.layers.values()
    assert found.half_width == math.sqrt(sum(x.half_width**2 for x in layers))
    assert 0 < found.relative_error < 0.03
    assert f"± {found.relative_error:.2%} (95 %; " in found.summary
    assert abs(found.array_cycles - exact.array_cycles) < 2 * found.half_width
    want = graph.evaluate(inputs)["y"]
    assert found.outputs["y"].tobytes() == want.tobytes()


def test_what_the_engine_does_not_run_is_named() -> None:
    node = Node(name="turned", op="ConvTranspose", inputs=("x", "w"), outputs=("y",))
    constants = {"w": ArrayConstant(np.ones((2, 3, 2, 2), F))}
    types = {"x": TensorType(dtype="float32", shape=(1, 2, 3, 3))}
    graph = Graph(name="one", nodes=(node,), inputs=("x",), outputs=("y",), types=types,
                  constants=constants).infer()  # fmt: skip
    found = run_network(graph, {"x": np.ones((1, 2, 3, 3), F)}, array("fp32"))
    assert found.elsewhere == {
        "turned": "operator ConvTranspose; the design runs Conv, Gemm, MatMul, "
        "orrery.training.ConvGradInput, orrery.training.ConvGradWeight only"
    }
    assert (found.array_cycles, found.relative_error, found.latency_s) == (0, 0, 0)
    assert math.isnan(found.cycles_per_64_macs)
    assert found.outputs["y"].shape == (1, 3, 4, 4)


@pytest.mark.shared_data
def test_trained_weights_on_a_real_image(shared_data: Path) -> None:
    """Binary32 follows NumPy to a few last bits; 8 bits keep the class; zeros save passes.

    Where the rectifier left a zero, exponent matching shifts the weight out whole: hence about
    20 cycles for 64 MACs, the number behind the published peak of 204.8 GOPs, though weights
    alone would take 39. Fixed point has no such shift.
    """
    folder = shared_data / "cifar10"
    graph = build_model("resnet20")
    graph = with_weights(graph, read_safetensors(folder / "resnet20.safetensors"), where="test")
    data = np.load(folder / "test2000.npz")["images"][:1] / 255
    data = (data - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    image = {graph.inputs[0]: np.ascontiguousarray(data.transpose(0, 3, 1, 2), F)}
    (name,) = graph.outputs
    want = graph.evaluate(image)[name]
    single = run_network(graph, image, array("fp32"), exact_macs=0, error=0.02)
    assert np.abs(single.outputs[name] - want).max() < 1e-4
    assert single.cycles_per_64_macs == pytest.approx(20.2, abs=0.3)
    assert single.macs == 40_551_040
    eight = run_network(graph, image, array("fixed8"))
    assert eight.outputs[name].argmax() == want.argmax()
    assert np.abs(eight.outputs[name] - want).max() > 1e-3
    assert eight.cycles_per_64_macs == pytest.approx(34.89, abs=0.01)
