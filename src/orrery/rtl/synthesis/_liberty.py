"""What synthesis needs of a Liberty file: cells, areas, functions, flip-flops, delays.

Models: ``cell``, ``pin``, ``ff``, ``latch``, ``timing`` with table or linear (``generic_cmos``)
delays, ``lu_table_template``, the units. Ignores: power, noise, operating conditions, buses, state
tables, ``when`` conditions (all arcs count, the slowest wins). Judge: cells and tables read by hand
from small files; Yosys' own area of the same netlist.
"""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Mapping
from pathlib import Path

from orrery.errors import SpecError
from orrery.store import content_hash, open_plain

from . import _boolean
from ._groups import Group, read_groups
from ._library import Arc, Cell, FlipFlop, Library, Pin, Setup, Table

#: The library of this package: areas in NAND2 equivalents.
OWN_LIBRARY = Path(__file__).with_name("cells.lib")

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15}
_FARADS = {"f": 1.0, "mf": 1e-3, "uf": 1e-6, "nf": 1e-9, "pf": 1e-12, "ff": 1e-15}
#: Truth table -> what no library can do without: our unit, and what ABC stops for.
_NEEDED = {
    (1, 1, 1, 0): "a two-input NAND, the unit in which circuits are compared",
    (1, 0): "an inverter",
    (0, 1): "a buffer, which ABC asks for",
}
_EDGES = {"rising_edge", "falling_edge"}
_COMBINATIONAL = {"combinational", "combinational_rise", "combinational_fall"}


def read_library(path: Path | None = None) -> Library:
    """Read a Liberty file, plain or gzip; without a path the library of this package.

    Raises
    ------
    SpecError : no such file, not Liberty, units not understood, no flip-flop, NAND, inverter or
        buffer
    """
    path = OWN_LIBRARY if path is None else Path(path)
    wanted = "a Liberty file (.lib or .lib.gz)"
    try:
        with open_plain(path) as handle:
            data = handle.read()
    except FileNotFoundError:
        raise SpecError(
            str(path), found="no such file", wanted=wanted, fix="check the path"
        ) from None
    except OSError as error:
        raise SpecError(
            str(path), found=error.strerror, wanted=wanted, fix="check the path"
        ) from None
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SpecError(
            str(path), found=str(error), wanted=wanted, fix="give a Liberty file"
        ) from None
    return parse_library(text, where=str(path))


@functools.lru_cache(maxsize=4)
def parse_library(text: str, *, where: str) -> Library:
    """Read the text of a Liberty file; `where` names it in messages.

    Raises
    ------
    SpecError : as `read_library`
    """
    top = read_groups(text, where=where)
    if top.name != "library" or len(top.arguments) != 1:
        raise SpecError(
            where, found=f"a group {top.name!r}", wanted="library (name) { … }",
            fix="give a Liberty file",
        )  # fmt: skip
    time_s = _unit(top.text("time_unit") or "1ns", _TIMES, f"{where}: time_unit")
    load = top.pairs.get("capacitive_load_unit", ("1", "pf"))
    farad = _unit(f"{load[0]}{load[-1]}", _FARADS, f"{where}: capacitive_load_unit")
    templates = {group.arguments[0]: group for group in top.named("lu_table_template")}
    default = float(top.text("default_input_pin_cap") or 0.0)
    names = [group.arguments[0] for group in top.named("cell") if group.arguments]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(
            where, found=f"two cells {twice!r}", wanted="one of each name", fix="remove one of them"
        )
    cells = {
        group.arguments[0]: _cell(group, templates, default, f"{where}: {group.arguments[0]}")
        for group in top.named("cell")
        if group.arguments
    }
    library = Library(
        name=top.arguments[0], cells=cells, time_unit_s=time_s, capacitance_unit_f=farad,
        area_unit=top.text("area_unit") or "the library's area unit",
        content=content_hash(text), text=text,
    )  # fmt: skip
    if not any(cell.flip_flop and not cell.dont_use for cell in cells.values()):
        raise SpecError(
            where, found=f"{len(cells)} cells, none with an ff group", wanted="a D flip-flop",
            fix="give a library that has one, or add a cell with ff (IQ, IQN) { … }",
        )  # fmt: skip
    for table, what in _NEEDED.items():
        if library.smallest(table) is None:
            raise SpecError(
                where, found=f"{len(cells)} cells, none of them {what}", wanted=what,
                fix="give a library that has one whose function says so, not marked dont_use",
            )  # fmt: skip
    return library


def _unit(text: str, units: Mapping[str, float], where: str) -> float:
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-zA-Z]+)\s*", text)
    try:
        if match is not None:
            return float(match[1]) * units[match[2].lower()]
    except (KeyError, ValueError):
        pass
    raise SpecError(
        where, found=text, wanted=f"a number and one of {', '.join(units)}",
        fix='write e.g. time_unit : "1ps" and capacitive_load_unit (1, ff)',
    )  # fmt: skip


def _number(group: Group, name: str, where: str, default: float | None = None) -> float:
    text = group.text(name)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise SpecError(
            f"{where}: {name}", found=text, wanted="a number, zero or more",
            fix="correct it in the Liberty file",
        ) from None  # fmt: skip
    return value


def _cell(group: Group, templates: Mapping[str, Group], default: float, where: str) -> Cell:
    pins = {}
    for each in group.named("pin"):
        for name in each.arguments:
            pins[name] = _pin(each, name, templates, default, f"{where}.{name}")
    found = next(iter(group.named("ff")), None)
    flip_flop = None
    if found is not None:
        pair = (*found.arguments, "IQ", "IQN")
        texts = {
            key: _boolean.parse(text, where=f"{where}: ff.{key}")
            for key in ("clocked_on", "next_state", "clear", "preset")
            if (text := found.text(key)) is not None
        }
        if {"clocked_on", "next_state"} <= set(texts):
            flip_flop = FlipFlop(
                state=pair[0], inverse=pair[1] if len(found.arguments) > 1 else "",
                clocked_on=texts["clocked_on"], next_state=texts["next_state"],
                clear=texts.get("clear"), preset=texts.get("preset"),
            )  # fmt: skip
    other = any(next(iter(group.named(k)), None) for k in ("latch", "statetable", "ff_bank"))
    dont_use = group.text("dont_use") == "true"
    idle = dont_use or not any(pin.function for pin in pins.values())
    return Cell(
        # Only what is never placed may leave its area out: it would count as nothing.
        name=group.arguments[0], area=_number(group, "area", where, 0.0 if idle else None),
        pins=pins, flip_flop=flip_flop, dont_use=dont_use,
        other_state=other or (found is not None and flip_flop is None),
    )  # fmt: skip


def _pin(
    group: Group, name: str, templates: Mapping[str, Group], default: float, where: str
) -> Pin:
    arcs, setups = [], []
    function = group.text("function")
    direction = group.text("direction") or "input"
    for timing in group.named("timing"):
        kind = timing.text("timing_type") or "combinational"
        for related in (timing.text("related_pin") or "").split():
            if kind.startswith("setup_"):
                tables = [_table(timing, k, templates, where) for k in ("rise", "fall")]
                setups.append(Setup(related=related, rise=tables[0], fall=tables[1]))
            elif kind in _COMBINATIONAL or kind in _EDGES:
                arcs.append(_arc(timing, related, kind in _EDGES, templates, where))
    return Pin(
        name=name, direction=direction,
        capacitance=_number(group, "capacitance", where, default if direction == "input" else 0.0),
        function=None if function is None else _boolean.parse(function, where=where),
        clock=group.text("clock") == "true", arcs=tuple(arcs), setups=tuple(setups),
        three_state=group.text("three_state") is not None,
    )  # fmt: skip


def _arc(
    timing: Group, related: str, clocked: bool, templates: Mapping[str, Group], where: str
) -> Arc:
    tables = {}
    for edge in ("rise", "fall"):
        delay = _table(timing, f"cell_{edge}", templates, where)
        if delay is None and timing.text(f"intrinsic_{edge}") is not None:
            delay = Table.linear(
                _number(timing, f"intrinsic_{edge}", where),
                _number(timing, f"{edge}_resistance", where, 0.0),
            )
        tables[edge] = delay
        tables[f"{edge}_slew"] = _table(timing, f"{edge}_transition", templates, where)
    return Arc(
        related=related, clocked=clocked, sense=timing.text("timing_sense") or "non_unate",
        rise=tables["rise"], fall=tables["fall"], rise_slew=tables["rise_slew"],
        fall_slew=tables["fall_slew"],
    )  # fmt: skip


def _table(timing: Group, name: str, templates: Mapping[str, Group], where: str) -> Table | None:
    """Read ``cell_rise``, …; ``rise`` and ``fall`` are the constraints of a setup arc."""
    name = name if "_" in name else f"{name}_constraint"
    group = next(iter(timing.named(name)), None)
    if group is None:
        return None
    template = templates.get(group.arguments[0] if group.arguments else "")
    axes: list[tuple[str, tuple[float, ...]]] = []
    for position in ("1", "2", "3"):
        kind = None if template is None else template.text(f"variable_{position}")
        index = group.pairs.get(f"index_{position}") or (
            template.pairs.get(f"index_{position}") if template is not None else None
        )
        if kind is not None and index is not None:
            axes.append((kind, _numbers(index, f"{where}: {name}")))
    values = _numbers(group.pairs.get("values", ()), f"{where}: {name}")
    table = Table.shaped(axes, values)
    if table is None:
        raise SpecError(
            f"{where}: {name}", found=f"{len(values)} values, axes {[len(i) for _, i in axes]}",
            wanted="one value for each pair of indices", fix="correct the table or its template",
        )  # fmt: skip
    return table


def _numbers(texts: tuple[str, ...], where: str) -> tuple[float, ...]:
    words = " ".join(texts).replace(",", " ").split()
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise SpecError(
            where, found=" ".join(words), wanted="numbers", fix="correct the table"
        ) from None
