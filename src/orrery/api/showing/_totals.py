"""The totals of a network: what is known of it, and by name what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from orrery.graph import Graph
from orrery.report import Text
from orrery.units import format_quantity


def totals_text(graph: Graph) -> Text:
    """Return the totals of a network, and what they leave out."""
    counts = {node.name: graph.known_operations(node) for node in graph.nodes}
    uncounted = [name for name, count in counts.items() if count is None]
    macs = sum(count.macs for count in counts.values() if count is not None)
    others = sum(count.others for count in counts.values() if count is not None)
    weights = sum(constant.type.size_bytes for constant in graph.all_constants())
    elements = sum(constant.type.elements for constant in graph.all_constants())
    sizes = {t: graph.known_bytes(t) for n in graph.nodes for t in n.outputs if t}
    made = sum(size for size in sizes.values() if size is not None)
    unsized = [name for name, size in sizes.items() if size is None]
    text = sum(constant.type.dtype == "string" for constant in graph.all_constants())
    lines = [
        f"{format_quantity(macs, 'MAC')} and {format_quantity(others, '')} other operations; "
        f"{format_quantity(weights, 'bytes')} in {format_quantity(elements, '')} constant "
        "elements; "
        f"{format_quantity(made, 'bytes')} of activations made"
        + (", as far as known." if unsized else "."),
        _named("Inputs", graph, [n for n in graph.inputs if n not in graph.states]),
        _named("Outputs", graph, [n for n in graph.outputs if n not in set(graph.states.values())]),
    ]
    if graph.states:
        size = sum(graph.type(name).size_bytes for name in graph.states)
        lines.append(
            f"Resident between calls: {len(graph.states)} tensors, "
            f"{format_quantity(size, 'bytes')}."
        )
    if uncounted:
        lines.append(f"Not counted, because only running can tell: {_few(uncounted)}.")
    if unsized:
        lines.append(
            f"Left out, because only running can tell their size: {_few(unsized)}. What depends "
            "on data cannot be bound with --shape."
        )
    if text:
        lines.append(f"Constants of text, whose bytes are not counted: {text}.")
    tone: Literal["plain", "warning"] = "warning" if uncounted or unsized or text else "plain"
    return Text(title="Totals", paragraphs=tuple(lines), tone=tone)


def _few(names: Sequence[str]) -> str:
    """Return up to eight names, and how many more there are."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _named(label: str, graph: Graph, tensors: list[str]) -> str:
    shown = [f"{name} {graph.types.get(name, '(type not known)')}" for name in tensors[:8]]
    more = f", and {len(tensors) - 8} more" if len(tensors) > 8 else ""
    return f"{label}: {', '.join(shown)}{more}"
