"""Networks altered by hand: what differs is counted, what is only written otherwise is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.graph import ArrayConstant, Graph
from orrery.graph.models import Builder
from orrery.runtime.binaries import SMALL_NETWORKS
from orrery.studies.dnd import likeness, weights_found


def lenet() -> Graph:
    return SMALL_NETWORKS["lenet"]()


def with_attributes(graph: Graph, name: str, **changes: object) -> Graph:
    nodes = tuple(
        replace(n, attributes={**n.attributes, **changes}) if n.name == name else n  # type: ignore[dict-item]
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes, types={x: graph.types[x] for x in graph.inputs}).infer()


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_network_is_all_of_itself(name: str) -> None:
    graph = SMALL_NETWORKS[name]()
    like = likeness(graph, graph)
    assert (like.operators, like.attributes) == (like.expected, like.attributed)
    assert like.distance == 0 and like.expected > 3
    found, wanted = weights_found(graph, graph)
    assert found == wanted > 100


def test_nothing_found_is_as_far_as_the_network_is_large() -> None:
    like = likeness(None, lenet())
    assert like.operators == like.attributes == 0
    # lenet is a chain of 10 operators, a reshape not counted: 11 connections with both ends
    assert (like.expected, like.distance) == (10, 21)
    assert weights_found(None, lenet())[0] == 0


def test_one_wrong_attribute_is_one_wrong_attribute() -> None:
    # dilated and padded by as much more: the output keeps its size
    right = lenet()
    wrong = with_attributes(right, "conv2", dilations=(2, 2), pads=(1, 1, 1, 1))
    assert wrong.type("conv2").sizes[2:] == right.type("conv2").sizes[2:]
    like = likeness(wrong, right)
    assert (like.operators, like.distance) == (like.expected, 0)
    assert like.attributes == like.attributed - 1


def test_a_missing_operator_costs_itself_and_its_connections() -> None:
    graph = lenet()
    relu = graph.node("relu3")
    nodes = tuple(
        replace(n, inputs=tuple(relu.inputs[0] if i == relu.outputs[0] else i for i in n.inputs))
        for n in graph.nodes if n.name != "relu3"
    )  # fmt: skip
    types = {x: graph.types[x] for x in graph.inputs}
    less = replace(graph, nodes=nodes, types=types).infer()
    like = likeness(less, graph)
    assert like.operators == like.expected - 1
    assert like.distance == 1 + 2 + 1  # it, two connections of it, one instead of them


def test_a_bias_apart_and_a_reshape_more_are_the_same_network() -> None:
    def written(*, apart: bool) -> Graph:
        b = Builder("dense")
        x, w, bias = b.input("x", 2, 6), b.weight("w", 6, 4), b.weight("b", 4)
        if not apart:
            return b.finish({"y": b.op("Gemm", x, w, bias, name="fc")})
        y = b.op("Add", b.op("MatMul", x, w, name="product"), bias, name="add")
        shape = b.constant(np.array([2, 2, 2], np.int64), "shape")
        return b.finish({"y": b.op("Reshape", y, shape, name="reshape")})

    like = likeness(written(apart=True), written(apart=False))
    assert (like.operators, like.expected, like.distance) == (1, 1, 0)


def test_a_weight_of_one_bit_more_is_not_found() -> None:
    graph = lenet()
    value = np.array(graph.constants["conv2.weight"].array())
    value.reshape(-1).view(np.uint32)[7] ^= 1
    other = replace(graph, constants={**graph.constants, "conv2.weight": ArrayConstant(value)})
    found, wanted = weights_found(other, graph)
    assert wanted - found == 1
