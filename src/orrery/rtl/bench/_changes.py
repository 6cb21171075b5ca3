"""Which single operators of a netlist can be changed, and how.

The netlist is Yosys's JSON of a design after ``proc``: cells are the operators of the text, a
register's reset and enable are multiplexers before it. Nothing here runs a tool.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

Cell = dict[str, Any]
#: (kind, choice): what is done to a cell.
Change = tuple[str, int]

#: operator -> operators that it is changed to
_SWAPPED = {
    "$add": ("$sub",), "$sub": ("$add",), "$and": ("$or", "$xor"), "$or": ("$and", "$xor"),
    "$xor": ("$or", "$and"), "$xnor": ("$xor",), "$eq": ("$ne",), "$ne": ("$eq",),
    "$lt": ("$le", "$gt"), "$le": ("$lt",), "$gt": ("$ge", "$lt"), "$ge": ("$gt",),
    "$logic_and": ("$logic_or",), "$logic_or": ("$logic_and",), "$not": ("$pos",),
    "$neg": ("$pos",), "$logic_not": ("$reduce_bool",), "$reduce_bool": ("$logic_not",),
    "$reduce_or": ("$reduce_and",), "$reduce_and": ("$reduce_or",), "$reduce_xor": ("$reduce_or",),
    "$sshr": ("$shr",),
}  # fmt: skip
_SHIFTS = ("$shl", "$shr", "$sshl", "$sshr", "$shift", "$shiftx")
_SIGNED = ("$add", "$sub", "$mul", "$neg", "$lt", "$le", "$gt", "$ge", "$eq", "$ne")
#: Cells whose constant inputs stand as numbers in the text.
_WITH_CONSTANTS = (*_SIGNED, *_SHIFTS, "$mux", "$pmux", "$and", "$or", "$xor")


def output_of(cell: Cell) -> str:
    """Return the name of a cell's one output port."""
    return "RD_DATA" if cell["type"] == "$mem_v2" else "Y"


def changes_of(
    cell: Cell, *, reset: object, registers: set[tuple[object, ...]]
) -> Iterator[Change]:
    """Give every change of a cell.

    Parameters
    ----------
    reset : bit of the module's reset, or None
    registers : outputs of the module's flip-flops; a multiplexer that passes one is an enable
    """
    kind, wires = cell["type"], cell["connections"]
    for choice, other in enumerate(_SWAPPED.get(kind, ())):
        yield f"{kind[1:]} to {other[1:]}", choice
    if kind == "$mux":
        resetting = wires["S"] == [reset]
        arms = tuple(wires["A"]), tuple(wires["B"])
        if resetting:
            for port in "AB":
                for bit in _constant_bits(wires[port]):
                    yield "reset value", "AB".index(port) * 4096 + bit
            return
        if arms[0] != arms[1]:
            yield "enable inverted" if registers & set(arms) else "arms swapped", 0
    if kind == "$pmux":
        width = len(wires["A"])
        cases = [wires["B"][k : k + width] for k in range(0, len(wires["B"]), width)]
        for k, case in enumerate(cases):
            if case != (cases[k - 1] if k else wires["A"]):
                yield "arms swapped", k
    if kind == "$mem_v2" and any(not isinstance(bit, str) for bit in wires["WR_EN"]):
        yield "enable inverted", 0
    if kind in _SHIFTS and not all(isinstance(bit, str) for bit in wires["B"]):
        yield from (("shift by one more", 0), ("shift by one less", 0))
    if kind in _SIGNED:
        for number, port in enumerate("AB"):
            if port in wires and sign_repeats(wires[port]):
                yield "sign extension", number
        if int(cell["parameters"].get("A_SIGNED", "0"), 2) and _wider(cell):
            yield "sign extension", 2
    if kind in _WITH_CONSTANTS:
        for number, port in enumerate("AB"):
            for bit in _constant_bits(wires.get(port, [])):
                yield "constant", number * 4096 + bit


def changed_cell(cell: Cell, change: Change, fresh: Iterator[int]) -> dict[str, Cell]:
    """Return the changed cell, under ``""``, and further cells that it needs, by name.

    Parameters
    ----------
    fresh : numbers of bits that are not used yet
    """
    kind, choice = change
    new = copy.deepcopy(cell)
    wires, more = new["connections"], {}
    if " to " in kind:
        new["type"] = _SWAPPED[cell["type"]][choice]
        if new["type"] in ("$pos", "$reduce_bool", "$logic_not"):
            new["parameters"].pop("B_SIGNED", None)
    elif kind in ("constant", "reset value"):
        port, bit = "AB"[choice // 4096], choice % 4096
        wires[port][bit] = "10"[int(wires[port][bit])]
    elif kind == "sign extension":
        if choice == 2:
            for name in ("A_SIGNED", "B_SIGNED"):
                if name in new["parameters"]:
                    new["parameters"][name] = "0" * 32
        else:
            bits = wires["AB"[choice]]
            for place in range(len(bits) - sign_repeats(bits), len(bits)):
                bits[place] = "0"
    elif kind.startswith("shift by"):
        amount = wires["B"]
        wider = [next(fresh) for _ in range(len(amount) + 1)]
        operator = "$add" if kind.endswith("more") else "$sub"
        # One less than no shift is none: the amount has no sign.
        more["amount"] = binary(operator, amount, ["1"], wider)
        wires["B"] = wider[:-1] if operator == "$sub" else wider
        new["parameters"]["B_WIDTH"] = _number(len(wires["B"]))
    elif cell["type"] == "$mux":
        wires["A"], wires["B"] = wires["B"], wires["A"]
    elif cell["type"] == "$pmux":
        width = len(wires["A"])
        first = slice(choice * width, (choice + 1) * width)
        arm = wires["B"][first]
        if choice:
            before = slice((choice - 1) * width, choice * width)
            wires["B"][first], wires["B"][before] = wires["B"][before], arm
        else:
            wires["A"], wires["B"][first] = arm, wires["A"]
    else:  # the memory's write enable
        bits = wires["WR_EN"]
        other = [next(fresh) for _ in bits]
        more["enable"] = {
            "hide_name": 1, "type": "$not", "attributes": {},
            "parameters": {"A_SIGNED": _number(0), "A_WIDTH": _number(len(bits)),
                           "Y_WIDTH": _number(len(bits))},
            "port_directions": {"A": "input", "Y": "output"},
            "connections": {"A": bits, "Y": other},
        }  # fmt: skip
        wires["WR_EN"] = other
    return {"": new, **more}


def fresh_bits(parts: Any) -> Iterator[int]:
    """Give numbers of bits that a module does not use yet."""
    used = [bit for net in parts["netnames"].values() for bit in net["bits"]]
    used += [
        bit for c in parts["cells"].values() for bits in c["connections"].values() for bit in bits
    ]
    return itertools.count(max((bit for bit in used if isinstance(bit, int)), default=1) + 1)


def binary(operator: str, left: list[Any], right: list[Any], output: list[int]) -> Cell:
    """Return an operator of two operands without signs."""
    return {
        "hide_name": 1, "type": operator, "attributes": {},
        "parameters": {
            "A_SIGNED": _number(0), "B_SIGNED": _number(0), "A_WIDTH": _number(len(left)),
            "B_WIDTH": _number(len(right)), "Y_WIDTH": _number(len(output)),
        },
        "port_directions": {"A": "input", "B": "input", "Y": "output"},
        "connections": {"A": left, "B": right, "Y": output},
    }  # fmt: skip


def _constant_bits(bits: list[Any]) -> list[int]:
    """Return the places of a number that is constant all through; none where it is not."""
    if not bits or any(bit not in ("0", "1") for bit in bits):
        return []
    return list(range(len(bits)))


def sign_repeats(bits: list[Any]) -> int:
    """Return how many of the highest bits repeat the sign below them."""
    count = 0
    while count + 1 < len(bits) and bits[-2 - count] == bits[-1] and not isinstance(bits[-1], str):
        count += 1
    return count


def _wider(cell: Cell) -> bool:
    widths = [len(cell["connections"].get(port, ())) for port in "AB"]
    return len(cell["connections"]["Y"]) > min(w for w in widths if w)


def _number(value: int) -> str:
    return f"{value:032b}"


def selected(bits: list[int], number: int, output: int) -> Cell:
    """Return a cell that says whether `bits` hold a number."""
    wanted = [str(number >> place & 1) for place in range(len(bits))]
    return binary("$eq", list(bits), wanted, [output])


def either(no: list[Any], yes: list[Any], select: int, output: list[Any]) -> Cell:
    """Return a multiplexer."""
    return {
        "hide_name": 1, "type": "$mux", "attributes": {},
        "parameters": {"WIDTH": _number(len(output))},
        "port_directions": {"A": "input", "B": "input", "S": "input", "Y": "output"},
        "connections": {"A": no, "B": yes, "S": [select], "Y": output},
    }  # fmt: skip


def said_of(cell: Cell, change: Change, names: Mapping[object, str]) -> str:
    """Return a change as a sentence: what, at which signal."""
    kind, choice = change
    outputs = cell["connections"][output_of(cell)]
    where = next((names[bit] for bit in outputs if bit in names), "an inner signal")
    if kind in ("constant", "reset value"):
        bits = cell["connections"]["AB"[choice // 4096]]
        number = int("".join(reversed(bits)), 2)
        return f"{kind} {number} to {number ^ (1 << choice % 4096)} at {where}"
    return f"{kind} at {where}"
