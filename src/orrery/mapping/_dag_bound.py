"""What no plan can be faster than: bounds from the tables alone, in milliseconds.

Models:  `dag_bound`: every region whole on one device, tensors by the routes of the system or
         passed on over devices, links shared in any way. `split_bound`: regions cut into shares
         over any devices.
Ignores: that a device holds one configuration (each region takes the best it has there), waiting
         for links, activations in memory. Each makes the bound smaller, never wrong.
Judge:   brute force on small networks, and every plan any searcher finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orrery.timeline import PS_PER_S

from ._greedy import usable_bytes
from ._solver import share_out
from ._tables import Tables

_Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A time that no plan undercuts.

    Attributes
    ----------
    value_s : the largest of the parts; infinite where there is no plan (memory, or a region that
        nobody runs)
    reason : the part that decides
    parts : each bound by its name, in seconds
    of : of which plans it is proved
    """

    value_s: float
    reason: str
    parts: Mapping[str, float] = field(default_factory=dict)
    of: str = ""


def _bound(parts: Mapping[str, float], of: str) -> Bound:
    reason = max(parts, key=parts.__getitem__)
    return Bound(value_s=parts[reason], reason=reason, parts=parts, of=of)


def dag_bound(tables: Tables, *, memory_share: float = 1.0) -> Bound:
    """Return a bound for plans that leave every region whole.

    Parts: ``critical path`` (a path with each region where it and the ways before it are soonest
    done), ``work`` (no better sharing out of all regions over the devices, even in pieces, between
    the first arrival of inputs and the last way of results), ``host inputs`` and ``host results``
    (bytes through the links of the host, with what must precede or follow), ``memory`` (weights and
    states need several devices, so tensors must travel).
    """
    best = _best(tables)
    ways = _Ways(tables)
    paths = _Paths(tables, best, ways)
    parts = {"critical path": paths.longest_s, "work": paths.first_s + _work(best)
             + paths.last_s}  # fmt: skip
    parts |= _host(tables, paths)
    parts["memory"] = _memory(tables, paths, ways, memory_share)
    parts = {name: max(0.0, value - rounding_s(tables)) for name, value in parts.items()}
    return _bound(parts, "every region whole on one device, links shared in any way")


def period_bound(tables: Tables) -> Bound:
    """Return a bound of the time between two inputs that follow each other through whole regions.

    No device works longer on one input, and no link of the host carries it longer. Parts: ``work``,
    ``host inputs``, ``host results``, ``host bytes``, as in `dag_bound`, nothing before or after.
    """
    parts = {"work": _work(_best(tables))}
    rates = _host_rates(tables)
    if rates is not None:
        sent, results = _host_tensors(tables)
        out, back = (sum(tables.workload.size_bytes[t] for t in some) for some in (sent, results))
        parts |= {"host inputs": _over(out, rates[0]), "host results": _over(back, rates[1]),
                  "host bytes": _over(out + back, rates[2])}  # fmt: skip
    parts = {name: max(0.0, value - rounding_s(tables)) for name, value in parts.items()}
    return _bound(parts, "every region whole on one device, inputs in a row")


def split_bound(tables: Tables) -> Bound:
    r"""Return a bound for plans that may split every region over any devices.

    A share of a region is taken to last that share of the whole at least, which is wrong where a
    piece runs at a better rate than the whole (a width that leaves lanes idle).

    Notes
    -----
    Let w[d, r] be the least seconds of region r over the configurations of device d, and f[d, r]
    the shares of a plan, which sum to at least one over d (overlaps and repeated work only add).

    *Critical path.* All parties of a region begin and end together, so it lasts
    t >= f[d, r] w[d, r] for every d, hence 1 <= sum_d f[d, r] <= t sum_d 1 / w[d, r]: no region is
    done in less than 1 / sum_d (1 / w[d, r]), the time at the sum of its *own* rates. A reader
    begins when its producer has ended, so these times add up along a path. (The sum of least work
    over the best total rate would mix the rate of one region with the work of another: a device
    that is fast for one region only would count for all.)

    *Work.* A device is busy for sum_r f[d, r] w[d, r] <= T, which is a point of the linear program
    of unrelated machines, whose optimum is thus at most T. Any u >= 0 with sum_d u[d] = 1 proves
    the same without a solver: T >= sum_d u[d] sum_r f[d, r] w[d, r] >= sum_r min_d u[d] w[d, r].

    *Host results.* Every byte of a result crosses a link of the host. Inputs do not count: of a
    split region's input, what no kernel touches need not be sent.
    """
    best = _best(tables)
    able = np.isfinite(best)
    with np.errstate(divide="ignore"):
        together = 1.0 / np.where(able, 1.0 / np.where(able, best, 1.0), 0.0).sum(axis=0)
    together *= 1 - 1e-12
    end: list[float] = together.tolist()
    for region, needs in enumerate(tables.workload.needs):
        end[region] += max((end[need] for need in needs), default=0.0)
    parts = {"critical path": max(end, default=0.0), "work": _work(best)}
    made = [end[p] for t in _results(tables) if (p := tables.workload.producer[t]) >= 0]
    rates = _host_rates(tables)
    if rates is not None and made:
        coming = sum(tables.workload.size_bytes[t] for t in _results(tables))
        parts["host results"] = _over(coming, rates[1])
    return _bound(parts, "regions split in any way, a share of the work at that share of the time")


def rounding_s(tables: Tables) -> float:
    """Return what a clock of whole picoseconds may lose on a path of regions and transfers."""
    return (2 * len(tables.workload.regions) + 1) / PS_PER_S


def _best(tables: Tables) -> NDArray[np.float64]:
    """Return devices × regions: seconds under the best configuration for each."""
    return np.array([tables.seconds[list(rows)].min(axis=0) for rows in tables.of_device])


def _work(best: NDArray[np.float64]) -> float:
    """Return the least time to share out all work, by linear program or its easy duals."""
    kinds, count = np.unique(best, axis=0, return_counts=True)
    least = best.min(axis=0)
    # Equal weights for all devices, then weights by total speed: both are duals of the program.
    simple = float(least.sum()) / len(best)
    totals = np.where(np.isfinite(best), best, 0.0).sum(axis=1)
    if np.isfinite(best).all() and (totals > 0).all():
        weights = (1.0 / totals) / (1.0 / totals).sum()
        simple = max(simple, float((weights[:, None] * best).min(axis=0).sum()))
    program = share_out(kinds, count.tolist())
    return max(simple * (1 - 1e-12), program or 0.0)


class _Ways:
    """The least time a tensor needs between two ends, whatever lies between."""

    def __init__(self, tables: Tables) -> None:
        with np.errstate(divide="ignore"):
            inverse = 1.0 / tables.width_bytes_per_s
        self.per_byte, self.latency = _shortest(inverse), _shortest(tables.route_s)

    def between(self, size: int) -> NDArray[np.float64]:
        """Return ends × ends: seconds, zero on the diagonal, infinite where there is no way."""
        way: NDArray[np.float64] = self.per_byte * size + self.latency
        way[np.isnan(way)] = np.inf
        np.fill_diagonal(way, 0.0)
        return way


def _shortest(direct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least sums over any stops; rates and latencies apart, so smaller than any way."""
    least = direct.copy()
    np.fill_diagonal(least, 0.0)
    for stop in range(len(least)):
        np.minimum(least, least[:, stop, None] + least[None, stop, :], out=least)
    return least


class _Paths:
    """When each region ends at the soonest on each device, and what must follow it.

    A region on device d begins no sooner than each input can have come to d from the device where
    the producer is soonest done for that; taking another least for every reader only helps.
    """

    def __init__(self, tables: Tables, best: NDArray[np.float64], ways: _Ways) -> None:
        w, devices, host = tables.workload, len(best), tables.host
        regions = range(len(w.regions))
        results = _results(tables)
        least: list[float] = best.min(axis=0).tolist()
        self.least = least
        self.begin = np.zeros((len(w.regions), devices))
        self.end = np.zeros((len(w.regions), devices))
        come: dict[int, _Row] = {}
        self.longest_s = 0.0
        for tensor, producer in enumerate(w.producer):
            if producer < 0 and w.consumers[tensor] and host >= 0 and tensor not in w.states:
                come[tensor] = ways.between(w.size_bytes[tensor])[host, :devices]
        for region in regions:
            for tensor in w.inputs[region]:
                if tensor in come:
                    np.maximum(self.begin[region], come[tensor], out=self.begin[region])
            self.end[region] = self.begin[region] + best[:, region]
            self.longest_s = max(self.longest_s, float(self.end[region].min()))
            for tensor in w.outputs[region]:
                way = ways.between(w.size_bytes[tensor])
                come[tensor] = (self.end[region][:, None] + way[:devices, :devices]).min(axis=0)
                if tensor in results:
                    back = self.end[region] + way[:devices, host]
                    self.longest_s = max(self.longest_s, float(back.min()))
        # What follows a region: its result's way, or its slowest reader and what follows that.
        self.after = [0.0] * len(w.regions)
        for region in reversed(regions):
            for tensor in w.outputs[region]:
                if tensor in results:
                    least_s = float(ways.between(w.size_bytes[tensor])[:devices, host].min())
                    self.after[region] = max(self.after[region], least_s)
                for reader in w.consumers[tensor]:
                    following = least[reader] + self.after[reader]
                    self.after[region] = max(self.after[region], following)
        self.soonest = [float(row.min()) for row in self.begin]
        self.first_s = min(self.soonest, default=0.0)
        self.last_s = min(self.after, default=0.0)


def _results(tables: Tables) -> list[int]:
    """Return the results that must reach a host and are made by a region."""
    w = tables.workload
    going = set(w.states.values())
    if tables.host < 0:
        return []
    return [t for t in sorted(w.results) if w.producer[t] >= 0 and t not in going]


def _host_rates(tables: Tables) -> tuple[float, float, float] | None:
    """Return bytes per second out of, into, and through the host; None if it computes, or none is.

    A link that is no duplex carries both ways together, so "through" counts it once.
    """
    if tables.host < len(tables.of_device):
        return None
    name = tables.ends[tables.host]
    links = [link for link in tables.system.links if name in link.ends]
    # The directions of a link of more than two ends go by their order: a host amid them sends both.
    one_way = sum(
        link.bandwidth_bytes_per_s * (2 if link.duplex and len(link.ends) > 2 else 1)
        for link in links
    )
    both = sum(link.bandwidth_bytes_per_s * (2 if link.duplex else 1) for link in links)
    return one_way, one_way, both


def _over(size: int, rate: float) -> float:
    return size / rate * (1 - 1e-12) if size and rate > 0 else 0.0


def _host_tensors(tables: Tables) -> tuple[list[int], list[int]]:
    """Return the inputs that the host sends, and the results that it receives."""
    w = tables.workload
    sent = [t for t, p in enumerate(w.producer) if p < 0 and w.consumers[t] and t not in w.states]
    return sent, _results(tables)


def _host(tables: Tables, paths: _Paths) -> dict[str, float]:
    """Bound by the bytes that enter and leave a host that computes nothing."""
    rates = _host_rates(tables)
    if rates is None:
        return {}
    w = tables.workload
    sent, results = _host_tensors(tables)
    out, back = (sum(w.size_bytes[t] for t in tensors) for tensors in (sent, results))
    # The last input to arrive has all its readers, and what follows them, still to come.
    following = [max(paths.least[r] + paths.after[r] for r in w.consumers[t]) for t in sent]
    # No result leaves before one is made.
    made = [paths.soonest[w.producer[t]] + paths.least[w.producer[t]] for t in results]
    return {
        "host inputs": _over(out, rates[0]) + min(following, default=0.0),
        "host results": min(made, default=0.0) + _over(back, rates[1]),
        "host bytes": _over(out + back, rates[2]),
    }


def _memory(tables: Tables, paths: _Paths, ways: _Ways, memory_share: float) -> float:
    """Bound by the tensors that must travel because no few devices hold all weights and states.

    With k devices at least, a network in which every region needs the one before (a chain, skips
    allowed) changes device k - 1 times, between different neighbours each; any other connected one
    has at least one tensor that travels, and a path goes through it.
    """
    w = tables.workload
    total = sum(w.weight_bytes)
    total += sum(w.size_bytes[state] for state in w.states if w.consumers[state])
    held, devices = 0, 0
    for size in sorted(usable_bytes(tables, memory_share), reverse=True):
        if held >= total:
            break
        held, devices = held + size, devices + 1
    if held < total:
        return math.inf
    if devices < 2 or not _connected(w.needs):
        return 0.0
    count = len(tables.of_device)

    def least_way(tensor: int) -> float:
        way = ways.between(w.size_bytes[tensor])[:count, :count].copy()
        np.fill_diagonal(way, np.inf)
        return float(way.min())

    gaps = []
    for region in range(1, len(w.regions)):
        shared = [t for t in w.inputs[region] if w.producer[t] == region - 1]
        if not shared:
            return _one_crossing(tables, paths, least_way)
        gaps.append(max(least_way(tensor) for tensor in shared))
    crossings = sum(sorted(gaps)[: devices - 1])
    return paths.soonest[0] + sum(paths.least) + paths.after[-1] + crossings


def _one_crossing(tables: Tables, paths: _Paths, least_way: Callable[[int], float]) -> float:
    w = tables.workload
    through = []
    for tensor, producer in enumerate(w.producer):
        if producer < 0 or not w.consumers[tensor]:
            continue
        # The nearest reader is the one that may be away.
        after = min(paths.least[r] + paths.after[r] for r in w.consumers[tensor])
        through.append(paths.soonest[producer] + paths.least[producer] + least_way(tensor) + after)
    return min(through, default=0.0)


def _connected(needs: Sequence[Sequence[int]]) -> bool:
    """Say whether every region is joined with every other by tensors between them."""
    root = list(range(len(needs)))

    def find(region: int) -> int:
        while root[region] != region:
            root[region] = root[root[region]]
            region = root[region]
        return region

    for region, earlier in enumerate(needs):
        for need in earlier:
            root[find(region)] = find(need)
    return len({find(region) for region in range(len(needs))}) <= 1
