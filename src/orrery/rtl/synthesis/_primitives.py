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

__all__ = ["xilinx_meaning"]


def xilinx_meaning(cell: Mapping[str, Any]) -> Meaning | None:
    """Return what a cell computes; None where it is not told here."""
    kind, facts = str(cell["type"]), cell["parameters"]
    if any(_number(v) for name, v in facts.items() if name.startswith("IS_")):
        return None  # an inverted pin
    if kind[:3] == "LUT" and kind[3:] in {"1", "2", "3", "4", "5", "6"}:
        return _Table(int(kind[3:]), _number(facts["INIT"]))
    if kind == "INV":
        return _Inverter()
    if kind in {"MUXF7", "MUXF8", "MUXF9"}:
        return _Choice()
    if kind == "CARRY4":
        return _Carry(4)
    if kind == "CARRY8" and str(facts.get("CARRY_TYPE", "SINGLE_CY8")) == "SINGLE_CY8":
        return _Carry(8)
    if kind in {"FDRE", "FDSE"}:
        return _Flop(kind == "FDSE", _number(facts.get("INIT", "x")) & 1)
    if kind in {"SRL16E", "SRLC32E"}:
        return _Shift(16 if kind == "SRL16E" else 32, _number(facts.get("INIT", "x")))
    return None


def _number(value: Any) -> int:
    """Return a parameter's number; bits that are x count as 0."""
    if isinstance(value, int):
        return value
    return int("0" + "".join(c if c in "01" else "0" for c in str(value)), 2)


@dataclass(frozen=True, slots=True)
class _Logic:
    """A primitive without state."""

    @property
    def clock(self) -> str | None:
        return None

    @property
    def states(self) -> int:
        return 0

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return []

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        return []


@dataclass(frozen=True, slots=True)
class _Table(_Logic):
    """LUT1 to LUT6: bit number I5…I0 of `table`."""

    inputs: int
    table: int

    @property
    def reads(self) -> Sequence[str]:
        return tuple(f"I{k}" for k in range(self.inputs))

    @property
    def drives(self) -> Sequence[str]:
        return ("O",)

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


@dataclass(frozen=True, slots=True)
class _Inverter(_Logic):
    """INV."""

    @property
    def reads(self) -> Sequence[str]:
        return ("I",)

    @property
    def drives(self) -> Sequence[str]:
        return ("O",)

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        return {"O": [_one(pins, "I") ^ 1]}


@dataclass(frozen=True, slots=True)
class _Choice(_Logic):
    """MUXF7, MUXF8, MUXF9."""

    @property
    def reads(self) -> Sequence[str]:
        return ("I0", "I1", "S")

    @property
    def drives(self) -> Sequence[str]:
        return ("O",)

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        low, high, select = (_one(pins, pin) for pin in self.reads)
        return {"O": [nodes.choose(select, high, low)]}


@dataclass(frozen=True, slots=True)
class _Carry(_Logic):
    """CARRY4 and CARRY8 as one chain."""

    bits: int

    @property
    def reads(self) -> Sequence[str]:
        return ("CI", "CYINIT", "DI", "S")

    @property
    def drives(self) -> Sequence[str]:
        return ("CO", "O")

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        carry = nodes.either(_one(pins, "CI"), _one(pins, "CYINIT"))
        sums, carries = [], []
        zeros = [FALSE] * self.bits
        for half, direct in zip(pins("S") or zeros, pins("DI") or zeros, strict=True):
            sums.append(nodes.differ(half, carry))
            carry = nodes.choose(half, carry, direct)
            carries.append(carry)
        return {"O": sums, "CO": carries}


@dataclass(frozen=True, slots=True)
class _Flop:
    """FDRE and FDSE: clock enable, synchronous reset or set."""

    sets: bool
    initial: int

    @property
    def clock(self) -> str | None:
        return "C"

    @property
    def states(self) -> int:
        return 1

    @property
    def reads(self) -> Sequence[str]:
        return ()

    @property
    def drives(self) -> Sequence[str]:
        return ("Q",)

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return [self.initial]

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        return {"Q": list(held)}

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        moved = nodes.choose(_one(pins, "CE"), _one(pins, "D"), held[0])
        if self.sets:
            return [nodes.either(moved, _one(pins, "S"))]
        return [nodes.both(moved, _one(pins, "R") ^ 1)]


@dataclass(frozen=True, slots=True)
class _Shift:
    """SRL16E and SRLC32E: a shift register that is read at an address."""

    depth: int
    initial: int

    @property
    def clock(self) -> str | None:
        return "CLK"

    @property
    def states(self) -> int:
        return self.depth

    @property
    def reads(self) -> Sequence[str]:
        return ("A0", "A1", "A2", "A3") if self.depth == 16 else ("A",)

    @property
    def drives(self) -> Sequence[str]:
        return ("Q",) if self.depth == 16 else ("Q", "Q31")

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        return [self.initial >> k & 1 for k in range(self.depth)]

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
