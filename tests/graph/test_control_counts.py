"""Bodies within bodies are worked out once: what is counted, and how much work that is."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.graph import Graph, Node, TensorType
from orrery.graph import _infer as inference

ROW = TensorType(dtype="float32", shape=(4, 4))
TRUTH = TensorType(dtype="bool", shape=())


def _graph(name: str, *nodes: Node) -> Graph:
    types = {"c": TRUTH, "x": ROW}
    return Graph(name=name, nodes=nodes, inputs=("c", "x"), outputs=("y",), types=types)


def _leaf() -> Graph:
    return _graph("leaf", Node(name="mm", op="MatMul", inputs=("x", "x"), outputs=("y",)))


def _cheap() -> Graph:
    return _graph("cheap", Node(name="relu", op="Relu", inputs=("x",), outputs=("y",)))


def _nested(depth: int) -> Graph:
    """If in If …; the innermost then-branch multiplies, every else-branch only clips."""
    body = _leaf()
    for level in range(depth):
        branch = Node(
            name=f"if{level}",
            op="If",
            inputs=("c", "c", "x"),
            outputs=("y",),
            attributes={"then_branch": body, "else_branch": _cheap(), "captured": 2},
        )
        body = _graph(f"level{level}", branch)
    return body


@pytest.mark.parametrize("depth", [1, 3, 30])
def test_nested_branches_are_each_inferred_once(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    infer = inference.infer
    monkeypatch.setattr(inference, "infer", lambda graph: asked.append(graph.name) or infer(graph))
    graph = _nested(depth).infer()
    (node,) = graph.nodes
    # A 4×4 by 4×4 product is 64 MACs, however deep; clipping 16 elements is cheaper.
    assert (graph.operations(node).macs, graph.operations(node).others) == (64, 0)
    assert graph.macs_by_type(node) == {"float32": 64}
    assert len(asked) == 1 + 2 * depth  # the network, and two branches a level
    assert len(set(asked)) == depth + 2


def test_what_is_remembered_is_of_these_types_and_values() -> None:
    """One body under two shapes and two captured values: four answers, none mixed up."""
    body = Graph(
        name="repeat",
        nodes=(Node(name="e", op="Expand", inputs=("x", "shape"), outputs=("y",)),
               Node(name="r", op="Relu", inputs=("y",), outputs=("z",))),
        inputs=("shape", "x"), outputs=("z",),
        types={"shape": TensorType(dtype="int64", shape=(1,)),
               "x": TensorType(dtype="float32", shape=(1,))},
    )  # fmt: skip
    from orrery.graph import ArrayConstant

    for size in (3, 5, 3):
        node = Node(
            name="if",
            op="If",
            inputs=("c", "shape", "x"),
            outputs=("out",),
            attributes={"then_branch": body, "else_branch": body, "captured": 2},
        )
        graph = Graph(
            name="g", nodes=(node,), inputs=("c", "x"), outputs=("out",),
            types={"c": TRUTH, "x": TensorType(dtype="float32", shape=(1,))},
            constants={"shape": ArrayConstant(np.array([size]))},
        ).infer()  # fmt: skip
        assert graph.type("out").shape == (size,)
        assert graph.operations(node).others == size


def test_a_node_of_the_same_name_is_not_taken_for_another() -> None:
    graph = _graph("g", Node(name="n", op="Relu", inputs=("x",), outputs=("y",))).infer()
    assert graph.operations(graph.node("n")).macs == 0
    other = Node(name="n", op="MatMul", inputs=("x", "x"), outputs=("y",))
    assert graph.operations(other).macs == 64
