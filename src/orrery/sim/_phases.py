"""Phases of messages on shared links: each as fast as alone, or all that meet slowed alike.

Models:  a phase waits the longest latency of its routes, then moves all its messages so that they
         end together, as fast as its most loaded channel can (`orrery.cost.moves_cost`). Phases
         that meet on channels are slowed: each has a pace between nothing and 1, max-min fair, so
         that no channel carries more than it can. Paces change whenever a phase begins or ends.
Ignores: packets; messages of one phase that could end before the others.
Judge:   alone, exactly `moves_cost`; closed forms of two and three phases on a link; the defining
         property of max-min fairness on random phases; the checker's interval condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from orrery.cost import Message, moves_cost
from orrery.errors import SpecError
from orrery.hardware import System
from orrery.timeline import MOST_PS, PS_PER_S

from ._kernel import Kernel, to_ps
from ._links import Channels

#: Shares of a channel are sums of fractions; this much above 1 is rounding.
_FULL = 1.0 + 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a phase takes when it is alone.

    Attributes
    ----------
    alone_ps, latency_ps : from issue to the last arrival; the part before anything flows
    shares : channel -> part of its capacity that the phase takes at full pace
    link_bytes : link -> bytes, both directions added
    routes : per message, the names of its links
    """

    alone_ps: int
    latency_ps: int
    shares: Mapping[int, float]
    link_bytes: Mapping[str, int]
    routes: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class _Flowing:
    wire: Wire
    done: Callable[[], None]
    least_end_ps: int
    remaining_ps: float
    pace: float
    last_ps: int
    version: int = 0
    slowed_by: int = -1


class PhaseNetwork:
    """The links of a system, for phases on a kernel's clock.

    Attributes
    ----------
    busy_ps : per channel, how long what was sent over it takes it, were it full meanwhile
    slowed_ps : per channel, by how much phases ended later because it was full
    """

    def __init__(self, system: System, ends: Sequence[str], kernel: Kernel) -> None:
        self._system, self._ends, self._kernel = system, ends, kernel
        self._channels = Channels(system)
        self.busy_ps = [0.0] * len(self._channels.capacity_bytes_per_s)
        self.slowed_ps = list(self.busy_ps)
        self._known: dict[tuple[tuple[int, int, int], ...], Wire] = {}
        self._flowing: dict[int, _Flowing] = {}
        self._count = 0

    def wire(self, messages: Sequence[Message], *, where: str) -> Wire:
        """Return what the messages of one phase take alone.

        Raises
        ------
        SpecError : no route between two ends, or a time that no clock can say
        """
        key = tuple((m.source, m.target, m.size_bytes) for m in messages)
        if key not in self._known:
            self._known[key] = self._wire(key, where)
        return self._known[key]

    def _wire(self, moves: Sequence[tuple[int, int, int]], where: str) -> Wire:
        named = [(self._ends[s], self._ends[t], size) for s, t, size in moves]
        movement = moves_cost(self._system, named)
        load: dict[int, int] = {}
        routes, latency_s = [], 0.0
        for source, target, size in named:
            links = tuple(link.name for link in self._system.route(source, target) or ())
            taken, route_s = self._channels.route(source, target, links, where=where)
            latency_s = max(latency_s, route_s)
            routes.append(links)
            for channel in taken:
                load[channel] = load.get(channel, 0) + size
        alone_ps = to_ps(movement.latency_s, where=where)
        latency_ps = min(to_ps(latency_s, where=where), alone_ps)
        flow_ps = alone_ps - latency_ps
        capacity = self._channels.capacity_bytes_per_s
        shares = {
            channel: min(1.0, size * PS_PER_S / (capacity[channel] * flow_ps))
            for channel, size in load.items() if size
        } if flow_ps else {}  # fmt: skip
        return Wire(alone_ps=alone_ps, latency_ps=latency_ps, shares=shares,
                    link_bytes=movement.link_bytes, routes=tuple(routes))  # fmt: skip

    def issue(self, wire: Wire, done: Callable[[], None]) -> None:
        """Start a phase now; `done` runs when its last message has arrived."""
        kernel = self._kernel
        for channel, share in wire.shares.items():
            self.busy_ps[channel] += share * (wire.alone_ps - wire.latency_ps)
        if not wire.shares:
            kernel.after(wire.alone_ps, done)
            return
        flowing = _Flowing(
            wire=wire, done=done, least_end_ps=kernel.now_ps + wire.alone_ps,
            remaining_ps=float(wire.alone_ps - wire.latency_ps), pace=0.0,
            last_ps=kernel.now_ps + wire.latency_ps,
        )  # fmt: skip
        kernel.after(wire.latency_ps, lambda: self._begin(flowing))

    def _begin(self, flowing: _Flowing) -> None:
        self._flowing[self._count] = flowing
        self._count += 1
        self._share()

    def _finish(self, number: int, version: int) -> None:
        flowing = self._flowing.get(number)
        if flowing is None or flowing.version != version:
            return  # its pace has changed since this end was foreseen
        del self._flowing[number]
        self._count_slowed(flowing)
        self._share()
        flowing.done()

    def _count_slowed(self, flowing: _Flowing) -> None:
        if flowing.slowed_by >= 0:
            lost_ps = (1.0 - flowing.pace) * (self._kernel.now_ps - flowing.last_ps)
            self.slowed_ps[flowing.slowed_by] += lost_ps

    def _paces(self, wires: Sequence[Wire]) -> list[float]:
        return fair_paces([wire.shares for wire in wires])

    def _share(self) -> None:
        """Find the paces anew, and when each phase ends if nothing changes."""
        now = self._kernel.now_ps
        paces = self._paces([flowing.wire for flowing in self._flowing.values()])
        load: dict[int, float] = {}
        for flowing, pace in zip(self._flowing.values(), paces, strict=True):
            for channel, share in flowing.wire.shares.items():
                load[channel] = load.get(channel, 0.0) + share * pace
        for (number, flowing), pace in zip(self._flowing.items(), paces, strict=True):
            if pace == flowing.pace:
                continue
            self._count_slowed(flowing)
            full = max(flowing.wire.shares, key=lambda channel: load[channel])
            flowing.slowed_by = full if pace < 1.0 else -1
            flowing.remaining_ps -= flowing.pace * (now - flowing.last_ps)
            flowing.remaining_ps = max(flowing.remaining_ps, 0.0)
            flowing.last_ps, flowing.pace = now, pace
            flowing.version += 1
            if flowing.remaining_ps >= pace * MOST_PS:
                raise SpecError(
                    f"plan on {self._system.name}", found="a message that arrives after more than "
                    f"{MOST_PS / PS_PER_S:.3g} s", wanted="a time that the clock can say",
                    fix="correct the bandwidths of its links",
                )  # fmt: skip
            end = max(now + ceil(flowing.remaining_ps / pace), flowing.least_end_ps)
            self._kernel.at(end, lambda n=number, v=flowing.version: self._finish(n, v))  # type: ignore[misc]  # the defaults bind now


def fair_paces(shares: Sequence[Mapping[int, float]]) -> list[float]:
    """Return the max-min fair pace of each phase, 1 for one that nobody slows.

    Parameters
    ----------
    shares : per phase, channel -> part of the channel that it takes at pace 1

    >>> fair_paces([{0: 1.0}, {0: 1.0, 1: 0.5}, {1: 0.5}])
    [0.5, 0.5, 1.0]
    """
    users: dict[int, list[int]] = {}
    for phase, mine in enumerate(shares):
        for channel in mine:
            users.setdefault(channel, []).append(phase)
    paces = [1.0] * len(shares)
    left = {
        channel: 1.0 for channel, phases in users.items()
        if sum(shares[phase][channel] for phase in phases) > _FULL
    }  # fmt: skip
    open_ = {phase for channel in left for phase in users[channel]}
    floor = 0.0
    while left:
        wanted = {c: sum(shares[p][c] for p in users[c] if p in open_) for c in left}
        left = {c: rest for c, rest in left.items() if wanted[c] > 0.0}
        if not left:
            break
        tightest = min(left, key=lambda c: left[c] / wanted[c])
        pace = max(left[tightest] / wanted[tightest], floor)
        if pace >= 1.0:
            break
        floor = pace
        for phase in users[tightest]:
            if phase in open_:
                open_.discard(phase)
                paces[phase] = pace
                for channel, part in shares[phase].items():
                    if channel in left:
                        left[channel] -= part * pace
        del left[tightest]
    return paces
