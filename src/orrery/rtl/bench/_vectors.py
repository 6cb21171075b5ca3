"""What a bench plays into a circuit and what must come out, as arrays; and as files of digits.

The vectors are made by whoever knows the function; here they are only checked against the ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from orrery.errors import SpecError, did_you_mean

from .._circuit import Circuit, Port, Stream
from .._words import unpack_words, words_of

__all__ = [
    "PlainVectors", "StreamVectors", "Vectors", "as_vectors", "count_of", "numbers_of",
    "plain_ports",
]  # fmt: skip


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


def plain_ports(circuit: Circuit, direction: str) -> list[Port]:
    """Return the ports of one direction that belong to no stream."""
    used = {name for s in circuit.streams for name in (*s.payload, s.valid, s.ready)}
    return [p for p in circuit.ports if p.direction == direction and p.name not in used]


def numbers_of(values: ArrayLike, port: Port, where: str) -> list[int]:
    """Return the bit patterns of a port's values as integers from 0.

    Raises
    ------
    SpecError : not integers, a wrong shape, a value the port does not hold
    """
    where = f"{where}: port {port.name}"
    table, words = np.asarray(values), words_of(port.width)
    if not table.ndim:
        raise SpecError(where, found="one number alone", wanted="an array with a row each",
                        fix="give a list or an array")  # fmt: skip
    if not table.size:
        return []
    if table.dtype.kind not in "iub":
        raise SpecError(where, found=f"values of type {table.dtype}", wanted="integers",
                        fix="cast them, or give wide numbers through pack_words")  # fmt: skip
    if table.shape not in {(len(table), words)} | ({(len(table),)} if words == 1 else set()):
        raise SpecError(where, found=f"shape {table.shape}",
                        wanted=f"(n, {words})" if words > 1 else "(n,)",
                        fix="give one row an item, wide numbers through pack_words")  # fmt: skip
    if words > 1:
        if int(table[:, -1].max()) >> (port.width - 64 * (words - 1)):
            raise SpecError(where, found=f"bits above bit {port.width - 1}",
                            wanted=f"{port.width} bits", fix="give what fits")  # fmt: skip
        return unpack_words(table.astype(np.uint64), port.width)
    low = -(1 << (port.width - 1)) if port.signed else 0
    high = (1 << (port.width - 1)) - 1 if port.signed else (1 << port.width) - 1
    mask = (1 << port.width) - 1
    numbers = [int(value) for value in table.reshape(-1)]
    for value in (min(numbers), max(numbers)):
        if not low <= value <= high:
            raise SpecError(where, found=value, wanted=f"values of [{low}, {high}]",
                            fix="cut or scale them")  # fmt: skip
    return [value & mask for value in numbers]


def _check_streams(circuit: Circuit, vectors: StreamVectors, where: str) -> None:
    if circuit.combinational or not circuit.streams:
        raise SpecError(where, found="items for streams", wanted="a circuit with clock and streams",
                        fix="give PlainVectors")  # fmt: skip
    sources = {s.name: s for s in circuit.streams if s.direction == "in"}
    sinks = {s.name: s for s in circuit.streams if s.direction == "out"}
    _all_names(f"{where}: items", vectors.items, sources)
    _some_names(f"{where}: expected", vectors.expected, sinks)
    _all_names(f"{where}: held", vectors.held, [p.name for p in plain_ports(circuit, "in")])
    for name, ports in (*vectors.items.items(), *vectors.expected.items()):
        stream = sources.get(name) or sinks[name]
        _all_names(f"{where}: {name}", ports, stream.payload)
        _check_values(circuit, stream, ports, where)
    for name, value in vectors.held.items():
        numbers_of(np.array([value]), circuit.port(name), f"{where}: held")
    for what, stamps, tables in (
        ("taken", vectors.taken, vectors.items), ("given", vectors.given, vectors.expected),
    ):  # fmt: skip
        _some_names(f"{where}: {what}", stamps, tables)
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
    _all_names(f"{where}: inputs", vectors.inputs, ins)
    _some_names(f"{where}: expected", vectors.expected, outs)
    _some_names(f"{where}: care", vectors.care, vectors.expected)
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


def _some_names(where: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            raise SpecError(where, found=name, wanted=f"names among {', '.join(names) or 'none'}",
                            fix=f"correct the name{did_you_mean(str(name), names)}")  # fmt: skip


def _all_names(where: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    _some_names(where, given, names)
    for name in names:
        if name not in given:
            raise SpecError(where, found=f"nothing for {name}", wanted=", ".join(names),
                            fix=f"add {name}")  # fmt: skip
