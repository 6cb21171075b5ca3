"""Cycles of a loop nest: computation, and what the ports of memories add to it.

Models:  every level's port is busy for the bits that its busiest instance moves, on either side
         of it; reads and writes share one port or have one each. From the innermost level
         outwards: what arrives while the tile before is in use hides behind the cycles so far, and
         only a port that is busy for longer adds to them; a tile without a second buffer is
         waited for, at the slower of the two ports. Tiles that hide are waited for once, at the
         beginning (ramp-up: the first fetch, level by level from outside in) and, results, at the
         end. Multipliers' own traffic always hides. A role with wires of its own to what is inside
         of a level keeps them busy, each way, beside the ports. A systolic array starts its last
         element once a nest so many cycles after the first as it takes to cross it, for passes
         that follow each other overlap (no tile inside of it is waited for). Read-backs, and bits
         of mixed width, are spread over instances as what leaves them is.
Ignores: bursts within a tile (average rates), refresh, latency of links, bank conflicts.
Judge:   closed forms of single levels and of systolic arrays; an array walked cycle by cycle; more
         bandwidth never costs cycles (tests).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from orrery.hardware import Architecture, Level

from ._count import Flow, NestCounts
from ._zeros import DENSE, Zeros

#: read and written, or at a parent and its child; whole wherever instances move equally much
Bits = tuple[int | Fraction, int | Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Bits of a flow, of one run and all instances.

    Attributes
    ----------
    parent_reads, parent_writes, child_reads, child_writes : bits at the ports of both ends
    """

    flow: Flow
    parent_reads: int
    parent_writes: int
    child_reads: int
    child_writes: int

    @property
    def at_parent(self) -> Bits:
        """Bits read and written by the busiest parent."""
        outer = self.flow.outer
        return (_part(self.parent_reads, outer.busiest, outer.total),
                _part(self.parent_writes, outer.busiest, outer.total))  # fmt: skip

    @property
    def at_child(self) -> Bits:
        """Bits read and written by the busiest child."""
        inner = self.flow.inner
        return (_part(self.child_reads, inner.busiest, inner.total),
                _part(self.child_writes, inner.busiest, inner.total))  # fmt: skip

    @property
    def first(self) -> Bits:
        """Bits of the first fetch (of the last way out) at the busiest parent and child."""
        up = self.flow.tensor.role == "output"
        parent = self.parent_writes if up else self.parent_reads
        child = self.child_reads if up else self.child_writes
        return (_part(parent, self.flow.first_outer, self.flow.outer.total),
                _part(child, self.flow.first_inner, self.flow.inner.total))  # fmt: skip


def _part(bits: int, some: int, total: int) -> int | Fraction:
    """Return the bits of some of all elements."""
    return bits if some == total else Fraction(bits * some, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class NestTime:
    """Cycles of one run.

    Attributes
    ----------
    compute : with every operand at hand
    stalls : per level, outermost first, what waiting at its ports adds (a tile without a second
        buffer is waited for at the level it arrives at)
    ramp_up, drain : the first tiles' way in, the last results' way out
    wavefront : until the last element of a systolic array begins
    busy : per level the cycles its ports, or the busiest of its networks, are busy
    cycles : all of it, whole cycles
    """

    compute: int
    stalls: tuple[Fraction, ...]
    ramp_up: Fraction
    drain: Fraction
    wavefront: int = 0
    busy: tuple[Fraction, ...]
    cycles: int


def moved_bits(
    counts: NestCounts, architecture: Architecture, zeros: Zeros = DENSE
) -> tuple[Moved, ...]:
    """Return the bits that each flow moves."""
    depth, wide = len(architecture.levels), architecture.partial_sum_bits
    found = []
    for flow in counts.flows:
        role = flow.tensor.role
        bits, feeds = architecture.bits[role], flow.child == depth
        if role == "output":
            out = _mixed(flow.outer.total, flow.final_outer, bits, wide)
            drained = _mixed(flow.inner.total, flow.final_inner, bits, wide)
            back = flow.back * wide
            share = zeros.at_multipliers(role) if feeds else 1
            out, back = math.ceil(out * share), math.ceil(back * share)
            found.append(Moved(flow=flow, parent_reads=back, parent_writes=out,
                               child_reads=drained, child_writes=0 if feeds else back))  # fmt: skip
        else:
            share = zeros.at_multipliers(role) if feeds else 1
            width = share * zeros.stored(role, bits, read=feeds)
            found.append(Moved(
                flow=flow, parent_reads=math.ceil(flow.outer.total * width), parent_writes=0,
                child_reads=0, child_writes=math.ceil(flow.inner.total * width),
            ))  # fmt: skip
    return tuple(found)


def _mixed(total: int, final: int, bits: int, wide: int) -> int:
    return final * bits + (total - final) * wide


def nest_time(
    counts: NestCounts, moved: Iterable[Moved], architecture: Architecture, zeros: Zeros = DENSE
) -> NestTime:
    """Return the cycles of one run of a nest."""
    levels, moved = architecture.levels, tuple(moved)
    compute = math.ceil(-(-counts.steps // architecture.macs_per_cycle) * zeros.performed)
    now = Fraction(compute)
    stalls, busy = [Fraction(0)] * len(levels), [Fraction(0)] * len(levels)
    ramp_up = drain = Fraction(0)
    for place in reversed(range(len(levels))):
        level = levels[place]
        below = [m for m in moved if m.flow.parent == place]
        above = [m for m in moved if m.flow.child == place]
        hidden = [m for m in above if level.hides(m.flow.tensor.role)]
        waited = [m for m in above if not level.hides(m.flow.tensor.role)]
        port = [m.at_parent for m in below] + [m.at_child for m in hidden]
        wires = _networks(level, [(m.flow.tensor.role, m.at_parent) for m in below])
        cycles = max(_port(level, port), wires)
        stalls[place] += max(Fraction(0), cycles - now)
        now = max(now, cycles)
        for m in waited:
            parent = levels[m.flow.parent]
            cycles = max(_port(level, [m.at_child]), _port(parent, [m.at_parent]),
                         _networks(parent, [(m.flow.tensor.role, m.at_parent)]))  # fmt: skip
            stalls[place] += cycles
            now += cycles
        busy[place] = max(_port(level, port + [m.at_child for m in waited]), wires)
        ramp_up += _first(levels, place, [m for m in hidden if m.flow.tensor.role != "output"], 0)
        drain += _first(levels, place, [m for m in hidden if m.flow.tensor.role == "output"], 1)
    return NestTime(
        compute=compute, stalls=tuple(stalls), ramp_up=ramp_up, drain=drain, busy=tuple(busy),
        wavefront=architecture.wavefront_cycles,
        cycles=math.ceil(now + ramp_up + drain) + architecture.wavefront_cycles,
    )  # fmt: skip


def _networks(level: Level, traffic: Iterable[tuple[str, Bits]]) -> Fraction:
    """Return the cycles that the busiest of a level's networks needs for bits of these roles."""
    ways: dict[tuple[str, bool], int | Fraction] = {}
    if level.network_bits_per_cycle:
        for role, both in traffic:
            for back, bits in enumerate(both):
                ways[role, bool(back)] = ways.get((role, bool(back)), 0) + bits
    return max((bits / _decimal(level.network_bits_per_cycle[role])
                for (role, _), bits in ways.items() if role in level.network_bits_per_cycle),
               default=Fraction(0))  # fmt: skip


def _port(level: Level, traffic: Iterable[Bits]) -> Fraction:
    """Return the cycles that reading and writing so many bits keeps a level busy."""
    if level.read_bits_per_cycle is None and level.write_bits_per_cycle is None:
        return Fraction(0)
    reads: int | Fraction = 0
    writes: int | Fraction = 0
    for read, write in traffic:
        reads += read
        writes += write
    if level.one_port:
        reads, writes = reads + writes, 0
    found = Fraction(0)
    if reads and level.read_bits_per_cycle is not None:
        found = reads / _decimal(level.read_bits_per_cycle)
    if writes and level.write_bits_per_cycle is not None:
        found = max(found, writes / _decimal(level.write_bits_per_cycle))
    return found


def _first(levels: tuple[Level, ...], place: int, moved: list[Moved], out: int) -> Fraction:
    """Return the cycles of the first tiles' way into a level, or of the last ones' way out."""
    if not moved:
        return Fraction(0)

    def way(bits: int | Fraction, reads: bool) -> Bits:
        return (bits, 0) if reads else (0, bits)

    found = _port(levels[place], [way(m.first[1], bool(out)) for m in moved])
    for parent in {m.flow.parent for m in moved}:
        sent = [(m.flow.tensor.role, way(m.first[0], not out))
                for m in moved if m.flow.parent == parent]  # fmt: skip
        found = max(found, _port(levels[parent], [bits for _, bits in sent]),
                    _networks(levels[parent], sent))  # fmt: skip
    return found


@cache
def _decimal(rate: float) -> Fraction:
    """Return the decimal that a rate was written as: 19.2 is 96/5, not a hair above it."""
    return Fraction(rate).limit_denominator(10**6) or Fraction(rate)
