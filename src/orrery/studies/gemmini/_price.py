"""A measured mapping priced by the loop-nest engine: what a tile takes, and all tiles.

Models:  a tile is one call of the array's routine, which loads its pixels and weights anew (pixels
         that a stride skips come with the rest of the window) and stores its results; calls follow
         each other with double buffers, so that each takes the longest of computing, of any port
         and of the routine's own floor; the first way in and the last way out are waited for. All
         from `orrery.cost.nest` but the floor and the skipped pixels.
Ignores: padding at borders (a tile loads it as pixels), what a tile could leave in place for the
         next, rows of fewer bytes than a burst.
Judge:   RTL cycles (the study).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from orrery.cost.nest import Index, NestMapping, NestProblem, NestTensor, nest_cost
from orrery.hardware import Architecture
from orrery.hardware.spatial import load_architecture

from ._rows import MeasuredRow, parse_mapping

BASE = "gemmini-16"
#: bits per cycle at which tiles are priced once; times scale with it
REFERENCE_BITS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What is fitted: cycles that a call takes at least, and bytes a cycle from memory."""

    floor_cycles: float
    bytes_per_cycle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTime:
    """One tile: cycles of computing, of the ports on chip, bytes at the memory's port, ramps.

    Attributes
    ----------
    ramp_bytes : moved before the first step or after the last one
    """

    tiles: int
    compute: float
    ports: float
    bytes: float
    ramp_bytes: float


@lru_cache
def array(side: int, memory_bits_per_cycle: float | None = REFERENCE_BITS) -> Architecture:
    """Return the catalogue's Gemmini with another array; ports grow with it, memories do not hold.

    The release's memories are not those of the default configuration: its largest tiles are
    larger, so that capacities are left open.

    Parameters
    ----------
    memory_bits_per_cycle : at the memory's port; None: as the catalogue has it
    """
    base = load_architecture(BASE)
    grown = side / base.axes[0].size
    levels = [
        replace(level, capacity_bits=None, read_bits_per_cycle=_times(level.read_bits_per_cycle,
                grown), write_bits_per_cycle=_times(level.write_bits_per_cycle, grown))
        for level in base.levels[1:]
    ]  # fmt: skip
    memory = base.levels[0]
    if memory_bits_per_cycle is not None:
        memory = replace(memory, read_bits_per_cycle=memory_bits_per_cycle)
    axes = tuple(replace(axis, size=side) for axis in base.axes)
    return replace(base, name=f"gemmini-{side}", axes=axes, levels=(memory, *levels))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def tile_nest(row: MeasuredRow) -> tuple[NestProblem, NestMapping]:
    """Return a tile as a layer of its own, and how the array's routine runs it.

    Weights stay while pixels of the tile pass; kernel positions and channels in blocks outside.
    """
    problem, steps, spatial = _layer(row.tile, row.stride), *_inside(row)
    return problem, NestMapping(temporal=((), (), steps, ()), spatial=spatial)


#: the release's letters as loops
_LOOP = {"K": "Cout", "C": "Cin", "R": "Kh", "S": "Kw", "N": "N", "P": "H", "Q": "W"}


def _inside(row: MeasuredRow) -> tuple[tuple[tuple[str, int], ...], dict[str, Any]]:
    """Return the steps of a tile and what lies along the array."""
    folded = {"C": min(row.side, row.tile["C"]), "K": min(row.side, row.tile["K"])}
    steps = tuple((loop, -(-row.tile[letter] // folded.get(letter, 1)))
                  for letter, loop in _LOOP.items())  # fmt: skip
    return steps, {"rows": (("Cin", folded["C"]),), "cols": (("Cout", folded["K"]),)}


def whole_cycles(row: MeasuredRow) -> int:
    """Return what the engine says of the whole mapping as one nest, nothing fitted.

    The memory is the catalogue's; steps through tiles stand where the mapping has them.
    """
    outer = tuple(
        (_LOOP[letter], -(-row.shape[letter] // row.tile[letter]))
        for letter, _, _ in parse_mapping(row.mapping)[0]
        if row.shape[letter] > row.tile[letter]
    )
    steps, spatial = _inside(row)
    nest = NestMapping(temporal=(outer, (), steps, ()), spatial=spatial)
    return nest_cost(_layer(row.shape, row.stride), nest, array(row.side, None)).cycles


def _layer(size: Mapping[str, int], stride: int) -> NestProblem:
    loops = tuple((loop, size[letter]) for letter, loop in _LOOP.items())
    extent = dict(loops)

    def along(*names: str) -> tuple[Index, ...]:
        return tuple(Index(size=extent[name], terms=((name, 1),)) for name in names)

    def window(place: str, tap: str) -> Index:
        size = (extent[place] - 1) * stride + extent[tap]
        return Index(size=size, terms=((place, stride), (tap, 1)))

    return NestProblem(loops=loops, tensors=(
        NestTensor(name="x", role="input",
                   axes=(*along("N", "Cin"), window("H", "Kh"), window("W", "Kw"))),
        NestTensor(name="w", role="weight", axes=along("Cout", "Cin", "Kh", "Kw")),
        NestTensor(name="y", role="output", axes=along("N", "Cout", "H", "W")),
    ))  # fmt: skip


def tile_time(row: MeasuredRow) -> TileTime:
    """Price one tile."""
    problem, mapping = tile_nest(row)
    time = nest_cost(problem, mapping, array(row.side)).time
    each, gaps = REFERENCE_BITS / 8, _gaps(row)
    return TileTime(
        tiles=row.tiles, compute=float(time.compute), ports=float(max(time.busy[1:])),
        bytes=float(time.busy[0]) * each + gaps,
        ramp_bytes=float(time.ramp_up + time.drain) * each + gaps,
    )  # fmt: skip


def _gaps(row: MeasuredRow) -> int:
    """Return the pixels of a tile's window that no multiplication reads, which are loaded too."""
    tile, hull, read = row.tile, 1, 1
    for place, tap in (("P", "R"), ("Q", "S")):
        whole = (tile[place] - 1) * row.stride + tile[tap]
        hull *= whole
        read *= whole if tile[tap] >= row.stride else tile[place] * tile[tap]
    return (hull - read) * tile["C"] * tile["N"]


def cycles(tile: TileTime, constants: Constants) -> float:
    """Return the cycles of all tiles of a row."""
    rate = constants.bytes_per_cycle
    steady = max(constants.floor_cycles, tile.compute, tile.ports, tile.bytes / rate)
    return tile.tiles * steady + tile.ramp_bytes / rate
