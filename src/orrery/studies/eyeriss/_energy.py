"""AlexNet on the array of 2016: energy of multipliers, registers and off-chip memory per layer.

Models:  the row-stationary space of `_rows`, tiles that divide their loops (as the published
         analysis and its peers have them) with as many sets side by side as fit, priced by
         `nest_cost`; of it the least energy, proven: tiles of the buffer in the order of a lower
         bound (what they move off chip, the multiplications, four accesses of registers each)
         until the bound reaches the best nest.
Ignores: tiles that do not divide their loops; an order of loops within the buffer's tile other
         than the dataflow's.
Judge:   the published bars; on small layers, the whole space priced (tests).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orrery.cost.nest import NestCost, NestProblem, nest_cost
from orrery.errors import SpecError
from orrery.hardware import Architecture

from ._layers import Conv, conv_problem
from ._rows import ORDER, RowStationary, Sets, divisors, row_nest

#: sums stay; filters stay; images stay
ORDERS = (ORDER, ("N", "H", "Cout", "Cin"), ("Cout", "Cin", "N", "H"), ("N", "H", "Cin", "Cout"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A mapping, what it takes, and how many were priced to find it."""

    how: RowStationary
    cost: NestCost
    priced: int


def by_part(cost: NestCost) -> dict[str, float]:
    """Return joules of ALU, DRAM and RF as the figure charges them, and of RF in full.

    The figure charges a move where it comes from, and a read and a write of a sum for every
    multiplication. The engine also charges registers for being filled and emptied, and reads no
    sum that starts from zero.
    """
    bill = {(c.resource, c.action): c for c in cost.charges}
    depth = len(cost.traffic)
    feeds = {f.tensor.role: f.outer.total for f in cost.counts.flows if f.child == depth}
    each = bill["registers", "read input"].energy_j_each
    seen = feeds["input"] + feeds["weight"] + 2 * feeds["output"]
    total = {name: sum(c.energy_j for c in cost.charges if c.resource == name)
             for name in ("array", "dram", "registers")}  # fmt: skip
    return {"ALU": total["array"], "DRAM": total["dram"], "RF": seen * cost.times * each,
            "RF in full": total["registers"]}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """What the buffer keeps at a time, and how many channels of the image with it."""

    m: int
    n: int
    strips: int
    channels: int
    order: tuple[str, ...]


def array_halves(layer: Conv, machine: Architecture) -> tuple[RowStationary, ...]:
    """Return what may stand on the array: sets, and turns that an element's registers hold."""
    rows, cols = (axis.size for axis in machine.axes)
    pads = machine.levels[-1]
    words = (pads.capacity_bits or 0) // pads.word_bits
    made, read = layer.made // layer.groups, layer.read // layer.groups
    high = -(-layer.size // -(-layer.size // cols))
    down, beside = _side_by_side(rows // layer.kernel, made, read), []
    for r, t in down:
        beside += [(r, t, *pair) for pair in _side_by_side(cols // high, made // t, read // r)]
    found = []
    for r, t, r_beside, t_beside in beside:
        sets = Sets(e=high, r=r, t=t, r_beside=r_beside, t_beside=t_beside)
        for p, q in itertools.product(divisors(made // (t * t_beside)),
                                      divisors(read // (r * r_beside))):  # fmt: skip
            if p * q * layer.kernel + q * layer.kernel + p <= words:
                found.append(RowStationary(sets=sets, p=p, q=q, m=p * t * t_beside, n=1))
    return tuple(found)


def _side_by_side(room: int, made: int, read: int) -> list[tuple[int, int]]:
    """Return (channels, filters) of as many sets side by side as there is room for."""
    pairs = [(r, t) for r in divisors(read) for t in divisors(made) if r * t <= room]
    most = max(r * t for r, t in pairs)
    return [(r, t) for r, t in pairs if r * t == most]


def _tiles(layer: Conv, batch: int, machine: Architecture, high: int) -> Iterator[_Tile]:
    """Yield the tiles of images and sums that the buffer holds."""
    buffer = machine.levels[1]
    words = (buffer.capacity_bits or 0) // buffer.word_bits
    made, read = layer.made // layer.groups, layer.read // layer.groups
    wide = (layer.size - 1) * layer.stride + layer.kernel
    for m, n, strips, channels in itertools.product(
        divisors(made), divisors(batch), divisors(-(-layer.size // high)), divisors(read)
    ):
        rows = min(layer.size, strips * high)
        seen = (rows - 1) * layer.stride + layer.kernel
        if m * n * rows * layer.size + channels * n * seen * wide <= words:
            for order in ORDERS:
                yield _Tile(m=m, n=n, strips=strips, channels=channels, order=order)


def _under(tile: _Tile, halves: tuple[RowStationary, ...]) -> Iterator[RowStationary]:
    """Yield the mappings of a tile of the buffer."""
    for half in halves:
        channels = half.q * half.sets.r * half.sets.r_beside
        if tile.m % half.m == 0 and tile.channels % channels == 0:
            yield replace(half, m=tile.m, n=tile.n, strips=tile.strips, order=tile.order,
                          c=tile.channels // channels)  # fmt: skip


def all_mappings(layer: Conv, batch: int, machine: Architecture) -> Iterator[RowStationary]:
    """Yield the whole space."""
    halves = array_halves(layer, machine)
    for tile in _tiles(layer, batch, machine, halves[0].sets.e):
        yield from _under(tile, halves)


def price(
    problem: NestProblem, layer: Conv, batch: int, how: RowStationary, machine: Architecture
) -> NestCost | None:
    """Return what a mapping takes, None where a tile does not fit."""
    try:
        return nest_cost(problem, row_nest(layer, batch, how), machine)
    except SpecError:
        return None


def least(layer: Conv, batch: int, machine: Architecture) -> Found:
    """Return the mapping of least energy in the space."""
    problem = conv_problem(layer, batch)
    halves = array_halves(layer, machine)
    priced, bounded = 0, []
    for tile in _tiles(layer, batch, machine, halves[0].sets.e):
        # Filters off chip are the tile's, but for a tile of a single pass, which may keep them.
        nests = tuple(_under(tile, halves))
        for single in (False, True):
            kind = [how for how in nests if _single_pass(how) is single]
            cost = price(problem, layer, batch, kind[0], machine) if kind else None
            if cost is not None:
                priced += 1
                floor = _Floor.of(layer, cost)
                bounded += [(floor.under(layer, how), how) for how in kind]
    best: Found | None = None
    for bound, how in sorted(bounded, key=lambda b: b[0]):
        if best is not None and bound >= energy_j(best.cost):
            break
        cost = price(problem, layer, batch, how, machine)
        priced += 1
        if cost is not None and (best is None or energy_j(cost) < energy_j(best.cost)):
            best = Found(how=how, cost=cost, priced=0)
    if best is None:
        raise SpecError(f"{layer.name} on {machine.name}", found="no row-stationary mapping",
                        wanted="one that fits", fix="enlarge a memory")  # fmt: skip
    return replace(best, priced=priced)


def energy_j(cost: NestCost) -> float:
    """Return the joules of a nest whose every action has a price."""
    if cost.energy_j is None:
        raise SpecError("energies", found=", ".join(cost.unpriced), wanted="a price each",
                        fix="add them to the array's file")  # fmt: skip
    return cost.energy_j


def _single_pass(how: RowStationary) -> bool:
    return how.c == 1 and how.m == how.p * how.sets.t * how.sets.t_beside


@dataclass(frozen=True, slots=True, kw_only=True)
class _Floor:
    """What every mapping of a tile of the buffer takes at least, from the price of one of them.

    Off-chip traffic and multiplications are the tile's. Each multiplication reads two operands
    from registers, writes a sum, and the sum is read again, to go on or to leave. A filter goes
    into every column of a set. Images are written into the buffer and read for all filters at a
    time; sums are written and read, there or on their way out, for all channels at a time, and
    come back into registers for all channels but the first.

    Attributes
    ----------
    images, made : elements written into the buffer by the outside, and made
    buffer, pads : joules of a word
    """

    fixed: float
    images: int
    made: int
    buffer: float
    pads: float

    @staticmethod
    def of(layer: Conv, cost: NestCost) -> _Floor:
        buffer, pads = (next(c.energy_j_each for c in cost.charges if c.resource == name)
                        for name in ("buffer", "registers"))  # fmt: skip
        macs = cost.operations.nominal
        count = {(c.resource, c.action): c.count for c in cost.charges}
        fixed = sum(c.energy_j for c in cost.charges if c.resource in ("dram", "array"))
        return _Floor(fixed=fixed + (4 * macs + count["dram", "read weight"]) * pads,
                      images=count["buffer", "write input"], buffer=buffer, pads=pads,
                      made=macs // (layer.macs // (layer.made * layer.size**2)))  # fmt: skip

    def under(self, layer: Conv, how: RowStationary) -> float:
        """Return the bound of one mapping of the tile."""
        again = 1
        passes = 1
        if how.n * layer.size > 1:  # else sums or images may stay in registers between passes
            again = how.m // (how.p * how.sets.t * how.sets.t_beside)
            passes = layer.read // layer.groups // (how.q * how.sets.r * how.sets.r_beside)
        images = self.images * (self.buffer + again * (self.buffer + self.pads))
        sums = self.made * (2 * passes * self.buffer + 2 * (passes - 1) * self.pads)
        return self.fixed + images + sums
