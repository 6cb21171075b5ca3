"""Training steps against PyTorch: optimisers over ten steps, a network with normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.graph import ArrayConstant, Graph, Node, TensorType, initial_states

from .test_training import advance, mlp

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("optimizer", "settings", "torch_name", "torch_settings"),
    [
        ("sgd", {"learning_rate": 0.1}, "SGD", {"lr": 0.1}),
        ("sgd", {"weight_decay": 0.05}, "SGD", {"lr": 0.01, "weight_decay": 0.05}),
        ("momentum", {"learning_rate": 0.05}, "SGD", {"lr": 0.05, "momentum": 0.9}),
        ("momentum", {"momentum": 0.5, "weight_decay": 0.1}, "SGD",
         {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}),
        ("adam", {}, "Adam", {"lr": 0.001}),
        ("adam", {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}, "Adam",
         {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    ],
)  # fmt: skip
def test_ten_steps_equal_torch_optim(
    optimizer: str, settings: dict[str, float], torch_name: str, torch_settings: dict[str, Any]
) -> None:
    import torch

    graph = mlp()
    step = graph.training(optimizer, **settings)
    values = initial_states(step, graph)
    rng = np.random.default_rng(5)
    weights = {n: torch.from_numpy(values[n].copy()).requires_grad_() for n in graph.constants}
    theirs = getattr(torch.optim, torch_name)(weights.values(), **torch_settings)
    for _ in range(10):
        x = rng.standard_normal((5, 10)).astype(np.float32)
        labels = rng.integers(0, 4, 5)
        values |= {"x": x, "labels": labels}
        ours = advance(step, values)
        hidden = torch.tanh(torch.from_numpy(x) @ weights["w1"].T + weights["b1"])
        logits = hidden @ weights["w2"] + weights["b2"]
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        np.testing.assert_allclose(ours, loss.item(), rtol=1e-5)
    for name, weight in weights.items():
        np.testing.assert_allclose(values[name], weight.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_convolutional_network_with_batch_normalisation() -> None:
    """Conv, batch norm, ReLU, a residual, pooling and a classifier, five steps in float64."""
    import torch
    from torch.nn import functional as f

    rng = np.random.default_rng(8)
    shapes = {"k1": (4, 3, 3, 3), "k2": (4, 4, 3, 3), "g": (4,), "b": (4,), "w": (4, 6), "c": (6,)}
    start = {name: rng.standard_normal(shape) * 0.4 for name, shape in shapes.items()}
    start["g"] += 1
    statistics = {"mean": np.zeros(4), "var": np.ones(4)}
    same = {"pads": (1, 1, 1, 1), "kernel_shape": (3, 3)}

    def node(op: str, inputs: str, output: str, **attributes: Any) -> Node:
        return Node(name=output, op=op, inputs=tuple(inputs.split()), outputs=(output,),
                    attributes=attributes)  # fmt: skip

    graph = Graph(
        name="small", inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float64", shape=(3, 3, 8, 8))},
        constants={n: ArrayConstant(v) for n, v in {**start, **statistics}.items()},
        nodes=(
            node("Conv", "x k1", "a", **same, strides=(2, 2)),
            node("BatchNormalization", "a g b mean var", "n"),
            node("Relu", "n", "r"), node("Conv", "r k2", "s", **same), node("Add", "r s", "t"),
            node("MaxPool", "t", "p", kernel_shape=(2, 2), strides=(2, 2)),
            node("GlobalAveragePool", "p", "q"), node("Flatten", "q", "v"),
            node("Gemm", "v w c", "y"),
        ),
    ).infer()  # fmt: skip
    step = graph.training("momentum", learning_rate=0.1)
    values = initial_states(step, graph)
    weights = {n: torch.from_numpy(v.copy()).requires_grad_() for n, v in start.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=0.1, momentum=0.9)
    moving, spread = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    for _ in range(5):
        x, labels = rng.standard_normal((3, 3, 8, 8)), rng.integers(0, 6, 3)
        values |= {"x": x, "labels": labels}
        ours = advance(step, values)
        k = weights
        h = f.conv2d(torch.from_numpy(x), k["k1"], None, 2, 1)
        h = torch.relu(f.batch_norm(h, moving, spread, k["g"], k["b"], training=True))
        h = f.max_pool2d(h + f.conv2d(h, k["k2"], None, 1, 1), 2)
        loss = f.cross_entropy(h.mean((2, 3)) @ k["w"] + k["c"], torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(ours, loss.item(), rtol=1e-9)
    for name, weight in weights.items():
        np.testing.assert_allclose(values[name], weight.detach().numpy(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(values["mean"], moving.numpy(), rtol=1e-8)
