"""The page of a circuit: what it is, its modules as boxes, area by block, ports, checks, files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orrery.report import Arrow, Box, Cell, Column, Diagram, Page, Section, Table, Text
from orrery.store import content_hash
from orrery.units import counted

if TYPE_CHECKING:
    from orrery.rtl.bench import Block, CircuitRecord


def circuit_page(title: str, files: Mapping[str, str]) -> Page:
    """Return the page of a circuit's files; without a record among them, only the files."""
    from orrery.rtl.bench import circuit_record

    record = circuit_record(files)
    sections: list[Section] = [] if record is None else _of_record(record)
    return Page(
        title=title if record is None else f"Circuit {record.name}",
        subtitle="" if record is None else f"of {title}",
        sections=(*sections, _files(files)),
        provenance={} if record is None else dict(record.tools),
    )  # fmt: skip


def _of_record(record: CircuitRecord) -> list[Section]:
    settings = ", ".join(f"{key} = {value}" for key, value in record.parameters.items())
    about = [record.summary, f"Parameters: {settings or 'none'}.", f"Timing: {record.timing.rule}."]
    sections: list[Section] = [Text(title="What it is", paragraphs=tuple(about))]
    sections += [_diagram(record), _blocks(record), *_amounts(record), _ports(record)]
    found = tuple(
        f"{one.tool}, line {one.line}: {one.rule}: {one.message}" for one in record.findings
    )
    sections.append(Text(title="What was checked", paragraphs=(*record.checked, *found)))
    return sections


def _diagram(record: CircuitRecord) -> Diagram:
    """Return modules as boxes, the top above; an arrow says how often one stands in another."""
    top = record.blocks[-1].name
    boxes = tuple(
        Box(
            name=block.name, kind="host" if block.name == top else "device",
            lines=(f"{block.instances} x", *_share(record, block)),
        )
        for block in reversed(record.blocks)
    )  # fmt: skip
    arrows = tuple(
        Arrow(source=block.name, target=name, label=f"{count} x", both=False)
        for block in reversed(record.blocks)
        for name, count in block.inside.items()
    )
    caption = "An arrow leads to what a module is made of, with how often it stands in one."
    return Diagram(title="Block diagram", boxes=boxes, arrows=arrows, caption=caption)


def _whole(record: CircuitRecord) -> float:
    return sum((block.area or 0.0) * block.instances for block in record.blocks)


def _share(record: CircuitRecord, block: Block) -> tuple[str, ...]:
    whole = _whole(record)
    if block.area is None or not whole:
        return ()
    return (f"{100 * block.area * block.instances / whole:.1f} % of the area",)


def _blocks(record: CircuitRecord) -> Table:
    whole, unit = _whole(record), record.area.unit if record.area is not None else ""
    rows: list[tuple[Cell, ...]] = []
    for block in reversed(record.blocks):
        all_of = None if block.area is None else block.area * block.instances
        share = None if all_of is None or not whole else 100 * all_of / whole
        rows.append((block.name, block.instances, block.area, all_of, share))
    columns = (
        Column(name="module"),
        Column.number("instances", help="in the whole design"),
        Column.number(f"area of one{f', {unit}' if unit else ''}",
                      help="of its own cells, without the modules in it"),
        Column.number("area of all", bar=True),
        Column.number("share in %"),
    )  # fmt: skip
    if record.area is None:
        caption = "Not synthesised: no areas."
    else:
        caption = (
            f"Each module by itself, {record.area.tool}, library {record.area.library}; dissolved "
            f"into one, the design takes {record.area.area:.6g} {unit}.{_longest(record)}"
        )
    return Table(title="Area by block", columns=columns, rows=tuple(rows), caption=caption)


def _longest(record: CircuitRecord) -> str:
    path = None if record.area is None else record.area.longest_path_s
    return "" if path is None else f" Its longest path takes {path * 1e9:.2f} ns."


def _amounts(record: CircuitRecord) -> list[Section]:
    if record.fpga is None:
        return []
    fpga = record.fpga
    kinds: tuple[tuple[str, float], ...] = (
        ("look-up tables", fpga.lut), ("look-up tables as memory", fpga.lut_memory),
        ("flip-flops", fpga.flip_flop), ("DSP", fpga.dsp), ("block RAM", fpga.bram),
    )  # fmt: skip
    columns = (Column(name="resource"), Column.number("count"))
    caption = " ".join((f"{fpga.tool}, family {fpga.family}.", *fpga.notes))
    return [Table(title="FPGA resources", columns=columns, rows=kinds, caption=caption)]


def _ports(record: CircuitRecord) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (port.name, port.direction, port.width, "yes" if port.signed else "", port.meaning)
        for port in record.ports
    ]
    columns = (
        Column(name="port"), Column(name="direction"), Column.number("bits"), Column(name="signed"),
        Column(name="meaning"),
    )  # fmt: skip
    clock = (
        f"Clock {record.clock}, rising edge; reset {record.reset}, synchronous, high."
        if record.clock
        else "Combinational: no clock."
    )
    return Table(title="Ports", columns=columns, rows=tuple(rows), caption=clock)


def _files(files: Mapping[str, str]) -> Table:
    rows = tuple((name, len(text.encode()), content_hash(text)) for name, text in files.items())
    columns = (
        Column(name="file"), Column.number("size", "bytes"), Column(name="hash"),
    )  # fmt: skip
    return Table(title=counted(len(rows), "file"), columns=columns, rows=rows)
