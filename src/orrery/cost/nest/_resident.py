"""Activations that stay in a buffer between layers, and what a tail on the way out takes.

Models:  a tensor that stays lives in one level, whole, from its maker to its last reader there;
         levels outside of it see nothing of it. While a layer runs its tiles have what room is
         left. The tail of a nest sits at the innermost memory of results that there is one of:
         what it reads besides comes there once from where it lives, word by word through the
         memories between; results on the way that others read too are written from there.
Ignores: how the tail's transfers overlap with the nest: the busiest port is waited for. The tail
         keeps pace with it. Its price is not published: an element-wise operation is charged as
         one multiply-accumulate, as on the array itself. Fragmentation.
Judge:   counts equal those of a problem whose other levels are taken away (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace

from orrery.hardware import Architecture
from orrery.provenance import Basis, Source

from .._cost import Charge
from ._fused import Tail
from ._price import Bill, NestCost
from ._time import _networks, _port

#: what an element-wise operation is charged with
AS_A_MAC = Source(basis=Basis.ASSUMED, where="multiply-accumulate of the array",
                  note="what a post-processor takes is not published")  # fmt: skip


def keeping_levels(architecture: Architecture) -> tuple[str, ...]:
    """Return the levels in which activations can stay between layers, outermost first.

    There is one of each, on chip; it holds what comes in and what goes out, in one room.
    """
    return tuple(
        level.name
        for level in architecture.levels[1:]
        if not level.per and {"input", "output"} <= set(level.holds)
        and not {"input", "output"} & set(level.shares_bits)
    )  # fmt: skip


def room_bits(architecture: Architecture, level: str) -> int | None:
    """Return the bits that tensors and tiles share in a level, None when there is no end of it."""
    found = next(x for x in architecture.levels if x.name == level)
    if found.capacity_bits is None:
        return None
    return found.capacity_bits - sum(found.shares_bits.values())


def tensor_bits(architecture: Architecture, elements: int) -> int:
    """Return the bits that a tensor takes where it is written as a result and read as an input."""
    return elements * max(architecture.bits["input"], architecture.bits["output"])


def keep_on_chip(
    architecture: Architecture, level: str, roles: tuple[str, ...] = (), taken_bits: int = 0
) -> Architecture:
    """Return an architecture as a layer sees it while tensors stay in one of its levels.

    Parameters
    ----------
    level : one of `keeping_levels`
    roles : of this layer's own operands that live there: levels outside hold nothing of them
    taken_bits : what all tensors there take of its room, this layer's own included; less than
        `room_bits`
    """
    place = next(i for i, x in enumerate(architecture.levels) if x.name == level)
    levels = list(architecture.levels)
    for outer in range(place):
        holds = tuple(role for role in levels[outer].holds if role not in roles)
        levels[outer] = replace(levels[outer], holds=holds)
    capacity = levels[place].capacity_bits
    if capacity is not None and taken_bits:
        levels[place] = replace(levels[place], capacity_bits=capacity - taken_bits)
    return replace(architecture, levels=tuple(levels), kept=roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCost:
    """What a tail adds to the nest before it.

    Attributes
    ----------
    cycles : of the busiest port
    traffic : level -> role -> (bits read, bits written)
    unpriced : actions whose price is not known
    """

    cycles: int = 0
    traffic: Mapping[str, Mapping[str, tuple[int, int]]]
    charges: tuple[Charge, ...] = ()
    unpriced: tuple[str, ...] = ()

    @property
    def energy_j(self) -> float:
        """Joules of what has a price."""
        return sum(charge.energy_j for charge in self.charges)


def tail_cost(
    tail: Tail, sizes: Mapping[str, int], architecture: Architecture, level: str = "", *,
    kept: frozenset[str] = frozenset(), written: frozenset[str] = frozenset(),
) -> TailCost:  # fmt: skip
    """Price a tail.

    Parameters
    ----------
    sizes : tensor -> elements
    level : where the tensors in `kept` live
    kept : tensors that stay on chip; others are read from, and written to, the outermost level
    written : those kept that go out as well
    """
    levels = architecture.levels
    last = max(p for p in architecture.chain("output") if not levels[p].per)
    home = next((i for i, x in enumerate(levels) if x.name == level), 0)
    traffic: dict[int, dict[str, tuple[int, int]]] = {}

    def add(place: int, role: str, read: int, wrote: int) -> None:
        before = traffic.setdefault(place, {}).get(role, (0, 0))
        traffic[place][role] = before[0] + read, before[1] + wrote

    def inwards(role: str, elements: int, start: int) -> None:
        bits = elements * architecture.bits[role]
        way = [p for p in architecture.chain(role) if start <= p <= last and not levels[p].per]
        for step, place in enumerate(way):
            add(place, role, bits, bits if step else 0)

    for name in tail.reads:
        inwards("input", sizes[name], home if name in kept else 0)
    if tail.constants:
        inwards("weight", tail.constants, 0)
    for name in tail.also:
        bits = sizes[name] * architecture.bits["output"]
        end = home if name in kept and name not in written else 0
        way = [p for p in architecture.chain("output") if end <= p <= last and not levels[p].per]
        for step, place in enumerate(way):
            add(place, "output", bits if step else 0, bits)
    return _priced(tail, traffic, architecture)


def _priced(
    tail: Tail, traffic: Mapping[int, Mapping[str, tuple[int, int]]], architecture: Architecture
) -> TailCost:
    levels, bill, cycles = architecture.levels, Bill(), 0
    for place, roles in traffic.items():
        level = levels[place]
        busy = max(_port(level, roles.values()), _networks(level, roles.items()))
        cycles = max(cycles, math.ceil(busy))
        for role, (read, wrote) in roles.items():
            for action, bits in (("read", read), ("write", wrote)):
                bill.add(level.name, f"{action} {role}", -(-bits // level.word_bits),
                         f"{action}_energy_j", level)  # fmt: skip
    price = SimpleNamespace(each=architecture.mac_energy_j, sources={"each": AS_A_MAC})
    for _, operator, operations in tail.operators:
        bill.add("post-processor", operator, operations, "each", price)
    bill.add_static(architecture, cycles)
    return TailCost(
        cycles=cycles, charges=tuple(bill.charges), unpriced=tuple(bill.unpriced),
        traffic={levels[place].name: dict(roles) for place, roles in sorted(traffic.items())},
    )  # fmt: skip


def with_tail(cost: NestCost, tail: TailCost, clock_hz: float) -> NestCost:
    """Return what a nest takes together with a tail that comes after each of its runs."""
    traffic = {level: dict(roles) for level, roles in cost.traffic.items()}
    for level, roles in tail.traffic.items():
        for role, (read, wrote) in roles.items():
            before = traffic[level].get(role, (0, 0))
            traffic[level][role] = before[0] + read, before[1] + wrote
    cycles = cost.time.cycles + tail.cycles
    charges = tuple(replace(c, count=c.count * cost.times) for c in tail.charges)
    return replace(
        cost, traffic=traffic, charges=(*cost.charges, *charges),
        unpriced=tuple(dict.fromkeys((*cost.unpriced, *tail.unpriced))),
        time=replace(cost.time, cycles=cycles, drain=cost.time.drain + tail.cycles),
        latency_s=cost.latency_s + tail.cycles * cost.times / clock_hz,
    )  # fmt: skip
