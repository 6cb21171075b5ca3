"""Links as directed channels, and the max-min fair share of those who use them at once.

Models:  a duplex link is one channel each way, any other link one channel for both ways; a
         transfer takes all channels of its route at once (cut-through) at one rate; rates are
         max-min fair: no transfer can have more without another, no faster one, having less.
Ignores: packets, buffers, protocol overhead, back-pressure beyond the shared rate.
Judge:   the defining property of max-min fairness on random flows; closed forms on one link.
"""

from __future__ import annotations

from collections.abc import Sequence

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Link, System

from ._engine import fill


class Channels:
    """The directed channels of a system.

    A link among more than two ends that is duplex has one channel in the order in which its ends
    are listed and one against it.

    Attributes
    ----------
    capacity_bytes_per_s : per channel
    link_of : per channel, the name of its link
    """

    def __init__(self, system: System) -> None:
        self.capacity_bytes_per_s: list[float] = []
        self.link_of: list[str] = []
        self.ends = {d.name for d in system.devices} | {e for x in system.links for e in x.ends}
        self._system = system
        self._links: dict[str, tuple[Link, int]] = {}
        for link in system.links:
            self._links[link.name] = (link, len(self.capacity_bytes_per_s))
            for _ in range(2 if link.duplex else 1):
                self.capacity_bytes_per_s.append(link.bandwidth_bytes_per_s)
                self.link_of.append(link.name)

    def route(
        self, source: str, target: str, names: Sequence[str], *, where: str
    ) -> tuple[tuple[int, ...], float]:
        """Return the channels that a route of links takes, and its latency in seconds.

        Raises
        ------
        UnknownNameError : no such end or link
        SpecError : the links do not join the two ends
        """
        for end in (source, target):
            if end not in self.ends:
                raise UnknownNameError(f"end of {self._system.name}", end, self.ends)
        here, latency_s = source, 0.0
        channels: list[int] = []
        for position, name in enumerate(names):
            if name not in self._links:
                raise UnknownNameError(f"link of {self._system.name}", name, self._links)
            link, first = self._links[name]
            if here not in link.ends:
                raise SpecError(where, found=f"link {name!r}, which joins {', '.join(link.ends)}",
                                wanted=f"a link at {here!r}", fix="correct the route")  # fmt: skip
            there = self._next_end(link, here, target, names[position + 1 :])
            if there is None:
                raise SpecError(where, found=f"a route that breaks off after link {name!r}",
                                wanted=f"links to {target!r}", fix="correct the route")  # fmt: skip
            backwards = link.duplex and link.ends.index(there) < link.ends.index(here)
            channels.append(first + int(backwards))
            latency_s += link.latency_s
            here = there
        if here != target:
            raise SpecError(where, found=f"a route of {len(names)} links that ends at {here!r}",
                            wanted=f"links to {target!r}", fix="correct the route")  # fmt: skip
        return tuple(channels), latency_s

    def _next_end(self, link: Link, here: str, target: str, rest: Sequence[str]) -> str | None:
        others = [end for end in link.ends if end != here]
        if not rest:
            return target if target in others else None
        following = self._links.get(rest[0])
        if following is None:
            raise UnknownNameError(f"link of {self._system.name}", rest[0], self._links)
        return next((end for end in others if end in following[0].ends), None)


def fair_rates(
    routes: Sequence[Sequence[int]], capacity_bytes_per_s: Sequence[float]
) -> list[float]:
    """Return the max-min fair rate of each flow in bytes per second.

    Parameters
    ----------
    routes : the channels of each flow, one or more, each once
    capacity_bytes_per_s : per channel

    >>> fair_rates([(0,), (0, 1), (1,)], [6.0, 2.0])
    [5.0, 1.0, 1.0]
    """
    starts, channels = [0], list[int]()
    for route in routes:
        if not route or len(set(route)) != len(route):
            raise SpecError("flow", found=f"channels {list(route)}",
                            wanted="one or more, all different", fix="correct it")  # fmt: skip
        channels += list(route)
        starts.append(len(channels))
    head = [-1] * len(capacity_bytes_per_s)
    load = [0] * len(capacity_bytes_per_s)
    after, slot_flow = [-1] * len(channels), [0] * len(channels)
    for flow in range(len(routes)):
        for slot in range(starts[flow], starts[flow + 1]):
            channel = channels[slot]
            slot_flow[slot], after[slot], head[channel] = flow, head[channel], slot
            load[channel] += 1
    share = [-1.0] * len(routes)
    count = len(capacity_bytes_per_s)
    fill(list(range(count)), count, list(capacity_bytes_per_s), load, head, after, slot_flow,
         starts, channels, share, [0.0] * count, [0] * count)  # fmt: skip
    return share
