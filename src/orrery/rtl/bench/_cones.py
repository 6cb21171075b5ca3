"""Is a changed cell seen? What it feeds, up to the registers, is compared for all inputs.

The netlist is Yosys's JSON of one module; registers, memories and modules within are cut out:
what they show may be anything, and what they are given must be the same. Judge: Yosys' ``sat``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._yosys import ToolError, run_yosys
from ._changes import Cell, Change, binary, changed_cell, fresh_bits, sign_repeats

#: Attribute of the cells that are changed.
MARK = "orrery_changed"


def marked(parts: Any) -> tuple[str, ...]:
    """Return the names of the cells that bear `MARK`."""
    return tuple(name for name, cell in parts["cells"].items() if MARK in cell["attributes"])


def cone_unchanged(
    parts: Any, change: Change, original: Cell, *, doing: str, timeout_s: float
) -> bool:
    """Return whether it is proved that a change of the marked cells of a module is never seen.

    Parameters
    ----------
    parts : the module
    change : made to each marked cell
    original : the cell in its own module, to which the change belongs
    doing : as `run_yosys` takes it
    """
    cells: Mapping[str, Cell] = parts["cells"]
    places = marked(parts)
    if not all(
        is_operator(cells[name]) and _same_place(cells[name], original, change) for name in places
    ):
        return False
    gold = {name: cell for name, cell in cells.items() if is_operator(cell)}
    after = _downstream(gold, places)
    touched = {bit for name in after for bit in gold[name]["connections"]["Y"]}
    seen = sorted(touched & set(_read(parts, gold)))
    if not seen:
        return True
    before = _upstream(gold, seen)
    fresh = fresh_bits(parts)
    new = {bit: next(fresh) for bit in sorted(touched)}
    made: dict[str, Cell] = {name: gold[name] for name in before}
    for name in after & before:
        more = {"": gold[name]}
        if name in places:
            more = changed_cell(gold[name], change, fresh)
        for part, cell in more.items():
            other = copy.deepcopy(cell)
            for port, bits in other["connections"].items():
                other["connections"][port] = [new.get(bit, bit) for bit in bits]
            made[f"{name}$changed${part}"] = other
    same = next(fresh)
    made["compared"] = binary("$eq", seen, [new[bit] for bit in seen], [same])
    return _always(made, same, doing, timeout_s)


def _always(cells: Mapping[str, Cell], same: int, doing: str, timeout_s: float) -> bool:
    """Return whether it is proved in time that a bit is 1 for all inputs.

    What is undefined proves nothing: the solver takes it for a number of its choice.
    """
    if any(set("xz") & set(map(str, bits)) for c in cells.values() for bits in _wires(c)):
        return False
    driven = {bit for cell in cells.values() for bit in _outputs(cell)}
    free = sorted({bit for cell in cells.values() for bit in _inputs(cell)} - driven)
    ports: dict[str, Any] = {"same": {"direction": "output", "bits": [same]}}
    if free:
        ports["free"] = {"direction": "input", "bits": free}
    module = {
        "attributes": {"top": "1"}, "ports": ports, "cells": dict(cells),
        "netnames": {
            name: {"hide_name": 0, "bits": port["bits"], "attributes": {}}
            for name, port in ports.items()
        },
    }  # fmt: skip
    passes = [
        "read_json cone.json", "hierarchy -check -top cone", "opt -full",
        "sat -verify -prove same 1 cone",
    ]  # fmt: skip
    text = json.dumps({"modules": {"cone": module}})
    try:
        run_yosys(passes, doing=doing, inputs={"cone.json": text}, outputs=[], timeout_s=timeout_s)
    except ToolError:
        return False
    return True


def is_operator(cell: Cell) -> bool:
    """Return whether a cell is an operator: no register, memory, or module within."""
    kind = cell["type"]
    wires = cell["connections"]
    return kind.startswith("$") and "Y" in wires and not {"CLK", "EN", "Q"} & set(wires)


def _same_place(cell: Cell, original: Cell, change: Change) -> bool:
    """Return whether the change means in this copy what it means in the cell's own module."""
    kind, _ = change
    if kind != "sign extension":
        return True
    return all(
        sign_repeats(cell["connections"][port]) == sign_repeats(original["connections"][port])
        for port in ("A", "B")
        if port in cell["connections"]
    )


def _wires(cell: Cell) -> Iterator[list[Any]]:
    yield from cell["connections"].values()


def _outputs(cell: Cell) -> Iterator[int]:
    return (bit for bit in cell["connections"]["Y"] if not isinstance(bit, str))


def _inputs(cell: Cell) -> Iterator[int]:
    for port, bits in cell["connections"].items():
        if port != "Y":
            yield from (bit for bit in bits if not isinstance(bit, str))


def _read(parts: Any, gold: Mapping[str, Cell]) -> Iterator[int]:
    """Give the bits that the module shows, or gives to what is no operator."""
    for port in parts["ports"].values():
        if port["direction"] != "input":
            yield from port["bits"]
    for name, cell in parts["cells"].items():
        if name not in gold:
            for bits in cell["connections"].values():
                yield from (bit for bit in bits if not isinstance(bit, str))


def _downstream(gold: Mapping[str, Cell], places: Sequence[str]) -> set[str]:
    readers: dict[int, list[str]] = {}
    for name, cell in gold.items():
        for bit in _inputs(cell):
            readers.setdefault(bit, []).append(name)
    return _reached(
        places, lambda n: (r for bit in _outputs(gold[n]) for r in readers.get(bit, ()))
    )


def _upstream(gold: Mapping[str, Cell], seen: Sequence[int]) -> set[str]:
    drivers = {bit: name for name, cell in gold.items() for bit in _outputs(cell)}
    first = [drivers[bit] for bit in seen]
    return _reached(first, lambda n: (drivers[bit] for bit in _inputs(gold[n]) if bit in drivers))


def _reached(first: Sequence[str], further: Any) -> set[str]:
    found, waiting = set(first), list(first)
    while waiting:
        for name in further(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
