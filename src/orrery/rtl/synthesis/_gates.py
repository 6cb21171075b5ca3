"""A netlist of library cells as an and-inverter graph, from what each cell is said to compute.

Models: the functions and flip-flops that the Liberty file states, first values as the netlist has
them. Ignores: delays, x (an open pin is 0). No pass of the tool that made the netlist has a part in
it, so that what is simulated is the netlist and not what the tool thinks of it. Judge: Yosys' own
graph of the same netlist (`_netlist.and_graph`), the same answers in every cycle (tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._circuit import Circuit
from ._aiger import AndGraph
from ._boolean import Expression
from ._library import Cell, FlipFlop, Library
from ._netlist import MiscompiledError

__all__ = ["gate_graph"]

_FALSE, _TRUE = 0, 1


def gate_graph(
    circuit: Circuit, module: Mapping[str, Any], library: Library, *, doing: str
) -> AndGraph:
    """Return a flat netlist as an and-inverter graph.

    Parameters
    ----------
    circuit : gives ports, clock and reset
    module : a flat module of Yosys' JSON in which every cell is one of the library's

    Raises
    ------
    MiscompiledError : a cell that is none of the library's, a flip-flop that is not clocked by the
        rising edge of the circuit's clock or set by something else, a net without a driver or with
        two, a loop of gates, a port that the netlist has not
    """
    return _Gates(circuit, module, library, doing).graph()


class _Gates:
    def __init__(
        self, circuit: Circuit, module: Mapping[str, Any], library: Library, doing: str
    ) -> None:
        self.circuit, self.doing, self.library = circuit, doing, library
        self.rows: list[tuple[int, int, int]] = []
        self.known: dict[tuple[int, int], int] = {}
        self.literal: dict[Any, int] = {"0": _FALSE, "1": _TRUE, "x": _FALSE, "z": _FALSE}
        self.cells: Mapping[str, Any] = module["cells"]
        self.ports: Mapping[str, Any] = module["ports"]
        self.pins: dict[str, dict[str, Any]] = {}
        self.driver: dict[Any, tuple[str, str]] = {}
        for name, cell in self.cells.items():
            kind = library.cells.get(cell["type"])
            if kind is None:
                raise self.wrong(f"cell {name} is a {cell['type']}, which {library.name} has not")
            self.pins[name] = {k: bits[0] for k, bits in cell["connections"].items() if bits}
            for pin in kind.outputs:
                bit = self.pins[name].get(pin)
                if bit is not None and self.driver.setdefault(bit, (name, pin)) != (name, pin):
                    raise self.wrong(f"net {bit} is driven by {self.driver[bit][0]} and {name}")
        self.first = _first_values(module)
        self.clock = self._clock()

    def wrong(self, why: str) -> MiscompiledError:
        return MiscompiledError("yosys", doing=self.doing, why=why)

    def _clock(self) -> Any:
        port = self.ports.get(self.circuit.clock) if self.circuit.clock else None
        return port["bits"][0] if port else None

    def graph(self) -> AndGraph:
        inputs = list(self._inputs())
        for variable, (_, _, bit) in enumerate(inputs, start=1):
            if bit in self.driver:
                raise self.wrong(f"the net of an input is driven by {self.driver[bit][0]} too")
            self.literal[bit] = 2 * variable
        kinds = {name: self.library.cells[cell["type"]] for name, cell in self.cells.items()}
        states = [name for name, kind in kinds.items() if kind.flip_flop is not None]
        self.variables = 1 + len(inputs) + len(states)
        held = {name: 2 * (1 + len(inputs) + k) for k, name in enumerate(states)}
        latches: list[list[int]] = []
        for name in states:
            self._outputs(name, kinds[name], held[name])
        for name in self._ordered(kinds):
            self._outputs(name, kinds[name], None)
        for name in states:
            flip_flop = kinds[name].flip_flop
            if flip_flop is not None:
                following = self._following(name, flip_flop, held[name])
                latches.append([held[name] >> 1, following, self._first(name, kinds[name])])
        wanted = [p for p in self.circuit.ports if p.direction == "out"]
        absent = [p.name for p in wanted if len(self._bits(p.name)) != p.width]
        if absent:
            raise self.wrong(f"the netlist has no port {absent[0]} of the circuit's width")
        outputs = [(p.name, k, bit) for p in wanted for k, bit in enumerate(self._bits(p.name))]
        return AndGraph(
            inputs=tuple((port, k) for port, k, _ in inputs),
            outputs=tuple((port, k) for port, k, _ in outputs),
            input_literals=np.arange(2, 2 * len(inputs) + 2, 2, dtype=np.int64),
            output_literals=np.array(
                [self._value(bit, f"output {port}[{k}]") for port, k, bit in outputs], np.int64
            ),
            latches=np.array(latches, np.int64).reshape(-1, 3),
            gates=np.array(self.rows, np.int64).reshape(-1, 3),
        )  # fmt: skip

    def _bits(self, port: str) -> list[Any]:
        found = self.ports.get(port)
        return list(found["bits"]) if found else []

    def _inputs(self) -> Iterator[tuple[str, int, Any]]:
        """Yield port, place and net of every input but the clock."""
        for port, found in self.ports.items():
            if found["direction"] == "input" and port != self.circuit.clock:
                for place, bit in enumerate(found["bits"]):
                    yield port, place, bit

    def _ordered(self, kinds: Mapping[str, Cell]) -> list[str]:
        """Return the gates, each after those that drive it."""
        waits: dict[str, int] = {}
        users: dict[str, list[str]] = {}
        for name, kind in kinds.items():
            if kind.flip_flop is not None:
                continue
            waits[name] = 0
            for pin in kind.inputs:
                source = self.driver.get(self.pins[name].get(pin), ("", ""))[0]
                if source and kinds[source].flip_flop is None:
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

    def _outputs(self, name: str, kind: Cell, state: int | None) -> None:
        """Give the nets that a cell drives their literals."""
        values = self._values(name, kind.flip_flop, state)
        for pin in kind.outputs:
            bit = self.pins[name].get(pin)
            function = kind.pins[pin].function
            if bit is not None and function is not None:
                self.literal[bit] = self._expression(function, name, values)

    def _values(self, name: str, flip_flop: FlipFlop | None, state: int | None) -> dict[str, int]:
        """Return what a cell's state is called."""
        if flip_flop is None or state is None:
            return {}
        return {flip_flop.state: state, flip_flop.inverse or "": state ^ 1}

    def _following(self, name: str, flip_flop: FlipFlop, state: int) -> int:
        clock = flip_flop.clocked_on
        if clock[0] != "name" or self.clock is None or self.pins[name].get(clock[1]) != self.clock:
            raise self.wrong(
                f"flip-flop {name} ({self.cells[name]['type']}) is not clocked by the rising edge "
                f"of {self.circuit.clock or 'anything: the circuit is combinational'}; write the "
                "circuit with one clock and no gate in it"
            )
        values = self._values(name, flip_flop, state)
        for what in ("clear", "preset"):
            expression = getattr(flip_flop, what)
            if expression is not None and self._expression(expression, name, values) != _FALSE:
                raise self.wrong(
                    f"flip-flop {name} ({self.cells[name]['type']}) has a {what} that is not tied "
                    "off; the circuit's reset is synchronous"
                )
        return self._expression(flip_flop.next_state, name, values)

    def _first(self, name: str, kind: Cell) -> int:
        """Return the state that gives the nets their first values; 0 where none has one."""
        flip_flop = kind.flip_flop
        for pin in kind.outputs:
            wanted = self.first.get(self.pins[name].get(pin))
            if wanted is not None and flip_flop is not None:
                return wanted ^ int(kind.pins[pin].function != ("name", flip_flop.state))
        return 0

    def _value(self, bit: Any, where: str) -> int:
        found = self.literal.get(bit)
        if found is None:
            raise self.wrong(f"{where} has no driver")
        return found

    def _expression(self, expression: Expression, name: str, values: Mapping[str, int]) -> int:
        kind = expression[0]
        if kind == "name":
            pin = expression[1]
            if pin in values:
                return values[pin]
            bit = self.pins[name].get(pin, "x")
            return self._value(bit, f"pin {pin} of {name}")
        if kind == "const":
            return int(expression[1])
        one = self._expression(expression[1], name, values)
        if kind == "!":
            return one ^ 1
        other = self._expression(expression[2], name, values)
        if kind == "&":
            return self._both(one, other)
        if kind == "|":
            return self._both(one ^ 1, other ^ 1) ^ 1
        return self._both(self._both(one, other ^ 1) ^ 1, self._both(one ^ 1, other) ^ 1) ^ 1

    def _both(self, one: int, other: int) -> int:
        """Return the AND of two literals, known ones and constants without a new gate."""
        if one > other:
            one, other = other, one
        if one == _FALSE or one == other ^ 1:
            return _FALSE
        if one in {_TRUE, other}:
            return other
        found = self.known.get((one, other))
        if found is None:
            found = self.known[one, other] = 2 * self.variables
            self.rows.append((self.variables, one, other))
            self.variables += 1
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
