"""What the catalogues hold, as pages that any front end can print."""

from __future__ import annotations

from typing import Any

from orrery.graph import MODELS, operator_table
from orrery.hardware import catalogue, write_system
from orrery.report import Cell, Column, Page, Table
from orrery.store import encode


def models() -> Page:
    """Return the networks of the library with their parameters and MACs."""
    columns = (
        Column(name="name"),
        Column(name="family"),
        Column(name="task"),
        Column.number("parameters"),
        Column.number("MACs", "MAC", help="one pass at batch 1"),
    )
    rows = tuple((m.name, m.family, m.task, m.parameters, m.macs) for m in MODELS.values())
    caption = "`orrery show NAME` builds one; weights are seeded and made only when read."
    return _page("Networks of the library", columns, rows, caption)


def systems() -> Page:
    """Return the systems of the catalogue and their options."""
    entries = catalogue()
    rows: list[tuple[Cell, ...]] = [(e.name, e.devices, e.description) for e in entries]
    rows.append(("this-machine", None, "The machine you sit at, probed when asked for"))
    columns = (Column(name="name"), Column.number("devices"), Column(name="what"))
    listed = Table(
        title="Systems",
        columns=columns,
        rows=tuple(rows),
        caption="`orrery systems NAME` prints one as YAML, a starting point for your own.",
    )
    options = Table(
        title="Options",
        columns=(Column(name="system"), Column(name="option"), Column(name="what")),
        rows=tuple((e.name, key, text) for e in entries for key, text in e.options.items()),
        caption="Given in brackets: --on 'h2h(link_bandwidth=0.5 GB/s)'.",
    )
    return Page(title="Machines to map onto", sections=(listed, options))


def system_yaml(name: str) -> str:
    """Return a catalogue system, a system file, or the probed ``this-machine`` as YAML text."""
    from ._machines import load_system  # with the designs and back ends that lists do without

    return write_system(load_system(name))


def system_document(name: str) -> dict[str, Any]:
    """Return a system with every number and its source as plain data."""
    from ._machines import load_system

    system = load_system(name)
    records = {"devices": encode(system.devices), "links": encode(system.links)}
    return {"name": system.name, "host": system.host, "digest": system.digest, **records}


def accelerators() -> Page:
    """Return the accelerator designs that a device can be configured with."""
    from orrery.accel import ACCELERATORS, parameters

    rows: list[tuple[Cell, ...]] = []
    settings: list[tuple[Cell, ...]] = []
    for name in ACCELERATORS.names():
        made = ACCELERATORS[name]()
        witnesses = ["function", "cost"]
        witnesses += ["cycles"] if made.simulate else []
        witnesses += ["circuit"] if made.generate else []
        rows.append((name, ", ".join(witnesses), str(made.paper)))
        settings += [(name, key, str(value)) for key, value in parameters(name).items()]
    columns = (
        Column(name="name"),
        Column(name="witnesses", help="what judges it: function, cost, cycles, circuit"),
        Column(name="source"),
    )
    caption = "Named under `designs:` of a device, e.g. systolic(rows=32, cols=32)."
    listed = Table(title="Designs", columns=columns, rows=tuple(rows), caption=caption)
    options = Table(
        title="Parameters",
        columns=(Column(name="design"), Column(name="parameter"), Column(name="default")),
        rows=tuple(settings),
    )
    return Page(title="What a device can be configured with", sections=(listed, options))


def operators() -> Page:
    """Return the operators that are supported, and those of ONNX that are not, with why."""
    table = operator_table()
    known = [row for row in table if row.claimed]
    missing = [row for row in table if not row.claimed]
    supported = Table(
        title=f"Supported operators: {len(known)}",
        columns=(
            Column(name="operator"),
            Column(name="domain", help="empty: ONNX's own"),
            Column.number("opset", help="of its newest version"),
            Column(name="derivative"),
        ),
        rows=tuple(
            (r.name, r.domain, r.since or None, "yes" if r.derivative else "") for r in known
        ),
        caption="Each has a shape rule, an operation count and a NumPy reference.",
    )
    unclaimed = Table(
        title=f"Operators of ONNX that are not supported: {len(missing)}",
        columns=(Column(name="operator"), Column(name="why")),
        rows=tuple((r.name, r.excluded or "not written yet") for r in missing),
    )
    return Page(title="Operators", sections=(supported, unclaimed))


def _page(
    title: str, columns: tuple[Column, ...], rows: tuple[tuple[Cell, ...], ...], caption: str
) -> Page:
    table = Table(title=title, columns=columns, rows=rows, caption=caption)
    return Page(title="Catalogue", sections=(table,))
