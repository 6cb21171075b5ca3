"""What is given for ports and streams, checked: names, lengths, values as words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orrery.errors import SpecError, did_you_mean

from ._circuit import Circuit, Port
from ._words import unpack_words, words_of


def plain_ports(circuit: Circuit, direction: str) -> list[Port]:
    """Return the ports of one direction that belong to no stream."""
    used = {name for s in circuit.streams for name in (*s.payload, s.valid, s.ready)}
    return [p for p in circuit.ports if p.direction == direction and p.name not in used]


def all_names(where: str, given: Mapping[str, Any], wanted: Collection[str]) -> None:
    """Refuse names that are not wanted, and the lack of one that is."""
    known_names(where, given, wanted)
    for name in wanted:
        if name not in given:
            raise SpecError(
                where, found=f"nothing for {name}", wanted=f"{', '.join(wanted)}", fix=f"add {name}"
            )  # fmt: skip


def known_names(where: str, given: Mapping[str, Any], wanted: Collection[str]) -> None:
    """Refuse names that are not wanted; the nearest is named."""
    for name in given:
        if name not in wanted:
            raise SpecError(
                where, found=name, wanted=f"names among {', '.join(wanted) or 'none'}",
                fix=f"correct the name{did_you_mean(str(name), wanted)}",
            )  # fmt: skip


def one_length(where: str, lengths: Mapping[str, int]) -> int:
    """Return the length that all have; 0 of none."""
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise SpecError(
            where, found=f"lengths {said}", wanted="one length", fix="give every port as many rows"
        )  # fmt: skip
    return next(iter(lengths.values()), 0)


def to_words(values: ArrayLike, port: Port, where: str) -> NDArray[np.uint64]:
    """Return checked values of a port as words, shape (n, words).

    Raises
    ------
    SpecError : not integers, a shape that is none of the port's, a value it does not hold
    """
    where, words = f"{where}: port {port.name}", words_of(port.width)
    table = np.asarray(values)
    if not table.ndim:
        raise SpecError(
            where, found="one number alone", wanted="an array with a row each",
            fix="give a list or an array",
        )  # fmt: skip
    if table.size == 0:
        table = table.astype(np.uint64)
    if table.dtype.kind not in "iub":
        raise SpecError(
            where, found=f"values of type {table.dtype}", wanted="integers",
            fix="cast them, or give wide numbers through pack_words",
        )  # fmt: skip
    if table.shape not in {(len(table),), (len(table), words)} or (
        table.ndim == 1 and words > 1 and table.size
    ):
        raise SpecError(
            where, found=f"shape {table.shape}", wanted=f"(n, {words})" if words > 1 else "(n,)",
            fix="give one row an item, wide numbers through pack_words",
        )  # fmt: skip
    table = table.reshape(len(table), words)
    spare = 64 * words - port.width
    top = table[:, -1]
    if table.size and words == 1:
        low = -(1 << (port.width - 1)) if port.signed else 0
        high = (1 << (port.width - 1)) - 1 if port.signed else (1 << port.width) - 1
        smallest, largest = int(top.min()), int(top.max())
        if smallest < low or largest > high:
            raise SpecError(
                where, found=smallest if smallest < low else largest,
                wanted=f"values of [{low}, {high}]", fix="cut or scale them",
            )  # fmt: skip
    raw = np.ascontiguousarray(table.astype(np.uint64))
    if words == 1:
        return raw & np.uint64((1 << port.width) - 1)
    if spare and raw.size and int(raw[:, -1].max()) >> (64 - spare):
        raise SpecError(
            where, found=f"bits above bit {port.width - 1}", wanted=f"{port.width} bits",
            fix="give the words through pack_words",
        )  # fmt: skip
    return raw


def numbers_of(values: ArrayLike, port: Port, where: str) -> list[int]:
    """Return the bit patterns of a port's checked values as integers from 0."""
    return unpack_words(to_words(values, port, where), port.width)


def from_words(table: NDArray[np.uint64], port: Port) -> NDArray[Any]:
    """Return values of a port as a simulation gives them, see `Simulation`."""
    if port.width > 64:
        return table
    flat = table.reshape(-1)
    if not port.signed:
        return flat
    spare = 64 - port.width
    return (flat << np.uint64(spare)).view(np.int64) >> np.int64(spare)
