"""Inputs that show a wrong netlist: every value where there are few, else random and extremes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean

from .._circuit import Circuit, Port
from ._aiger import Bits, to_bits

#: A combinational circuit of no more input bits than this is compared on every input.
EXHAUSTIVE_BITS = 16
#: Bits of stimulus that one call makes at most, so that wide circuits fit into memory.
MOST_BITS = 2**27


@dataclass(frozen=True, slots=True, kw_only=True)
class Stimulus:
    """Input port -> bits, shape (runs, cycles, width); a combinational run has any cycles."""

    name: str
    bits: Mapping[str, Bits] = field(repr=False)
    exhaustive: bool = False


def check_ports(circuit: Circuit) -> None:
    """Raise where there is nothing to drive or nothing to see.

    Raises
    ------
    SpecError : a circuit without inputs or without outputs
    """
    for direction, one, fix in (
        ("in", "input", "give it an enable, so that it can be simulated for so many rows"),
        ("out", "output", "lead what it computes to an output; all of it would be optimised away"),
    ):
        if not any(port.direction == direction for port in circuit.ports):
            raise SpecError(
                f"circuit {circuit.name}", found=f"no {one}s", wanted=f"at least one {one}",
                fix=fix,
            )  # fmt: skip


def check_amounts(runs: int, cycles: int) -> None:
    """Raise where no random input would be compared.

    Raises
    ------
    SpecError : runs or cycles that are no whole number from 1
    """
    for name, number in (("runs", runs), ("cycles", cycles)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise SpecError(
                f"comparing with the circuit: {name}", found=number, wanted="a whole number from 1",
                fix="leave it out, or give how many random inputs are compared",
            )  # fmt: skip


def given(circuit: Circuit, vectors: Mapping[str, NDArray[Any]]) -> Stimulus:
    """Return the caller's vectors as one run.

    Raises
    ------
    SpecError : a port that is no input, ports left out, arrays of different length
    """
    ports = {port.name: port for port in circuit.ports if port.direction == "in"}
    where = f"vectors of {circuit.name}"
    for name in vectors:
        if name not in ports:
            raise SpecError(
                where, found=f"port {name!r}", wanted=f"inputs {', '.join(ports)}",
                fix=f"name its inputs{did_you_mean(name, ports)}",
            )  # fmt: skip
    missing = [name for name in ports if name not in vectors]
    alone = [name for name, values in vectors.items() if not np.ndim(values)]
    if alone:
        raise SpecError(
            f"{where}: {alone[0]}", found="one number alone", wanted="an array with a row a cycle",
            fix="give a list or an array",
        )  # fmt: skip
    lengths = {len(values) for values in vectors.values()}
    if missing or len(lengths) != 1 or 0 in lengths:
        raise SpecError(
            where,
            found=f"no {missing[0]!r}" if missing else f"lengths {sorted(lengths)}",
            wanted="an array for each input, all equally long and not empty",
            fix="give every input a value for each cycle",
        )
    bits = {name: to_bits(np.asarray(vectors[name]), ports[name].width)[None] for name in ports}
    return Stimulus(name="the given vectors", bits=bits)


def own(circuit: Circuit, *, runs: int, cycles: int, seed: int) -> list[Stimulus]:
    """Return our stimuli: extremes, one bit alone, and random bits of several densities."""
    ports = [port for port in circuit.ports if port.direction == "in"]
    total = sum(port.width for port in ports)
    if circuit.combinational and total <= EXHAUSTIVE_BITS:
        numbers = np.arange(2**total, dtype=np.uint64)
        every = _split(to_bits(numbers, total)[None], ports)
        return [Stimulus(name="every input", bits=every, exhaustive=True)]
    random = np.random.default_rng(seed)
    cycles = max(4, min(cycles, MOST_BITS // max(1, runs * total)))
    drawn = np.empty((runs, cycles, total), np.uint8)
    for run in range(runs):
        chance = _DENSITIES[run % len(_DENSITIES)]
        drawn[run] = random.random((cycles, total), np.float32) < chance
    controls = _controls(circuit)
    for index, name in enumerate(controls):
        chances = [_MOVING[(run + index) % len(_MOVING)] for run in range(runs)]
        column = _columns(ports)[name]
        drawn[:, :, column] = random.random((runs, cycles, 1)) < np.reshape(chances, (-1, 1, 1))
    extremes = np.zeros((2, min(cycles, 16), total), np.uint8)
    extremes[1] = 1
    alone = np.zeros((2, min(total, MOST_BITS // max(1, total)), total), np.uint8)
    rows = np.arange(alone.shape[1])
    alone[0, rows, rows] = 1
    alone[1] = 1
    alone[1, rows, rows] = 0
    for name in controls:
        alone[:, :, _columns(ports)[name]] = 1
    return [
        Stimulus(name=name, bits=_split(bits, ports))
        for name, bits in (
            ("random bits", drawn), ("all zeros and all ones", extremes), ("one bit alone", alone)
        )
    ]  # fmt: skip


#: Chance of a one in each run of random bits: half of them, and nearly empty or full words.
_DENSITIES = (0.5, 0.5, 0.1, 0.9)
#: Chance that a side of a handshake is willing in a cycle, by run.
_MOVING = (0.9, 0.5, 1.0, 0.2, 0.97)


def _controls(circuit: Circuit) -> list[str]:
    """Return the inputs that offer or take items: valid going in, ready for what comes out."""
    return [s.valid if s.direction == "in" else s.ready for s in circuit.streams]


def _columns(ports: list[Port]) -> dict[str, slice]:
    ends = np.cumsum([port.width for port in ports]).tolist()
    return {port.name: slice(end - port.width, end) for port, end in zip(ports, ends, strict=True)}


def _split(bits: Bits, ports: list[Port]) -> dict[str, Bits]:
    return {name: bits[:, :, column] for name, column in _columns(ports).items()}
