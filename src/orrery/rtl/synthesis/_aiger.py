"""Simulate a netlist as an and-inverter graph, 64 runs in each machine word.

Models: what one clock does to a synchronous netlist, cycle by cycle, two-state. Ignores: delays, x.
Judge: Icarus Verilog and closed forms in the tests; every synthesis compares it to the RTL.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code

from .._yosys import ToolError

Bits = NDArray[np.uint8]
#: Words of input that are simulated in one piece, to bound memory.
_PIECE = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class AndGraph:
    """An and-inverter graph: literal ``2 v`` is variable v, ``2 v + 1`` its inverse, 0 is false.

    Attributes
    ----------
    inputs, outputs : (port, bit) in the order of the literals
    input_literals, output_literals : int64
    latches : (variable, next literal, first value) of every flip-flop, shape (n, 3)
    gates : (variable, literal, literal) of every AND, operands before their users, shape (n, 3)
    """

    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    input_literals: NDArray[np.int64] = field(repr=False)
    output_literals: NDArray[np.int64] = field(repr=False)
    latches: NDArray[np.int64] = field(repr=False)
    gates: NDArray[np.int64] = field(repr=False)

    @property
    def variables(self) -> int:
        """How many variables there are, the constant among them."""
        return 1 + len(self.inputs) + len(self.latches) + len(self.gates)

    def simulate(
        self, stimulus: Mapping[str, Bits], *, held: Mapping[str, Sequence[int]] | None = None,
        first: NDArray[np.int64] | None = None,
    ) -> Mapping[str, Bits]:  # fmt: skip
        """Return the outputs of many runs.

        Parameters
        ----------
        stimulus : input port -> bits, shape (runs, cycles, width); ports left out are 0
        held : input port -> one value a cycle, for a port of one bit that all runs share (reset)
        first : what each flip-flop holds at first, 0 or 1, shape (latches,), or (runs, latches);
            by default its own first value

        Returns
        -------
        output port -> bits, shape (runs, cycles, width), sampled before the clock's edge
        """
        runs, cycles = next(iter(stimulus.values())).shape[:2]
        start = np.broadcast_to(
            self.latches[:, 2] if first is None else first, (runs, len(self.latches))
        )
        piece = max(64, _PIECE // max(1, cycles * len(self.inputs)) // 64 * 64)
        parts = [
            self._piece(
                {k: v[i : i + piece] for k, v in stimulus.items()}, cycles, held or {},
                start[i : i + piece],
            )
            for i in range(0, runs, piece)
        ]  # fmt: skip
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _piece(
        self,
        stimulus: Mapping[str, Bits],
        cycles: int,
        held: Mapping[str, Sequence[int]],
        start: NDArray[np.int64],
    ) -> dict[str, Bits]:
        runs = len(next(iter(stimulus.values())))
        words = -(-runs // 64)
        driven = np.zeros((cycles, len(self.inputs), words), np.uint64)
        for index, (port, bit) in enumerate(self.inputs):
            if port in stimulus:
                driven[:, index] = _packed(stimulus[port][:, :, bit], words)
            elif port in held:
                value = np.asarray(held[port], np.uint64)
                driven[:, index] = (np.uint64(0) - value)[:, None]
        read = _kernel()(
            driven, self.input_literals >> 1, self.output_literals, self.latches, self.gates,
            self.variables, _packed((start == 1).astype(np.uint8), words),
        )  # fmt: skip
        widths: dict[str, int] = {}
        for port, bit in self.outputs:
            widths[port] = max(widths.get(port, 0), bit + 1)
        found = {port: np.zeros((runs, cycles, n), np.uint8) for port, n in widths.items()}
        for index, (port, bit) in enumerate(self.outputs):
            bytes_ = np.ascontiguousarray(read[:, index]).view(np.uint8)
            found[port][:, :, bit] = np.unpackbits(bytes_, axis=1, bitorder="little").T[:runs]
        return found

    def reaching(self) -> frozenset[tuple[str, int]]:
        """Return the input bits from which a path of gates and flip-flops leads to an output."""
        operands: list[tuple[int, ...]] = [()] * self.variables
        for variable, one, other in self.gates.tolist():
            operands[variable] = (one >> 1, other >> 1)
        for variable, following, _ in self.latches.tolist():
            operands[variable] = (following >> 1,)
        heard = np.zeros(self.variables, np.bool_)
        waiting = (self.output_literals >> 1).tolist()
        while waiting:
            variable = waiting.pop()
            if not heard[variable]:
                heard[variable] = True
                waiting.extend(operands[variable])
        variables = self.input_literals >> 1
        return frozenset(self.inputs[i] for i in np.flatnonzero(heard[variables]))


def _packed(bits: Bits, words: int) -> NDArray[np.uint64]:
    """Pack (runs, cycles) bits into (cycles, words)."""
    packed = np.packbits(bits, axis=0, bitorder="little")
    full = np.zeros((bits.shape[1], words * 8), np.uint8)
    full[:, : len(packed)] = packed.T
    return full.view(np.uint64)


@functools.cache
def _kernel() -> Callable[..., Any]:
    return machine_code(_simulate)[0]


def _simulate(
    driven: Any, inputs: Any, outputs: Any, latches: Any, gates: Any, variables: Any, start: Any
) -> Any:
    """Play a graph cycle by cycle, 64 runs in a word."""
    cycles, _, words = driven.shape
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    zero = np.uint64(0)
    read = np.zeros((cycles, len(outputs), words), np.uint64)
    value = np.zeros((variables, words), np.uint64)
    following = start.copy()
    for t in range(cycles):
        for k in range(len(inputs)):
            for w in range(words):
                value[inputs[k], w] = driven[t, k, w]
        for k in range(len(latches)):
            for w in range(words):
                value[latches[k, 0], w] = following[k, w]
        for k in range(len(gates)):
            v, a, b = gates[k, 0], gates[k, 1], gates[k, 2]
            one = ones if a & 1 else zero
            other = ones if b & 1 else zero
            a >>= 1
            b >>= 1
            for w in range(words):
                value[v, w] = (value[a, w] ^ one) & (value[b, w] ^ other)
        for k in range(len(outputs)):
            a = outputs[k]
            one = ones if a & 1 else zero
            for w in range(words):
                read[t, k, w] = value[a >> 1, w] ^ one
        for k in range(len(latches)):
            a = latches[k, 1]
            one = ones if a & 1 else zero
            for w in range(words):
                following[k, w] = value[a >> 1, w] ^ one
    return read


def read_aiger(
    text: str, names: str, *, constants: Mapping[tuple[str, int], int], doing: str
) -> AndGraph:
    """Read the ASCII AIGER file and the map of its names that Yosys wrote.

    `constants` are the output bits that are always 0 or 1: Yosys leaves them out of the map.

    Raises
    ------
    ToolError : a file that is not whole
    """
    lines = text.splitlines()
    try:
        counts = [int(word) for word in lines[0].split()[1:6]]
        _, inputs, latches, outputs, ands = counts
        ends = np.cumsum([1, inputs, latches, outputs, ands]).tolist()
        driven = np.array([int(x) for x in lines[ends[0] : ends[1]]], np.int64)
        states = [[int(x) for x in line.split()] for line in lines[ends[1] : ends[2]]]
        # A third number is the first value: 0, 1 or the latch itself, which says "any".
        rows = [[s[0] >> 1, s[1], 1 if len(s) > 2 and s[2] == 1 else 0] for s in states]
        results = np.array([int(x) for x in lines[ends[2] : ends[3]]], np.int64)
        flat = np.array(" ".join(lines[ends[3] : ends[4]]).split(), np.int64).reshape(-1, 3)
        if len(driven) != inputs or len(rows) != latches or len(flat) != ands:
            raise ValueError("fewer lines than the header says")
        flat[:, 0] >>= 1
        known: dict[str, dict[int, tuple[str, int]]] = {"input": {}, "output": {}}
        for line in names.splitlines():
            kind, index, bit, name = line.split(maxsplit=3)
            if kind == "input" or (kind == "output" and (name, int(bit)) not in constants):
                known[kind][int(index)] = (name, int(bit))
        return AndGraph(
            inputs=tuple(known["input"][i] for i in range(inputs)),
            outputs=(*known["output"].values(), *constants),
            input_literals=driven,
            output_literals=np.array(
                [*results[list(known["output"])], *constants.values()], np.int64
            ),
            latches=np.array(rows, np.int64).reshape(-1, 3), gates=flat,
        )  # fmt: skip
    except (ValueError, IndexError, KeyError) as error:
        raise ToolError("yosys", doing=doing, why=f"wrote a broken AIGER file: {error}") from None


def to_bits(values: NDArray[Any], width: int) -> Bits:
    """Return the bits of a port's values, lowest first, shape (n, width).

    Values are integers of shape (n,), or 64-bit words, lowest first, of shape (n, words).
    """
    words = np.ascontiguousarray(values).astype("<i8" if values.dtype.kind == "i" else "<u8")
    rows = words.reshape(len(words), -1).view(np.uint8)
    bits = np.unpackbits(rows, axis=1, bitorder="little", count=None)
    return np.ascontiguousarray(bits[:, :width])


def from_bits(bits: Bits, *, signed: bool) -> NDArray[Any]:
    """Return the values of bits (n, width) as a simulation has them; inverse of `to_bits`."""
    n, width = bits.shape
    words = -(-width // 64)
    full = np.zeros((n, words * 64), np.uint8)
    full[:, :width] = bits
    if signed and width <= 64:
        full[:, width:] = bits[:, width - 1 : width]
    packed = np.packbits(full, axis=1, bitorder="little").view("<u8")
    if width > 64:
        return packed
    return packed[:, 0].view(np.int64) if signed else packed[:, 0]
