"""An array with one thing changed: larger or smaller, wired for one layer, without a freedom.

Models:  sizes, ports, capacities, widths and freedoms as the description has them.
Ignores: what a change does to clock, energy per access and area: a larger memory keeps the price
         of an access, a narrower multiplier that of an operation, and the area is not known.
Judge:   processing elements, bandwidth and capacity multiply by the factor (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orrery.errors import SpecError
from orrery.provenance import Basis, Source

from ._records import ROLES, Architecture, ArrayAxis, Level

#: What an array may be free to do, and what it is without it.
FREEDOMS: Mapping[str, str] = {
    "multicast": "every read serves one element",
    "reduction": "every element's sums go up on their own",
    "bypass": "every level holds every operand",
}


def scaled_array(architecture: Architecture, doublings: int, *, memories: bool) -> Architecture:
    """Return an array of 2 ** doublings times as many processing elements.

    Axes are doubled (or halved) in turns, the one that has changed least first, of these the
    longest. Memories that belong to elements come with them.

    Parameters
    ----------
    doublings : below zero for a smaller array
    memories : whether the capacity and the ports of what is shared grow as well, off-chip
        bandwidth included

    Raises
    ------
    SpecError : an array that cannot be halved so often
    """
    axes = list(architecture.axes)
    for _ in range(abs(doublings)):
        able = [n for n, axis in enumerate(axes) if doublings > 0 or axis.size % 2 == 0]
        if not able:
            raise SpecError(
                f"architecture {architecture.name!r}: axes",
                found=" x ".join(str(axis.size) for axis in axes),
                wanted="an axis of even size to halve", fix="halve less often",
            )  # fmt: skip
        ratio = [abs(math.log2(axis.size / was.size))
                 for axis, was in zip(axes, architecture.axes, strict=True)]  # fmt: skip
        place = min(able, key=lambda n: (ratio[n], -axes[n].size))
        axes[place] = _resized(axes[place], 2 if doublings > 0 else 0.5)
    grown = replace(architecture, axes=tuple(axes), **_UNKNOWN_CHIP)
    factor = grown.elements / architecture.elements
    levels = list(architecture.levels)
    if memories:
        for n, level in enumerate(levels):
            rest = factor * architecture.instances(level) / grown.instances(level)
            levels[n] = _larger(level, rest)
    return replace(grown, name=f"{architecture.name} x {factor:g}", levels=tuple(levels))


#: What is no longer known of a chip that was never built.
_UNKNOWN_CHIP: Mapping[str, Any] = {"area_mm2": None, "price_usd": None}


def _made(what: str) -> Source:
    return Source(basis=Basis.ASSUMED, where="a variant that was never built", note=what)


def _resized(axis: ArrayAxis, factor: float) -> ArrayAxis:
    """Return a longer or shorter axis; where it is wired, the longest part with it."""
    size = round(axis.size * factor)
    axis = replace(axis, sources={**axis.sources, "size": _made(f"{size} for {axis.size}")})
    if not axis.fixed:
        return replace(axis, size=size)
    fixed = dict(axis.fixed)
    longest = max(fixed, key=lambda loop: fixed[loop])
    fixed[longest] = max(1, math.floor(fixed[longest] * factor))
    return replace(axis, size=size, fixed=fixed)


def _larger(level: Level, factor: float) -> Level:
    """Return a level with more room and wider ports."""
    if factor == 1:
        return level
    made = _made(f"{factor:g} times as large and fast as the one that was described")
    grown = ("capacity_bits", "shares_bits", "read_bits_per_cycle", "write_bits_per_cycle",
             "network_bits_per_cycle")  # fmt: skip
    room = level.capacity_bits and max(level.word_bits, round(level.capacity_bits * factor))
    return replace(
        level, capacity_bits=room,
        shares_bits={role: round(bits * factor) for role, bits in level.shares_bits.items()},
        read_bits_per_cycle=level.read_bits_per_cycle and level.read_bits_per_cycle * factor,
        write_bits_per_cycle=level.write_bits_per_cycle and level.write_bits_per_cycle * factor,
        network_bits_per_cycle={role: rate * factor
                                for role, rate in level.network_bits_per_cycle.items()},
        sources={key: made if key in grown else was for key, was in level.sources.items()},
    )  # fmt: skip


def wired_array(
    architecture: Architecture, spatial: Mapping[str, Mapping[str, int]]
) -> Architecture:
    """Return an array whose axes run the given loops and no others.

    Parameters
    ----------
    spatial : axis -> loop -> positions; an axis that is not named is free to run none
    """
    made = _made("wired as one layer runs best")
    axes = tuple(
        replace(axis, loops=None, fixed=dict(spatial.get(axis.name, {})),
                sources={**axis.sources, "fixed": made})
        for axis in architecture.axes
    )  # fmt: skip
    return replace(architecture, name=f"{architecture.name}, wired", axes=axes, **_UNKNOWN_CHIP)


def narrowed_array(architecture: Architecture, bits: int) -> Architecture:
    """Return an array that stores operands and results in so many bits; partial sums stay wide.

    Raises
    ------
    SpecError : more bits than the array has
    """
    widest = min(architecture.bits.values())
    if not 0 < bits <= widest:
        raise SpecError(f"architecture {architecture.name!r}: bits", found=bits,
                        wanted=f"1 to {widest}", fix="take another array")  # fmt: skip
    return replace(
        architecture, name=f"{architecture.name}, {bits} bits",
        bits=dict.fromkeys(architecture.bits, bits),
        sources={**architecture.sources, "bits": _made(f"{bits} for {widest}")}, **_UNKNOWN_CHIP,
    )  # fmt: skip


def array_without(architecture: Architecture, freedom: str) -> Architecture | None:
    """Return an array without one of `FREEDOMS`; None where it has none of it."""
    if freedom == "multicast":
        levels = tuple(replace(level, multicast=()) for level in architecture.levels)
    elif freedom == "reduction":
        levels = tuple(replace(level, reduces=()) for level in architecture.levels)
    elif freedom == "bypass":
        levels = tuple(_holding_all(level) for level in architecture.levels)
    else:
        raise SpecError("freedom of an array", found=freedom,
                        wanted=f"one of {', '.join(FREEDOMS)}", fix="choose one")  # fmt: skip
    if all(_same(a, b) for a, b in zip(levels, architecture.levels, strict=True)):
        return None
    return replace(architecture, name=f"{architecture.name} without {freedom}", levels=levels,
                   **_UNKNOWN_CHIP)  # fmt: skip


def _holding_all(level: Level) -> Level:
    """Return a level that holds every operand; where none is waited for, nor are the new ones."""
    new = tuple(role for role in ROLES if role not in level.holds)
    streams = new if level.holds and all(map(level.hides, level.holds)) else ()
    return replace(level, holds=ROLES, streams=(*level.streams, *streams))


def _same(first: Level, second: Level) -> bool:
    return set(first.holds) == set(second.holds) and (first.multicast, first.reduces) == (
        second.multicast, second.reduces)  # fmt: skip
