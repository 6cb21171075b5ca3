"""What moving bytes takes: over one route, or in phases of many moves at once.

Models:  cut-through over a route: the sum of its links' latencies, plus the bytes at the narrowest
         link. Moves of one phase share the directed channels they meet on; a phase lasts as long as
         its most loaded channel. A duplex link is one channel each way, others one for both.
Ignores: packets, protocol overhead beyond a link's stated bandwidth, other traffic (replay judges
         that), memory bandwidth at the ends.
Judge:   closed forms; bytes over every link are conserved (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Link, System

from ._cost import Charge
from ._energy import link_charges


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What moving bytes over links takes.

    Attributes
    ----------
    latency_s : from the first byte sent to the last byte there
    link_bytes : link -> bytes it carries, both directions added
    energy_j : of the links alone (memories at the ends not counted); None when not known
    """

    latency_s: float
    link_bytes: Mapping[str, int]
    energy_j: float | None
    charges: tuple[Charge, ...] = ()

    @property
    def moved_bytes(self) -> int:
        """Bytes times links crossed."""
        return sum(self.link_bytes.values())

    def then(self, after: Movement) -> Movement:
        """Return both, one after the other."""
        names = dict.fromkeys((*self.link_bytes, *after.link_bytes))
        known = self.energy_j is not None and after.energy_j is not None
        return Movement(
            latency_s=self.latency_s + after.latency_s,
            link_bytes={n: self.link_bytes.get(n, 0) + after.link_bytes.get(n, 0) for n in names},
            energy_j=(self.energy_j or 0) + (after.energy_j or 0) if known else None,
            charges=self.charges + after.charges,
        )


NOTHING = Movement(latency_s=0.0, link_bytes={}, energy_j=0.0)


def transfer_cost(system: System, source: str, target: str, size_bytes: int) -> Movement:
    """Return what one transfer takes, alone on its route; nothing when both ends are one.

    Raises
    ------
    UnknownNameError : an end that the system does not have
    SpecError : no route, or a negative size
    """
    return moves_cost(system, [(source, target, size_bytes)])


def host_hop(system: System, source: str, target: str, size_bytes: int) -> Movement:
    """Return a transfer by way of the host's memory: all the way up, then all the way down.

    Raises
    ------
    SpecError : the system has no host
    """
    if not system.host:
        raise SpecError(f"system {system.name!r}", found="no host", wanted="a host to hop over",
                        fix="name it: `host:`")  # fmt: skip
    up = transfer_cost(system, source, system.host, size_bytes)
    return up.then(transfer_cost(system, system.host, target, size_bytes))


def moves_cost(
    system: System,
    moves: Sequence[tuple[str, str, int]],
    routes: Sequence[Sequence[str]] | None = None,
) -> Movement:
    """Return one phase: all moves (source, target, bytes) start at once and share channels.

    Parameters
    ----------
    routes : names of the links that each move takes; the system's own routes when None
    """
    if routes is not None and len(routes) != len(moves):
        raise SpecError("transfer", found=f"{len(routes)} routes", wanted=f"one for each of "
                        f"{len(moves)} targets", fix="make the plan again")  # fmt: skip
    latency_s = duration_s = 0.0
    link_bytes: dict[str, int] = {}
    load: dict[tuple[str, bool], int] = {}
    for number, (source, target, size_bytes) in enumerate(moves):
        if size_bytes < 0:
            raise SpecError(f"transfer {source} -> {target}", found=f"{size_bytes} bytes",
                            wanted="zero or more", fix="correct the size")  # fmt: skip
        if routes is None:
            route = route_of(system, source, target)
        else:
            route = tuple(system.link(name) for name in routes[number])
        latency_s = max(latency_s, sum(link.latency_s for link in route))
        for link, channel in channels(source, target, route):
            link_bytes[link.name] = link_bytes.get(link.name, 0) + size_bytes
            load[channel] = load.get(channel, 0) + size_bytes
            duration_s = max(duration_s, load[channel] / link.bandwidth_bytes_per_s)
    charges = link_charges(system, link_bytes)
    return Movement(
        latency_s=latency_s + duration_s, link_bytes=link_bytes, charges=charges or (),
        energy_j=None if charges is None else sum(charge.energy_j for charge in charges),
    )  # fmt: skip


def route_of(system: System, source: str, target: str) -> tuple[Link, ...]:
    """Return the route between two ends that both exist and are joined, or raise."""
    ends = {device.name for device in system.devices} | {e for x in system.links for e in x.ends}
    for end in (source, target):
        if end not in ends:
            raise UnknownNameError(f"end of {system.name}", end, ends)
    route = system.route(source, target)
    if route is None:
        raise SpecError(f"transfer {source} -> {target}", found="no route", wanted="links that "
                        f"join them in {system.name}", fix="add a link")  # fmt: skip
    return route


def channels(
    source: str, target: str, route: tuple[Link, ...]
) -> Iterable[tuple[Link, tuple[str, bool]]]:
    """Yield each link with the directed channel taken: against the order of its ends, or with."""
    here = source
    for position, link in enumerate(route):
        onward = route[position + 1].ends if position + 1 < len(route) else (target,)
        there = next((end for end in link.ends if end != here and end in onward), None)
        if there is None or here not in link.ends:
            raise SpecError(
                f"transfer {source} -> {target}", found=f"link {link.name!r} after {here!r}",
                wanted="links that join the two ends", fix="correct the route",
            )  # fmt: skip
        yield link, (link.name, link.duplex and link.ends.index(there) < link.ends.index(here))
        here = there
    if here != target:
        raise SpecError(f"transfer {source} -> {target}", found=f"a route that ends at {here!r}",
                        wanted="links that join the two ends", fix="correct the route")  # fmt: skip
