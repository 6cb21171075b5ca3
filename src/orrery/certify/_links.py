"""Deliveries against the links: routes that exist, no faster than a link, never more than it holds.

Models:  a delivery waits the latency of its route and then takes every link of it up to its end; a
         duplex link carries its rate each way, any other link its rate in all. What must pass a
         link direction within a window is at most its rate times the window, for every window:
         checked by serving the most urgent first, which meets all ends if any order does.
Ignores: how a rate is shared inside a window; times are known to a picosecond.
Judge:   all windows, one by one, on random deliveries (tests).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from orrery.certificate import Delivery
from orrery.hardware import Link, System

from ._report import Violations

_PS = 10**12
#: relative rounding of rates and times kept as floating-point numbers
_HAIR = 1e-9

#: release, end (picoseconds) and picoseconds of the link that it needs
Job = tuple[int, int, float]


def check_links(system: System, deliveries: Iterable[Delivery], found: Violations) -> None:
    """Check every delivery's route and speed, and every link direction's load."""
    links = {link.name: link for link in system.links}
    jobs: dict[tuple[str, bool], list[Job]] = {}
    for d in deliveries:
        where = f"delivery of {d.tensor!r} from {d.source!r} to {d.target!r}"
        way = _way(links, d)
        if isinstance(way, str):
            found.add("route", where, way, "links that join the ends")
            continue
        latency_ps = sum(link.latency_s for link, _ in way) * _PS
        width = min((link.bandwidth_bytes_per_s for link, _ in way), default=float("inf"))
        least = (latency_ps + d.size_bytes / width * _PS) * (1 - _HAIR) - 1
        if d.end_ps - d.start_ps < least:
            found.add("speed", where, f"{d.end_ps - d.start_ps} ps", f"{least:.0f} ps or more")
        release = d.start_ps + int(latency_ps)
        for link, backwards in way:
            work = d.size_bytes / link.bandwidth_bytes_per_s * _PS * (1 - _HAIR) - 1
            if work > 0:
                jobs.setdefault((link.name, backwards), []).append((release, d.end_ps, work))
    for (name, backwards), mine in jobs.items():
        window = overfull(mine)
        if window is not None:
            begin, end, excess = window
            found.add(
                "capacity", f"link {name!r}{' backwards' if backwards else ''}",
                f"{excess:.0f} ps too much to carry from {begin} to {end} ps",
                f"at most {links[name].bandwidth_bytes_per_s:g} bytes/s",
            )  # fmt: skip


def _way(links: dict[str, Link], d: Delivery) -> list[tuple[Link, bool]] | str:
    """Return the links of a delivery, each with whether it is taken backwards; or what is wrong."""
    unknown = [name for name in d.links if name not in links]
    if unknown:
        return f"link {unknown[0]!r}, which does not exist"
    if d.source == d.target:
        return "source and target the same"
    route = [links[name] for name in d.links]
    # All ends that the route can have reached so far, and how it came there.
    reached: dict[str, list[tuple[Link, bool]]] = {d.source: []}
    for link in route:
        further: dict[str, list[tuple[Link, bool]]] = {}
        for here, path in reached.items():
            for there in link.ends:
                if here in link.ends and there != here and there not in further:
                    back = link.duplex and link.ends.index(there) < link.ends.index(here)
                    further[there] = [*path, (link, back)]
        reached = further
    if d.target in reached:
        return reached[d.target]
    return f"links {', '.join(d.links) or 'none'}, which do not lead there"


def overfull(jobs: Sequence[Job]) -> tuple[int, int, float] | None:
    """Return a window with more work than time, and how much more; None where all fits.

    Serves the job with the earliest end first. A job that is late then shows a window (from when
    only jobs with such early ends were served, to its end) that holds more work than time.
    """
    waiting: list[tuple[int, int, float]] = []  # end, release, work
    ordered = sorted(jobs)
    base = 0  # busy since this instant; `clock` counts from it, to stay exact
    clock = 0.0
    position = 0
    while position < len(ordered) or waiting:
        if not waiting:
            base, clock = ordered[position][0], 0.0
        while position < len(ordered) and ordered[position][0] - base <= clock:
            release, end, work = ordered[position]
            heapq.heappush(waiting, (end, release, work))
            position += 1
        end, release, work = heapq.heappop(waiting)
        until = float("inf") if position == len(ordered) else ordered[position][0] - base
        if clock + work > until:
            heapq.heappush(waiting, (end, release, work - (until - clock)))
            clock = until
            continue
        clock += work
        if clock > end - base + _HAIR * clock + 1e-3:
            return _window(jobs, end)
    return None


def _window(jobs: Sequence[Job], end: int) -> tuple[int, int, float]:
    """Return the fullest window that ends at an instant."""
    due = sorted((release, work) for release, stop, work in jobs if stop <= end)
    best, load, begin = float("-inf"), 0.0, end
    for release, work in reversed(due):
        load += work
        if load - (end - release) > best:
            best, begin = load - (end - release), release
    return begin, end, best
