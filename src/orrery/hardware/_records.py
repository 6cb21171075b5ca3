"""What machines are made of; every number with its source.

Each record has `sources`: field name -> `Source`; a numeric field that is set and has no source is
refused when the record is made. A field that nobody knows is None, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from orrery.errors import SpecError, UnknownNameError
from orrery.provenance import Source
from orrery.store import content_hash, encode

#: endings of the names of fields in which zero has a meaning
_MAY_BE_ZERO = ("latency_s", "_j_per_byte", "_j_per_bit", "_j", "idle_power_w", "static_power_w")


def check_numbers(record: object, sources: Mapping[str, Source], where: str) -> None:
    """Refuse a number of a record that is not finite and positive, or that has no source."""
    for f in fields(record):  # type: ignore[arg-type]  # called with dataclasses only
        value = getattr(record, f.name)
        values = value.values() if isinstance(value, Mapping) and f.name != "sources" else [value]
        for number in values:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            zero_is_fine = f.name.endswith(_MAY_BE_ZERO)
            if not math.isfinite(number) or number < 0 or (number == 0 and not zero_is_fine):
                raise SpecError(
                    f"{where}: {f.name}",
                    found=number,
                    wanted="a finite number above zero",
                    fix="correct the number",
                )
            if f.name not in sources:
                raise SpecError(
                    f"{where}: {f.name}",
                    found="no source",
                    wanted="a source for every number",
                    fix=f"add sources[{f.name!r}]",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The arithmetic of a device.

    Attributes
    ----------
    macs_per_s : peak multiply-accumulates per second by element type
    others_per_s : peak of all other scalar operations per second, one rate for all types
    clock_hz : of the arithmetic
    mac_energy_j : joules of one multiply-accumulate by element type, data movement not included
    other_energy_j : joules of one other scalar operation
    """

    macs_per_s: Mapping[str, float]
    others_per_s: float | None = None
    clock_hz: float | None = None
    mac_energy_j: Mapping[str, float] = field(default_factory=dict)
    other_energy_j: float | None = None
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, "compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory of a device; exactly one per device is off-chip (the last level)."""

    name: str
    size_bytes: int
    bandwidth_bytes_per_s: float | None = None
    latency_s: float | None = None
    energy_j_per_byte: float | None = None
    offchip: bool = False
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, f"memory {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """A solid-state disk of a device."""

    name: str
    size_bytes: int
    read_bytes_per_s: float
    write_bytes_per_s: float
    latency_s: float | None = None
    endurance_bytes: float | None = None
    energy_j_per_byte: float | None = None
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, f"flash {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A connection among two or more ends (devices or switches, by name).

    `duplex` links carry `bandwidth_bytes_per_s` each way at once; others share it both ways. All
    transfers that are on a link at one time share its bandwidth.
    """

    name: str
    ends: tuple[str, ...]
    bandwidth_bytes_per_s: float
    latency_s: float = 0.0
    energy_j_per_byte: float | None = None
    duplex: bool = True
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, f"link {self.name!r}")
        if len(set(self.ends)) < 2 or len(set(self.ends)) != len(self.ends):
            raise SpecError(
                f"link {self.name!r}: ends",
                found=", ".join(self.ends),
                wanted="two or more different ends",
                fix="correct them",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What measured layers have shown of a device that its peaks do not tell.

    Attributes
    ----------
    mac_share : class of operators -> share of the peak MAC rate that it reaches
    others_share, bandwidth_share : share of the peak of other operations, of the off-chip bandwidth
    overhead_s : of every region that does anything, whatever it does
    low_ratio, high_ratio : ends of an interval of measured over priced time of a layer that was
        not seen, at a confidence of `interval_share`
    left_out_error : median of abs(priced / measured - 1) over layers of networks left out
    """

    mac_share: Mapping[str, float] = field(default_factory=dict)
    others_share: float | None = None
    bandwidth_share: float | None = None
    overhead_s: float | None = None
    low_ratio: float | None = None
    high_ratio: float | None = None
    interval_share: float | None = None
    left_out_error: float | None = None
    sources: Mapping[str, Source]

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, "calibration")
        shares = {**{f"macs.{name}": share for name, share in self.mac_share.items()},
                  "others": self.others_share, "bandwidth": self.bandwidth_share,
                  "confidence": self.interval_share}  # fmt: skip
        for name, share in shares.items():
            if share is not None and share > 1:
                raise SpecError(f"calibration: {name}", found=f"{share:g} of the peak",
                                wanted="at most all of it",
                                fix="raise the peak to what was measured")  # fmt: skip
        ends = (self.low_ratio, self.high_ratio, self.interval_share)
        if any(end is None for end in ends) != all(end is None for end in ends) or (
            self.low_ratio is not None and self.high_ratio is not None
            and self.low_ratio > self.high_ratio
        ):  # fmt: skip
            raise SpecError("calibration: interval", found=f"{self.low_ratio} to {self.high_ratio}",
                            wanted="low, high and confidence, the lower end first",
                            fix="give all three, or none")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that computes.

    Attributes
    ----------
    kind : cpu, gpu, fpga or asic
    designs : accelerator calls it can be configured with, e.g. ``systolic(rows=32, cols=32)``;
        empty for a device that is what it is
    operators : operators it can run without a design; None means all
    idle_power_w, max_power_w : at the board
    area_mm2, process_nm : of the die; price_usd : of the board
    group : devices of one group are neighbours (e.g. one PCIe switch)
    calibration : how far measured layers stay behind the peaks; None: never measured
    """

    name: str
    kind: str
    compute: Compute
    memories: tuple[Memory, ...]
    flash: tuple[Flash, ...] = ()
    designs: tuple[str, ...] = ()
    operators: tuple[str, ...] | None = None
    group: str = ""
    idle_power_w: float | None = None
    max_power_w: float | None = None
    area_mm2: float | None = None
    process_nm: float | None = None
    price_usd: float | None = None
    calibration: Calibration | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self, self.sources, f"device {self.name!r}")
        if sum(memory.offchip for memory in self.memories) != 1:
            raise SpecError(
                f"device {self.name!r}: memories",
                found=", ".join(
                    f"{m.name}{' (offchip)' if m.offchip else ''}" for m in self.memories
                )
                or "none",
                wanted="exactly one off-chip memory",
                fix="mark it `offchip: true`",
            )

    @property
    def offchip(self) -> Memory:
        """The off-chip memory: DRAM, HBM."""
        return next(memory for memory in self.memories if memory.offchip)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Devices and the links among them.

    `host` names the end where network inputs start and outputs are wanted; it may be a device or
    only an end of links (a host that computes nothing for us).
    """

    name: str
    devices: tuple[Device, ...]
    links: tuple[Link, ...] = ()
    host: str = ""
    description: str = ""
    _routes: dict[str, dict[str, tuple[Link, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _beyond: dict[str, list[tuple[Link, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        names = [device.name for device in self.devices]
        if not names:
            raise SpecError(
                f"system {self.name!r}",
                found="no devices",
                wanted="one or more",
                fix="add a device",
            )
        for group in (names, [link.name for link in self.links]):
            for name in group:
                if group.count(name) > 1:
                    raise SpecError(
                        f"system {self.name!r}",
                        found=f"{name!r} twice",
                        wanted="unique names",
                        fix="rename one",
                    )
        ends = {end for link in self.links for end in link.ends} | set(names)
        if self.host and self.host not in ends:
            raise SpecError(
                f"system {self.name!r}: host",
                found=self.host,
                wanted=f"one of {', '.join(sorted(ends))}",
                fix="correct it",
            )
        # A device that no route reaches could never receive its input.
        start = self.host or names[0]
        for name in names:
            if self.route(start, name) is None:
                raise SpecError(
                    f"system {self.name!r}: device {name!r}",
                    found=f"no route from {start!r}",
                    wanted="every device reachable",
                    fix="add a link",
                )

    @property
    def digest(self) -> str:
        """Content hash of all records."""
        parts = [encode(part) for part in (*self.devices, *self.links)]
        # What no device had when plans were made is not part of what they were made for.
        texts = [
            repr({k: v for k, v in part.items() if k != "calibration" or v is not None})
            for part in parts
        ]
        return content_hash(self.name, self.host, *texts)

    def device(self, name: str) -> Device:
        """Return the device of this name."""
        for device in self.devices:
            if device.name == name:
                return device
        raise UnknownNameError(f"device of {self.name}", name, [d.name for d in self.devices])

    def link(self, name: str) -> Link:
        """Return the link of this name."""
        for link in self.links:
            if link.name == name:
                return link
        raise UnknownNameError(f"link of {self.name}", name, [x.name for x in self.links])

    def route(self, source: str, target: str) -> tuple[Link, ...] | None:
        """Return the links from one end to another: fewest hops, then most bandwidth; None if
        there is no way, empty when both are the same end.
        """
        if source not in self._routes:
            self._routes[source] = self._routes_from(source)
        return self._routes[source].get(target)

    def _routes_from(self, source: str) -> dict[str, tuple[Link, ...]]:
        # Breadth first keeps the fewest hops; among those, the widest bottleneck wins.
        beyond = self._neighbours()
        reached: dict[str, tuple[float, tuple[Link, ...]]] = {source: (math.inf, ())}
        frontier = [source]
        while frontier and len(reached) < len(beyond):
            found: dict[str, tuple[float, tuple[Link, ...]]] = {}
            for end in frontier:
                width, path = reached[end]
                for link, other in beyond.get(end, ()):
                    if other not in reached:
                        narrowest = min(width, link.bandwidth_bytes_per_s)
                        if other not in found or narrowest > found[other][0]:
                            found[other] = (narrowest, (*path, link))
            reached |= found
            frontier = list(found)
        return {end: path for end, (_, path) in reached.items()}

    def _neighbours(self) -> dict[str, list[tuple[Link, str]]]:
        """Return per end that has links, in their order, each link and who is at its other ends."""
        if not self._beyond:
            for link in self.links:
                ends = dict.fromkeys(link.ends)
                for end in ends:
                    others = self._beyond.setdefault(end, [])
                    others += [(link, other) for other in ends if other != end]
        return self._beyond
