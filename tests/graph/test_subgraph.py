"""A region alone computes what it computes in its network."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    Region,
    TensorType,
    graph_from_bytes,
    onnx_bytes,
    subgraph,
)

WEIGHT = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)


def network() -> Graph:
    """x -> a -> b -> c -> y, with a second path a -> d -> y and a state."""
    return Graph(
        name="net",
        nodes=(
            Node(name="a", op="MatMul", inputs=("x", "w"), outputs=("ta",)),
            Node(name="b", op="Relu", inputs=("ta",), outputs=("tb",)),
            Node(name="c", op="Add", inputs=("tb", "s"), outputs=("tc",)),
            Node(name="d", op="Neg", inputs=("ta",), outputs=("td",)),
            Node(name="e", op="Mul", inputs=("tc", "td"), outputs=("y",)),
            Node(name="f", op="Add", inputs=("s", "w"), outputs=("s_next",)),
        ),
        inputs=("x", "s"),
        outputs=("y", "s_next"),
        types=dict.fromkeys(("x", "s"), TensorType(dtype="float32", shape=(3, 3))),
        constants={"w": ArrayConstant(WEIGHT), "unused": ArrayConstant(WEIGHT)},
        states={"s": "s_next"},
        metadata={"who": "me"},
    ).infer()


def test_a_subgraph_has_the_border_of_its_region() -> None:
    graph = network()
    part = subgraph(Region(graph=graph, nodes=("a", "b"), label="front"))
    assert part.name == "net/front"
    assert (part.inputs, part.outputs) == (("x",), ("ta", "tb"))
    assert set(part.constants) == {"w"} and part.constants["w"] is graph.constants["w"]
    assert set(part.types) == {"x", "ta", "tb", "w"}
    assert part.states == {}


def test_a_state_inside_stays_a_state() -> None:
    assert subgraph(Region(graph=network(), nodes=("f",))).states == {"s": "s_next"}
    assert subgraph(Region(graph=network(), nodes=("c",))).states == {}


def test_the_whole_network_is_a_subgraph() -> None:
    graph = network()
    part = subgraph(Region(graph=graph, nodes=tuple(n.name for n in graph.nodes), label="all"))
    assert (set(part.inputs), set(part.outputs)) == (set(graph.inputs), set(graph.outputs))
    inputs = {n: np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
              for n in graph.inputs}  # fmt: skip
    for name, value in graph.evaluate(inputs).items():
        np.testing.assert_array_equal(part.evaluate(inputs)[name], value)
    assert graph_from_bytes(onnx_bytes(part), "again") == part


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_running_the_pieces_is_running_the_network(choice: list[int]) -> None:
    """Any cut into pieces in topological order, run one after the other, gives the same outputs."""
    graph = network()
    pieces: dict[int, list[str]] = {}
    level = 0
    for node, step in zip(graph.nodes, choice, strict=True):
        level += step > 1  # pieces are runs of consecutive nodes
        pieces.setdefault(level, []).append(node.name)
    rng = np.random.default_rng(0)
    inputs = {n: rng.standard_normal((3, 3)).astype(np.float32) for n in graph.inputs}
    values = dict(inputs)
    for names in pieces.values():
        part = subgraph(Region(graph=graph, nodes=tuple(names)))
        values |= part.evaluate({name: values[name] for name in part.inputs})
    for name, want in graph.evaluate(inputs).items():
        np.testing.assert_array_equal(values[name], want)
