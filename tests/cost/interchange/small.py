"""A small array and layers for it, whose files in other tools' languages are written by hand."""

from __future__ import annotations

from pathlib import Path

from orrery.cost.nest import LOOPS, Index, NestMapping, NestProblem, NestTensor
from orrery.hardware import Architecture, load_architecture

ARRAY = """
name: tiny
clock: "100 MHz"
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "round figures"}}
array: [{axis: rows, size: 2}, {axis: cols, size: 3}]
bits: {input: 8, weight: 8, output: 8, partial_sum: 16}
energy: {mac: "0.5 pJ", idle_mac: "0.1 pJ", hop: "0 pJ/bit"}
static_power: "0 W"
levels:
  - {name: dram, holds: [input, weight, output], word: "64 bit", read: "640 pJ", write: "640 pJ",
     read_bandwidth: "32 bit/cycle", one_port: true}
  - {name: buffer, holds: [input, output], size: "1 KiB", word: "16 bit", read: "2 pJ",
     write: "3 pJ", read_bandwidth: "64 bit/cycle", write_bandwidth: "32 bit/cycle",
     double_buffered: [input, output], multicast: [rows, cols], reduces: [rows, cols]}
  - {name: pads, per: [rows, cols], holds: [weight], size: "16 B", word: "8 bit",
     read: "0.1 pJ", write: "0.1 pJ"}
"""


def array(folder: Path, text: str = ARRAY) -> Architecture:
    """Return the array, read from a file in a folder."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return load_architecture(str(path), loops=tuple(LOOPS))


def convolution() -> NestProblem:
    """Return 4 filters of 2 x 3 over two channels of 6 x 9, padded by a row above and below."""
    return NestProblem(
        loops=(("Cout", 4), ("Cin", 2), ("H", 7), ("W", 7), ("Kh", 2), ("Kw", 3)),
        tensors=(
            NestTensor(name="x", role="input", axes=(
                Index(size=2, terms=(("Cin", 1),)),
                Index(size=6, offset=-1, terms=(("H", 1), ("Kh", 1))),
                Index(size=9, terms=(("W", 1), ("Kw", 1))),
            )),
            NestTensor(name="w", role="weight", axes=(
                Index(size=4, terms=(("Cout", 1),)), Index(size=2, terms=(("Cin", 1),)),
                Index(size=2, terms=(("Kh", 1),)), Index(size=3, terms=(("Kw", 1),)),
            )),
            NestTensor(name="y", role="output", axes=(
                Index(size=4, terms=(("Cout", 1),)), Index(size=7, terms=(("H", 1),)),
                Index(size=7, terms=(("W", 1),)),
            )),
        ),
    )  # fmt: skip


def product() -> NestProblem:
    """Return 5 x 4 times 4 x 6."""

    def axes(*loops: tuple[str, int]) -> tuple[Index, ...]:
        return tuple(Index(size=n, terms=((loop, 1),)) for loop, n in loops)

    return NestProblem(
        loops=(("N", 5), ("Cout", 6), ("Cin", 4)),
        tensors=(
            NestTensor(name="a", role="input", axes=axes(("N", 5), ("Cin", 4))),
            NestTensor(name="b", role="weight", axes=axes(("Cin", 4), ("Cout", 6))),
            NestTensor(name="c", role="output", axes=axes(("N", 5), ("Cout", 6))),
        ),
    )  # fmt: skip


def strided() -> NestProblem:
    """Return a 1 x 1 convolution that takes every second column of 7."""
    return NestProblem(
        loops=(("Cout", 2), ("W", 4)),
        tensors=(
            NestTensor(name="x", role="input", axes=(Index(size=7, terms=(("W", 2),)),)),
            NestTensor(name="w", role="weight", axes=(Index(size=2, terms=(("Cout", 1),)),)),
            NestTensor(name="y", role="output", axes=(
                Index(size=2, terms=(("Cout", 1),)), Index(size=4, terms=(("W", 1),)),
            )),
        ),
    )  # fmt: skip


CONVOLUTION = NestMapping(
    temporal=((("Cout", 2), ("W", 7)), (("H", 7),), (("Kw", 3), ("Kh", 2))),
    spatial={"rows": (("Cout", 2),), "cols": (("Cin", 2),)},
)
PRODUCT = NestMapping(
    temporal=((("N", 5),), (("Cout", 2),), (("Cin", 2),)),
    spatial={"rows": (("Cin", 2),), "cols": (("Cout", 3),)},
)
STRIDED = NestMapping(temporal=((), (("W", 4),), ()), spatial={"rows": (("Cout", 2),)})
