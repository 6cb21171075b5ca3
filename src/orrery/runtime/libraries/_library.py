"""What all libraries share: packages missing or broken, large models, names in what they raise."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orrery.errors import MissingExtraError, OrreryError
from orrery.graph import Graph, onnx_bytes, write_onnx

#: A protocol buffer ends at 2 GiB; models with more constants than this go through a file.
LARGEST_IN_MEMORY = 1_500_000_000


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


def opened(graph: Graph, largest_bytes: int, read: Callable[[bytes | str], Any]) -> Any:
    """Return what a library makes of a graph: of its ONNX bytes, or of a file where it is large."""
    if sum(constant.type.size_bytes for constant in graph.all_constants()) <= largest_bytes:
        return read(onnx_bytes(graph))
    # It has been read, and what is mapped stays mapped, so the folder may go.
    with tempfile.TemporaryDirectory(prefix="orrery-") as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(graph, path, external_data=True)
        return read(str(path))


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
