"""Greedy mapping of one or more networks onto a system, by list scheduling.

Models:  the region with the longest way to the end goes first (upward rank with mean times), to
         the device where it ends first, its transfers and free link time counted; several
         choices of one design per device are tried. Every device alone, and the best serial walk
         over the devices (dynamic programming on the topological order), compete as candidates;
         the expected makespan decides, so a plan is never expected to be slower than the best
         single device.
Ignores: splitting a region over devices, batching, pipelining of successive inputs, energy.
Judge:   exhaustive search on small graphs; optimality on chains; replay.

The list scheduler follows Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002 (upward rank, earliest
finish time, insertion), with transfers booked on the links of a route.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from orrery.cost import CostModel
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.settings import require, setting, to_record

from ._build import build_plan, explain_cover, explain_refusals, explain_shortage, explain_time
from ._memory import Shortage
from ._schedule import Schedule, Scheduler, Trial
from ._tables import LONGEST_S, Tables, fill_tables, number_workload


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedySearch:
    """Settings of the greedy mapper."""

    configurations: int = setting(
        8, "How many choices of one design per device to schedule; the best one is kept."
    )
    serial: bool = setting(
        True, "Whether the best serial walk over the devices competes with the list schedule."
    )
    memory_share: float = setting(
        1.0, "Share of each device's off-chip memory that weights and activations may take."
    )

    def __post_init__(self) -> None:
        require("greedy", self, configurations=("one or more", self.configurations >= 1),
                memory_share=("above 0, at most 1", 0.0 < self.memory_share <= 1.0))  # fmt: skip


def greedy(
    graphs: Sequence[Graph],
    system: System,
    models: Mapping[str, CostModel],
    settings: GreedySearch = GreedySearch(),
    *,
    progress: Progress = SILENT,
    judge: Callable[[Plan], float] | None = None,
) -> Plan | Infeasible:
    """Map networks onto a system so that all are done as early as possible.

    Parameters
    ----------
    graphs : one or more networks with all shapes known; they run side by side
    system : devices, links, host
    models : cost models by design text; ``""`` prices a device as it is
    settings : how hard to search
    progress : told of every trial; may cancel
    judge : seconds that a plan takes, e.g. by replay; without it the scheduler's own expectation
        decides among the candidates

    Returns
    -------
    Plan or Infeasible
        Infeasible when an operator runs nowhere, memory is short, or all would end later than any
        clock can say; with reasons and remedies.

    Raises
    ------
    UnknownNameError : a device's design has no cost model
    SpecError, ModelError : no network, sizes not known, a cost model that answers nonsense
    CancelledError : the user asked to stop
    """
    tables = fill_tables(number_workload(graphs), system, models, progress=progress)
    ranked = greedy_schedules(tables, settings, progress=progress)
    if isinstance(ranked, Infeasible):
        return ranked
    record = to_record(settings)
    if judge is None:
        return build_plan(ranked[0], tables, searcher="greedy", settings=record)
    plans = (build_plan(one, tables, searcher="greedy", settings=record) for one in ranked)
    return min(plans, key=judge)


def greedy_schedules(
    tables: Tables, settings: GreedySearch = GreedySearch(), *, progress: Progress = SILENT
) -> list[Schedule] | Infeasible:
    """Return all candidates of the greedy mapper on filled tables, the fastest first."""
    if tables.refusals:
        return explain_refusals(tables)
    capacity = usable_bytes(tables, settings.memory_share)
    search = _Search(tables, Scheduler(tables, capacity), progress)
    for configuration in _alone(tables):
        search.alone(configuration)
    left: list[int] = []
    count = 0
    for configuration in _choices(tables):
        uncovered = _uncovered(tables, configuration)
        if uncovered:
            left = uncovered if not left or len(uncovered) < len(left) else left
            continue
        search.spread(configuration, serial=settings.serial)
        count += 1
        if count >= settings.configurations:
            break
    if not search.found:
        if search.short is not None:
            return explain_shortage(search.short, tables, capacity)
        return explain_cover(tables, left)
    ranked = sorted(search.found, key=lambda schedule: schedule.makespan_s)
    if ranked[0].makespan_s > LONGEST_S:
        return explain_time(ranked[0].makespan_s, tables)
    return [schedule for schedule in ranked if schedule.makespan_s <= LONGEST_S]


def usable_bytes(tables: Tables, memory_share: float) -> list[int]:
    """Return per device the bytes that a share of its off-chip memory holds."""
    share = Fraction(memory_share)  # sizes are whole numbers of any length
    return [math.floor(size * share) for size in tables.capacity_bytes]


class _Search:
    """Schedules trials and keeps what they found, or the smallest shortage."""

    def __init__(self, tables: Tables, scheduler: Scheduler, progress: Progress) -> None:
        self.tables, self.scheduler, self.progress = tables, scheduler, progress
        self.found: list[Schedule] = []
        self.short: Shortage | None = None
        self._tried = 0
        self._single_fits = False

    def alone(self, configuration: tuple[int, ...]) -> None:
        """Everything on the device of the one configuration that differs from -1."""
        device = next(d for d, c in enumerate(configuration) if c >= 0)
        full = tuple(c if c >= 0 else rows[0] for c, rows in
                     zip(configuration, self.tables.of_device, strict=True))  # fmt: skip
        regions = len(self.tables.workload.regions)
        fits = self._try(
            Trial(configuration=full, order=range(regions), mapping=[device] * regions)
        )
        self._single_fits |= fits

    def spread(self, configuration: tuple[int, ...], *, serial: bool) -> None:
        """The list schedule, the serial walk, and the fill for what fits on no single device."""
        seconds = self.tables.seconds[list(configuration)]
        order = _by_rank(self.tables, seconds)
        if len(configuration) > 1:
            self._try(Trial(configuration=configuration, order=order))
            if serial:
                walk = _serial_walk(self.tables, seconds)
                self._try(Trial(configuration=configuration, order=order, mapping=walk))
            if not self._single_fits:
                regions = range(len(self.tables.workload.regions))
                totals = np.where(np.isfinite(seconds), seconds, 0.0).sum(axis=1)
                fill = sorted(range(len(totals)), key=lambda d: float(totals[d]))
                self._try(Trial(configuration=configuration, order=regions, fill=fill))

    def _try(self, trial: Trial) -> bool:
        best = min((s.makespan_s for s in self.found), default=None)
        self.progress.step("greedy mapping", self._tried, None, best=best)
        self._tried += 1
        try:
            self.found.append(self.scheduler.schedule(trial))
        except Shortage as short:
            smaller = self.short is None or (
                short.need - short.have < self.short.need - self.short.have
            )
            if smaller:
                self.short = short
            return False
        return True


def _alone(tables: Tables) -> Iterator[tuple[int, ...]]:
    """Yield each way to run everything on one device; equal devices at equal distance once."""
    seen = set()
    complete = [bool(np.isfinite(row).all()) for row in tables.seconds]
    for device, rows in enumerate(tables.of_device):
        host = tables.host if tables.host >= 0 else device
        distance = (float(tables.route_s[host, device]),
                    float(tables.width_bytes_per_s[host, device]))  # fmt: skip
        for row in rows:
            key = (tables.kind[device], tables.configurations[row].design, distance)
            if complete[row] and key not in seen:
                seen.add(key)
                yield tuple(row if d == device else -1 for d in range(len(tables.of_device)))


def _choices(tables: Tables) -> Iterator[tuple[int, ...]]:
    """Yield choices of one configuration per device, most promising first, each once.

    First the best for each device alone, then equal devices with different designs in order of
    merit, then each design on all devices that have it, then single changes of the first choice.
    """
    merit = _merit(tables)
    ranked = [sorted(rows, key=lambda row: merit[row]) for rows in tables.of_device]
    seen: set[tuple[int, ...]] = set()

    def fresh(choice: Sequence[int]) -> Iterator[tuple[int, ...]]:
        mended = mend_cover(tables, list(choice))
        if mended not in seen:
            seen.add(mended)
            yield mended

    first = [rows[0] for rows in ranked]
    yield from fresh(first)
    turn: dict[int, int] = {}
    diverse = []
    for kind, rows in zip(tables.kind, ranked, strict=True):
        diverse.append(rows[turn.get(kind, 0) % len(rows)])
        turn[kind] = turn.get(kind, 0) + 1
    yield from fresh(diverse)
    for design in dict.fromkeys(c.design for c in tables.configurations):
        yield from fresh([
            next((row for row in rows if tables.configurations[row].design == design), rows[0])
            for rows in ranked
        ])  # fmt: skip
    for device, rows in enumerate(ranked):
        for row in rows[1:]:
            yield from fresh([*first[:device], row, *first[device + 1 :]])


def _merit(tables: Tables) -> list[float]:
    """Return per configuration the seconds of all regions; refused ones at their slowest."""
    finite = np.where(np.isfinite(tables.seconds), tables.seconds, -np.inf)
    slowest = np.where(np.isfinite(finite.max(axis=0)), finite.max(axis=0), 0.0)
    filled = np.where(np.isfinite(tables.seconds), tables.seconds, slowest)
    merit: list[float] = filled.sum(axis=1).tolist()
    return merit


def _uncovered(tables: Tables, choice: Sequence[int]) -> list[int]:
    covered = np.isfinite(tables.seconds[list(choice)]).any(axis=0)
    found: list[int] = np.flatnonzero(~covered).tolist()
    return found


def mend_cover(tables: Tables, choice: list[int]) -> tuple[int, ...]:
    """Change configurations one by one while that lets more regions run."""
    missing = len(_uncovered(tables, choice))
    while missing:
        options = [
            [*choice[:device], row, *choice[device + 1 :]]
            for device, rows in enumerate(tables.of_device)
            for row in rows
            if row != choice[device]
        ]
        counts = [len(_uncovered(tables, option)) for option in options]
        if not options or min(counts) >= missing:
            break
        missing = min(counts)
        choice = options[counts.index(missing)]
    return tuple(choice)


def _by_rank(tables: Tables, seconds: NDArray[np.float64]) -> list[int]:
    """Return the regions by upward rank: the longest mean way to the end first; topological."""
    w = tables.workload
    finite = np.isfinite(seconds)
    mean = np.where(finite, seconds, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    devices = len(seconds)
    per_byte, latency = 0.0, 0.0
    if devices > 1:
        # The way from a device to itself counts as no time, so sums over all pairs will do.
        pairs = devices * (devices - 1)
        per_byte = float((1.0 / tables.width_bytes_per_s[:devices, :devices]).sum()) / pairs
        latency = float(tables.route_s[:devices, :devices].sum()) / pairs
    rank: list[float] = mean.tolist()
    for region in range(len(w.regions) - 1, -1, -1):
        longest = 0.0
        for tensor in w.outputs[region]:
            transfer = w.size_bytes[tensor] * per_byte + latency
            for consumer in w.consumers[tensor]:
                longest = max(longest, transfer + rank[consumer])
        rank[region] += longest
    waits = [len(needs) for needs in w.needs]
    users: list[list[int]] = [[] for _ in w.regions]
    for region, needs in enumerate(w.needs):
        for need in needs:
            users[need].append(region)
    heap = [(-rank[r], r) for r, count in enumerate(waits) if not count]
    heapq.heapify(heap)
    order = []
    while heap:
        _, region = heapq.heappop(heap)
        order.append(region)
        for user in users[region]:
            waits[user] -= 1
            if not waits[user]:
                heapq.heappush(heap, (-rank[user], user))
    return order


def _serial_walk(tables: Tables, seconds: NDArray[np.float64]) -> list[int]:
    """Return the devices of the fastest walk that runs one region after the other.

    Exact for a chain: between two regions all live tensors move with the walk. `seconds` is
    devices × regions.
    """
    w, devices = tables.workload, len(seconds)
    inverse = 1.0 / tables.width_bytes_per_s
    between, latency = inverse[:devices, :devices], tables.route_s[:devices, :devices]
    live_bytes, live_count = np.zeros(len(w.regions) + 1), np.zeros(len(w.regions) + 1)
    extra = np.zeros((len(w.regions), devices))
    for tensor, producer in enumerate(w.producer):
        size, consumers = w.size_bytes[tensor], w.consumers[tensor]
        if producer >= 0 and consumers:
            live_bytes[producer + 1 : max(consumers) + 1] += size
            live_count[producer + 1 : max(consumers) + 1] += 1
        if tables.host < 0:
            continue
        # Inputs come to the first who needs them and may overlap with what runs before.
        if producer < 0 and consumers and tensor not in w.states and min(consumers) == 0:
            extra[0] += (
                size * inverse[tables.host, :devices] + tables.route_s[tables.host, :devices]
            )
        if tensor in w.results and producer == len(w.regions) - 1:
            back = size * inverse[:devices, tables.host] + tables.route_s[:devices, tables.host]
            extra[producer] += back
    best = seconds[:, 0] + extra[0]
    came_from = np.zeros((len(w.regions), devices), dtype=np.intp)
    for region in range(1, len(w.regions)):
        move = live_bytes[region] * between + live_count[region] * latency
        ways = best[:, None] + move
        came_from[region] = ways.argmin(axis=0)
        best = ways.min(axis=0) + seconds[:, region] + extra[region]
    walk = [int(best.argmin())]
    for region in range(len(w.regions) - 1, 0, -1):
        walk.append(int(came_from[region, walk[-1]]))
    return walk[::-1]
