"""scikit-learn's digits, cut once, and a small network for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from orrery.accel.bitlet import draw_batches
from orrery.graph import ArrayConstant, Graph, Node, TensorType

#: Images of a batch, and to learn from; the others are to be tested.
BATCH, LEARNT = 32, 1437


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images [N, 1, 8, 8] from 0 to 1 with their labels."""

    images: Any
    labels: Any
    test_images: Any
    test_labels: Any

    def batches(self, epochs: int, seed: int) -> Iterator[dict[str, Any]]:
        """Return the batches of a run: the same for every format and for the judge."""
        data = {"x": self.images, "labels": self.labels}
        return draw_batches(data, BATCH, epochs=epochs, seed=seed)


def read_digits() -> Digits | None:
    """Return the data, or None where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # has no stubs
    except ModuleNotFoundError:
        return None
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    learn, test = order[:LEARNT], order[LEARNT:]
    return Digits(images=images[learn], labels=labels[learn],
                  test_images=images[test], test_labels=labels[test])  # fmt: skip


def small_network(batch: int, seed: int = 0) -> Graph:
    """Two convolutions of 8 and 16 filters, the second with a stride of 2, and a linear layer."""
    draw = np.random.default_rng(seed)
    shapes = {"w1": (8, 1, 3, 3), "w2": (16, 8, 3, 3), "w3": (10, 256)}
    held: dict[str, Any] = {}
    for name, shape in shapes.items():
        spread = math.sqrt(2 / math.prod(shape[1:]))
        held[name] = (spread * draw.standard_normal(shape)).astype(np.float32)
        held[f"b{name[1]}"] = np.zeros(shape[0], np.float32)
    pads = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node(name="c1", op="Conv", inputs=("x", "w1", "b1"), outputs=("h1",), attributes=pads),
        Node(name="r1", op="Relu", inputs=("h1",), outputs=("a1",)),
        Node(name="c2", op="Conv", inputs=("a1", "w2", "b2"), outputs=("h2",),
             attributes={**pads, "strides": (2, 2)}),
        Node(name="r2", op="Relu", inputs=("h2",), outputs=("a2",)),
        Node(name="flat", op="Flatten", inputs=("a2",), outputs=("f",)),
        Node(name="fc", op="Gemm", inputs=("f", "w3", "b3"), outputs=("y",),
             attributes={"transB": 1}),
    )  # fmt: skip
    types = {"x": TensorType(dtype="float32", shape=(batch, 1, 8, 8))}
    return Graph(name="digits", nodes=nodes, inputs=("x",), outputs=("y",), types=types,
                 constants={n: ArrayConstant(v) for n, v in held.items()}).infer()  # fmt: skip
