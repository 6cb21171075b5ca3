"""scikit-learn's digits, cut once, and two small networks for them; imported by tests."""

from __future__ import annotations

from functools import cache

import numpy as np

from orrery.graph import ArrayConstant, Graph, Node, TensorType

F = np.float32


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images [N, 1, 8, 8] from 0 to 1 and labels: 1437 to learn from, 360 to be tested."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images / 16).astype(F)[:, None]
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    learn, test = order[:1437], order[1437:]
    return images[learn], labels[learn], images[test], labels[test]


def network(batch: int, nodes: list[Node], constants: dict[str, np.ndarray]) -> Graph:
    return Graph(
        name="digits", nodes=tuple(nodes), inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(batch, 1, 8, 8))},
        constants={name: ArrayConstant(value) for name, value in constants.items()},
    ).infer()  # fmt: skip


def conv_net(batch: int, seed: int = 0) -> Graph:
    """Two convolutions, the second with a stride of 2, and a linear layer."""
    draw = np.random.default_rng(seed)
    shapes = {"w1": (8, 1, 3, 3), "w2": (16, 8, 3, 3), "w3": (10, 256)}
    held = {k: (draw.standard_normal(s) * np.sqrt(2 / np.prod(s[1:]))).astype(F)
            for k, s in shapes.items()}  # fmt: skip
    held |= {f"b{k[1]}": np.zeros(s[0], F) for k, s in shapes.items()}
    pads = {"pads": (1, 1, 1, 1)}
    return network(batch, [
        Node(name="c1", op="Conv", inputs=("x", "w1", "b1"), outputs=("h1",), attributes=pads),
        Node(name="r1", op="Relu", inputs=("h1",), outputs=("a1",)),
        Node(name="c2", op="Conv", inputs=("a1", "w2", "b2"), outputs=("h2",),
             attributes={**pads, "strides": (2, 2)}),
        Node(name="r2", op="Relu", inputs=("h2",), outputs=("a2",)),
        Node(name="flat", op="Flatten", inputs=("a2",), outputs=("f",)),
        Node(name="fc", op="Gemm", inputs=("f", "w3", "b3"), outputs=("y",),
             attributes={"transB": 1}),
    ], held)  # fmt: skip


def perceptron(batch: int, seed: int = 0, hidden: int = 32) -> Graph:
    """Two linear layers, one a MatMul with the weights first in neither."""
    draw = np.random.default_rng(seed)
    held = {
        "w1": (draw.standard_normal((64, hidden)) * np.sqrt(2 / 64)).astype(F),
        "b1": np.zeros(hidden, F),
        "w2": (draw.standard_normal((hidden, 10)) * np.sqrt(2 / hidden)).astype(F),
        "b2": np.zeros(10, F),
    }
    return network(batch, [
        Node(name="flat", op="Flatten", inputs=("x",), outputs=("f",)),
        Node(name="m1", op="MatMul", inputs=("f", "w1"), outputs=("p",)),
        Node(name="add", op="Add", inputs=("p", "b1"), outputs=("h",)),
        Node(name="relu", op="Relu", inputs=("h",), outputs=("a",)),
        Node(name="fc", op="Gemm", inputs=("a", "w2", "b2"), outputs=("y",)),
    ], held)  # fmt: skip
