"""Two graphs are told apart where they differ, and taken as one where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.decompile.topology import differences
from orrery.graph import Graph, build_model

from ..matching.kernels import network

DRAW = np.random.default_rng(1)
W = DRAW.standard_normal((4, 2, 3, 3)).astype(np.float32)
B = DRAW.standard_normal(4).astype(np.float32)


def graph(**changes: Any) -> Graph:
    """Return a small network, altered in one place."""
    weights = changes.get("weights", W)
    given = {"pads": (1, 1, 1, 1), "strides": (1, 1), **changes.get("conv", {})}
    nodes: list[Any] = [
        ("Conv", ["x", "w", "b"], "c", given),
        (changes.get("act", "Relu"), ["c"], "r", {}),
        ("MaxPool", ["r"], "p", {"kernel_shape": changes.get("window", (2, 2)), "strides": (2, 2)}),
        ("Add", ["p", "p"] if changes.get("twice") else ["p", "x2"], "y", {}),
    ]
    return network(nodes, {"x": (1, 2, 6, 6), "x2": (1, 4, 3, 3)}, {"w": weights, "b": B}, ["y"])


def test_equal() -> None:
    assert differences(graph(), graph()) == ()


OTHER = W.copy()
OTHER[1, 1, 2, 2] = np.nextafter(OTHER[1, 1, 2, 2], np.float32(9))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": OTHER}, "1 of 72 numbers differ"),
        ({"conv": {"pads": (2, 1, 0, 1)}}, ""),
        ({"act": "Tanh"}, "Tanh"),
        ({"window": (1, 2)}, "windows"),
        ({"twice": True}, ""),
    ],
)
def test_one_change_is_seen(changes: dict[str, Any], said: str) -> None:
    found = differences(graph(**changes), graph())
    assert found
    assert any(said in text for text in found), found


def test_spellings_of_one_network() -> None:
    x = {"x": (1, 2, 4, 4)}
    w = DRAW.standard_normal((3, 32)).astype(np.float32)
    one = network(
        [("Flatten", ["x"], "f", {}), ("Gemm", ["f", "w", "b"], "y", {"transB": 1})], x,
        {"w": w, "b": B[:3]}, ["y"],
    )  # fmt: skip
    two = network(
        [
            ("Reshape", ["x", "shape"], "f", {}), ("MatMul", ["f", "w"], "m", {}),
            ("Add", ["b", "m"], "y", {}),
        ],
        x, {"w": w.T, "b": B[:3], "shape": np.array([1, -1])}, ["y"],
    )  # fmt: skip
    three = network(
        [("Conv", ["x", "w", "b"], "y", {})], x, {"w": w.reshape(3, 2, 4, 4), "b": B[:3]}, ["y"]
    )
    assert differences(one, two) == ()
    assert differences(three, one) == ()


def test_a_mean_over_all_positions() -> None:
    x = {"x": (1, 2, 4, 4)}
    one = network([("GlobalAveragePool", ["x"], "y", {})], x, {}, ["y"])
    two = network([("AveragePool", ["x"], "y", {"kernel_shape": (4, 4)})], x, {}, ["y"])
    three = network([("AveragePool", ["x"], "y", {"kernel_shape": (4, 3)})], x, {}, ["y"])
    assert differences(one, two) == ()
    assert differences(one, three) != ()


def test_a_model_of_the_library_equals_itself() -> None:
    model = build_model("resnet18", image=32, width=0.125)
    assert differences(model, model) == ()
