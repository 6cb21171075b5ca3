"""Small graphs with branches, from operators whose reference is judged elsewhere."""

from __future__ import annotations

import numpy as np

from orrery.graph import ArrayConstant, Graph, Node, TensorType


def diamond(name: str = "diamond", size: int = 6) -> Graph:
    """relu → (matmul, sigmoid) → add → output; a second output taken on the way."""
    weights = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    nodes = (
        Node(name="relu", op="Relu", inputs=("x",), outputs=("a",)),
        Node(name="matmul", op="MatMul", inputs=("a", "w"), outputs=("b",)),
        Node(name="sigmoid", op="Sigmoid", inputs=("a",), outputs=("c",)),
        Node(name="add", op="Add", inputs=("b", "c"), outputs=("d",)),
        Node(name="scale", op="Mul", inputs=("d", "x"), outputs=("e",)),
    )
    return Graph(
        name=name, nodes=nodes, inputs=("x",), outputs=("e", "c"),
        types={"x": TensorType(dtype="float32", shape=(3, size))},
        constants={"w": ArrayConstant(weights)},
    ).infer()  # fmt: skip


def ladder(choices: list[tuple[int, int]]) -> Graph:
    """Each pair names two earlier tensors that the next node adds; every end is an output."""
    tensors, nodes, read = ["x"], [], set()
    for index, (left, right) in enumerate(choices):
        pair = (tensors[left % len(tensors)], tensors[right % len(tensors)])
        read |= set(pair)
        nodes.append(Node(name=f"n{index}", op="Add", inputs=pair, outputs=(f"t{index}",)))
        tensors.append(f"t{index}")
    ends = tuple(t for t in tensors[1:] if t not in read)
    return Graph(name="ladder", nodes=tuple(nodes), inputs=("x",), outputs=ends,
                 types={"x": TensorType(dtype="float32", shape=(4,))}).infer()  # fmt: skip


def image(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {n: random.standard_normal(graph.type(n).sizes).astype(np.float32) for n in graph.inputs}
