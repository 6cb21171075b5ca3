"""Show a network: layers, operations, bytes, statistics."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.graph import Graph, measure_statistics
from orrery.progress import SILENT, Progress
from orrery.report import Column, Page, Section, Table
from orrery.units import counted

from .._options import ModelOptions
from .._resolve import load_model
from ._totals import totals_text


def show(
    model: object,
    *,
    options: ModelOptions | None = None,
    statistics: bool = False,
    formats: Sequence[str] = ("fp32", "fp16", "bf16", "int8"),
    progress: Progress = SILENT,
) -> Page:
    """Return a page with a network's totals and one row per layer.

    Parameters
    ----------
    model : an ONNX file, a library name, or a `Graph`
    statistics : read every constant and say how dense it is, and how many bits of the weights are
        zero at each position (slow for large networks)
    formats : in which bits of weights are counted, of `orrery.api.bits.FORMATS`
    """
    graph = load_model(model, options)
    sections: list[Section] = [totals_text(graph), _operators(graph), _layers(graph)]
    if statistics:
        from ..bits import bit_sections

        sections += [*bit_sections(graph, formats, progress=progress), _statistics(graph, progress)]
    subtitle = f"{counted(len(graph.nodes), 'node')}, {counted(len(graph.constants), 'constant')}"
    structure = {"structure": graph.structure_digest}
    return Page(title=graph.name, subtitle=subtitle, sections=tuple(sections), provenance=structure)


def _operators(graph: Graph) -> Table:
    counts: dict[str, list[int]] = {}
    for node in graph.nodes:
        work, row = graph.known_operations(node), counts.setdefault(node.operator, [0, 0, 0])
        row[0] += 1
        if work is not None:
            row[1], row[2] = row[1] + work.macs, row[2] + work.others
    columns = (
        Column(name="operator"),
        Column.number("nodes"),
        Column.number("MACs", "MAC"),
        Column.number("other operations"),
    )
    return Table(
        title="Operators",
        columns=columns,
        sort_by="MACs",
        descending=True,
        rows=tuple((name, *row) for name, row in counts.items()),
    )


def _layers(graph: Graph) -> Table:
    columns = (
        Column(name="layer"),
        Column(name="operator"),
        Column(name="output"),
        Column.number("MACs", "MAC", bar=True),
        Column.number("other operations"),
        Column.number("weights", "bytes"),
        Column.number("output size", "bytes"),
    )
    rows = []
    for region in graph.regions():
        (node,) = region.members
        work = graph.known_operations(node)
        held = [graph.constants[t] for t in region.weights] + list(region.inner_constants)
        made = [graph.types[t] for t in node.outputs if t in graph.types]
        sizes = [graph.known_bytes(t) for t in node.outputs if t]
        rows.append(
            (
                node.name,
                node.operator,
                ", ".join("×".join(map(str, t.shape)) or "scalar" for t in made),
                None if work is None else work.macs,
                None if work is None else work.others,
                sum(constant.type.size_bytes for constant in held),
                None if None in sizes else sum(size for size in sizes if size is not None),
            )
        )
    return Table(title="Layers", columns=columns, rows=tuple(rows))


def _statistics(graph: Graph, progress: Progress) -> Table:
    found = measure_statistics(graph, progress=progress)
    columns = (
        Column(name="constant"),
        Column(name="type"),
        Column.number("not zero", "%"),
        Column.number("one-bits", "%"),
    )
    rows = tuple(
        (
            name,
            str(graph.constants[name].type),
            100 * density,
            100 * sum(bits) / len(bits) if (bits := found.bit_density.get(name)) else None,
        )
        for name, density in found.density.items()
    )
    return Table(
        title="Statistics of the constants", columns=columns, rows=rows, caption=str(found.source)
    )
