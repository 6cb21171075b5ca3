"""Density and bit density of a network's constants, measured on their values.

Models:  share of elements that are not zero (negative zero counts as zero); share of one-bits at
         each position of the stored word (IEEE 754 or two's complement), most significant first.
Ignores: activations, which need data.
Judge:   closed forms on built tensors; a bit-by-bit count in Python (tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source

from ._graph import Graph
from ._types import BITS

_BLOCK = 1 << 20  # elements unpacked at once: 32 MiB of bits for 4-byte words


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What is known of the values in one or more tensors.

    Attributes
    ----------
    density : tensor name -> share of elements that are not zero, 0 to 1
    bit_density : tensor name -> share of one-bits per bit position, most significant first
    source : measured on which data, or assumed
    """

    source: Source
    density: Mapping[str, float] = field(default_factory=dict)
    bit_density: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def measure_statistics(graph: Graph, *, progress: Progress = SILENT) -> Statistics:
    """Read every numeric constant of a graph once and return what its values look like."""
    density: dict[str, float] = {}
    bits: dict[str, tuple[float, ...]] = {}
    for done, (name, constant) in enumerate(graph.constants.items()):
        progress.step("statistics", done, len(graph.constants))
        if constant.type.dtype == "string" or constant.type.elements == 0:
            continue
        values = constant.array()
        density[name] = float(np.count_nonzero(values) / values.size)
        # Types below a byte take a byte each in memory, so their words have no honest view.
        if BITS[constant.type.dtype] >= 8 and values.dtype.kind != "c":
            bits[name] = bit_density(values)
    source = Source(basis=Basis.MEASURED, where=f"constants of {graph.name}")
    return Statistics(source=source, density=density, bit_density=bits)


def bit_density(values: NDArray[Any]) -> tuple[float, ...]:
    """Return the share of one-bits per position of the stored words, most significant first."""
    width = values.dtype.itemsize
    flat = np.ascontiguousarray(values).reshape(-1)
    ones = np.zeros(8 * width, np.int64)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        # Big-endian bytes, so that the first bit is the most significant one.
        raw = block.view(np.uint8).reshape(-1, width)[:, ::-1]
        ones += np.unpackbits(np.ascontiguousarray(raw), axis=1).sum(axis=0, dtype=np.int64)
    return tuple(float(count / flat.size) for count in ones)
