"""Play whole arrays through a circuit, on either engine or on both at once.

Models: the circuit's registers, memories and logic, two-state, cycle by cycle, after one cycle of
reset. Ignores: unknown (x) values, delays, the clock's shape. Judge: the two engines read two
texts, CXXRTL the RTLIL and Verilator the Verilog, and must agree (`cosimulate`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orrery.errors import OrreryError, SpecError, check_choice

from ._circuit import Circuit, Stream
from ._engines import ENGINES, Engine, load_engine
from ._given import all_names, from_words, known_names, one_length, plain_ports, to_words
from ._words import words_of
from ._yosys import ToolError

#: Rows or cycles between two looks at the keyboard.
_CHUNK = 1 << 18
_MOST_CYCLES = 10_000_000

#: What an item of a stream may be given as: its payload ports; one array where there is one port;
#: a number of items where there is none.
Items = Mapping[str, ArrayLike] | ArrayLike


class EnginesDisagree(OrreryError):
    """Two engines gave different values for the same circuit and inputs.

    Attributes
    ----------
    place : the port, or the stream and its port
    item : number of the row or of the item
    values : engine -> what it gave
    """

    def __init__(
        self, circuit: str, *, place: str, item: int, values: Mapping[str, object]
    ) -> None:
        self.place, self.item, self.values = place, item, dict(values)
        said = ", ".join(f"{value} by {engine}" for engine, value in values.items())
        super().__init__(
            f"circuit {circuit}: {place}, item {item}: found {said}, wanted one value; "
            "a tool has translated it wrongly: simplify the circuit around this port"
        )


class HandshakeError(OrreryError):
    """A circuit broke a rule of the ready/valid handshake on one of its output streams.

    Attributes
    ----------
    stream, cycle : where and when
    rule : the rule, as a sentence
    """

    def __init__(self, circuit: str, *, stream: str, cycle: int, rule: str, found: str) -> None:
        self.stream, self.cycle, self.rule = stream, cycle, rule
        super().__init__(
            f"circuit {circuit}: stream {stream}, cycle {cycle}: found {found}, wanted {rule}; "
            "hold the item in a register until it is taken"
        )


#: What the driver reports, by number: what was found and the rule.
_RULES = (
    ("valid fell before the item was taken", "valid to stay until ready"),
    ("the payload changed before the item was taken", "a payload that stays until ready"),
    ("valid follows ready within a cycle", "a valid that does not depend on ready"),
    ("the payload follows ready within a cycle", "a payload that does not depend on ready"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRun:
    """What came out of a circuit's streams, and when; cycle 0 is the first after reset.

    Attributes
    ----------
    outputs : output stream -> payload port -> array of the items wanted
    taken : input stream -> cycle in which each item was taken, only those that were
    given : output stream -> cycle in which each item was handed over
    cycles : length of the run
    """

    outputs: Mapping[str, Mapping[str, NDArray[Any]]]
    taken: Mapping[str, NDArray[np.int64]]
    given: Mapping[str, NDArray[np.int64]]
    cycles: int


class _Arrays(ctypes.Structure):
    _fields_ = (
        ("items", ctypes.c_uint64),
        ("pause", ctypes.c_uint64),
        ("cycles", ctypes.c_void_p),
    )


class _Report(ctypes.Structure):
    _fields_ = (
        ("cycle", ctypes.c_uint64),
        ("broken", ctypes.c_int64),
        ("rule", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A compiled circuit; every call starts from reset, none remembers another.

    Arrays of ports up to 64 bits have shape (n,), int64 where the port is signed and uint64 where
    not; wider ports have uint64 words of shape (n, words), see `pack_words`.
    """

    circuit: Circuit
    engine: Engine
    _library: ctypes.CDLL = field(repr=False)

    def cycles(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return the outputs of every cycle, or of every vector of a combinational circuit.

        Inputs are applied before the clock edge, outputs read before it, so that row k of an
        output answers row k of the inputs and the state after k edges.

        Parameters
        ----------
        inputs : port -> array, one row a cycle; every input port, streams' ports too

        Raises
        ------
        SpecError : ports missing or unknown, lengths that differ, values the port does not hold
        """
        ins = [port for port in self.circuit.ports if port.direction == "in"]
        outs = [port for port in self.circuit.ports if port.direction == "out"]
        all_names(f"{self.circuit.name}: inputs", inputs, [port.name for port in ins])
        tables = [to_words(inputs[port.name], port, self.circuit.name) for port in ins]
        rows = one_length(self.circuit.name, {p.name: len(t) for p, t in zip(ins, tables)})
        results = [np.zeros((rows, words_of(port.width)), dtype=np.uint64) for port in outs]
        with _Handle(self._library, 0) as handle:
            given, got = _pointers(tables), _pointers(results)
            for start in range(0, rows, _CHUNK):
                end = min(start + _CHUNK, rows)
                self._library.orrery_cycles(
                    handle, ctypes.c_uint64(start), ctypes.c_uint64(end), given, got
                )
        return {port.name: from_words(table, port) for port, table in zip(outs, results)}

    def stream(
        self, items: Mapping[str, Items], *, outputs: Mapping[str, int],
        stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
        most_cycles: int = _MOST_CYCLES, held: Mapping[str, int] | None = None,
    ) -> StreamRun:  # fmt: skip
        """Play items into the input streams and collect items of the output streams.

        While an input offers nothing its payload is noise. In the first cycles every ready is
        tried both ways, to see that no valid follows it; in all, that an item offered stays.

        Parameters
        ----------
        items : input stream -> payload port -> array with one row an item; an array alone where
            the payload has one port, the number of items where it has none
        outputs : output stream -> items wanted; a stream not named is never ready. Without any
            the run ends when every item has been taken
        stalls : chance of a pause in each cycle, for all streams or by stream
        seed : of the pauses and the noise
        most_cycles : a run that takes longer is an error that says which stream starved
        held : plain input port -> its value during the whole run; every plain input

        Raises
        ------
        HandshakeError : the circuit broke a rule
        ToolError : the wanted items did not come in time
        SpecError : streams or ports missing or unknown, lengths that differ, values too large
        """
        circuit = self.circuit
        sources = [s for s in circuit.streams if s.direction == "in"]
        sinks = [s for s in circuit.streams if s.direction == "out"]
        if not circuit.streams:
            raise SpecError(
                f"circuit {circuit.name}", found="no stream", wanted="streams to play items into",
                fix="use cycles()",
            )  # fmt: skip
        all_names(f"{circuit.name}: items", items, [s.name for s in sources])
        known_names(f"{circuit.name}: outputs", outputs, [s.name for s in sinks])
        pauses = _pauses(circuit, stalls)
        plain = plain_ports(circuit, "in")
        fixed = dict(held or {})
        all_names(f"{circuit.name}: held", fixed, [port.name for port in plain])
        constant = [to_words([fixed[port.name]], port, circuit.name) for port in plain]
        counts: dict[str, int] = {}
        given: list[NDArray[np.uint64]] = []
        for stream in sources:
            tables, counts[stream.name] = _items(circuit, stream, items[stream.name])
            given += tables
        for stream in sinks:
            counts[stream.name] = _count(circuit, stream, outputs.get(stream.name, 0))
        got = [
            np.zeros((counts[s.name], words_of(circuit.port(p).width)), dtype=np.uint64)
            for s in sinks for p in s.payload
        ]  # fmt: skip
        when = {s.name: np.full(counts[s.name], -1, dtype=np.int64) for s in circuit.streams}
        table = (_Arrays * len(circuit.streams))()
        for place, stream in zip(table, circuit.streams):
            place.items, place.pause = counts[stream.name], pauses[stream.name]
            place.cycles = when[stream.name].ctypes.data
        self._play(table, when, given, got, constant, seed=seed, most_cycles=most_cycles)
        found = iter(got)
        return StreamRun(
            outputs={
                s.name: {p: from_words(next(found), circuit.port(p)) for p in s.payload}
                for s in sinks
            },
            taken={s.name: when[s.name][when[s.name] >= 0] for s in sources},
            given={s.name: when[s.name] for s in sinks},
            cycles=int(max((int(w.max()) for w in when.values() if len(w)), default=-1)) + 1,
        )

    def _play(
        self, table: Any, when: Mapping[str, NDArray[np.int64]], given: list[NDArray[np.uint64]],
        got: list[NDArray[np.uint64]], constant: list[NDArray[np.uint64]], *, seed: int,
        most_cycles: int,
    ) -> None:  # fmt: skip
        report = _Report(cycle=0, broken=-1, rule=-1)
        with _Handle(self._library, seed) as handle:
            arrays = _pointers(given), _pointers(got), _pointers(constant)
            reached, over = 0, 0
            while not over and reached < most_cycles:
                reached = min(reached + _CHUNK, most_cycles)
                over = self._library.orrery_stream(
                    handle, ctypes.c_uint64(reached), *arrays, table, ctypes.byref(report)
                )
            # the run may have ended with the last cycle it was given
            over = over or self._library.orrery_stream(
                handle, ctypes.c_uint64(reached + 1), *arrays, table, ctypes.byref(report)
            )
        circuit = self.circuit
        if report.broken >= 0:
            found, rule = _RULES[report.rule]
            raise HandshakeError(
                circuit.name, stream=circuit.streams[report.broken].name, cycle=report.cycle,
                rule=rule, found=found,
            )  # fmt: skip
        if not over:
            said = []
            for stream in circuit.streams:
                done, all_ = int((when[stream.name] >= 0).sum()), len(when[stream.name])
                verb = "taken" if stream.direction == "in" else "given"
                said.append(f"{stream.name} {done} of {all_} {verb}")
            raise ToolError(
                self.engine, doing=f"simulating {circuit.name}",
                why=f"not all wanted items came in {most_cycles} cycles: {', '.join(said)}",
            )  # fmt: skip


class _Handle:
    """A model in memory while a call lasts."""

    def __init__(self, library: ctypes.CDLL, seed: int) -> None:
        self._library = library
        library.orrery_new.restype = ctypes.c_void_p
        self._pointer = ctypes.c_void_p(library.orrery_new(ctypes.c_uint64(seed & (2**64 - 1))))

    def __enter__(self) -> ctypes.c_void_p:
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._library.orrery_delete(self._pointer)


def simulation(circuit: Circuit, engine: Engine = "cxxrtl") -> Simulation:
    """Return the circuit compiled for an engine; the library is cached by content.

    Parameters
    ----------
    engine : "cxxrtl" simulates the RTLIL, "verilator" the Verilog

    Raises
    ------
    ToolError : no C++ compiler (g++), or a tool failed
    MissingExtraError : the engine's package is not installed
    """
    check_choice(f"simulating {circuit.name}", engine, ENGINES, fix="name an engine")
    return Simulation(circuit=circuit, engine=engine, _library=load_engine(circuit, engine))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosimulation:
    """A circuit on several engines; each call runs on all and compares everything."""

    circuit: Circuit
    runs: tuple[Simulation, ...]

    def cycles(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return what `Simulation.cycles` returns, the same by every engine.

        Raises
        ------
        EnginesDisagree : with the first cycle that differs
        """
        first, *others = [(run.engine, run.cycles(inputs)) for run in self.runs]
        for other in others:
            places = [(name, first[1][name], other[1][name]) for name in first[1]]
            self._agree(places, first[0], other[0])
        return first[1]

    def stream(
        self, items: Mapping[str, Items], *, outputs: Mapping[str, int],
        stalls: float | Mapping[str, float] = 0.0, seed: int = 0,
        most_cycles: int = _MOST_CYCLES, held: Mapping[str, int] | None = None,
    ) -> StreamRun:  # fmt: skip
        """Return what `Simulation.stream` returns, the same items in the same cycles by every one.

        Raises
        ------
        EnginesDisagree : with the first item that differs
        """
        found = [
            (
                run.engine,
                run.stream(
                    items, outputs=outputs, stalls=stalls, seed=seed, most_cycles=most_cycles,
                    held=held,
                ),
            )
            for run in self.runs
        ]  # fmt: skip
        engine, first = found[0]
        for name, other in found[1:]:
            places = [
                (f"stream {stream}, {port}", table, other.outputs[stream][port])
                for stream, ports in first.outputs.items()
                for port, table in ports.items()
            ]
            for what, mine, theirs in (
                ("taken", first.taken, other.taken), ("given", first.given, other.given),
            ):  # fmt: skip
                places += [(f"stream {s}, cycle {what}", mine[s], theirs[s]) for s in mine]
            self._agree(places, engine, name)
        return first

    def _agree(
        self, places: Sequence[tuple[str, NDArray[Any], NDArray[Any]]], one: str, other: str
    ) -> None:
        """Raise for the first row in which two engines differ, of all places."""
        worst: tuple[int, str, dict[str, object]] | None = None
        for place, mine, theirs in places:
            rows = min(len(mine), len(theirs))
            differ = np.flatnonzero(
                (mine[:rows] != theirs[:rows]).reshape(rows, -1).any(axis=1) if rows else []
            )
            row = int(differ[0]) if len(differ) else rows
            if row == len(mine) == len(theirs) or (worst is not None and row >= worst[0]):
                continue
            values: dict[str, object] = {
                engine: _shown(table[row]) if row < len(table) else "nothing"
                for engine, table in ((one, mine), (other, theirs))
            }
            worst = row, place, values
        if worst is not None:
            raise EnginesDisagree(self.circuit.name, place=worst[1], item=worst[0], values=worst[2])


def cosimulate(circuit: Circuit, engines: Sequence[Engine] = ENGINES) -> Cosimulation:
    """Return the circuit on several engines whose answers must be equal.

    Raises
    ------
    ToolError, MissingExtraError : as `simulation`
    """
    return Cosimulation(
        circuit=circuit, runs=tuple(simulation(circuit, engine) for engine in engines)
    )


def _shown(value: Any) -> str:
    if np.ndim(value) == 0:
        return str(int(value))
    return hex(sum(int(word) << (64 * place) for place, word in enumerate(value)))


def _pauses(circuit: Circuit, stalls: float | Mapping[str, float]) -> dict[str, int]:
    names = [stream.name for stream in circuit.streams]
    by_name = dict(stalls) if isinstance(stalls, Mapping) else dict.fromkeys(names, stalls)
    known_names(f"{circuit.name}: stalls", by_name, names)
    for name, chance in by_name.items():
        if not 0.0 <= chance < 1.0:
            raise SpecError(
                f"{circuit.name}: stalls: {name}", found=chance, wanted="a chance of [0, 1)",
                fix="give how often it pauses",
            )  # fmt: skip
    return {name: int(by_name.get(name, 0.0) * 2.0**64) for name in names}


def _count(circuit: Circuit, stream: Stream, number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise SpecError(
            f"{circuit.name}: stream {stream.name}", found=number, wanted="a number of items",
            fix="give an integer from 0",
        )  # fmt: skip
    return int(number)


def _items(circuit: Circuit, stream: Stream, given: Any) -> tuple[list[NDArray[np.uint64]], int]:
    """Return the words of a stream's payload ports in their order, and the number of items."""
    where = f"{circuit.name}: items: {stream.name}"
    if not stream.payload:
        return [], _count(circuit, stream, given)
    if not isinstance(given, Mapping):
        if len(stream.payload) > 1:
            raise SpecError(
                where, found="one array", wanted=f"one for each of {', '.join(stream.payload)}",
                fix="give a mapping from port to array",
            )  # fmt: skip
        given = {stream.payload[0]: given}
    all_names(where, given, stream.payload)
    tables = [to_words(given[name], circuit.port(name), circuit.name) for name in stream.payload]
    return tables, one_length(where, dict(zip(stream.payload, map(len, tables))))


def _pointers(tables: Sequence[NDArray[np.uint64]]) -> Any:
    return (ctypes.c_void_p * max(1, len(tables)))(*[table.ctypes.data for table in tables])
