"""A graph travels to another process and is the same there, bodies and constants included."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from orrery.graph import MODELS, ArrayConstant, Graph, Node, TensorType, build_model


@pytest.mark.parametrize("name", ["resnet18", "gpt2-124m", "siamese-lstm"])
def test_a_graph_of_the_library_travels(name: str) -> None:
    graph = build_model(name, **MODELS[name].small)
    again = pickle.loads(pickle.dumps(graph))
    assert again == graph
    assert again.digest == graph.digest
    assert dict(again.types) == dict(graph.types)
    assert dict(again.states) == dict(graph.states)


def test_bodies_travel() -> None:
    kind = TensorType(dtype="float32", shape=(2,))
    body = Graph(
        name="body", nodes=(Node(name="n", op="Identity", inputs=("c",), outputs=("o",)),),
        inputs=(), outputs=("o",), types={"o": kind, "c": kind},
        constants={"c": ArrayConstant(np.array([1, 2], np.float32))},
    )  # fmt: skip
    node = Node(name="if", op="If", inputs=("p",), outputs=("y",),
                attributes={"then_branch": body, "else_branch": body})  # fmt: skip
    graph = Graph(name="g", nodes=(node,), inputs=("p",), outputs=("y",),
                  types={"p": TensorType(dtype="bool", shape=())})  # fmt: skip
    again = pickle.loads(pickle.dumps(graph))
    assert again.digest == graph.digest
    assert np.array_equal(again.evaluate({"p": np.array(True)})["y"], [1, 2])
