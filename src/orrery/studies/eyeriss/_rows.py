"""The row-stationary dataflow as a loop nest.

Models:  an element of the array keeps q channels of p filter rows and slides them along a row of
         the image; the sum of a place goes down the rows of a set (one a kernel row) and into the
         buffer. Sets stand beside each other for r more channels, t more filters, or more strips
         of result rows (folding). A pass covers n images, p·t filters, q·r channels and e rows of
         the result; the buffer keeps the sums of m filters while passes go through the channels.
Ignores: nothing of its own: `nest_cost` counts and prices the nest.
Judge:   every loop is covered (`check_mapping`); active elements against the chip's (the study).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orrery.cost.nest import NestMapping

from ._layers import Conv

#: loops over the buffer's tiles, outermost first; sums stay until all channels are through
ORDER = ("Cout", "N", "H", "Cin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """How sets of Kh x e elements stand on the array.

    Attributes
    ----------
    e : rows of the result of one set, side by side along the columns
    r, t, fold : channels, filters and strips of rows along the rows, each a set of its own
    r_beside, t_beside : channels and filters along the columns
    """

    e: int
    r: int = 1
    t: int = 1
    fold: int = 1
    r_beside: int = 1
    t_beside: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStationary:
    """A mapping in the papers' letters.

    Attributes
    ----------
    p, q : filters and channels that take turns in one element
    m, n, strips, c : filters, images, strips of rows and passes over channels of a buffer's tile
    order : of the loops over the buffer's tiles
    """

    sets: Sets
    p: int
    q: int
    m: int
    n: int
    strips: int = 1
    c: int = 1
    order: tuple[str, ...] = ORDER


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def row_nest(
    layer: Conv, batch: int, how: RowStationary, *, filters_apart: bool = False
) -> NestMapping:
    """Return the nest on an architecture of off-chip memory, buffer and registers.

    Parameters
    ----------
    filters_apart : a memory for the filters of one pass stands between buffer and registers
    """
    sets = how.sets
    made, read = layer.made // layer.groups, layer.read // layer.groups
    at_once = how.p * sets.t * sets.t_beside
    channels = how.q * sets.r * sets.r_beside
    rows = sets.e * sets.fold
    tiles = {
        "Cout": _parts(made, how.m), "N": _parts(batch, how.n),
        "Cin": _parts(read, channels * how.c), "H": _parts(layer.size, rows * how.strips),
    }  # fmt: skip
    outer = (("G", layer.groups), *((loop, tiles[loop]) for loop in how.order))
    passes = (("Cin", how.c), ("Cout", _parts(how.m, at_once)))
    inner = (("N", how.n), ("H", how.strips), ("W", layer.size))
    turns = (("Cout", how.p), ("Cin", how.q), ("Kw", layer.kernel))
    down = (("H", sets.fold), ("Cout", sets.t), ("Cin", sets.r), ("Kh", layer.kernel))
    along = (("Cout", sets.t_beside), ("Cin", sets.r_beside), ("H", sets.e))

    def real(loops: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        return tuple((name, factor) for name, factor in loops if factor > 1)

    kept = (real(passes), real(inner)) if filters_apart else (real(passes + inner),)
    return NestMapping(temporal=(real(outer), *kept, real(turns)),
                       spatial={"rows": real(down), "cols": real(along)})  # fmt: skip


def divisors(n: int) -> tuple[int, ...]:
    """Return the divisors of n, smallest first."""
    small = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
    return tuple(sorted({*small, *(n // k for k in small)}))
