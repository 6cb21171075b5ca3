"""What all libraries share: a package that is missing or broken, and names in what they raise."""

from __future__ import annotations

import re

from orrery.errors import MissingExtraError, OrreryError
from orrery.graph import Graph

__all__ = ["foreign_operators", "named_node", "not_loaded"]


def not_loaded(package: str, extra: str, error: ImportError) -> OrreryError:
    """Return what to raise when a package cannot be imported: not there, or there but broken."""
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return MissingExtraError(package, extra, purpose="running a graph")
    return OrreryError(
        f"running a graph: found a package {package!r} that does not load ({error}), "
        f"wanted a working one; run: pip install --force-reinstall {package}"
    )


def foreign_operators(graph: Graph) -> str | None:
    """Return which operators of training graphs a graph has, which no library knows, or None."""
    foreign = sorted({n.operator for n in graph.nodes if n.domain.startswith("orrery")})
    if foreign:
        return f"operators of training graphs, which ONNX lacks: {', '.join(foreign)}"
    return None


def named_node(graph: Graph, message: str) -> str | None:
    """Return the node that a message names, by itself or by what it makes, or None."""
    names = {node.name: node.name for node in graph.nodes}
    made = {tensor: node.name for node in graph.nodes for tensor in node.outputs if tensor}
    for found in re.findall(r"'([^']+)'|\"([^\"]+)\"|:\s*([^\s,;:()<>]+)>", message):
        for text in filter(None, found):
            inner = re.sub(r"^<.*?\):\s*|>$", "", text)
            name = names.get(text) or names.get(inner) or made.get(text) or made.get(inner)
            if name:
                return name
    words = set(re.findall(r"[\w.]+", message))
    return next((node.name for node in graph.nodes if node.domain and node.operator in words), None)
