"""Spatial accelerators as YAML.

Before (file)::

    name: small
    clock: "200 MHz"
    source: guess
    sources: {guess: {basis: assumed, where: sketch, note: "orders of magnitude"}}
    array: [{axis: rows, size: 12}, {axis: cols, size: 14, loops: [Cout, H]}]
    bits: {input: 16, weight: 16, output: 16, partial_sum: 16}
    energy: {mac: "2 pJ"}
    levels:
      - {name: dram, holds: [input, weight, output], word: "16 bit",
         read: {table: eyeriss-16-bit, row: dram}, write: "460 pJ"}
      - {name: pads, per: [rows, cols], holds: [input, weight, output], size: "512 B",
         word: "16 bit", read: "1 pJ", write: "1 pJ"}

After: an `Architecture` whose every number carries its source. An energy is a quantity per word or
a row of a named table, taken to the width of the level's word; ``scale_to`` takes the row to
another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.provenance import Source
from orrery.units import format_quantity, read_quantity

from .._document import Item, parse, read_bytes
from .._sourced import SourcedReader
from ._energy import energy_table
from ._records import ROLES, Architecture, ArrayAxis, Level

_CHIP = {"area": ("area_mm2", "area"), "process": ("process_nm", "length"),
         "price": ("price_usd", "price"), "static_power": ("static_power_w", "power"),
         "clock": ("clock_hz", "frequency"), "run_overhead": ("overhead_s", "time")}  # fmt: skip
_INTERVAL = {"low": "low_ratio", "high": "high_ratio", "confidence": "interval_share",
             "error": "left_out_error"}  # fmt: skip
_PORTS = {"read_bandwidth": "read_bits_per_cycle", "write_bandwidth": "write_bits_per_cycle"}
#: what the bill of energy calls parts that are no memory
_BILL = {"array", "post-processor"}
_LEVEL = ("name", "holds", "per", "loops", "size", "shares", "word", "read", "write",
          "read_bandwidth", "write_bandwidth", "one_port", "networks", "double_buffered", "streams",
          "slides", "multicast", "reduces", "static_power", "area", "source")  # fmt: skip
#: an outermost memory smaller than this is one on chip, and the off-chip one was forgotten
_LEAST_OFF_CHIP_BITS = 8 * 64 * 1024**2
#: keys of a level that list names
_LISTS = ("holds", "per", "double_buffered", "streams", "slides", "multicast", "reduces")


def read_architecture(path: Path, *, loops: tuple[str, ...] = ()) -> Architecture:
    """Read a spatial accelerator from a YAML file.

    Parameters
    ----------
    loops : the loops that layers have, so that an axis that names another is refused; empty: any

    Raises
    ------
    SpecError : with file, line and key, what was found, what was wanted and what to change
    """
    return read_architecture_text(read_bytes(path), str(path), loops=loops)


def read_architecture_text(
    text: bytes | str, file: str = "architecture", *, loops: tuple[str, ...] = ()
) -> Architecture:
    """Read a spatial accelerator from the text of a YAML file; `file` stands in messages."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return architecture_of(parse(raw, file, kind="array"), loops=loops)


def architecture_of(root: Item, *, loops: tuple[str, ...] = ()) -> Architecture:
    """Read a spatial accelerator from the tree of a document."""
    return _Reader(root, loops).architecture()


class _Reader(SourcedReader):
    def __init__(self, root: Item, loops: tuple[str, ...]) -> None:
        self.root, self.options, self.given, self.loops = root, {}, {}, loops
        self.top = root.keys(
            ("name", "description", "source", "sources", "array", "macs_per_cycle", "bits",
             "energy", "levels", "interval", *_CHIP),
            required=("name", "clock", "array", "bits", "levels"),
        )  # fmt: skip
        self.sources = self._sources(self.top.get("sources"))
        self.default = self._source(self.top.get("source"))
        self.mac_j: float | None = None

    def architecture(self) -> Architecture:
        values: dict[str, Any] = {"name": self._name(self.top["name"])}
        if "description" in self.top:
            values["description"] = self.top["description"].text()
        sources: dict[str, Source] = {}
        for key, (field, dimension) in _CHIP.items():
            if key in self.top:
                values[field], sources[field] = self._quantity(
                    self.top[key], dimension, key == "static_power", self.default)  # fmt: skip
        if "interval" in self.top:
            table = self.top["interval"].keys(
                (*_INTERVAL, "source"), required=("low", "high", "confidence")
            )
            source = self._source(table.get("source")) or self.default
            for key, field in ((k, f) for k, f in _INTERVAL.items() if k in table):
                values[field], sources[field] = self._quantity(table[key], "ratio", False, source)
            if values["low_ratio"] > values["high_ratio"] or values["interval_share"] > 1:
                raise self.top["interval"].error(
                    wanted="the lower end first, and a confidence of at most 100 %",
                    fix="correct it")  # fmt: skip
        values["macs_per_cycle"] = (
            self.top["macs_per_cycle"].whole(1, 1024) if "macs_per_cycle" in self.top else 1
        )
        sources["macs_per_cycle"] = self._needed(self.top["array"])
        values |= self._bits(sources)
        values |= self._energies(sources)
        values["axes"] = tuple(self._axis(item) for item in self.top["array"].items())
        self._once([item.table()["axis"] for item in self.top["array"].items()])
        values["levels"] = tuple(self._level(item) for item in self.top["levels"].items())
        self._once([item.table()["name"] for item in self.top["levels"].items()],
                   {axis.name for axis in values["axes"]} | _BILL)  # fmt: skip
        self._nested([axis.name for axis in values["axes"]], values["levels"])
        self._reached(values["levels"])
        narrow = min(values["bits"]["output"], values["partial_sum_bits"])
        if narrow < values["bits"]["output"]:
            raise self.top["bits"].error(
                found=f"sums of {narrow} bits, results of {values['bits']['output']}",
                wanted="sums at least as wide as results", fix="widen `partial_sum:`")  # fmt: skip
        return self._make(self.root, Architecture, {**values, "sources": sources})

    def _needed(self, item: Item, source: Source | None = None) -> Source:
        found = source or self.default
        if found is None:
            raise item.error(found="numbers without a source", wanted="a source for every number",
                             fix="add `source:` here or on the document")  # fmt: skip
        return found

    def _once(self, names: list[Item], taken: set[str] = frozenset()) -> None:  # type: ignore[assignment]  # a frozen default
        seen: set[str] = set(taken)
        for item in names:
            if item.text() in seen:
                raise item.error(found=f"{item.text()!r} twice", fix="rename one",
                                 wanted="one meaning for one name")  # fmt: skip
            seen.add(item.text())

    def _nested(self, axes: list[str], levels: tuple[Level, ...]) -> None:
        """Refuse levels that do not lie within each other, off-chip memory first."""
        items = self.top["levels"].items()
        if not items:
            raise self.top["levels"].error(found="no level", fix="write the off-chip memory, then "
                                           "those on chip, outermost first",
                                           wanted="one at least")  # fmt: skip
        outside: tuple[str, ...] = ()
        for item, level in zip(items, levels, strict=True):
            table = item.table()
            for key in ("per", "multicast", "reduces"):
                for entry in table[key].items() if key in table else ():
                    if entry.text() not in axes:
                        raise entry.error(
                            wanted=f"an axis of `array:`: {', '.join(axes) or 'it has none'}",
                            fix=f"correct it{did_you_mean(entry.text(), axes)}")  # fmt: skip
            if not set(outside) <= set(level.per):
                raise table.get("per", item).error(
                    found=f"{level.name} per {', '.join(level.per) or 'no axis'}, inside of "
                    f"a level per {', '.join(outside)}",
                    wanted="at least the axes of the level outside of it",
                    fix="order the levels outermost first, or add the axes to `per:`")  # fmt: skip
            outside = level.per
        first, size = levels[0], levels[0].capacity_bits
        if set(first.holds) != set(ROLES) or first.per:
            each = f", per {', '.join(first.per)}," if first.per else ""
            raise items[0].error(
                found=f"{first.name}{each} of {', '.join(first.holds)} as the outermost level",
                wanted="the off-chip memory: an outermost level that holds all roles, one for all",
                fix="write it before the others")  # fmt: skip
        if first.streams or first.double_buffered:
            said = "streams" if first.streams else "double_buffered"
            raise items[0].table()[said].error(
                found=f"`{said}:` of {first.name}, the outermost level",
                wanted="a level that something arrives at", fix="remove it")  # fmt: skip
        if size is not None and size < _LEAST_OFF_CHIP_BITS:
            raise items[0].table()["size"].error(
                found=f"{first.name} of {format_quantity(size / 8, 'bytes')} as the outermost "
                "level", wanted="the off-chip memory, which holds whole networks",
                fix="write it before this level; if this is it, leave out its `size:`")  # fmt: skip

    def _reached(self, levels: tuple[Level, ...]) -> None:
        """Refuse a role that passes every memory on chip by."""
        for role in ROLES:
            if levels[1:] and not any(role in level.holds for level in levels[1:]):
                names = ", ".join(level.name for level in levels[1:])
                raise self.top["levels"].error(
                    found=f"{role} bypasses every level on chip ({names})",
                    wanted="one that holds it, if only a latch of one word",
                    fix=f"add {role} to a `holds:`")  # fmt: skip

    def _consistent(self, item: Item, values: Mapping[str, Any]) -> None:
        """Refuse what a level says against itself."""
        holds, per = values["holds"], values.get("per", ())
        if not holds:
            raise item.error(found="a level that holds nothing", fix="name a role or remove it",
                             wanted=f"roles among {', '.join(ROLES)}")  # fmt: skip
        for key in (*_LISTS, "loops"):
            given = values.get(key) or ()
            if len(set(given)) < len(given):
                raise item.error(found=f"{key}: {', '.join(given)}", wanted="each name once",
                                 fix="remove one")  # fmt: skip
        for key, said in (("double_buffered", "double_buffered"), ("streams", "streams"),
                          ("slides", "slides"), ("shares_bits", "shares"),
                          ("network_bits_per_cycle", "networks")):  # fmt: skip
            strange = [role for role in values.get(key, ()) if role not in holds]
            if strange and strange[0] in ROLES:
                raise item.error(found=f"{said} for {strange[0]}, which passes by",
                                 wanted=f"roles it holds: {', '.join(holds)}",
                                 fix="add it to `holds:` or remove it")  # fmt: skip
        for key in ("multicast", "reduces"):
            inside = [axis for axis in values.get(key, ()) if axis in per]
            if inside:
                raise item.error(found=f"{key} along {inside[0]}, with an instance at every "
                                 "position of it", wanted="an axis that fans out further in",
                                 fix=f"take it out of `{key}:` or of `per:`")  # fmt: skip
        shares, size = sum(values.get("shares_bits", {}).values()), values.get("capacity_bits")
        if size is not None and shares > size:
            raise item.error(found=f"shares of {shares} bits in {size}", fix="correct one",
                             wanted="shares that fit into `size:`")  # fmt: skip
        if values.get("one_port") and "write_bits_per_cycle" in values:
            raise item.error(found="`one_port: true` and `write_bandwidth:`", fix="remove one",
                             wanted="`read_bandwidth:` alone, for both directions")  # fmt: skip

    def _bits(self, sources: dict[str, Source]) -> dict[str, Any]:
        table = self.top["bits"].keys((*ROLES, "partial_sum", "source"),
                                      required=(*ROLES, "partial_sum"))  # fmt: skip
        source = self._needed(self.top["bits"], self._source(table.get("source")))
        sources["bits"] = sources["partial_sum_bits"] = source
        return {"bits": {role: table[role].whole(1, 256) for role in ROLES},
                "partial_sum_bits": table["partial_sum"].whole(1, 256)}  # fmt: skip

    def _energies(self, sources: dict[str, Source]) -> dict[str, Any]:
        if "energy" not in self.top:
            return {}
        table = self.top["energy"].keys(("mac", "idle_mac", "hop", "source"))
        default = self._source(table.get("source")) or self.default
        values: dict[str, Any] = {}
        for key, field in (("mac", "mac_energy_j"), ("idle_mac", "idle_mac_energy_j")):
            if key in table:
                values[field], sources[field] = self._energy(table[key], None, default)
        self.mac_j = values.get("mac_energy_j")
        if "hop" in table:
            values["hop_energy_j_per_bit"], sources["hop_energy_j_per_bit"] = self._quantity(
                table["hop"], "energy per bit", True, default)  # fmt: skip
        return values

    def _energy(self, item: Item, bits: int | None, default: Source | None) -> tuple[float, Source]:
        """Read joules per word: a quantity, or a row of a named table at this width.

        Without a width (arithmetic, which does not grow in proportion) the row stands as it is.
        """
        table = item.data if isinstance(item.data, dict) else {}
        if "table" not in table:
            return self._quantity(item, "energy", True, default)
        keys = item.keys(("table", "row", "scale_to"), required=("table", "row"))
        try:
            named = energy_table(keys["table"].text())
            if "scale_to" in keys:
                to = keys["scale_to"]
                named = named.scaled(read_quantity(to.text(), "length", where=to.where))
            row = named.row(keys["row"].text())
        except UnknownNameError as error:
            raise item.error(found=error.name, wanted=f"a {error.kind}",
                             fix=f"write one of {', '.join(error.known)}") from None  # fmt: skip
        except SpecError as error:
            raise SpecError(f"{item.where}: {error.where}", found=error.found, wanted=error.wanted,
                            fix=error.fix) from None  # fmt: skip
        if row.per_mac is not None and self.mac_j is None:
            raise item.error(found=f"{named.name} in multiples of one MAC",
                             wanted="the energy of a MAC", fix="add `energy: mac:`")  # fmt: skip
        where = f"{row.source.where}: {named.name}, {row.name}"
        return row.at(bits or row.bits, self.mac_j), Source(basis=row.source.basis, where=where,
                                                note=row.source.note)  # fmt: skip

    def _axis(self, item: Item) -> ArrayAxis:
        table = item.keys(("axis", "size", "loops", "fixed", "systolic", "source"),
                          required=("axis", "size"))  # fmt: skip
        source = self._needed(item, self._source(table.get("source")))
        values: dict[str, Any] = {"name": self._name(table["axis"]),
                                  "size": table["size"].whole(1, 1 << 16)}  # fmt: skip
        if "loops" in table:
            values["loops"] = tuple(self._loop(entry, entry.text())
                                    for entry in table["loops"].items())  # fmt: skip
        if "fixed" in table:
            values["fixed"] = {self._loop(entry, name): entry.whole(1, 1 << 16)
                               for name, entry in table["fixed"].table().items()}  # fmt: skip
            strange = set(values["fixed"]) - set(values.get("loops") or values["fixed"])
            if strange:
                raise table["fixed"].error(found=", ".join(sorted(strange)), fix="correct one",
                                           wanted="loops that `loops:` allows")  # fmt: skip
        if "systolic" in table:
            values["systolic"] = table["systolic"].boolean()
        return self._make(item, ArrayAxis, {
            **values, "sources": {"size": source, "fixed": source}})  # fmt: skip

    def _loop(self, item: Item, name: str) -> str:
        if self.loops and name not in self.loops:
            raise item.error(found=name, wanted=f"loops among {', '.join(self.loops)}",
                             fix=f"correct it{did_you_mean(name, self.loops)}")  # fmt: skip
        return name

    def _level(self, item: Item) -> Level:
        table = item.keys(_LEVEL, required=("name", "holds", "word"))
        default = self._source(table.get("source")) or self.default
        given = self._needed(item, default)
        sources: dict[str, Source] = {"word_bits": given}
        values: dict[str, Any] = {"name": self._name(table["name"])}
        for key in _LISTS:
            if key in table:
                values[key] = tuple(entry.text() for entry in table[key].items())
        if "loops" in table:
            if not list(table["loops"].items()):
                raise table["loops"].error(found="no loop", wanted="loops that may step here",
                                           fix="name them or remove `loops:`")  # fmt: skip
            values["loops"] = tuple(self._loop(entry, entry.text())
                                    for entry in table["loops"].items())  # fmt: skip
        if "one_port" in table:
            values["one_port"] = table["one_port"].boolean()
        read: list[tuple[str, str, Callable[[Item], tuple[Any, Source]]]] = [
            ("word", "word_bits", lambda i: self._width(i, default)),
            ("size", "capacity_bits", lambda i: self._width(i, default)),
            ("static_power", "static_power_w", lambda i: self._quantity(i, "power", True, default)),
            ("area", "area_mm2", lambda i: self._quantity(i, "area", False, default)),
            *((key, field, lambda i: self._quantity(i, "bits per cycle", False, default))
              for key, field in _PORTS.items()),
        ]  # fmt: skip
        for key, field, reader in read:
            if key in table:
                values[field], sources[field] = reader(table[key])
        for key in ("read", "write"):
            if key in table:
                values[f"{key}_energy_j"], sources[f"{key}_energy_j"] = self._energy(
                    table[key], values["word_bits"], default)  # fmt: skip
        if "shares" in table:
            shares: Mapping[str, Item] = table["shares"].keys(ROLES)
            values["shares_bits"] = {role: self._width(entry, default)[0]
                                     for role, entry in shares.items()}  # fmt: skip
            sources["shares_bits"] = given
        if "networks" in table:
            values |= self._networks(table["networks"], default, sources)
        self._consistent(item, values)
        return self._make(item, Level, {**values, "sources": sources})

    def _networks(
        self, item: Item, default: Source | None, sources: dict[str, Source]
    ) -> dict[str, Any]:
        """Read the wires of single roles; one source for all of them."""
        table = item.keys((*ROLES, "source"))
        if not set(table) & set(ROLES):
            raise item.error(found="no role", wanted=f"a rate for one of {', '.join(ROLES)}",
                             fix="name one or remove `networks:`")  # fmt: skip
        source = self._source(table.get("source")) or default
        rates = {role: self._quantity(table[role], "bits per cycle", False, source)[0]
                 for role in ROLES if role in table}  # fmt: skip
        sources["network_bits_per_cycle"] = self._needed(item, source)
        return {"network_bits_per_cycle": rates}

    def _width(self, item: Item, default: Source | None) -> tuple[int, Source]:
        value, source = self._quantity(item, "width", False, default)
        if abs(value - round(value)) > 1e-6 * value or round(value) < 1:
            raise item.error(wanted="a whole number of bits", fix="correct the size")
        return round(value), source
