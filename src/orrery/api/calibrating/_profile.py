"""Measured layers of a network as a table that `calibrate` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.report import Column, Table
from orrery.store import write_text

if TYPE_CHECKING:
    from orrery.graph import Graph

__all__ = ["layer_rows", "profile_table", "write_layers"]


def layer_rows(model: str | Path, times: Mapping[str, float]) -> tuple[tuple[str, str, str], ...]:
    """Return network, layer and microseconds as text; the network as `calibrate` can find it."""
    path = Path(model)
    network = str(path.resolve()) if path.suffix == ".onnx" or path.is_file() else str(model)
    return tuple((network, layer, f"{1e6 * seconds:.3f}") for layer, seconds in times.items())


def profile_table(graph: Graph, times: Mapping[str, float]) -> Table:
    """Return the layers that took time, longest first."""
    whole = sum(times.values())
    return Table(
        title="Layers",
        columns=(Column(name="layer"), Column(name="operator"),
                 Column(name="time", unit="s", kind="number"),
                 Column(name="share", unit="%", kind="number")),
        rows=tuple((name, graph.node(name).operator, seconds, 100 * seconds / whole)
                   for name, seconds in sorted(times.items(), key=lambda item: -item[1])),
        caption=f"Nothing fused; {len(graph.nodes) - len(times)} of {len(graph.nodes)} layers "
        "took less than the clock can tell.",
    )  # fmt: skip


def write_layers(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write the table."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("network", "layer", "latency_us"), *rows])
    write_text(path, text.getvalue())
