"""Where a layer's speed is lost on an array, in seven steps, and what would win it back.

Models:  the seven steps of Eyexam (Sze et al., IEEE Solid-State Circuits Magazine 12(3), 2020; Chen
         et al., arXiv 1807.07928), each in operations a cycle and none above the one before:

             1  layer           all its operations at once
             2  dataflow        the loops that any axis of the array takes, each in one go
             3  number of PEs   the best whole factors of these loops, all PEs as one pool
             4  array shape     the best whole factors on the axes as they are
             5  storage         the nest at hand, whose tiles fit, with every operand there
             6  bandwidth       the busiest port, on average
             7  access pattern  transfers that nothing hides, first tiles in, last results out

Ignores: partitions of the network on chip by data type (step 4); zeros.
Judge:   steps 3 and 4 against all factors of small layers; step 7 is the price's cycles (tests).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from orrery.hardware import Architecture, ArrayAxis, Level

from ._fit import check_mapping
from ._mapping import NestMapping
from ._price import NestCost, nest_cost
from ._problem import NestProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A step of the waterfall.

    Attributes
    ----------
    operations_per_cycle : at most, with everything up to this step taken into account
    loss : share of the step before that is lost here, in [0, 1]
    reason : what the step adds
    """

    name: str
    operations_per_cycle: float
    loss: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing of an architecture doubled, under the same nest (or as near as it allows).

    Attributes
    ----------
    cycles, energy_j : of the changed machine (energy None: not known)
    speedup : times as fast as before
    """

    what: str
    cycles: int
    energy_j: float | None
    speedup: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What bounds a nest and what would help.

    Attributes
    ----------
    bound_by : ``array``, the level whose ports add most cycles, or ``first and last tiles``
    share : of all cycles: those of computation, or those that it adds
    changes : the most helpful first
    """

    bound_by: str
    share: float
    changes: tuple[Change, ...]


# -- the waterfall --------------------------------------------------------------------------------


def nest_bounds(
    problem: NestProblem, architecture: Architecture, cost: NestCost
) -> tuple[Bound, ...]:
    """Return the seven bounds of a layer on an architecture.

    Parameters
    ----------
    cost : of the nest at hand, without anything made of zeros
    """
    operations, lanes = problem.operations, architecture.macs_per_cycle
    extents = dict(problem.loops)
    takes = {axis.name: _loops_along(axis, extents) for axis in architecture.axes}
    spread = {loop for loops in takes.values() for loop in loops}
    at_once = math.prod(extents[loop] for loop in spread)
    pool = ArrayAxis(name="PEs", size=architecture.elements, loops=tuple(spread),
                     sources=architecture.axes[0].sources) if spread else None  # fmt: skip
    time = cost.time
    busy = max(time.busy, default=0)
    fullest = architecture.levels[time.busy.index(busy)].name
    rates = [
        ("layer", operations, f"{operations} operations in all"),
        ("dataflow", min(operations, at_once * lanes),
         f"the array takes {', '.join(sorted(spread)) or 'no loop'}"),
        ("number of PEs", _rate(operations, _least_passes(extents, [pool] if pool else []), lanes),
         f"{architecture.elements} processing elements"),
        ("array shape", _rate(operations, _least_passes(extents, architecture.axes), lanes),
         " x ".join(f"{axis.name} {axis.size}" for axis in architecture.axes) or "one element"),
        ("storage", operations / time.compute,
         f"the nest keeps {cost.counts.active} of {architecture.elements} busy"),
        ("bandwidth", operations / max(time.compute, busy), f"busiest: {fullest}"),
        ("access pattern", operations / time.cycles, "what nothing hides, first and last tiles"),
    ]  # fmt: skip
    found: list[Bound] = []
    for name, rate, reason in rates:
        before = found[-1].operations_per_cycle if found else float(rate)
        now = min(float(rate), before)
        found.append(Bound(name=name, operations_per_cycle=now, loss=1 - now / before,
                           reason=reason))  # fmt: skip
    return tuple(found)


def _rate(operations: int, passes: int, lanes: int) -> float:
    return operations / -(-passes // lanes)


def _loops_along(axis: ArrayAxis, extents: dict[str, int]) -> tuple[str, ...]:
    """Return the loops of a layer that may run along an axis."""
    if axis.fixed is not None:
        return tuple(loop for loop in axis.fixed if loop in extents)
    return tuple(loop for loop in extents if axis.loops is None or loop in axis.loops)


def _least_passes(extents: dict[str, int], axes: Sequence[ArrayAxis]) -> int:
    """Return the fewest passes over all loops when whole factors of them run along the axes.

    Best first: a state (loops decided, positions free on every axis, passes so far) is followed in
    the order of what it can come to at best, with all free positions put to use.
    """
    loops = sorted(extents.items(), key=lambda item: -item[1])
    rest = [math.prod(n for _, n in loops[at:]) for at in range(len(loops) + 1)]
    start = tuple(axis.size for axis in axes)
    waiting = [(-(-rest[0] // math.prod(start)), 0, 1, start)]
    least: dict[tuple[int, tuple[int, ...]], int] = {}
    while True:  # every loop has a way that leaves it in time, so that some state is complete
        _, done, passes, free = heapq.heappop(waiting)
        at = -done
        if at == len(loops):
            return passes
        for left, remain in _spread(*loops[at], extents, axes, free):
            total = passes * remain
            if total < least.get((at, left), total + 1):
                least[at, left] = total
                bound = -(-total * rest[at + 1] // math.prod(left))
                heapq.heappush(waiting, (max(bound, total), done - 1, total, left))


def _spread(
    loop: str, extent: int, extents: dict[str, int], axes: Sequence[ArrayAxis],
    free: tuple[int, ...],
) -> Iterator[tuple[tuple[int, ...], int]]:  # fmt: skip
    """Yield what is left free and the passes that remain, for every way to spread a loop.

    Of factors that leave equally many passes the smallest will do: ceil(ceil(n / a) / b) =
    ceil(n / ab).
    """
    states = [(free, extent)]
    for place, axis in enumerate(axes):
        if loop not in _loops_along(axis, extents):
            continue
        grown = []
        for left, rest in states:
            wired = None if axis.fixed is None else min(axis.fixed[loop], extent)
            for factor in _factors(rest, left[place]) if wired is None else (wired,):
                less = (*left[:place], left[place] // factor, *left[place + 1 :])
                grown.append((less, -(-rest // factor)))
        states = grown
    yield from states


def _factors(extent: int, most: int) -> Iterator[int]:
    """Yield, for every number of passes that can remain, the smallest factor that leaves it."""
    factor = 1
    while factor <= min(extent, most):
        yield factor
        rest = -(-extent // factor)
        if rest == 1:
            return
        factor = -(-extent // (rest - 1))


# -- what would help ------------------------------------------------------------------------------


def explain_nest(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> Explanation:
    """Say what bounds a nest, and which single doubling would help it most.

    Twice a level's capacity helps the same nest where it pays for second buffers; twice an axis
    takes half of a loop that runs in time.
    """
    now = nest_cost(problem, mapping, architecture)
    parts = {"array": Fraction(now.time.compute)}
    for level, stall in zip(architecture.levels, now.time.stalls, strict=True):
        parts[level.name] = stall
    parts["first and last tiles"] = now.time.ramp_up + now.time.drain + now.time.wavefront
    worst = max(parts, key=lambda name: parts[name])
    if now.time.compute * 2 >= now.time.cycles:
        worst = "array"
    changes = []
    for what, changed, nest in _changes(problem, mapping, architecture):
        if check_mapping(problem, nest, changed) is None:
            then = nest_cost(problem, nest, changed)
            changes.append(Change(what=what, cycles=then.cycles, energy_j=then.energy_j,
                                  speedup=now.cycles / then.cycles))  # fmt: skip
    best: dict[str, Change] = {}
    for change in sorted(changes, key=lambda c: c.cycles):
        best.setdefault(change.what, change)
    return Explanation(bound_by=worst, share=float(parts[worst] / now.time.cycles),
                       changes=tuple(best.values()))  # fmt: skip


def _changes(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> Iterator[tuple[str, Architecture, NestMapping]]:
    for place, level in enumerate(architecture.levels):
        for name in ("read_bits_per_cycle", "write_bits_per_cycle"):
            rate = getattr(level, name)
            if rate is not None and not (level.one_port and name.startswith("write")):
                which = "port" if level.one_port else f"{name.split('_')[0]} port"
                wider = replace(level, **{name: 2 * rate})
                yield f"2 x {which} of {level.name}", _with(architecture, place, wider), mapping
        for role, rate in level.network_bits_per_cycle.items():
            wires = {**level.network_bits_per_cycle, role: 2 * rate}
            wider = replace(level, network_bits_per_cycle=wires)
            what = f"2 x network of {level.name} for {role}"
            yield what, _with(architecture, place, wider), mapping
        if level.capacity_bits is not None and not all(map(level.hides, level.holds)):
            larger = replace(
                level, capacity_bits=2 * level.capacity_bits, double_buffered=level.holds,
                streams=(),
                shares_bits={role: 2 * bits for role, bits in level.shares_bits.items()},
            )  # fmt: skip
            what = f"2 x capacity of {level.name}, as second buffers"
            yield what, _with(architecture, place, larger), mapping
    extents = dict(problem.loops)
    for n, axis in enumerate(architecture.axes):
        if axis.fixed is not None:
            continue
        longer = replace(axis, size=2 * axis.size)
        axes = (*architecture.axes[:n], longer, *architecture.axes[n + 1 :])
        for nest in _halved(mapping, axis.name, _loops_along(axis, extents)):
            yield f"2 x axis {axis.name}", replace(architecture, axes=axes), nest


def _with(architecture: Architecture, place: int, level: Level) -> Architecture:
    levels = (*architecture.levels[:place], level, *architecture.levels[place + 1 :])
    return replace(architecture, levels=levels)


def _halved(mapping: NestMapping, axis: str, loops: tuple[str, ...]) -> Iterator[NestMapping]:
    """Yield nests in which half of a loop in time runs along an axis instead."""
    for place, level in enumerate(mapping.temporal):
        for at, (loop, factor) in enumerate(level):
            if loop not in loops or factor < 2:
                continue
            shorter = (*level[:at], (loop, -(-factor // 2)), *level[at + 1 :])
            temporal = (*mapping.temporal[:place], shorter, *mapping.temporal[place + 1 :])
            along = (*mapping.spatial.get(axis, ()), (loop, 2))
            yield NestMapping(temporal=temporal, spatial={**mapping.spatial, axis: along})
