"""What every figure of a network must state: its batch and its precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.graph import Graph

__all__ = ["BATCH_KEY", "batch_of", "precisions"]

#: metadata entry that says how many inferences one pass of a network is
BATCH_KEY = "batch"


def batch_of(graph: Graph) -> int:
    """Return how many inferences one pass is, as stated when it was loaded; 1 where nobody said.

    It is not guessed from shapes: the leading dimension of an input may be anything.
    """
    text = graph.metadata.get(BATCH_KEY, "1")
    return int(text) if text.isdecimal() and 0 < int(text) < 2**31 else 1


def precisions(graph: Graph) -> list[str]:
    """Return the element type that most of the weights (states of a training step too) have."""
    types = [c.type for c in graph.constants.values()] + [graph.type(n) for n in graph.states]
    kinds: dict[str, int] = {}
    for type_ in types:
        kinds[type_.dtype] = kinds.get(type_.dtype, 0) + type_.elements
    if not kinds:
        kinds = {graph.type(name).dtype: 1 for name in graph.inputs}
    return [max(kinds, key=kinds.__getitem__)] if kinds else []
