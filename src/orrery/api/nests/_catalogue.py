"""The spatial accelerators that ship with the program."""

from __future__ import annotations

from pathlib import Path

from orrery.cost.nest import LOOPS
from orrery.hardware import (
    architecture_names,
    architecture_text,
    energy_table,
    energy_tables,
    load_architecture,
    write_architecture,
)
from orrery.report import Cell, Column, Page, Table


def arrays() -> Page:
    """Return the spatial accelerators of the catalogue and the tables of energies."""
    made = [load_architecture(name) for name in architecture_names()]
    rows: list[tuple[Cell, ...]] = [
        (a.name, " x ".join(str(axis.size) for axis in a.axes),
         " > ".join(level.name for level in a.levels), a.description)
        for a in made
    ]  # fmt: skip
    listed = Table(
        title="Arrays",
        columns=(Column(name="name"), Column(name="array"),
                 Column(name="memories", help="outermost first"), Column(name="what")),
        rows=tuple(rows),
        caption="`orrery arrays NAME` prints one as YAML, a starting point for your own.",
    )  # fmt: skip
    tables = [energy_table(name) for name in energy_tables()]
    energies = Table(
        title="Tables of energies",
        columns=(Column(name="name"), Column.number("rows"), Column(name="what")),
        rows=tuple((t.name, len(t.rows), t.description) for t in tables),
        caption="Named in an array's file: read: {table: NAME, row: ROW}.",
    )
    return Page(title="Spatial accelerators", sections=(listed, energies))


def array_text(name: str) -> str:
    """Return the YAML of an array of the catalogue, comments and all, or of a file.

    A description for Timeloop (a file, or a folder of them) is translated.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return write_architecture(load_architecture(name, loops=tuple(LOOPS)))
    return architecture_text(name)


def array_source(on: str) -> str:
    """Return the YAML of an array that is a file, a folder or a name of the catalogue."""
    if on in architecture_names():
        return array_text(on)
    files = sorted(Path(on).glob("*.y*ml")) if Path(on).is_dir() else [Path(on)]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
