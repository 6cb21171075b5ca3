"""What a bench plays into a circuit and what must come out, as arrays; and as files of digits.

The vectors are made by whoever knows the function; here they are only checked against the ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from orrery.errors import SpecError

from .._circuit import Circuit, Port, Stream
from .._given import all_names, known_names, numbers_of, plain_ports


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamVectors:
    """Items into the input streams, and the items that must come out, in order.

    Every array has one row an item: (n,) integers for ports up to 64 bits, words of shape
    (n, words) for wider ones (see `pack_words`).

    Attributes
    ----------
    items : input stream -> payload port -> array
    expected : output stream -> payload port -> array
    held : plain input port -> its value during the whole run; every plain input
    taken : input stream -> cycle in which each item is taken when nothing stalls
    given : output stream -> cycle in which each item is handed over when nothing stalls. Where it
        is missing and the circuit's `Timing` states latency and interval of its one input and one
        output stream, both follow from them
    about : what the vectors are, for the README
    """

    items: Mapping[str, Mapping[str, ArrayLike]]
    expected: Mapping[str, Mapping[str, ArrayLike]]
    held: Mapping[str, int] = field(default_factory=dict)
    taken: Mapping[str, ArrayLike] = field(default_factory=dict)
    given: Mapping[str, ArrayLike] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainVectors:
    """A value of every input in every cycle, and what the outputs must show in it.

    Ports of streams are plain ports here. Row k of an output answers row k of the inputs and the
    state after k edges, as in `Simulation.cycles`.

    Attributes
    ----------
    inputs : input port -> array, one row a cycle; every input port
    expected : output port -> array, as many rows
    care : output port -> whether each row is compared (n,); every row where it is missing
    about : what the vectors are, for the README
    """

    inputs: Mapping[str, ArrayLike]
    expected: Mapping[str, ArrayLike]
    care: Mapping[str, ArrayLike] = field(default_factory=dict)
    about: str = ""


Vectors = StreamVectors | PlainVectors


def as_vectors(circuit: Circuit, vectors: Vectors | Sequence[Vectors]) -> tuple[Vectors, ...]:
    """Return the sets of vectors, each checked against the circuit's ports.

    Raises
    ------
    SpecError : no set, one that compares nothing, ports missing or unknown, lengths that differ,
        values that a port does not hold
    """
    sets = (vectors,) if isinstance(vectors, StreamVectors | PlainVectors) else tuple(vectors)
    if not sets:
        raise SpecError(f"bench of {circuit.name}: vectors", found="none", wanted="a set or more",
                        fix="give what must come out")  # fmt: skip
    for number, one in enumerate(sets):
        where = f"bench of {circuit.name}: vectors {number}"
        if isinstance(one, StreamVectors):
            _check_streams(circuit, one, where)
        else:
            _check_plain(circuit, one, where)
        if not count_of(one):
            raise SpecError(where, found="nothing to compare", wanted="expected values",
                            fix="give what must come out")  # fmt: skip
    return sets


def count_of(vectors: Vectors) -> int:
    """Return how many vectors are compared: items of the output streams, or rows."""
    if isinstance(vectors, PlainVectors):
        return max((len(np.asarray(table)) for table in vectors.expected.values()), default=0)
    return sum(_rows(ports.values(), "expected") for ports in vectors.expected.values())


def _check_streams(circuit: Circuit, vectors: StreamVectors, where: str) -> None:
    if circuit.combinational or not circuit.streams:
        raise SpecError(where, found="items for streams", wanted="a circuit with clock and streams",
                        fix="give PlainVectors")  # fmt: skip
    sources = {s.name: s for s in circuit.streams if s.direction == "in"}
    sinks = {s.name: s for s in circuit.streams if s.direction == "out"}
    all_names(f"{where}: items", vectors.items, sources)
    known_names(f"{where}: expected", vectors.expected, sinks)
    all_names(f"{where}: held", vectors.held, [p.name for p in plain_ports(circuit, "in")])
    for name, ports in (*vectors.items.items(), *vectors.expected.items()):
        stream = sources.get(name) or sinks[name]
        all_names(f"{where}: {name}", ports, stream.payload)
        _check_values(circuit, stream, ports, where)
    for name, value in vectors.held.items():
        numbers_of(np.array([value]), circuit.port(name), f"{where}: held")
    for what, stamps, tables in (
        ("taken", vectors.taken, vectors.items), ("given", vectors.given, vectors.expected),
    ):  # fmt: skip
        known_names(f"{where}: {what}", stamps, tables)
        for name, cycles in stamps.items():
            wanted, found = _rows(tables[name].values(), where), np.atleast_1d(np.asarray(cycles))
            rising = found.ndim == 1 and found.dtype.kind in "iu" and (np.diff(found) > 0).all()
            if len(found) != wanted or not rising or (wanted and found[0] < 0):
                raise SpecError(
                    f"{where}: {what}: {name}", found=f"{len(found)} cycles",
                    wanted=f"{wanted} whole numbers from 0, each larger than the one before",
                    fix="give the cycle of each item",
                )  # fmt: skip


def _check_values(
    circuit: Circuit, stream: Stream, ports: Mapping[str, ArrayLike], where: str
) -> None:
    if not stream.payload:
        raise SpecError(f"{where}: {stream.name}", found="a stream without payload",
                        wanted="something to compare", fix="drive it by PlainVectors")  # fmt: skip
    _rows(ports.values(), f"{where}: {stream.name}")
    for name, table in ports.items():
        numbers_of(table, circuit.port(name), where)


def _check_plain(circuit: Circuit, vectors: PlainVectors, where: str) -> None:
    ins = [port.name for port in circuit.ports if port.direction == "in"]
    outs = [port.name for port in circuit.ports if port.direction == "out"]
    all_names(f"{where}: inputs", vectors.inputs, ins)
    known_names(f"{where}: expected", vectors.expected, outs)
    known_names(f"{where}: care", vectors.care, vectors.expected)
    tables = {**vectors.inputs, **vectors.expected}
    _rows([*tables.values(), *vectors.care.values()], where)
    for name, table in tables.items():
        numbers_of(table, circuit.port(name), where)
    for name, table in vectors.care.items():
        one = Port(name=name, direction="out", width=1)
        numbers_of(np.asarray(table), one, f"{where}: care")


def _rows(tables: Iterable[ArrayLike], where: str) -> int:
    arrays = [np.asarray(table) for table in tables]
    if not all(array.ndim for array in arrays):
        raise SpecError(where, found="one number alone", wanted="arrays with a row each",
                        fix="give lists or arrays")  # fmt: skip
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise SpecError(where, found=f"lengths {', '.join(map(str, sorted(lengths)))}",
                        wanted="one length", fix="give every port as many rows")  # fmt: skip
    return lengths.pop() if lengths else 0
