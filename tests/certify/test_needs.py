"""What an operator is said to need holds everything that makes a difference to its result."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.certify._needs import operand_needs, summed_loops
from orrery.certify._reshape import reshaped
from orrery.cost import Refusal, shard, strategies
from orrery.graph import ArrayConstant, Graph, Node, TensorType, evaluate_node
from tests.cost.training_layers import EXACT, FLOATS
from tests.mapping.random_graphs import residual_graph

F32 = "float32"
LAYERS: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any], Mapping[str, Any]]] = {
    "Conv": ({"x": (1, 4, 6, 5), "w": (4, 4, 3, 2), "b": (4,)}, {},
             {"pads": [1, 0, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    "Conv groups": ({"x": (1, 6, 5, 5), "w": (6, 2, 3, 3)}, {}, {"group": 3}),
    "Conv same": ({"x": (1, 2, 6, 6), "w": (2, 2, 3, 3)}, {},
                  {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "MaxPool": ({"x": (1, 3, 7, 6)}, {}, {"kernel_shape": [3, 2], "strides": [2, 1],
                                          "pads": [1, 0, 1, 0]}),
    "AveragePool": ({"x": (1, 3, 6, 6)}, {}, {"kernel_shape": [2, 2]}),
    "GlobalAveragePool": ({"x": (1, 3, 4, 4)}, {}, {}),
    "MatMul": ({"a": (2, 1, 3, 4), "b": (5, 4, 2)}, {}, {}),
    "Gemm": ({"a": (4, 3), "b": (5, 4), "c": (5,)}, {}, {"transA": 1, "transB": 1}),
    "Add": ({"a": (2, 1, 4), "b": (3, 1)}, {}, {}),
    "Where": ({"c": (3, 4), "a": (4,), "b": (3, 1)}, {}, {}),
    "Softmax": ({"x": (3, 4, 5)}, {}, {"axis": 1}),
    "LayerNormalization": ({"x": (3, 4, 5), "s": (4, 5), "b": (5,)}, {}, {"axis": 1}),
    "BatchNormalization": ({"x": (2, 3, 4), "s": (3,), "b": (3,), "m": (3,), "v": (3,)}, {}, {}),
    "InstanceNormalization": ({"x": (2, 3, 4), "s": (3,), "b": (3,)}, {}, {}),
    "LRN": ({"x": (1, 6, 2, 2)}, {}, {"size": 3}),
    "ReduceSum": ({"x": (3, 4, 2)}, {"axes": [1]}, {"keepdims": 0}),
    "ReduceMax": ({"x": (3, 4, 2)}, {"axes": [-1]}, {}),
    "Concat": ({"a": (2, 3), "b": (2, 1), "c": (2, 2)}, {}, {"axis": 1}),
    "Transpose": ({"x": (2, 3, 4)}, {}, {"perm": [2, 0, 1]}),
    "Reshape": ({"x": (2, 6, 4)}, {"shape": [2, 24]}, {}),
    "Flatten": ({"x": (2, 3, 4)}, {}, {}),
    "Attention": ({"q": (1, 4, 3, 2), "k": (1, 2, 5, 2), "v": (1, 2, 5, 2), "m": (3, 5)}, {}, {}),
    "orrery.training.ConvGradWeight": (
        {"x": (2, 4, 6, 5), "g": (2, 4, 3, 4)}, {},
        {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    "orrery.training.ConvGradWeight groups": (
        {"x": (2, 6, 5, 5), "g": (2, 9, 3, 3)}, {}, {"kernel_shape": [3, 3], "group": 3}),
    "orrery.training.ConvGradInput": (
        {"g": (2, 4, 3, 4), "w": (4, 4, 3, 2)}, {"shape": [2, 4, 6, 5]},
        {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    "orrery.training.ConvGradInput groups": (
        {"g": (2, 9, 3, 3), "w": (9, 2, 3, 3)}, {"shape": [2, 6, 5, 5]},
        {"kernel_shape": [3, 3], "group": 3}),
    "orrery.training.MaxPoolGrad": ({"g": (2, 3, 3, 3), "x": (2, 3, 6, 6)}, {},
                                    {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "orrery.training.AveragePoolGrad": ({"g": (2, 3, 3, 3)}, {"shape": [2, 3, 6, 6]},
                                        {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "BatchNormalization training": (
        {"x": (2, 3, 4), "s": (3,), "b": (3,), "m": (3,), "v": (3,)}, {}, {"training_mode": 1}),
    "SoftmaxCrossEntropyLoss": ({"x": (3, 4, 2)}, {"labels": [[0, 3], [1, 2], [2, 0]]},
                                {"reduction": "none"}),
    "Expand": ({"x": (3, 1, 4)}, {"shape": [2, 3, 5, 4]}, {}),
    "Gather": ({"x": (3, 6, 4)}, {"at": [[0, 5], [2, -1], [3, 3]]}, {"axis": 1}),
    "Gather scalar": ({"x": (3, 6, 4)}, {"at": -2}, {"axis": 1}),
    "OneHot": ({}, {"at": [[0, 3], [1, 2]], "depth": 4, "values": [0, 1]}, {"axis": 1}),
    "ScatterND": ({"x": (6, 4), "u": (2, 3, 4)}, {"at": [[[0], [1], [2]], [[0], [4], [5]]]},
                  {"reduction": "add"}),
    "Split": ({"x": (4, 6)}, {"sizes": [2, 4]}, {"axis": 1}),
    "Slice": ({"x": (4, 6, 3)}, {"starts": [1], "ends": [-1], "axes": [-2]}, {}),
    "Pad": ({"x": (4, 6, 3)}, {"pads": [0, 1, 0, 0, 2, 0]}, {}),
}  # fmt: skip
#: in the order of the node's inputs, where constants are not the last ones
ORDER = {"ScatterND": ("x", "at", "u")}
OUTPUTS = {"BatchNormalization training": 3, "Split": 2}


def layer(name: str) -> Graph:
    inputs, constants, attributes = LAYERS[name]
    domain, _, op = name.split()[0].rpartition(".")
    types = {n: TensorType(dtype="bool" if (op, n) == ("Where", "c") else F32, shape=shape)
             for n, shape in inputs.items()}  # fmt: skip
    held = {n: ArrayConstant(np.array(v, np.int64)) for n, v in constants.items()}
    outputs = ("y", "y1", "y2")[: OUTPUTS.get(name, 1)]
    node = Node(name="n", op=op, domain=domain, inputs=ORDER.get(name, (*inputs, *held)),
                outputs=outputs, attributes=attributes)  # fmt: skip
    types |= {n: constant.type for n, constant in held.items()}
    return Graph(name="layer", nodes=(node,), inputs=tuple(inputs), outputs=outputs,
                 types=types, constants=held).infer()  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_needed_makes_no_difference(name: str) -> None:
    graph, rng = layer(name), np.random.default_rng(0)
    node = graph.nodes[0]
    values = [
        graph.constants[t].array() if t in graph.constants
        else (rng.random(graph.type(t).sizes) > 0.5 if graph.type(t).dtype == "bool"
              else rng.random(graph.type(t).sizes, np.float32) + 0.5)
        for t in node.inputs
    ]  # fmt: skip
    before = evaluate_node(graph, node, dict(zip(node.inputs, values)))["y"]
    sizes = before.shape
    for axis, size in enumerate(sizes):
        for start, stop in itertools.combinations(sorted({0, 1, size // 2, size}), 2):
            box = tuple((start, stop) if i == axis else (0, n) for i, n in enumerate(sizes))
            needs = operand_needs(graph, node, {0: box}, {})
            other = []
            for tensor, value, need in zip(node.inputs, values, needs):
                if tensor in graph.constants:
                    other.append(value)
                    continue
                changed = ~value if value.dtype == bool else value * 3 + 1
                if need is not None:
                    place = tuple(slice(a, b) for a, b in need)
                    changed[place] = value[place]
                other.append(changed)
            after = evaluate_node(graph, node, dict(zip(node.inputs, other)))["y"]
            place = tuple(slice(a, b) for a, b in box)
            np.testing.assert_allclose(after[place], before[place], rtol=1e-6, err_msg=str(box))


@pytest.mark.parametrize("name", [n for n in LAYERS if summed_loops(layer(n), layer(n).nodes[0])])
def test_sums_in_parts_read_what_the_shards_of_the_algebra_read(name: str) -> None:
    """Two derivations of the same thing: ours asks for no more than the algebra's shards have."""
    region = layer(name).regions()[0]
    node, seen = region.members[0], 0
    loops = summed_loops(region.graph, node)
    found = strategies(region, 2)
    assert not isinstance(found, Refusal)
    for strategy in found:
        sharding = shard(region, strategy, 2)
        assert not isinstance(sharding, Refusal)
        for part in itertools.chain(*sharding.shards):
            partial = {n: part.spans[n] for n in loops if part.spans[n] != (0, loops[n])}
            seen += bool(partial)
            needs = operand_needs(region.graph, node, {0: part.results[0].spans}, partial)
            for operand, box in zip(sharding.nest.operands, part.operands):
                need = needs[operand.index]
                if need is None or any(a >= b for a, b in need):
                    continue
                assert box is not None
                for (a, b), (c, d) in zip(box.spans, need, strict=True):
                    assert a <= c and d <= b, (strategy, operand.tensor, box, need)
    assert seen


@pytest.mark.parametrize("name", EXACT | FLOATS)
def test_shards_of_training_steps_have_what_is_needed_and_split_something(name: str) -> None:
    region = (EXACT | FLOATS)[name]
    node, graph = region.members[0], region.graph
    loops, saved = summed_loops(graph, node), False
    found = strategies(region, 2)
    assert not isinstance(found, Refusal)
    for strategy in found:
        sharding = shard(region, strategy, 2)
        assert not isinstance(sharding, Refusal)
        for part in itertools.chain(*sharding.shards):
            partial = {n: part.spans[n] for n in loops if part.spans[n] != (0, loops[n])}
            written = {result.index: box.spans
                       for result, box in zip(sharding.nest.results, part.results)}  # fmt: skip
            needs = operand_needs(graph, node, written, partial)
            for operand, box in zip(sharding.nest.operands, part.operands, strict=True):
                need = needs[operand.index]
                assert box is not None
                if need is None or any(a >= b for a, b in need):
                    continue
                for (a, b), (c, d) in zip(box.spans, need, strict=True):
                    assert a <= c and d <= b, (strategy, operand.tensor, box, need)
                saved |= need != tuple((0, n) for n in graph.type(operand.tensor).sizes)
    assert saved


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(), st.data())
def test_reshaped_parts_hold_their_elements(
    sizes: list[int], rng: Any, data: st.DataObject
) -> None:
    numbered = np.arange(int(np.prod(sizes))).reshape(sizes)
    out, rest = [], numbered.size
    while rest > 1:
        out.append(rng.choice([d for d in range(2, rest + 1) if rest % d == 0]))
        rest //= out[-1]
    box = []
    for size in out:
        start = data.draw(st.integers(0, size - 1))
        box.append((start, data.draw(st.integers(start + 1, size))))
    wanted = set(numbered.reshape(out)[tuple(slice(a, b) for a, b in box)].ravel().tolist())
    found = reshaped(sizes, out, tuple(box))
    assert wanted <= set(numbered[tuple(slice(a, b) for a, b in found)].ravel().tolist())


def test_every_operator_of_the_random_networks_is_known() -> None:
    graph = residual_graph(4)
    for node in graph.nodes:
        sizes = graph.type(node.outputs[0]).sizes
        part = tuple((0, max(1, n // 2)) for n in sizes)
        needs = operand_needs(graph, node, {0: part}, {})
        assert needs != [tuple((0, n) for n in graph.type(t).sizes) for t in node.inputs]
