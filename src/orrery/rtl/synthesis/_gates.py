"""A netlist of cells as an and-inverter graph, from what each cell is said to compute.

Models: the functions and flip-flops that a Liberty file states, or those of an FPGA's primitives
(`_primitives`), first values as the netlist has them. Ignores: delays, x (an open pin is 0). No
pass of the tool that made the netlist has a part in it, so that what is simulated is the netlist
and not what the tool thinks of it. Judge: Yosys' own graph of the same netlist
(`_netlist.and_graph`), the same answers in every cycle (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .._circuit import Circuit
from ._aiger import AndGraph
from ._boolean import Expression
from ._library import Cell, Library
from ._netlist import MiscompiledError

FALSE, TRUE = 0, 1
#: Pin of a cell -> the literals of its bits, lowest first.
Pins = Callable[[str], list[int]]


class Nodes:
    """AND nodes, each once; the inverse of a literal is ``literal ^ 1``."""

    def __init__(self, variables: int) -> None:
        self.variables = variables
        self.rows: list[tuple[int, int, int]] = []
        self._known: dict[tuple[int, int], int] = {}

    def both(self, one: int, other: int) -> int:
        """Return the AND; known ones and constants need no new node."""
        if one > other:
            one, other = other, one
        if one == FALSE or one == other ^ 1:
            return FALSE
        if one in {TRUE, other}:
            return other
        found = self._known.get((one, other))
        if found is None:
            found = self._known[one, other] = 2 * self.variables
            self.rows.append((self.variables, one, other))
            self.variables += 1
        return found

    def either(self, one: int, other: int) -> int:
        """Return the OR."""
        return self.both(one ^ 1, other ^ 1) ^ 1

    def differ(self, one: int, other: int) -> int:
        """Return the exclusive OR."""
        return self.either(self.both(one, other ^ 1), self.both(one ^ 1, other))

    def choose(self, select: int, one: int, other: int) -> int:
        """Return `one` where `select` is 1, else `other`."""
        if one == other:
            return one
        return self.either(self.both(select, one), self.both(select ^ 1, other))


class Meaning(Protocol):
    """What a cell computes.

    Attributes
    ----------
    clock : the pin of its clock, None where it holds no state
    reads : pins that its outputs follow at once
    drives : its outputs
    states : bits that it holds
    """

    @property
    def clock(self) -> str | None: ...
    @property
    def reads(self) -> Sequence[str]: ...
    @property
    def drives(self) -> Sequence[str]: ...
    @property
    def states(self) -> int: ...

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        """Return the first states; `wanted` says what an output's net is given at first."""

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        """Return the literals of its outputs."""

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        """Return the literals of the next states.

        Raises
        ------
        ValueError : it does something that is no state of a synchronous circuit; what
        """


def gate_graph(
    circuit: Circuit, module: Mapping[str, Any], library: Library, *, doing: str
) -> AndGraph:
    """Return a flat netlist of a library's cells as an and-inverter graph.

    Parameters
    ----------
    circuit : gives ports, clock and reset
    module : a flat module of Yosys' JSON

    Raises
    ------
    MiscompiledError : as `netlist_graph`
    """
    known = {name: _LibraryCell(cell) for name, cell in library.cells.items()}
    return netlist_graph(
        circuit, module, lambda cell: known.get(cell["type"]), of=library.name, doing=doing
    )


def netlist_graph(
    circuit: Circuit, module: Mapping[str, Any],
    meaning: Callable[[Mapping[str, Any]], Meaning | None], *, of: str, doing: str,
) -> AndGraph:  # fmt: skip
    """Return a flat netlist as an and-inverter graph.

    Parameters
    ----------
    module : a flat module of Yosys' JSON
    meaning : of one of its cells, None where there is none
    of : whose cells these are, for messages

    Raises
    ------
    MiscompiledError : a cell that is none of those, a flip-flop that is not clocked by the rising
        edge of the circuit's clock or set by something else, a net without a driver or with two, a
        loop of gates, a port that the netlist has not
    """
    return _Netlist(circuit, module, meaning, of, doing).graph()


class _Netlist:
    def __init__(
        self, circuit: Circuit, module: Mapping[str, Any],
        meaning: Callable[[Mapping[str, Any]], Meaning | None], of: str, doing: str,
    ) -> None:  # fmt: skip
        self.circuit, self.doing = circuit, doing
        self.literal: dict[Any, int] = {"0": FALSE, "1": TRUE, "x": FALSE, "z": FALSE}
        self.ports: Mapping[str, Any] = module["ports"]
        self.kinds: dict[str, Meaning] = {}
        self.pins: dict[str, Mapping[str, list[Any]]] = {}
        self.type: dict[str, str] = {}
        self.driver: dict[Any, str] = {}
        for name, cell in module["cells"].items():
            if cell["type"] == "$scopeinfo":
                continue
            kind = meaning(cell)
            if kind is None:
                raise self.wrong(f"cell {name} is a {cell['type']}, which {of} has not")
            self.kinds[name], self.type[name] = kind, cell["type"]
            pins = self.pins[name] = cell["connections"]
            for pin in kind.drives:
                for bit in pins.get(pin, ()):
                    if bit in self.driver or isinstance(bit, str):
                        other = self.driver.get(bit, "a constant")
                        raise self.wrong(f"net {bit} is driven by {other} and {name}")
                    self.driver[bit] = name
        self.initial = _first_values(module)
        clock = self.ports.get(circuit.clock) if circuit.clock else None
        self.clock = clock["bits"] if clock else None

    def wrong(self, why: str) -> MiscompiledError:
        return MiscompiledError("yosys", doing=self.doing, why=why)

    def graph(self) -> AndGraph:
        inputs = list(self._inputs())
        for variable, (_, _, bit) in enumerate(inputs, start=1):
            if bit in self.driver:
                raise self.wrong(f"the net of an input is driven by {self.driver[bit]} too")
            self.literal[bit] = 2 * variable
        held: dict[str, list[int]] = {}
        free = 1 + len(inputs)
        for name, kind in self.kinds.items():
            held[name] = [2 * (free + k) for k in range(kind.states)]
            free += kind.states
        nodes = Nodes(free)
        for name in self._ordered():
            kind = self.kinds[name]
            for pin, values in kind.outputs(nodes, self._pins(name), held[name]).items():
                for bit, value in zip(self.pins[name].get(pin, ()), values, strict=False):
                    self.literal[bit] = value
        latches: list[tuple[int, int, int]] = []
        for name, kind in self.kinds.items():
            if kind.states:
                latches += self._latches(name, kind, nodes, held[name])
        outputs = list(self._outputs())
        return AndGraph(
            inputs=tuple((port, k) for port, k, _ in inputs),
            outputs=tuple((port, k) for port, k, _ in outputs),
            input_literals=np.arange(2, 2 * len(inputs) + 2, 2, dtype=np.int64),
            output_literals=np.array([value for _, _, value in outputs], np.int64),
            latches=np.array(latches, np.int64).reshape(-1, 3),
            gates=np.array(nodes.rows, np.int64).reshape(-1, 3),
        )  # fmt: skip

    def _inputs(self) -> Iterator[tuple[str, int, Any]]:
        """Yield port, place and net of every input but the clock."""
        for port, found in self.ports.items():
            if found["direction"] == "input" and port != self.circuit.clock:
                for place, bit in enumerate(found["bits"]):
                    yield port, place, bit

    def _outputs(self) -> Iterator[tuple[str, int, int]]:
        for port in self.circuit.ports:
            if port.direction == "out":
                bits = self.ports[port.name]["bits"] if port.name in self.ports else []
                if len(bits) != port.width:
                    raise self.wrong(f"the netlist has no port {port.name} of the circuit's width")
                for place, bit in enumerate(bits):
                    yield port.name, place, self._value(bit, f"output {port.name}[{place}]")

    def _ordered(self) -> list[str]:
        """Return the cells, each after those that its outputs follow."""
        waits: dict[str, int] = {}
        users: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            waits[name] = 0
            for pin in kind.reads:
                for bit in self.pins[name].get(pin, ()):
                    source = self.driver.get(bit)
                    if source is not None:
                        waits[name] += 1
                        users.setdefault(source, []).append(name)
        ready = [name for name, n in waits.items() if n == 0]
        for name in ready:  # grows while it is read
            for user in users.get(name, ()):
                waits[user] -= 1
                if waits[user] == 0:
                    ready.append(user)
        if len(ready) != len(waits):
            stuck = next(name for name, n in waits.items() if n)
            raise self.wrong(f"gate {stuck} stands in a loop, or after one, without a flip-flop")
        return ready

    def _latches(
        self, name: str, kind: Meaning, nodes: Nodes, held: Sequence[int]
    ) -> list[tuple[int, int, int]]:
        where = f"flip-flop {name} ({self.type[name]})"
        if kind.clock is None or self.clock is None or self._nets(name, kind.clock) != self.clock:
            raise self.wrong(
                f"{where} is not clocked by the rising edge of "
                f"{self.circuit.clock or 'anything: the circuit is combinational'}; write the "
                "circuit with one clock and no gate in it"
            )
        try:
            following = kind.following(nodes, self._pins(name), held)
        except ValueError as error:
            raise self.wrong(f"{where} {error}; the circuit's reset is synchronous") from None
        first = kind.first(lambda pin: self.initial.get((self._nets(name, pin) or [None])[0]))
        return [(own >> 1, next_, at) for own, next_, at in zip(held, following, first)]

    def _nets(self, name: str, pin: str) -> list[Any]:
        return list(self.pins[name].get(pin, ()))

    def _pins(self, name: str) -> Pins:
        def of(pin: str) -> list[int]:
            where = f"pin {pin} of {name}"
            return [self._value(bit, where) for bit in self.pins[name].get(pin, ())]

        return of

    def _value(self, bit: Any, where: str) -> int:
        found = self.literal.get(bit)
        if found is None and self.clock is not None and bit in self.clock:
            raise self.wrong(f"{where} reads the clock; write the circuit with no gate in it")
        if found is None:
            raise self.wrong(f"{where} has no driver")
        return found


def _first_values(module: Mapping[str, Any]) -> dict[Any, int]:
    """Return net -> the value that the circuit gives it before the first clock."""
    found: dict[Any, int] = {}
    for net in module.get("netnames", {}).values():
        text = str(net.get("attributes", {}).get("init", ""))
        for bit, value in zip(net["bits"], reversed(text), strict=False):
            if value in "01" and isinstance(bit, int):
                found[bit] = int(value)
    return found


@dataclass(frozen=True, slots=True)
class _LibraryCell:
    """A cell of a Liberty file."""

    cell: Cell

    @property
    def clock(self) -> str | None:
        clocked = None if self.cell.flip_flop is None else self.cell.flip_flop.clocked_on
        return clocked[1] if clocked is not None and clocked[0] == "name" else None

    @property
    def reads(self) -> Sequence[str]:
        return self.cell.inputs if self.cell.flip_flop is None else ()

    @property
    def drives(self) -> Sequence[str]:
        return self.cell.outputs

    @property
    def states(self) -> int:
        return 0 if self.cell.flip_flop is None else 1

    def first(self, wanted: Callable[[str], int | None]) -> Sequence[int]:
        """Return the state that gives an output's net its value; 0 where none has one."""
        flip_flop = self.cell.flip_flop
        for pin in self.cell.outputs:
            value = wanted(pin)
            if value is not None and flip_flop is not None:
                return [value ^ int(self.cell.pins[pin].function != ("name", flip_flop.state))]
        return [0]

    def outputs(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Mapping[str, list[int]]:
        found = {}
        for pin in self.cell.outputs:
            function = self.cell.pins[pin].function
            if function is not None:
                found[pin] = [self._value(function, nodes, pins, held)]
        return found

    def following(self, nodes: Nodes, pins: Pins, held: Sequence[int]) -> Sequence[int]:
        flip_flop = self.cell.flip_flop
        if flip_flop is None:
            return []
        for what in ("clear", "preset"):
            expression = getattr(flip_flop, what)
            if expression is not None and self._value(expression, nodes, pins, held) != FALSE:
                raise ValueError(f"has a {what} that is not tied off")
        return [self._value(flip_flop.next_state, nodes, pins, held)]

    def _value(self, expression: Expression, nodes: Nodes, pins: Pins, held: Sequence[int]) -> int:
        kind = expression[0]
        if kind == "name":
            flip_flop = self.cell.flip_flop
            if flip_flop is not None and expression[1] in {flip_flop.state, flip_flop.inverse}:
                return held[0] ^ int(expression[1] != flip_flop.state)
            return (pins(expression[1]) or [FALSE])[0]
        if kind == "const":
            return int(expression[1])
        one = self._value(expression[1], nodes, pins, held)
        if kind == "!":
            return one ^ 1
        other = self._value(expression[2], nodes, pins, held)
        combine = {"&": nodes.both, "|": nodes.either, "^": nodes.differ}[kind]
        return combine(one, other)
