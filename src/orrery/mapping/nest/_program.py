"""What the search needs to know of a layer, an architecture and an objective, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost.nest import NestCost, Zeros
from orrery.errors import SpecError
from orrery.hardware import ROLES

from ._engine import CHILD, ENTERS, EVER, FIRSTS, IN, IN_MOST, LARGEST, OUT, engine
from ._terms import Space, Term

__all__ = ["Program", "program_of", "worth_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What `value` needs to know of a layer, an architecture and an objective."""

    terms: list[Term]
    arrays: tuple[NDArray[Any], ...]
    enters: NDArray[np.int64]
    matters: frozenset[int]

    def value(self, vector: NDArray[np.float64]) -> float:
        """Return the value of one vector of terms."""
        none = np.zeros((0, len(vector)))
        start = np.zeros(1, np.int64)
        return float(
            engine()(none, start, vector, self.enters, self.arrays, np.inf, 0.0, 0, False)[0]
        )


def worth_of(cost: NestCost, objective: str) -> float:
    """Return the objective of a priced nest: cycles, joules, or joules times seconds."""
    if objective == "latency":
        return float(cost.cycles)
    energy = cost.energy_j
    if energy is None:
        raise SpecError("objective", found=f"no price of {', '.join(cost.unpriced)}",
                        wanted="a price for every action",
                        fix="add it or seek latency")  # fmt: skip
    return energy if objective == "energy" else energy * cost.latency_s


def program_of(space: Space, objective: str, zeros: Zeros, most_cycles: int | None) -> Program:
    """Prepare `value` for a layer on an architecture.

    Raises
    ------
    SpecError : an energy is sought and a price is missing; sums narrower than results
    """
    architecture, problem = space.architecture, space.problem
    levels, bits = architecture.levels, architecture.bits
    if architecture.partial_sum_bits < bits["output"]:
        raise SpecError(f"architecture {architecture.name!r}: partial_sum_bits",
                        found=architecture.partial_sum_bits,
                        wanted=f"at least the {bits['output']} bits of a result",
                        fix="widen the partial sums")  # fmt: skip
    joules = objective != "latency"
    if joules:
        _priced(space)
    terms = [Term(what="zero"), Term(what="steps"), Term(what="work")]
    axes = []
    for axis in architecture.axes:
        axes.append((len(terms), axis.size))
        positions = Term(what="positions", axis=axis.name)
        terms += [positions, replace(positions, enters="one")]
    flows, numbers = [], []
    below = architecture.fans_out_below()
    matters = set()
    for n, b in enumerate(space.boundaries):
        tensor = problem.tensors[b.tensor]
        up, feeds = tensor.role == "output", b.child == space.depth
        parent = levels[b.parent]
        child = None if feeds else levels[b.child]
        ported = [bool(x and (x.read_bits_per_cycle or x.write_bits_per_cycle))
                  for x in (parent, child)]  # fmt: skip
        either = joules or any(ported)

        def add(needed: bool, term: Term) -> int:
            if not needed:
                return 0
            terms.append(term)
            return len(terms) - 1

        hidden = child is not None and tensor.role in child.double_buffered
        row = [0] * 15
        row[:6] = [up, b.parent, b.child, feeds, hidden, ROLES.index(tensor.role)]
        for base, side, port in ((OUT, "outer", ported[0]), (IN, "inner", ported[1])):
            there = side == "outer" or not feeds
            moved = Term(what="moved", boundary=n, side=side)
            spread = parent.per if side == "outer" else child and child.per
            row[base] = add(there and (joules or up or bool(port and spread)), moved)
            row[base + 1] = add(there and port, replace(moved, busiest=True))
            first = FIRSTS[side]
            row[first] = add(hidden and port, replace(moved, what="first", busiest=True))
        partial = Term(what="moved", boundary=n, side="inner", enters="most")
        row[IN_MOST] = add(up and not feeds, partial)
        limited = child is not None and (
            child.capacity_bits is not None or tensor.role in child.shares_bits
        )
        row[LARGEST] = add(limited, Term(what="largest", boundary=n))
        row[EVER] = add(up and not feeds, Term(what="ever", boundary=n))
        if up or either:
            matters.add(n)
        flows.append(row)
        share = float(zeros.at_multipliers(tensor.role)) if feeds else 1.0
        joins = parent.reduces if up else parent.multicast
        crossed = [a for a in architecture.axes if b.parent <= below[a.name] < b.child]
        numbers.append([
            float(bits["output"] if up else zeros.stored(tensor.role, bits[tensor.role])) * (
                1.0 if up else share),
            float(bits["output"]), float(architecture.partial_sum_bits), share,
            float(space.whole(b.tensor)),
            float(bits[tensor.role]) * (2.0 if hidden else 1.0),
            sum((a.size - 1) * (1.0 if a.name in joins else 0.5) for a in crossed),
            sum((a.size - 1) * 0.5 for a in crossed) if up else 0.0,
            1 / architecture.instances(parent),
            1 / architecture.instances(child) if child is not None else 0.0,
        ])  # fmt: skip
    rows, shares = [], np.full((len(levels), 3), np.inf)
    ways = [(level.read_bits_per_cycle, level.write_bits_per_cycle) for level in levels]
    for place, (level, (read, write)) in enumerate(zip(levels, ways, strict=True)):
        room = np.inf
        if level.capacity_bits is not None and set(level.holds) - set(level.shares_bits):
            room = float(level.capacity_bits - sum(level.shares_bits.values()))
        for role, share_bits in level.shares_bits.items():
            shares[place, ROLES.index(role)] = share_bits
        rows.append([level.word_bits, level.read_energy_j or 0.0, level.write_energy_j or 0.0,
                     1 / read if read else 0.0, 1 / write if write else 0.0,
                     float(level.one_port), room])  # fmt: skip
    operations = zeros.operations(problem.operations * problem.times)
    idle = architecture.idle_mac_energy_j or 0.0
    static = (architecture.static_power_w or 0.0) + sum(
        (level.static_power_w or 0.0) * architecture.instances(level) for level in levels
    )
    whole = [
        float(("latency", "energy", "edp").index(objective)), float(problem.times),
        float(architecture.macs_per_cycle), float(zeros.performed),
        operations.worked * ((architecture.mac_energy_j or 0.0) - idle),
        idle * architecture.elements * architecture.macs_per_cycle * problem.times,
        architecture.hop_energy_j_per_bit or 0.0, static, architecture.clock_hz,
        np.inf if most_cycles is None else float(most_cycles),
    ]  # fmt: skip
    # What the outermost level holds for good.
    outermost = np.zeros(3)
    for t, tensor in enumerate(problem.tensors):
        twice = 2 if tensor.role in levels[0].double_buffered else 1
        outermost[ROLES.index(tensor.role)] += space.whole(t) * bits[tensor.role] * twice
    order = np.argsort([-row[CHILD] for row in flows], kind="stable")
    arrays: tuple[NDArray[Any], ...] = (
        np.array(flows, np.int64)[order], np.array(numbers)[order], np.array(rows), shares,
        np.array(axes, np.float64).reshape(-1, 2), np.array(whole), outermost,
        np.zeros((12, max(len(flows), 3 * len(levels)))),
    )  # fmt: skip
    enters = np.array([ENTERS.index(term.enters) for term in terms])
    return Program(terms=terms, arrays=arrays, enters=enters, matters=frozenset(matters))


def _priced(space: Space) -> None:
    """Refuse to seek energy where a price is not known."""
    architecture = space.architecture
    missing = [
        f"{level.name}: {name}"
        for level in architecture.levels if level.holds
        for name in ("read_energy_j", "write_energy_j")  # the chip has a static figure
        if getattr(level, name) is None
    ]  # fmt: skip
    names = ["mac_energy_j", "idle_mac_energy_j", "static_power_w"]
    names += ["hop_energy_j_per_bit"] if architecture.axes else []
    missing += [name for name in names if getattr(architecture, name) is None]
    if missing:
        raise SpecError(f"architecture {architecture.name!r}", found=f"no {', '.join(missing)}",
                        wanted="a price for every action, zero included",
                        fix="add it with its source, or seek latency")  # fmt: skip
