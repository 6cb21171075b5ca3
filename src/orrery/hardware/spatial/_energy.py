"""Named tables of energies: joules per action at a stated width, process and source.

Models:  a row is one action on so many bits; another width takes proportionally more or less. A
         relative table gives multiples of its ``mac`` row and borrows the joules of a MAC.
Ignores: how a memory's energy grows with its size: choose the row nearest in size.
Judge:   the sheets the tables come from; every row names one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from orrery.errors import SpecError, UnknownNameError
from orrery.provenance import Basis, Source
from orrery.units import read_quantity

from .._document import Item, parse
from .._sourced import SourcedReader

_FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRow:
    """One action.

    Attributes
    ----------
    energy_j : joules; None in a relative table
    per_mac : multiples of one MAC; None in an absolute table
    bits : how wide the action is
    """

    name: str
    bits: int
    energy_j: float | None = None
    per_mac: float | None = None
    source: Source

    def at(self, bits: int, mac_j: float | None = None) -> float:
        """Return the joules of this action on a word of so many bits."""
        base = self.energy_j if self.energy_j is not None else (self.per_mac or 0) * (mac_j or 0)
        return base * bits / self.bits


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """A table; `process_nm` is where its rows were taken, None where that is not said."""

    name: str
    description: str
    rows: Mapping[str, EnergyRow]
    process_nm: float | None = None

    @property
    def relative(self) -> bool:
        """Whether rows are multiples of one MAC."""
        return any(row.per_mac is not None for row in self.rows.values())

    def row(self, name: str) -> EnergyRow:
        """Return a row by name; an unknown one names the nearest."""
        if name not in self.rows:
            raise UnknownNameError(f"row of energy table {self.name}", name, self.rows)
        return self.rows[name]

    def scaled(self, to_nm: float) -> EnergyTable:
        """Return the table at another process: energies proportional to the feature size.

        That is constant-field scaling at constant voltage (capacitance per device falls with the
        feature size): a first estimate, so that every row becomes *assumed*.

        Raises
        ------
        SpecError : a table whose process is not known
        """
        if self.process_nm is None:
            raise SpecError(f"energy table {self.name}", found="no process", fix="do not scale it",
                            wanted="the process its rows were taken at")  # fmt: skip
        factor = to_nm / self.process_nm
        note = f"times {to_nm:g}/{self.process_nm:g} for the node"
        rows = {
            name: replace(row, energy_j=None if row.energy_j is None else row.energy_j * factor,
                          source=Source(basis=Basis.ASSUMED, where=row.source.where,
                                        note=f"{note} (energy taken as proportional to feature "
                                             "size)"))
            for name, row in self.rows.items()
        }  # fmt: skip
        return replace(self, name=f"{self.name} at {to_nm:g} nm", rows=rows, process_nm=to_nm)


def energy_tables() -> tuple[str, ...]:
    """Return the names of all tables, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@lru_cache
def energy_table(name: str) -> EnergyTable:
    """Return a table by name.

    Raises
    ------
    UnknownNameError : no such table
    """
    if name not in energy_tables():
        raise UnknownNameError("energy table", name, energy_tables())
    path = _FOLDER / f"{name}.yaml"
    return _Reader(parse(path.read_bytes(), str(path))).table()


class _Reader(SourcedReader):
    def __init__(self, root: Item) -> None:
        self.root, self.options, self.given = root, {}, {}
        self.top = root.keys(("name", "description", "process", "source", "sources", "rows"),
                             required=("name", "description", "rows"))  # fmt: skip
        self.sources = self._sources(self.top.get("sources"))

    def table(self) -> EnergyTable:
        default = self._source(self.top.get("source"))
        rows = {name: self._row(name, item, default)
                for name, item in self.top["rows"].table().items()}  # fmt: skip
        process = self.top.get("process")
        return EnergyTable(
            name=self.top["name"].text(), description=self.top["description"].text(), rows=rows,
            process_nm=None if process is None else read_quantity(
                process.text(), "length", where=process.where),
        )  # fmt: skip

    def _row(self, name: str, item: Item, default: Source | None) -> EnergyRow:
        table = item.keys(("energy", "macs", "bits", "source"), required=("bits",))
        source = self._source(table.get("source")) or default
        bits = table["bits"].whole(1, 1 << 16)
        if ("energy" in table) == ("macs" in table):
            raise item.error(wanted="`energy:` or `macs:` (multiples of a MAC)", fix="give one")
        if source is None:
            raise item.error(found="no source", wanted="a source for every row", fix="add it")
        if "energy" in table:
            joules, found = self._quantity(table["energy"], "energy", True, source)
            return EnergyRow(name=name, bits=bits, energy_j=joules, source=found)
        return EnergyRow(name=name, bits=bits, per_mac=float(table["macs"].text()), source=source)
