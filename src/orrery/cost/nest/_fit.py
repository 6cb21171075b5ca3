"""Whether a nest can run on an architecture: its loops, its axes, what its tiles take.

Models:  a level's tiles, twice where the next one arrives meanwhile, within its capacity; a role
         with a share of its own within the share. Results take the width of partial sums in levels
         that sums which go on are written to, else their own.
Ignores: fragmentation, banks.
Judge:   tile sizes by the interpreter of the tests; each refusal by a case made for it.
"""

from __future__ import annotations

import math

from orrery.errors import UnknownNameError
from orrery.hardware import Architecture
from orrery.plan import Infeasible

from ._count import NestCounts, count_nest
from ._mapping import NestMapping
from ._problem import NestProblem


def check_mapping(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> Infeasible | None:
    """Return why a nest cannot run on an architecture, or None when it can.

    Raises
    ------
    UnknownNameError : a loop or an axis that does not exist
    """
    short = check_loops(problem, mapping, architecture)
    if short is None:
        short = overfull(count_nest(problem, mapping, architecture), architecture)
    return short


def check_loops(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> Infeasible | None:
    """Return what is wrong with the factors of a nest: all that needs no counting."""
    extents = dict(problem.loops)
    if len(mapping.temporal) != len(architecture.levels):
        return Infeasible(
            what=f"levels of the nest on {architecture.name}", need=len(architecture.levels),
            have=len(mapping.temporal), unit="levels",
            remedies=("map the layer anew for this architecture",),
        )  # fmt: skip
    covered = dict.fromkeys(extents, 1)
    axes = {axis.name: axis for axis in architecture.axes}
    for name in mapping.spatial:
        if name not in axes:
            raise UnknownNameError(f"array axis of {architecture.name}", name, axes)
    for part in (*mapping.temporal, *mapping.spatial.values()):
        for loop, factor in part:
            if loop not in covered:
                raise UnknownNameError("loop of the layer", loop, covered)
            covered[loop] *= factor
    for level, part in zip(architecture.levels, mapping.temporal, strict=True):
        for loop, factor in part:
            if level.loops is not None and loop not in level.loops and factor > 1:
                return Infeasible(
                    what=f"loop {loop} at {level.name}, which steps through "
                    f"{', '.join(level.loops) or 'nothing'}", need=factor, have=1, unit="steps",
                    remedies=(f"run {loop} further out", f"allow {loop} at {level.name}"),
                )  # fmt: skip
    for name, axis in axes.items():
        spread = mapping.spatial.get(name, ())
        for loop, factor in spread:
            if axis.loops is not None and loop not in axis.loops and factor > 1:
                return Infeasible(
                    what=f"loop {loop} along axis {name}, which takes {', '.join(axis.loops)}",
                    need=factor, have=1, unit="positions",
                    remedies=(f"run {loop} in time", f"allow {loop} along {name}"),
                )  # fmt: skip
        used = math.prod(factor for _, factor in spread)
        if used > axis.size:
            return Infeasible(what=f"positions along axis {name}", need=used, have=axis.size,
                              unit="positions",
                              remedies=("lower its factors", "run part of it in time"))  # fmt: skip
        for loop, factor in (axis.fixed or {}).items():
            have = math.prod(f for n, f in spread if n == loop)
            if loop in extents and have != min(factor, extents[loop]):
                return Infeasible(
                    what=f"loop {loop} along axis {name}, where the wiring fixes it",
                    need=min(factor, extents[loop]), have=have, unit="positions",
                    remedies=("give it the factor the wiring fixes",),
                )  # fmt: skip
        if axis.fixed is not None:
            for loop, factor in spread:
                if loop not in axis.fixed and factor > 1:
                    return Infeasible(
                        what=f"loop {loop} along axis {name}, wired for "
                        f"{', '.join(axis.fixed)}", need=factor, have=1, unit="positions",
                        remedies=(f"run {loop} in time",),
                    )  # fmt: skip
    for loop, extent in extents.items():
        if covered[loop] < extent:
            return Infeasible(what=f"loop {loop}: its factors cover too little", need=extent,
                              have=covered[loop], unit="indices",
                              remedies=(f"raise a factor of {loop}",))  # fmt: skip
    return None


def footprint_bits(counts: NestCounts, architecture: Architecture) -> tuple[dict[str, int], ...]:
    """Return per level what tiles take in one instance, role -> bits."""
    roles = {flow.tensor.name: flow.tensor.role for flow in counts.flows}
    found = []
    for level, tiles, partial in zip(
        architecture.levels, counts.tiles, counts.partial, strict=True
    ):
        bits: dict[str, int] = {}
        for name, elements in tiles.items():
            role = roles[name]
            wide = partial and role == "output"
            width = architecture.partial_sum_bits if wide else architecture.bits[role]
            twice = 2 if role in level.double_buffered else 1
            bits[role] = bits.get(role, 0) + elements * width * twice
        found.append(bits)
    return tuple(found)


def overfull(counts: NestCounts, architecture: Architecture) -> Infeasible | None:
    """Return the first level, outermost first, whose tiles do not fit."""
    for level, bits in zip(architecture.levels, footprint_bits(counts, architecture), strict=True):
        shared = {role: taken for role, taken in bits.items() if role not in level.shares_bits}
        for role, share in level.shares_bits.items():
            if bits.get(role, 0) > share:
                return _short(f"{role} tile in its share of {level.name}", bits[role], share)
        if level.capacity_bits is None or not shared:
            continue
        rest = level.capacity_bits - sum(level.shares_bits.values())
        if sum(shared.values()) > rest:
            said = ", ".join(f"{role} {taken / 8:g} B" for role, taken in shared.items())
            return _short(f"tiles in {level.name} ({said})", sum(shared.values()), rest)
    return None


def _short(what: str, need: int, have: int) -> Infeasible:
    return Infeasible(
        what=what, need=need / 8, have=have / 8, unit="bytes",
        remedies=("choose smaller tiles", "let an operand pass the level by",
                  "enlarge the level"),
    )  # fmt: skip
