"""The longest paths through a netlist, with the delays of its library.

Models: every cell's table delay at its slope and load, rising and falling apart, the slowest slope
wins; loads are the pins a net drives; clock to output, setup. A net is driven directly or through a
tree of the library's smallest buffer, four to a stage, whichever is quicker: mapping for area
leaves out the buffers that any layout would have. Ignores: wires, clock skew, false paths; ports
are driven and read by nothing that takes time. Judge: chains and trees worked out by hand.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._circuit import Circuit
from ._library import Arc, Cell, Library, Table
from ._record import Step, TimingPath

#: Buffers, or pins of a buffer's size, that a buffer drives; the least delay is near this.
_STAGE = 4
#: Rising, falling.
_EDGES = (True, False)
_NAMES = {
    (True, True): "register to register", (True, False): "register to output",
    (False, True): "input to register", (False, False): "input to output",
}  # fmt: skip


@dataclass(slots=True)
class _Point:
    """A net's edge: when it comes, its slope, and the cell it came through."""

    time: float
    slew: float
    instance: str | None = None
    pin: str = ""
    output: str = ""
    before: tuple[int, bool] | None = None
    delay: float = 0.0
    buffered: bool = False


def longest_paths(
    circuit: Circuit, module: Mapping[str, Any], library: Library
) -> tuple[TimingPath, ...]:
    """Return the longest path of each kind, slowest first.

    Parameters
    ----------
    circuit : gives the clock's name
    module : a flat module of Yosys' JSON in which every cell is one of the library's
    library : with delays; without them for a cell that is used there is no path

    Returns
    -------
    at most one path of each kind; none for a netlist without cells
    """
    netlist = _Netlist(circuit, module, library)
    if not netlist.timed:
        return ()
    found: list[TimingPath] = []
    for registers in (True, False):
        points = netlist.arrivals(registers=registers)
        for to_register in (True, False):
            path = netlist.worst(points, registers=registers, to_register=to_register)
            if path is not None:
                found.append(path)
    return tuple(sorted(found, key=lambda path: -path.delay_s))


class _Netlist:
    def __init__(self, circuit: Circuit, module: Mapping[str, Any], library: Library) -> None:
        self.library, self.circuit = library, circuit
        self.cells: dict[str, Cell] = {}
        self.pins: dict[str, dict[str, Any]] = {}
        self.load: defaultdict[Any, float] = defaultdict(float)
        self.fanout: defaultdict[Any, int] = defaultdict(int)
        self.ports: dict[str, list[Any]] = {k: p["bits"] for k, p in module["ports"].items()}
        self.inputs = {k for k, p in module["ports"].items() if p["direction"] == "input"}
        self.names = _net_names(module)
        driver: dict[Any, str] = {}
        for name, each in module["cells"].items():
            cell = self.cells[name] = library.cells[each["type"]]
            pins = self.pins[name] = {k: bits[0] for k, bits in each["connections"].items() if bits}
            for pin, bit in pins.items():
                if cell.pins[pin].direction == "output":
                    driver[bit] = name
                else:
                    self.load[bit] += cell.pins[pin].capacitance
                    self.fanout[bit] += 1
        self.order = self._sorted(driver)
        used = {id(cell): cell for cell in self.cells.values()}.values()
        self.timed = bool(used) and all(_timed(cell) for cell in used)
        buffer = library.buffer
        self.buffer = None
        if buffer is not None and _timed(buffer):
            self.buffer = (buffer.pins[buffer.outputs[0]].arcs[0], buffer.pins[buffer.inputs[0]])

    def _sorted(self, driver: Mapping[Any, str]) -> list[str]:
        """Return the gates, each after those that drive it."""
        waits: dict[str, int] = {}
        after: defaultdict[str, list[str]] = defaultdict(list)
        for name, cell in self.cells.items():
            if cell.flip_flop is None:
                sources = [
                    driver[bit]
                    for pin, bit in self.pins[name].items()
                    if cell.pins[pin].direction != "output" and bit in driver
                    and self.cells[driver[bit]].flip_flop is None
                ]  # fmt: skip
                waits[name] = len(sources)
                for source in sources:
                    after[source].append(name)
        ready = [name for name, n in waits.items() if n == 0]
        for name in ready:  # grows while it is read
            for user in after[name]:
                waits[user] -= 1
                if waits[user] == 0:
                    ready.append(user)
        return ready

    def arrivals(self, *, registers: bool) -> dict[tuple[Any, bool], _Point]:
        """Return when each net's edges come, of paths that begin in registers or at inputs."""
        points: dict[tuple[Any, bool], _Point] = {}
        if not registers:
            for port in self.inputs - {self.circuit.clock}:
                for bit in self.ports[port]:
                    if isinstance(bit, int):
                        points |= {(bit, edge): _Point(0.0, 0.0) for edge in _EDGES}
        for name, cell in self.cells.items():
            if registers and cell.flip_flop is not None:
                for output, arc in _arcs(cell):
                    bit = self.pins[name].get(output)
                    if arc.clocked and bit is not None:
                        for edge in _EDGES:
                            self._reach(points, name, output, bit, arc, None, edge, _Point(0, 0))
        for name in self.order:
            pins = self.pins[name]
            for output, arc in _arcs(self.cells[name]):
                bit = pins.get(output)
                if bit is None:
                    continue
                for edge in _EDGES:
                    before = points.get((pins.get(arc.related), edge))
                    if before is not None:
                        for out in _out_edges(arc.sense, edge):
                            key = (pins[arc.related], edge)
                            self._reach(points, name, output, bit, arc, key, out, before)
        return points

    def _reach(
        self, points: dict[tuple[Any, bool], _Point], name: str, output: str, bit: Any, arc: Arc,
        key: tuple[Any, bool] | None, edge: bool, before: _Point,
    ) -> None:  # fmt: skip
        """Keep an arc's arrival where it is the latest of its edge."""
        found = self._delay(arc, edge, before.slew, self.load[bit])
        if found is None:
            return
        delay, slew, buffered = found
        point = points.get((bit, edge))
        time = before.time + delay
        slew = slew if point is None else max(slew, point.slew)
        if point is None or time > point.time:
            points[bit, edge] = _Point(
                time, slew, name, arc.related, output, key, delay, buffered
            )  # fmt: skip
        else:
            point.slew = slew

    def _delay(
        self, arc: Arc, edge: bool, slew: float, load: float
    ) -> tuple[float, float, bool] | None:
        """Return delay, slope and whether a tree of buffers is the quicker way."""
        table, slope = _tables(arc, edge)
        if table is None:
            return None
        direct = table.at(slew, load)
        direct_slew = slope.at(slew, load) if slope else 0.0
        if self.buffer is None or load <= _STAGE * self.buffer[1].capacitance:
            return direct, direct_slew, False
        tree, pin = self.buffer
        stages = max(1, math.ceil(math.log(load / pin.capacitance, _STAGE) - 1e-9) - 1)
        stage = _STAGE * pin.capacitance
        total, now = table.at(slew, stage), slope.at(slew, stage) if slope else 0.0
        through, through_slew = _tables(tree, edge)
        if through is None:
            return direct, direct_slew, False
        for _ in range(stages):
            total += through.at(now, stage)
            now = through_slew.at(now, stage) if through_slew else 0.0
        return (direct, direct_slew, False) if direct <= total else (total, now, True)

    def worst(
        self, points: Mapping[tuple[Any, bool], _Point], *, registers: bool, to_register: bool
    ) -> TimingPath | None:
        best: tuple[float, float, str, tuple[Any, bool]] | None = None
        for end, bit, cell, pin in self._ends(to_register=to_register):
            for edge in _EDGES:
                point = points.get((bit, edge))
                if point is None:
                    continue
                setup = 0.0 if cell is None else _setup(cell, pin, point.slew, edge)
                if best is None or point.time + setup > best[0]:
                    best = (point.time + setup, setup, end, (bit, edge))
        if best is None:
            return None
        unit = self.library.time_unit_s
        steps: list[Step] = []
        key: tuple[Any, bool] | None = best[3]
        start, trees = "", 0
        while key is not None:
            point = points[key]
            if point.instance is None:
                start = self._port(key[0])
                break
            start = self._register(point.instance, point.output)
            trees += point.buffered
            steps.append(
                Step(
                    instance=point.instance, cell=self.cells[point.instance].name,
                    pin=point.pin, output=point.output, rising=key[1],
                    fanout=self.fanout[key[0]], delay_s=point.delay * unit,
                    arrival_s=point.time * unit,
                )
            )  # fmt: skip
            key = point.before
        return TimingPath(
            kind=_NAMES[registers, to_register], start=start, end=best[2],
            delay_s=best[0] * unit, setup_s=best[1] * unit, steps=tuple(reversed(steps)),
            buffered=trees,
        )  # fmt: skip

    def _ends(self, *, to_register: bool) -> Iterator[tuple[str, Any, Cell | None, str]]:
        if not to_register:
            for port, bits in self.ports.items():
                if port not in self.inputs:
                    for index, bit in enumerate(bits):
                        yield f"{port}[{index}]", bit, None, ""
            return
        for name, cell in self.cells.items():
            if cell.flip_flop is not None:
                for pin, bit in self.pins[name].items():
                    if cell.pins[pin].direction == "input" and not cell.pins[pin].clock:
                        yield self._register(name, pin), bit, cell, pin

    def _register(self, name: str, pin: str) -> str:
        """Name a flip-flop by the register bit it is, where the netlist still knows that."""
        cell = self.cells[name]
        held = [self.names.get(self.pins[name].get(output)) for output in cell.outputs]
        known = next((each for each in held if each), name)
        return known if pin in cell.outputs else f"{known} at {pin}"

    def _port(self, bit: Any) -> str:
        return next(
            f"{port}[{bits.index(bit)}]"
            for port, bits in self.ports.items()
            if port in self.inputs and bit in bits
        )


def _net_names(module: Mapping[str, Any]) -> dict[Any, str]:
    """Return net -> name of the register or signal as the circuit's author wrote it."""
    found: dict[Any, str] = {}
    for name, net in module.get("netnames", {}).items():
        if not net.get("hide_name"):
            for index, bit in enumerate(net["bits"]):
                found.setdefault(bit, name if len(net["bits"]) == 1 else f"{name}[{index}]")
    return found


def _arcs(cell: Cell) -> Iterator[tuple[str, Arc]]:
    for pin in cell.pins.values():
        for arc in pin.arcs:
            yield pin.name, arc


def _timed(cell: Cell) -> bool:
    """Whether every output that a pin can change has a delay."""
    return all(
        any(_tables(arc, edge)[0] is not None for arc in cell.pins[name].arcs for edge in _EDGES)
        or not cell.inputs
        for name in cell.outputs
    )


def _tables(arc: Arc, edge: bool) -> tuple[Table | None, Table | None]:
    return (arc.rise, arc.rise_slew) if edge else (arc.fall, arc.fall_slew)


def _out_edges(sense: str, edge: bool) -> tuple[bool, ...]:
    if sense == "positive_unate":
        return (edge,)
    return (not edge,) if sense == "negative_unate" else _EDGES


def _setup(cell: Cell, pin: str, slew: float, edge: bool) -> float:
    """Return the setup time; the clock is ideal, so a hand-over of slope 0."""
    tables = [s.rise if edge else s.fall for s in cell.pins[pin].setups]
    return max((table.at(0.0, slew) for table in tables if table is not None), default=0.0)
