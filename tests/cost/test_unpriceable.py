"""What no model can price is said by name, and the remedy is one that works."""

from __future__ import annotations

import pytest

import orrery
from orrery.cost import roofline
from orrery.errors import OrreryError
from orrery.graph import Graph, Node, TensorType

from .small import device

MATRIX = TensorType(dtype="float32", shape=(8, 8))
TEXT = TensorType(dtype="string", shape=(8,))


def _dynamic() -> Graph:
    """How many elements are not zero, only running can tell."""
    return Graph(
        name="dynamic",
        nodes=(
            Node(name="where", op="NonZero", inputs=("x",), outputs=("indices",)),
            Node(name="product", op="MatMul", inputs=("x", "x"), outputs=("y",)),
        ),
        inputs=("x",),
        outputs=("y", "indices"),
        types={"x": MATRIX},
    ).infer()


def _texts() -> Graph:
    return Graph(
        name="texts",
        nodes=(
            Node(name="same", op="Identity", inputs=("s",), outputs=("t",)),
            Node(name="relu", op="Relu", inputs=("x",), outputs=("y",)),
        ),
        inputs=("s", "x"),
        outputs=("t", "y"),
        types={"s": TEXT, "x": MATRIX},
    ).infer()


def _reason(graph: Graph, node: str) -> str:
    region = next(region for region in graph.regions() if region.name == node)
    refusal = roofline.refuses(region, device())
    assert refusal is not None and refusal.uncountable
    return refusal.reason


def test_a_size_that_depends_on_data_is_not_said_to_be_bindable() -> None:
    graph = _dynamic()
    with pytest.raises(OrreryError):
        graph.bind(**{"where.nonzero": 8})  # what used to be advised
    said = _reason(graph, "where")
    assert "'where.nonzero'; only running can tell it, so it cannot be bound" in said
    assert "--shape" not in said


def test_text_is_not_priced_at_nothing() -> None:
    graph = _texts()
    assert graph.known_bytes("s") is None and graph.known_bytes("x") == 256
    assert "'s' holds text, whose bytes only running can tell" in _reason(graph, "same")
    result = orrery.map(graph, on="a100")
    assert [row.region for row in result.price.coverage.unpriced] == ["same"]
    assert "tensor 's' holds text" in result.text
    latency = next(e for e in result.evidence if e.metric == "latency")
    assert latency.bound == "lower"
    with pytest.raises(OrreryError, match="same: tensor 's' holds text"):
        orrery.map(graph, on="a100", strict=True)


@pytest.mark.parametrize(
    ("graph", "known", "unknown"),
    # 64 products of 8 MACs each; 8×8 float32 made; indices and t are made too, of unknown size.
    [(_dynamic(), "512 MAC and 64 other operations", "indices"),
     (_texts(), "0 MAC and 64 other operations", "t")],
    ids=["data", "text"],
)  # fmt: skip
def test_totals_name_what_they_leave_out(graph: Graph, known: str, unknown: str) -> None:
    totals = orrery.show(graph).sections[0]
    assert totals.tone == "warning"  # type: ignore[union-attr]
    said = " ".join(totals.paragraphs)  # type: ignore[union-attr]
    assert f"{known}; 0 B in 0 constant elements; 256 B of activations made, as far as" in said
    assert f"only running can tell their size: {unknown}. What depends" in said
