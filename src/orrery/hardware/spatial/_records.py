"""A spatial accelerator: an array of processing elements below a hierarchy of memories.

Levels stand outermost first: the first is the off-chip memory, the last feeds the arithmetic. A
level has one instance for every position along the array axes in its `per`; going inwards `per`
only grows, so that the array fans out in one place per axis.

    dram    per ()               one
    buffer  per ()               one, shared by the whole array
    column  per (cols,)          one per column
    pads    per (rows, cols)     one per processing element
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orrery.errors import SpecError
from orrery.provenance import Source

from .._records import check_numbers

#: What a level may hold: activations that come in, weights (or the second factor), results.
ROLES = ("input", "weight", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayAxis:
    """One axis of the array.

    Attributes
    ----------
    loops : loops that may be spread along it; None: any
    fixed : loop -> factor, where the wiring leaves no choice (each loop's part is clipped to its
        extent); None: free
    systolic : operands and sums go from position to position, one a cycle, so that the last one
        starts `size` - 1 cycles after the first
    """

    name: str
    size: int
    loops: tuple[str, ...] | None = None
    fixed: Mapping[str, int] | None = None
    systolic: bool = False
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, f"array axis {self.name!r}")
        parts = math.prod(self.fixed.values()) if self.fixed else 1
        if parts > self.size:
            raise SpecError(f"array axis {self.name!r}: fixed", found=f"{parts} positions",
                            wanted=f"at most {self.size}", fix="lower the factors")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A memory of the hierarchy, given per instance.

    Attributes
    ----------
    holds : roles it holds; a role that is not named passes by
    per : array axes along each position of which there is one instance; empty: one for all
    loops : that may step in time through what it holds; None: any
    capacity_bits : of one instance, for all roles together; None: more than any layer needs
    shares_bits : role -> bits that are kept for this role alone; roles named here take nothing
        from the rest
    word_bits : of one access; transfers are counted in words, packed without gaps
    read_energy_j, write_energy_j : joules per word; None: not known
    read_bits_per_cycle, write_bits_per_cycle : of one instance; None: never the bottleneck. With
        `one_port` both directions share `read_bits_per_cycle`.
    network_bits_per_cycle : role -> bits a cycle, each way, between an instance and what is inside
        of it, on wires for this role alone; roles not named: as fast as the ports
    double_buffered : roles whose next tile arrives while the present one is used; each such tile
        takes twice its size
    streams : roles whose elements come and go one by one while others are used, through queues:
        they hide as in a second buffer, and the tile takes its size once
    slides : roles whose overlap with the tile before is kept, so that only new elements arrive
    multicast : array axes along which one read from this level serves all instances below
    reduces : array axes along which results are added on their way up to this level
    static_power_w : leakage and clock of one instance; None: part of the chip's, if that is given
    """

    name: str
    holds: tuple[str, ...]
    per: tuple[str, ...] = ()
    loops: tuple[str, ...] | None = None
    capacity_bits: int | None = None
    shares_bits: Mapping[str, int] = field(default_factory=dict)
    word_bits: int
    read_energy_j: float | None = None
    write_energy_j: float | None = None
    read_bits_per_cycle: float | None = None
    write_bits_per_cycle: float | None = None
    one_port: bool = False
    network_bits_per_cycle: Mapping[str, float] = field(default_factory=dict)
    double_buffered: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    slides: tuple[str, ...] = ()
    multicast: tuple[str, ...] = ()
    reduces: tuple[str, ...] = ()
    static_power_w: float | None = None
    area_mm2: float | None = None
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        where = f"level {self.name!r}"
        check_numbers(self, self.sources, where)
        for name in ("holds", "double_buffered", "streams", "slides", "network_bits_per_cycle"):
            for role in getattr(self, name):
                if role not in ROLES:
                    known = f"one of {', '.join(ROLES)}"
                    raise SpecError(f"{where}: {name}", found=role, wanted=known, fix="correct it")
        if "output" in self.slides:
            raise SpecError(f"{where}: slides", found="output", wanted="input or weight",
                            fix="results leave tile by tile: take it out")  # fmt: skip

        twice = [role for role in self.streams if role in self.double_buffered]
        if twice:
            raise SpecError(f"{where}: streams", found=f"{twice[0]}, which is double_buffered too",
                            wanted="one of both", fix="take it out of one")  # fmt: skip

    def hides(self, role: str) -> bool:
        """Return whether the next tile of a role arrives while the present one is used."""
        return role in self.double_buffered or role in self.streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """An array of processing elements, its memories and what each action takes.

    Attributes
    ----------
    axes : of the array; together as many processing elements as the product of their sizes
    levels : outermost (off-chip) first
    clock_hz : of the array
    macs_per_cycle : of one processing element
    bits : role -> width of an element as stored; partial sums may be wider than results
    partial_sum_bits : width of an output element while it is being summed
    mac_energy_j : joules of one multiply-accumulate, operands at hand
    idle_mac_energy_j : joules of a multiplier that waits or is gated for one cycle
    hop_energy_j_per_bit : network on chip, per bit and array position crossed
    static_power_w : of everything that is not a level with a figure of its own (clock, control)
    area_mm2, process_nm, price_usd : of the chip
    overhead_s : of every run, beside its cycles: setting up, waiting for the host
    low_ratio, high_ratio, interval_share : where runs were measured: ends of an interval of
        measured over computed latency, at a confidence of `interval_share`
    left_out_error : there, median error of the latency of layers that nothing was fitted to
    notes : of a description in another format: what was assumed, what was left out
    kept : roles that live in a level further in while the layer at hand runs: levels outside of it
        hold nothing of them, not even the outermost
    """

    name: str
    description: str = ""
    axes: tuple[ArrayAxis, ...]
    levels: tuple[Level, ...]
    clock_hz: float
    macs_per_cycle: int = 1
    bits: Mapping[str, int]
    partial_sum_bits: int
    mac_energy_j: float | None = None
    idle_mac_energy_j: float | None = None
    hop_energy_j_per_bit: float | None = None
    static_power_w: float | None = None
    area_mm2: float | None = None
    process_nm: float | None = None
    price_usd: float | None = None
    overhead_s: float | None = None
    low_ratio: float | None = None
    high_ratio: float | None = None
    interval_share: float | None = None
    left_out_error: float | None = None
    kept: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"architecture {self.name!r}"
        check_numbers(self, self.sources, where)
        names = [axis.name for axis in self.axes]
        last: set[str] = set()
        for level in self.levels:
            strange = (set(level.per) | set(level.multicast) | set(level.reduces)) - set(names)
            if strange:
                raise SpecError(f"{where}: level {level.name!r}", found=", ".join(sorted(strange)),
                                wanted=f"array axes among {', '.join(names) or '(none)'}",
                                fix="correct the name")  # fmt: skip
            if not last <= set(level.per):
                raise SpecError(f"{where}: level {level.name!r}: per", found=", ".join(level.per),
                                wanted=f"at least {', '.join(sorted(last))}, as further out",
                                fix="order the levels outermost first")  # fmt: skip
            last = set(level.per)
            waited = [role for role in level.holds if not level.hides(role)]
            fronts = [axis.name for axis in self.axes if axis.systolic]
            if fronts and waited and set(fronts) <= set(level.per):
                raise SpecError(
                    f"{where}: level {level.name!r}",
                    found=f"{waited[0]} is waited for inside of systolic {' x '.join(fronts)}",
                    wanted="tiles that arrive while others are used: only then do wavefronts of "
                    "passes overlap, and are lost once a nest",
                    fix="name it in `double_buffered:` or `streams:`, or take out `systolic:`",
                )
        first = self.levels[0] if self.levels else None
        if first is None or first.per or {*first.holds, *self.kept} != set(ROLES):
            raise SpecError(f"{where}: levels", found=first.name if first else "none",
                            wanted="an outermost level that holds all roles, one for all",
                            fix="add the off-chip memory")  # fmt: skip
        for role in self.kept:
            home = next((level for level in self.levels if role in level.holds), None)
            if home is None or home.per:
                raise SpecError(f"{where}: kept", found=role, wanted="a level that holds it, one "
                                "for all", fix="keep it where there is one")  # fmt: skip

    @property
    def elements(self) -> int:
        """Processing elements of the array."""
        return math.prod(axis.size for axis in self.axes)

    def chain(self, role: str) -> tuple[int, ...]:
        """Return the places of the levels that hold a role, outermost first."""
        return tuple(i for i, level in enumerate(self.levels) if role in level.holds)

    def fans_out_below(self) -> dict[str, int]:
        """Return per axis the place of the innermost level above which it is not spread.

        An axis that no level is `per` spreads below the last level, among the multipliers.
        """
        place = {}
        for axis in self.axes:
            inner = [i for i, level in enumerate(self.levels) if axis.name in level.per]
            place[axis.name] = (min(inner) if inner else len(self.levels)) - 1
        return place

    @property
    def wavefront_cycles(self) -> int:
        """Cycles until the last element of the array begins; 0 where all begin at once."""
        return sum(axis.size - 1 for axis in self.axes if axis.systolic)

    def instances(self, level: Level) -> int:
        """Return how many of a level there are."""
        sizes = {axis.name: axis.size for axis in self.axes}
        return math.prod(sizes[name] for name in level.per)

    def __iter__(self) -> Iterator[Level]:
        return iter(self.levels)
