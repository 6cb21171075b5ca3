"""What a loop nest takes: cycles, joules, bits per level.

Models:  every joule is a count times a price: words read and written per level, operations,
         multipliers that wait for lack of work, bits times positions crossed on the array, static
         power times the whole time. A broadcast along an axis crosses all positions but one; what
         goes to one of them crosses half as many on average. Runs of equal problems follow each
         other and overlap in nothing; what each takes beside its cycles (`overhead_s`) adds to the
         latency alone.
Ignores: address generation and control (unless in static power), values that toggle few bits.
Judge:   counts by the interpreter of the tests; the bill adds up by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.timeline import PS_PER_S

from .._cost import Charge, Cost
from ._count import NestCounts, count_nest
from ._fit import check_loops, footprint_bits, overfull
from ._mapping import NestMapping
from ._problem import NestProblem
from ._time import Moved, NestTime, moved_bits, nest_time
from ._zeros import DENSE, Operations, Zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class NestCost:
    """A priced nest; `time` and `traffic` are of one run, the rest of all.

    Attributes
    ----------
    traffic : level -> role -> (bits read, bits written)
    charges : the energy bill; what has no price is in `unpriced` instead
    unpriced : actions whose price is not known: with any, there is no energy
    peak_bits : level -> bits that tiles take in one instance
    latency_s : from the first fetch to the last result stored, and what the array's runs take
        beside their cycles
    """

    counts: NestCounts
    time: NestTime
    traffic: Mapping[str, Mapping[str, tuple[int, int]]]
    operations: Operations
    charges: tuple[Charge, ...]
    unpriced: tuple[str, ...]
    peak_bits: Mapping[str, int]
    elements: int
    macs_per_cycle: int
    times: int
    macs: bool
    latency_s: float

    @property
    def cycles(self) -> int:
        """Cycles of all runs."""
        return self.time.cycles * self.times

    @property
    def energy_j(self) -> float | None:
        """Joules of all runs, None when a price is not known."""
        return None if self.unpriced else sum(charge.energy_j for charge in self.charges)

    @property
    def active_share(self) -> float:
        """Share of processing elements that ever work."""
        return self.counts.active / self.elements

    @property
    def busy_share(self) -> float:
        """Share of the active elements' time in computation that has work for them."""
        return self.counts.operations / (self.counts.active * self.counts.steps)

    @property
    def utilisation(self) -> float:
        """Operations performed for every one that the array could do in the time."""
        peak = self.cycles * self.elements * self.macs_per_cycle
        return self.operations.performed / peak

    @property
    def cost(self) -> Cost:
        """The same as a cost of the house: off-chip traffic is that of the outermost level."""
        outermost = next(iter(self.traffic.values()))
        bits = sum(read + written for read, written in outermost.values()) * self.times
        return Cost(
            latency_s=self.latency_s, energy_j=self.energy_j, offchip_bytes=-(-bits // 8),
            peak_bytes={name: -(-taken // 8) for name, taken in self.peak_bits.items()},
            charges=self.charges, macs_nominal=self.operations.nominal if self.macs else 0,
            macs_performed=self.operations.performed if self.macs else 0,
        )  # fmt: skip


def nest_cost(
    problem: NestProblem,
    mapping: NestMapping,
    architecture: Architecture,
    *,
    zeros: Zeros = DENSE,
    counts: NestCounts | None = None,
) -> NestCost:
    """Price a nest.

    Parameters
    ----------
    zeros : densities of operands and what the array makes of zeros
    counts : of this very nest, when they have been made already

    Raises
    ------
    SpecError : a nest that `check_mapping` refuses
    """
    short = check_loops(problem, mapping, architecture)
    if short is None:
        counts = counts or count_nest(problem, mapping, architecture)
        short = overfull(counts, architecture)
    if short is not None or counts is None:
        raise SpecError(f"loop nest on {architecture.name}", found=str(short),
                        wanted="a nest that fits",
                        fix="check it with check_mapping first")  # fmt: skip
    zeros = zeros.of(problem.macs)
    moved = moved_bits(counts, architecture, zeros)
    ports = moved_bits(counts, architecture, zeros.timed) if zeros.gates else moved
    time = nest_time(counts, ports, architecture, zeros)
    operations = zeros.operations(counts.operations * problem.times, products=problem.macs)
    cycles = time.cycles * problem.times
    bill = Bill()
    traffic = _traffic(moved, architecture)
    for level in architecture.levels:
        for role, (read, written) in traffic[level.name].items():
            for action, bits in (("read", read), ("write", written)):
                words = problem.times * -(-bits // level.word_bits)
                bill.add(level.name, f"{action} {role}", words, f"{action}_energy_j", level)
    waits = (
        architecture.elements * time.compute * architecture.macs_per_cycle * problem.times
        - operations.worked
    )
    bill.add("array", "MAC", operations.worked, "mac_energy_j", architecture)
    bill.add("array", "idle multiplier cycle", waits, "idle_mac_energy_j", architecture)
    bill.add("array", "bit hop", problem.times * _hops(moved, architecture),
             "hop_energy_j_per_bit", architecture)  # fmt: skip
    bill.add_static(architecture, cycles)
    return NestCost(
        counts=counts, time=time, traffic=traffic, operations=operations,
        charges=tuple(bill.charges), unpriced=tuple(bill.unpriced),
        peak_bits={level.name: sum(bits.values()) for level, bits in
                   zip(architecture.levels, footprint_bits(counts, architecture), strict=True)},
        elements=architecture.elements, macs_per_cycle=architecture.macs_per_cycle,
        times=problem.times, macs=problem.macs,
        latency_s=cycles / architecture.clock_hz
        + (architecture.overhead_s or 0.0) * problem.times,
    )  # fmt: skip


class Bill:
    """Charges, and what could not be charged."""

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.unpriced: list[str] = []

    def add(
        self, resource: str, action: str, count: int, price: str, record: object,
        scale: float = 1.0,
    ) -> None:  # fmt: skip
        if not count:
            return
        each, sources = getattr(record, price), getattr(record, "sources")  # noqa: B009
        if each is None:
            self.unpriced.append(f"{resource}: {action}")
        elif each:
            self.charges.append(
                Charge(resource=resource, action=action, count=count,
                       energy_j_each=each * scale, source=sources[price])
            )  # fmt: skip

    def add_static(self, architecture: Architecture, cycles: int) -> None:
        """Charge what flows whether or not anything works."""
        duration_ps = round(cycles * PS_PER_S / architecture.clock_hz)
        for level in architecture.levels:
            if level.static_power_w is None and architecture.static_power_w is not None:
                continue  # the chip's own figure is of all its memories
            self.add(level.name, "static picosecond", duration_ps * architecture.instances(level),
                     "static_power_w", level, 1 / PS_PER_S)  # fmt: skip
        self.add("array", "static picosecond", duration_ps, "static_power_w", architecture,
                 1 / PS_PER_S)  # fmt: skip


def _traffic(
    moved: tuple[Moved, ...], architecture: Architecture
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the bits read and written per level and role."""
    found: dict[str, dict[str, tuple[int, int]]] = {level.name: {} for level in architecture.levels}

    def add(place: int, role: str, read: int, written: int) -> None:
        if place < len(architecture.levels):
            at = found[architecture.levels[place].name]
            before = at.get(role, (0, 0))
            at[role] = before[0] + read, before[1] + written

    for m in moved:
        role = m.flow.tensor.role
        add(m.flow.parent, role, m.parent_reads, m.parent_writes)
        add(m.flow.child, role, m.child_reads, m.child_writes)
    return found


def _hops(moved: tuple[Moved, ...], architecture: Architecture) -> int:
    """Return bits times positions crossed, rounded up once."""
    below = architecture.fans_out_below()
    twice = 0
    for m in moved:
        flow = m.flow
        level = architecture.levels[flow.parent]
        up = flow.tensor.role == "output"
        joins = level.reduces if up else level.multicast
        for axis in architecture.axes:
            if flow.parent <= below[axis.name] < flow.child:
                there = m.parent_writes if up else m.parent_reads
                twice += there * (axis.size - 1) * (2 if axis.name in joins else 1)
                if up:
                    twice += m.parent_reads * (axis.size - 1)
    return -(-twice // 2)
