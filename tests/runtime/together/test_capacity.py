"""Bytes counted by hand, and by running step by step; shortages by whatever says them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.graph import ArrayConstant, Graph, Node, TensorType, evaluate_node
from orrery.runtime.together import DoesNotFitError, needed_bytes
from orrery.runtime.together._capacity import is_shortage, misfit

KIB = 1024


def chain(ops: list[tuple[str, str, list[str]]], outputs: list[str]) -> Graph:
    """Return nodes on tensors of one KiB; `w` is a constant of one KiB too."""
    return Graph(
        name="chain", inputs=("x",), outputs=tuple(outputs),
        nodes=tuple(Node(name=n, op=op, inputs=tuple(i), outputs=(f"y{n}",)) for n, op, i in ops),
        types={"x": TensorType(dtype="float32", shape=(16, 16))},
        constants={"w": ArrayConstant(np.ones((16, 16), np.float32)),
                   "s": ArrayConstant(np.array([256]))},
    ).infer()  # fmt: skip


def test_counted_by_hand() -> None:
    weights = KIB + 8
    # x, ya, yb: ya is dropped when yc is made, which holds x, yb and yc and ya at its begin.
    line = chain([("a", "Relu", ["x"]), ("b", "Neg", ["ya"]), ("c", "Add", ["yb", "w"])], ["yc"])
    assert needed_bytes(line) == weights + 3 * KIB
    # The input is kept by whoever asked, both branches are alive when they meet.
    fork = chain([("a", "Relu", ["x"]), ("b", "Neg", ["x"]), ("c", "Add", ["ya", "yb"])], ["yc"])
    assert needed_bytes(fork) == weights + 4 * KIB
    # Other shapes of a tensor take nothing.
    shaped = chain([("a", "Reshape", ["x", "s"]), ("b", "Relu", ["ya"])], ["yb"])
    assert needed_bytes(shaped) == weights + 2 * KIB


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_never_more_than_is_alive_when_run(picks: list[tuple[int, int]]) -> None:
    names = ["x"]
    ops = []
    for number, (a, b) in enumerate(picks):
        ops.append((f"{number}", "Add", [names[a % len(names)], names[b % len(names)]]))
        names.append(f"y{number}")
    graph = chain(ops, [names[-1]])
    live: dict[str, Any] = {"x": np.ones((16, 16), np.float32)}
    most = len(live)
    for number, node in enumerate(graph.nodes):
        live.update(evaluate_node(graph, node, {n: live[n] for n in node.inputs}))
        most = max(most, len(live))
        later = {name for after in graph.nodes[number + 1 :] for name in after.inputs}
        live = {n: v for n, v in live.items() if n in later | {"x", *graph.outputs}}
    assert needed_bytes(graph) == KIB + 8 + most * KIB


def test_what_does_not_fit_says_how_much() -> None:
    graph = chain([("a", "Relu", ["x"])], ["ya"])
    need = needed_bytes(graph)
    assert misfit("it", graph, None) is None
    assert misfit("it", graph, need) is None
    short = misfit("it", graph, need - 1)
    assert short is not None
    assert (short.need, short.have, short.unit) == (need, need - 1, "bytes")
    assert short.remedies
    assert "need" in str(DoesNotFitError(short))


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls it."""


def chained(error: Exception) -> Exception:
    try:
        raise ValueError("outside") from error
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True), (OutOfMemoryError("CUDA"), True), (RuntimeError("shape"), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True), (KeyError("x"), False),
        (chained(MemoryError()), True), (chained(RuntimeError("x")), False),
    ],
)  # fmt: skip
def test_shortages_are_known(error: Exception, short: bool) -> None:
    assert is_shortage(error) is short
