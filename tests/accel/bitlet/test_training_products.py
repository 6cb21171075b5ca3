"""Products of a training step: gradients as products, and which of them reach the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.accel._products import filled_share, matrices, read_layer, require_layer
from orrery.accel.bitlet import (
    BitletArray,
    BitletCost,
    BitletFunction,
    BitletTrainer,
    Engine,
    bitlet,
    bitlet_tolerance,
    count_layer,
    number_format,
)
from orrery.accel.bitlet._format import FixedFormat
from orrery.accel.bitlet.training import operands, training_products
from orrery.errors import SpecError
from orrery.graph import (
    TRAINING_DOMAIN,
    ArrayConstant,
    Graph,
    Node,
    Region,
    TensorType,
    build_model,
    evaluate_node,
    initial_states,
)

from .digits import conv_net, perceptron

F = np.float32


def array(precision: str, **more: Any) -> BitletArray:
    return BitletArray(engine=Engine(format=number_format(precision)), **more)


# -- gradients as products ------------------------------------------------------------------------


def gradient_region(
    op: str, shapes: list[tuple[int, ...]], held: Any = None, **more: Any
) -> Region:
    """A gradient of a convolution: operands a and b, the third shape that of the result."""
    constants: dict[str, Any] = {"s": ArrayConstant(np.array(shapes[2], np.int64))}
    types = {n: TensorType(dtype="float32", shape=s) for n, s in zip("ab", shapes)}
    if held is not None:
        constants["b"] = ArrayConstant(held)
        del types["b"]
    names = ("a", "b", "s") if op == "ConvGradInput" else ("a", "b")
    node = Node(name="p", op=op, domain=TRAINING_DOMAIN, inputs=names, outputs=("y",),
                attributes=more)  # fmt: skip
    return Graph(name="one", nodes=(node,), inputs=tuple(types), outputs=("y",), types=types,
                 constants={n: c for n, c in constants.items() if n in names},
                 ).infer().regions()[0]  # fmt: skip


@st.composite
def geometries(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], dict[str, Any]]:
    """Image, filters and output of a convolution, with its attributes."""
    rank, group = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    axes = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, strides = draw(axes), draw(axes)
    dilations = draw(st.tuples(*[st.integers(1, 2)] * rank))
    pads = draw(st.tuples(*[st.integers(0, 2)] * (2 * rank)))
    image = draw(st.tuples(*[st.integers(1, 6)] * rank))
    out = tuple((x + pads[i] + pads[rank + i] - (k - 1) * d - 1) // s + 1 for i, (x, k, d, s)
                in enumerate(zip(image, kernel, dilations, strides)))  # fmt: skip
    assume(min(out) > 0)
    batch, channels, filters = (draw(st.integers(1, 2)) for _ in range(3))
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations,
                  "pads": pads, "group": group}  # fmt: skip
    shapes = [(batch, group * channels, *image), (group * filters, channels, *kernel),
              (batch, group * filters, *out)]  # fmt: skip
    return shapes, attributes


def both(case: tuple[list[tuple[int, ...]], dict[str, Any]]) -> Iterator[Region]:
    (image, filters, out), attributes = case
    yield gradient_region("ConvGradInput", [out, filters, image], **attributes)
    yield gradient_region("ConvGradWeight", [image, out, filters], **attributes)


@settings(max_examples=15, deadline=None)
@given(case=geometries(), seed=st.integers(0, 99))
def test_gradients_of_any_convolution_stay_in_the_bound(case: Any, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for region in both(case):
        inputs = {n: draw.standard_normal(region.graph.type(n).sizes).astype(F) for n in "ab"}
        (want,) = evaluate_node(region.graph, region.members[0], inputs).values()
        for weights in (None, 0, 1):
            layer = read_layer(region, weights)
            if isinstance(layer, str):  # the one reason that a whole gradient may have
                assert "no window meets a pixel" in layer
                assert not want.any()
                continue
            for precision in ("fp32", "bf16", "fixed16"):
                engine = Engine(format=number_format(precision))
                got = BitletFunction(engine=engine, weights=weights)(region, inputs)["y"]
                bound = bitlet_tolerance(engine, weights).bound
                assert bound is not None
                allowed = bound(region, inputs)["y"]
                assert got.shape == want.shape
                assert np.all(np.abs(got - want) <= allowed), (weights, precision)


def test_the_bound_of_gradients_is_not_vain() -> None:
    """Binary32 gradients are good to a few parts in a million of the sum of magnitudes."""
    case = ([(4, 6, 9, 9), (5, 6, 3, 3), (4, 5, 5, 5)],
            {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)})  # fmt: skip
    draw = np.random.default_rng(0)
    for region in both(case):
        inputs = {n: draw.standard_normal(region.graph.type(n).sizes).astype(F) for n in "ab"}
        positive = {n: np.abs(v) for n, v in inputs.items()}
        (terms,) = evaluate_node(region.graph, region.members[0], positive).values()
        for weights in (0, 1):
            bound = bitlet_tolerance(Engine(format=number_format("fp32")), weights).bound
            assert bound is not None
            assert np.all(bound(region, inputs)["y"] <= 1e-4 * terms)


def test_gradients_have_the_bits_of_the_matrix_product_that_they_are() -> None:
    """A 1×1 convolution's two gradients are matrix products over channels and over pixels."""
    draw = np.random.default_rng(1)
    x, dy = (draw.standard_normal((1, c, 3, 5)).astype(F) for c in (4, 6))
    w = draw.standard_normal((6, 4, 1, 1)).astype(F)
    engine = Engine(format=number_format("fp32"), group=4)
    back = gradient_region("ConvGradInput", [dy.shape, w.shape, x.shape], kernel_shape=(1, 1))
    weight = gradient_region("ConvGradWeight", [x.shape, dy.shape, w.shape], kernel_shape=(1, 1))
    rows, columns = dy.reshape(6, -1), x.reshape(4, -1)
    for region, given_, role, left, right, kept in (
        (back, {"a": dy, "b": w}, 1, rows.T, w.reshape(6, 4), 1),
        (back, {"a": dy, "b": w}, 0, rows.T, w.reshape(6, 4), 0),
        (weight, {"a": x, "b": dy}, 1, columns, rows.T, 1),
        (weight, {"a": x, "b": dy}, 0, columns, rows.T, 0),
    ):
        node = Node(name="p", op="Gemm", inputs=("a", "b"), outputs=("y",))
        types = {n: TensorType(dtype="float32", shape=v.shape) for n, v in
                 (("a", left), ("b", right))}  # fmt: skip
        gemm = Graph(name="one", nodes=(node,), inputs=("a", "b"), outputs=("y",),
                     types=types).infer().regions()[0]  # fmt: skip
        got = BitletFunction(engine=engine, weights=role)(region, given_)["y"]
        want = BitletFunction(engine=engine, weights=kept)(gemm, {"a": left, "b": right})["y"]
        flat = got.reshape(4, -1).T if region is back else got.reshape(6, 4).T
        assert np.ascontiguousarray(flat).tobytes() == np.ascontiguousarray(want).tobytes()


def test_the_share_that_is_filled_is_counted() -> None:
    """A pixel's terms that padding fills, found by sending ones through."""
    case = ([(1, 1, 5, 4), (1, 1, 3, 2), (1, 1, 3, 2)],
            {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 0)})  # fmt: skip
    for region in both(case):
        layer = require_layer(region)
        inputs = {n: np.ones(region.graph.type(n).sizes, F) for n in "ab"}
        held = matrices(region, inputs, layer)
        places = np.arange(layer.positions)
        gathered = [held.take(b, places) for b in range(layer.batches)]
        assert filled_share(region) == pytest.approx(np.mean(gathered))


def test_the_cost_of_gradients_is_near_the_count() -> None:
    draw = np.random.default_rng(2)
    w = draw.standard_normal((32, 16, 3, 3)).astype(F)
    region = gradient_region("ConvGradInput", [(1, 32, 4, 4), w.shape, (1, 16, 8, 8)], w,
                             kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))  # fmt: skip
    inputs = {"a": draw.standard_normal((1, 32, 4, 4)).astype(F)}
    for precision in ("fixed8", "fixed16"):
        counted = count_layer(region, inputs, array(precision))
        expected = BitletCost(name="bitlet", array=array(precision)).expected(region)
        # One share of zeros a place stands for rows of four, two and one taps.
        assert expected.element_cycles == pytest.approx(counted.element_cycles, rel=0.15)


@pytest.mark.parametrize("weights", [-1, 2])
def test_a_part_that_is_none_is_refused(weights: int) -> None:
    region = conv_net(1).regions()[0]
    with pytest.raises(SpecError, match="wanted input 0 or 1"):
        read_layer(region, weights)


# -- which products there are ---------------------------------------------------------------------


def test_all_products_of_a_step_reach_the_engine() -> None:
    """Three products a layer, but no input gradient for the first."""
    for graph, layers in ((conv_net(4), 3), (perceptron(4), 2), (build_model("resnet20"), 20)):
        found, elsewhere = training_products(graph.training())
        assert not elsewhere
        phases = [product.phase for product in found.values()]
        assert phases.count("forward") == layers
        assert phases.count("weight gradient") == layers
        assert phases.count("input gradient") == layers - 1
        for product in found.values():
            learned = "weights" in product.parts
            assert learned == (product.phase != "weight gradient")
            assert ("errors" in product.parts) == (product.phase != "forward")


def test_a_training_step_is_priced_on_the_device() -> None:
    design = bitlet("fixed8")
    step = build_model("resnet20").training()
    for product in training_products(step)[0].values():
        region = product.region
        assert design.cost.refuses(region, design.device) is None
        assert region.operators <= set(design.device.operators or ())
        found = design.cost.cost(region, design.device)
        assert found.macs_performed is not None and found.macs_nominal is not None
        assert found.macs_performed >= found.macs_nominal


def test_lost_errors_are_counted() -> None:
    """fixed2 has one step each way: errors below half of the largest are lost."""
    step = perceptron(4).training()
    product = training_products(step)[0]["fc.grad.Gemm_1"]
    values = {n: np.ones(step.type(n).sizes, F) for n in product.node.inputs}
    error = np.zeros((4, 10), F)
    error[0], error[1, 0], error[2, 0] = 1.0, 0.6, 0.4
    values[product.node.inputs[product.error or 0]] = error
    found = operands(product, values, FixedFormat(bits=2), 1 - (product.error or 0))
    assert (found.errors, found.lost) == (12, 1)


def attention() -> Graph:
    """softmax(x Wq (x Wk)ᵀ) (x Wv): two products of data in the forward pass."""
    draw = np.random.default_rng(3)
    held = {n: draw.standard_normal((6, 6)).astype(F) for n in ("wq", "wk", "wv")}
    nodes = [Node(name=n, op="MatMul", inputs=("x", f"w{n}"), outputs=(n,)) for n in "qkv"]
    nodes += [
        Node(name="t", op="Transpose", inputs=("k",), outputs=("kt",),
             attributes={"perm": (0, 2, 1)}),
        Node(name="score", op="MatMul", inputs=("q", "kt"), outputs=("s",)),
        Node(name="soft", op="Softmax", inputs=("s",), outputs=("p",)),
        Node(name="mix", op="MatMul", inputs=("p", "v"), outputs=("y",)),
    ]  # fmt: skip
    return Graph(name="attention", nodes=tuple(nodes), inputs=("x",), outputs=("y",),
                 types={"x": TensorType(dtype="float32", shape=(2, 4, 6))},
                 constants={n: ArrayConstant(v) for n, v in held.items()}).infer()  # fmt: skip


def test_products_of_data_are_input_gradients() -> None:
    """Their errors go on to the weights before them; only what ends at the update is a weight's."""
    found, elsewhere = training_products(attention().training())
    assert not elsewhere
    phases = [product.phase for product in found.values()]
    assert [phases.count(p) for p in ("forward", "input gradient", "weight gradient")] == [5, 4, 3]
    draw = np.random.default_rng(0)
    batch = {"x": draw.standard_normal((2, 4, 6)).astype(F), "target": np.zeros((2, 4, 6), F)}
    trainer = BitletTrainer(graph=attention(), array=array("fp32"), loss="mean_square")
    (step,) = trainer.steps([batch])
    want = attention().training(loss="mean_square")
    after = want.evaluate({**batch, **initial_states(want, attention())})
    for name, new in want.states.items():
        assert np.abs(step.states[name] - after[new]).max() < 1e-6


def test_a_weight_that_stands_first_is_distilled_too() -> None:
    """In a training step weights are no constants, yet they are the weights."""
    node = Node(name="m", op="MatMul", inputs=("w", "x"), outputs=("y",))
    graph = Graph(name="first", nodes=(node,), inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="float32", shape=(2, 5, 3))},
                  constants={"w": ArrayConstant(np.ones((4, 5), F))}).infer()  # fmt: skip
    found, _ = training_products(graph.training(loss="mean_square"))
    assert found["m"].choices == (0,)
    assert found["m"].parts == ("weights", "activations")
