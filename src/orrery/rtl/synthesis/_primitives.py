"""The primitives of an FPGA, as what they compute.

Models: look-up tables, wide multiplexers, carry chains, flip-flops and shift registers of the 7
series and UltraScale families, as the libraries guides define them. Ignores: timing, everything
else (memories, multipliers: those netlists are read by Yosys' own models, `_netlist.and_graph`).
Source: UltraScale Architecture Libraries Guide, Xilinx UG974. Judge: Yosys' models of the same
cells, the same answers in every cycle (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._gates import FALSE, Meaning, Nodes, Pins

#: what a look-up table is -> its pins and its bits; None: as its parameter says
_TABLES: Mapping[str, tuple[tuple[str, ...], int | None]] = {
    **{f"LUT{n}": (tuple(f"I{k}" for k in range(n)), None) for n in range(1, 7)},
    "INV": (("I",), 0b01),
    **{f"MUXF{n}": (("I0", "I1", "S"), 0b1100_1010) for n in (7, 8, 9)},
}


def xilinx_meaning(cell: Mapping[str, Any]) -> Meaning | None:
    """Return what a cell computes; None where it is not told here."""
    kind, facts = str(cell["type"]), cell["parameters"]
    if any(_number(v) for name, v in facts.items() if name.startswith("IS_")):
        return None  # an inverted pin
    if kind in _TABLES:
        reads, table = _TABLES[kind]
        return _Table(reads, table=_number(facts["INIT"]) if table is None else table)
    if kind == "CARRY4" or (
        kind == "CARRY8" and str(facts.get("CARRY_TYPE", "SINGLE_CY8")) == "SINGLE_CY8"
    ):
        return _Carry(("CI", "CYINIT", "DI", "S"), ("CO", "O"), bits=int(kind[5:]))
    initial = _number(facts.get("INIT", "x"))
    if kind in {"FDRE", "FDSE"}:
        return _Flop(sets=kind == "FDSE", initial=initial & 1)
    if kind == "SRL16E":
        return _Shift(states=16, initial=initial, reads=("A0", "A1", "A2", "A3"), drives=("Q",))
    if kind == "SRLC32E":
        return _Shift(states=32, initial=initial, reads=("A",), drives=("Q", "Q31"))
    return None


def _number(value: Any) -> int:
    """Return a parameter's number; bits that are x count as 0."""
    if isinstance(value, int):
        return value
    return int("0" + "".join(c if c in "01" else "0" for c in str(value)), 2)


@dataclass(frozen=True, slots=True)
class _Logic:
    """A primitive without state."""

    reads: Sequence[str]
    drives: Sequence[str] = ("O",)
    clock: None = None
    states: int = 0

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return []

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table(_Logic):
    """A look-up table: the bit of `table` whose number its pins spell, the first one lowest."""

    table: int

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        return {"O": [_read(nodes, [_one(pins, pin) for pin in self.reads], self.table)]}


def _read(nodes: Nodes, address: Sequence[int], table: int) -> int:
    """Return a bit of a constant table, halves that are alike only once."""
    if not address:
        return table & 1
    half = 1 << (len(address) - 1)
    low, high = table & ((1 << half) - 1), (table >> half) & ((1 << half) - 1)
    if low == high:
        return _read(nodes, address[:-1], low)
    one, other = (_read(nodes, address[:-1], part) for part in (high, low))
    return nodes.choose(address[-1], one, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carry(_Logic):
    """CARRY4 and CARRY8 as one chain."""

    bits: int

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        carry = nodes.either(_one(pins, "CI"), _one(pins, "CYINIT"))
        sums, carries = [], []
        zeros = [FALSE] * self.bits
        for half, direct in zip(pins("S") or zeros, pins("DI") or zeros, strict=True):
            sums.append(nodes.differ(half, carry))
            carry = nodes.choose(half, carry, direct)
            carries.append(carry)
        return {"O": sums, "CO": carries}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flop:
    """FDRE and FDSE: clock enable, synchronous reset or set."""

    sets: bool
    initial: int
    clock: str = "C"
    states: int = 1
    reads: Sequence[str] = ()
    drives: Sequence[str] = ("Q",)

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return [self.initial]

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        return {"Q": list(held)}

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        moved = nodes.choose(_one(pins, "CE"), _one(pins, "D"), held[0])
        if self.sets:
            return [nodes.either(moved, _one(pins, "S"))]
        return [nodes.both(moved, _one(pins, "R") ^ 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shift:
    """SRL16E and SRLC32E: a shift register of `states` bits that is read at an address."""

    states: int
    initial: int
    reads: Sequence[str]
    drives: Sequence[str]
    clock: str = "CLK"

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return [self.initial >> k & 1 for k in range(self.states)]

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        left = list(held)
        for bit in [bit for pin in self.reads for bit in pins(pin) or [FALSE]]:
            left = [nodes.choose(bit, high, low) for low, high in zip(left[::2], left[1::2])]
        return {"Q": left[:1], "Q31": [held[-1]]}

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        enable, data = _one(pins, "CE"), _one(pins, "D")
        return [
            nodes.choose(enable, before, own)
            for own, before in zip(held, (data, *held[:-1]), strict=True)
        ]


def _one(pins: Pins, pin: str) -> int:
    """Return the literal of a pin of one bit; an open one is 0."""
    return (pins(pin) or [FALSE])[0]
