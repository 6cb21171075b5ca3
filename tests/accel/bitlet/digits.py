"""The study's digits and its network, and a second one without convolutions; for tests."""

from __future__ import annotations

from functools import cache

import numpy as np

from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.studies.bitlet._digits import read_digits
from orrery.studies.bitlet._digits import small_network as conv_net

__all__ = ["conv_net", "digits", "perceptron"]

F = np.float32


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images [N, 1, 8, 8] from 0 to 1 and labels: 1437 to learn from, 360 to be tested."""
    data = read_digits()
    assert data is not None, "scikit-learn is not installed"
    return data.images, data.labels, data.test_images, data.test_labels


def perceptron(batch: int, seed: int = 0, hidden: int = 32) -> Graph:
    """Two linear layers, one a MatMul with the weights first in neither."""
    draw = np.random.default_rng(seed)
    held = {
        "w1": (draw.standard_normal((64, hidden)) * np.sqrt(2 / 64)).astype(F),
        "b1": np.zeros(hidden, F),
        "w2": (draw.standard_normal((hidden, 10)) * np.sqrt(2 / hidden)).astype(F),
        "b2": np.zeros(10, F),
    }
    nodes = (
        Node(name="flat", op="Flatten", inputs=("x",), outputs=("f",)),
        Node(name="m1", op="MatMul", inputs=("f", "w1"), outputs=("p",)),
        Node(name="add", op="Add", inputs=("p", "b1"), outputs=("h",)),
        Node(name="relu", op="Relu", inputs=("h",), outputs=("a",)),
        Node(name="fc", op="Gemm", inputs=("a", "w2", "b2"), outputs=("y",)),
    )
    return Graph(
        name="digits", nodes=nodes, inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(batch, 1, 8, 8))},
        constants={name: ArrayConstant(value) for name, value in held.items()},
    ).infer()  # fmt: skip
