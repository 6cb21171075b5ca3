"""The measured mappings: a layer, how it was cut into tiles, and the cycles it took.

A mapping stands as text, outermost level first::

    L3[WIO] K8 Q7 P2 - L2[WI] N1 K16X - L1[O] C4 Q8 P2 C16X - L0[W] P14

L3 steps through tiles in memory; the factors of all levels below make one tile; ``X`` marks what
runs side by side on the array. Letters: C, K channels in and out; P, Q output rows and columns;
R, S kernel rows and columns; N images.

Only ``target.gemmini_cycle`` is read of the answers.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orrery.errors import SpecError

from .._frame import shared_data

LETTERS = "NCKPQRS"
#: the smallest array that any row implies
_LEAST_SIDE = 4
_LEVEL = re.compile(r"L(\d)\[[WIO]+\]((?: [A-Z]\d+X?)+)")


def data_file() -> Path | None:
    """Return the release's file, if shared data lie beside the checkout."""
    return shared_data("gemmini", "firesim_results.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One mapping and what it took.

    Attributes
    ----------
    shape : letter -> extent of the layer
    tile : letter -> extent of what one call of the array's routine computes
    spatial : input and output channels side by side, as the mapping says
    tiles : calls of the routine
    side : rows and columns of the array, see `_side`
    cycles : measured
    line : of the release's file
    """

    shape: Mapping[str, int]
    stride: int
    mapping: str
    tile: Mapping[str, int]
    spatial: tuple[int, int]
    tiles: int
    side: int
    cycles: float
    line: int = 0

    @property
    def key(self) -> tuple[int, ...]:
        """What makes two rows the same layer."""
        return (*(self.shape[letter] for letter in "CKPQRS"), self.stride)

    @property
    def is_product(self) -> bool:
        """Whether the layer is a product of matrices, which another routine runs."""
        return self.shape["Q"] == self.shape["R"] == self.shape["S"] == 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return math.prod(self.shape.values())


def parse_mapping(text: str) -> tuple[tuple[tuple[str, int, bool], ...], ...]:
    """Return the factors (letter, factor, spatial) of levels 3, 2, 1 and 0.

    Raises
    ------
    SpecError : anything but four levels of factors, outermost first
    """
    levels = []
    for place, part in zip((3, 2, 1, 0), text.split(" - "), strict=False):
        match = _LEVEL.fullmatch(part)
        if match is None or int(match[1]) != place:
            break
        factors = [(f[0], int(f[1:].rstrip("X")), f.endswith("X")) for f in match[2].split()]
        if any(letter not in LETTERS or number < 1 for letter, number, _ in factors):
            break
        levels.append(tuple(factors))
    if len(levels) != 4 or text.count(" - ") != 3:
        raise SpecError(f"mapping {text!r}", found=f"{len(levels)} levels that can be read",
                        wanted="L3[…] … - L2[…] … - L1[…] … - L0[…] …",
                        fix="correct the text")  # fmt: skip
    return tuple(levels)


def read_rows(path: Path) -> tuple[MeasuredRow, ...]:
    """Read the release's file.

    Raises
    ------
    SpecError : factors that do not make up the layer
    """
    with path.open(newline="", encoding="utf-8") as handle:
        return tuple(_row(record, n) for n, record in enumerate(csv.DictReader(handle), 2))


def _row(record: Mapping[str, str], line: int) -> MeasuredRow:
    shape = {letter: int(record[f"prob.{letter}"]) for letter in LETTERS}
    levels = parse_mapping(record["mapping.mapping"])
    outer = _product(levels[0], (False, True))
    tile = _product(sum(levels[1:], ()), (False, True))
    side = _product(sum(levels[1:], ()), (True,))
    if any(outer[letter] * tile[letter] != shape[letter] for letter in LETTERS):
        raise SpecError(f"row {line}", found=record["mapping.mapping"], fix="correct the factors",
                        wanted=f"factors that make up {shape}")  # fmt: skip
    spatial, size = (side["C"], side["K"]), _side(side)
    if shape["Q"] == shape["R"] == shape["S"] == 1:
        tile = {letter: min(shape[letter], -(-n // size) * size) if letter in "PCK" else n
                for letter, n in tile.items()}  # fmt: skip
    return MeasuredRow(
        shape=shape, stride=int(record["prob.Hstride"]), mapping=record["mapping.mapping"],
        tile=tile, spatial=spatial, side=size, cycles=float(record["target.gemmini_cycle"]),
        line=line,
        tiles=math.prod(-(-shape[letter] // tile[letter]) for letter in LETTERS),
    )  # fmt: skip


def _product(factors: tuple[tuple[str, int, bool], ...], kinds: tuple[bool, ...]) -> dict[str, int]:
    return {letter: math.prod(n for name, n, spatial in factors
                              if name == letter and spatial in kinds)
            for letter in LETTERS}  # fmt: skip


def _side(spatial: Mapping[str, int]) -> int:
    """Return rows and columns of the array that a mapping asks for.

    The release is of hardware found together with mappings, and its array differs from row to
    row: the larger spatial factor, rounded up to a power of two. (On 16 x 16 throughout, rows
    would finish in fewer cycles than their multiplications take; so, none does.)
    """
    return max(_LEAST_SIDE, 1 << (max(spatial.values()) - 1).bit_length())
