"""How long each subgraph takes on each worker, compiled as a whole and timed in its place.

Models:  nothing; it measures. In a pass a worker runs all subgraphs of the network one after the
         other, each timed, so that caches hold what they will hold later and not one subgraph's
         weights. Workers take turns, with nothing beside them; then those that share no processor
         make passes at the same time, each beginning elsewhere in the network, and go on with their
         heaviest subgraphs until the last one is timed. Passes are repeated, workers interleaved,
         until the interval of every median is narrow or the time is up. Where inputs lie in a
         memory of the worker's own they are put there before; a time ends when the results are
         there. In other passes two back ends on the same processors take turns, to see what a
         change costs. What fails while it is made ready or timed is out, as what is refused.
Ignores: what a subgraph takes in other company than one neighbour, that is always busy, with the
         same back end where there is one; that a change may cost more after one subgraph than
         after another.
Judge:   made-up back ends of known speed (tests/runtime/together/test_profile.py); predicted
         against measured makespans in the study.
"""

from __future__ import annotations

import json
import math
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import (
    CancelledError,
    MissingExtraError,
    ModelError,
    OrreryError,
    SpecError,
)
from orrery.graph import Graph, Region, subgraph
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.provenance import PROGRAM_VERSION
from orrery.store import Cache, content_hash

from .._backend import Executable, Tensors, check_answer, median_interval
from .._machine import describe_machine
from ._capacity import DoesNotFitError, is_shortage, shortage
from ._pool import LocalWorker, WorkerFailedError, WorkerHungError, WorkerPool, forwarding

#: Bumped when the same profile would come out otherwise.
_VERSION = "profile-8"

#: (number of a region, number of a worker)
_Pair = tuple[int, int]

#: What keeps a neighbour busy: subgraphs that take this share of its longest one or more.
_HEAVY = 0.2

#: Who is longer at a pass, or at a subgraph's first run, hangs; some compile what they run first.
_HANGS_S = 300.0

#: A pass shorter than this is made twice and timed the second time: a thread that slept, and what
#: others left in the caches, would otherwise be timed with it.
_SHORT_S = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Seconds of subgraphs on workers.

    Attributes
    ----------
    median_s : regions × workers, with nothing beside it; infinite where a worker refuses a region
    interval_s : regions × workers × 2, of the median
    beside_s : regions × workers, while a worker of the same memory is busy beside it; infinite
        where none can be. None: not measured
    changes_s : (worker, worker on the same processors) -> seconds that subgraphs of the second one
        take longer after one of the first
    passes : timed ones of every worker; 0 for what a cache knew
    refusals : (region, worker) -> why
    infeasible : those of them that are too little memory
    confidence : of the intervals
    """

    workers: tuple[str, ...]
    regions: tuple[str, ...]
    median_s: NDArray[np.float64]
    interval_s: NDArray[np.float64]
    passes: int
    refusals: Mapping[tuple[str, str], str]
    confidence: float
    infeasible: Mapping[tuple[str, str], Infeasible] = field(default_factory=dict)
    beside_s: NDArray[np.float64] | None = None
    changes_s: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def widest(self) -> float:
        """The widest half interval as a share of its median; of subgraphs that matter.

        A subgraph that takes less than a hundredth of its network on that worker does not.
        """
        return _widest(self.median_s, self.interval_s)

    @property
    def slower(self) -> NDArray[np.float64] | None:
        """How many times as long each takes in company, 1 or more; None: not measured."""
        if self.beside_s is None:
            return None
        found = np.ones(self.median_s.shape)
        known = np.isfinite(self.beside_s) & np.isfinite(self.median_s) & (self.median_s > 0)
        found[known] = np.maximum(1.0, self.beside_s[known] / self.median_s[known])
        return found


def _widest(median_s: NDArray[np.float64], interval_s: NDArray[np.float64]) -> float:
    total = np.where(np.isfinite(median_s), median_s, 0.0).sum(axis=0)
    matter = np.isfinite(median_s) & (median_s > 0.01 * total)
    low, high = interval_s[matter, 0], interval_s[matter, 1]
    return float(((high - low) / 2 / median_s[matter]).max(initial=0.0))


def profile_subgraphs(
    graph: Graph,
    regions: Sequence[Region],
    pool: WorkerPool,
    inputs: Tensors,
    *,
    width: float = 0.03,
    warmup: int = 2,
    least_passes: int = 8,
    most_s: float = 30.0,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> Profile:
    """Time every subgraph on every worker, alone and in company.

    Parameters
    ----------
    regions : of the whole graph, in an order in which they can run
    inputs : of the graph; what lies between subgraphs is computed from them
    width : half intervals wanted, as a share of the median
    least_passes : timed passes of each worker before its intervals are believed
    most_s : of timed passes in all; intervals are then as wide as they are
    cache : of profiles of the same subgraphs, back ends and machine; None measures always

    Raises
    ------
    SpecError : a width that is not positive, no pass
    ModelError : subgraphs that no worker runs, and what became of each that might have
    CancelledError : the user asked to stop
    """
    if not width > 0 or least_passes < 1 or warmup < 0:
        raise SpecError("profile", found=f"width {width}, {least_passes} passes, {warmup} to "
                        "warm up", wanted="a positive width, 1 pass or more",
                        fix="correct the numbers")  # fmt: skip
    workers = list(pool.workers.values())
    key = _key(graph, regions, workers, f"{width:g} {most_s:g}")
    if cache is not None and (known := cache.get(key)) is not None:
        return _read(json.loads(known), regions, workers)
    table = _Table(regions, workers)
    table.prepare(pool)
    fed = table.feeds(pool, inputs)
    alone: dict[_Pair, list[float]] = {pair: [] for pair in table.ready}
    beside: dict[_Pair, list[float]] = {}
    changes: dict[_Pair, list[float]] = {}
    companies, turns = _companies(workers), _turns(workers)
    passes = 0
    short = dict.fromkeys(range(len(workers)), False)
    for _ in range(warmup):
        for w in range(len(workers)):
            short[w] = sum(_run_passes([w], table, fed, pool).values()) < _SHORT_S
    for group in (*companies, *turns):  # who is warm alone must be so in company, or else it counts
        if any(short[w] for w in group):
            short.update(dict.fromkeys(group, True))
    until = time.perf_counter() + most_s
    while True:
        progress.step("timing subgraphs", passes, max(least_passes, passes + 1))
        for w in range(len(workers)):
            for pair, seconds in _run_passes([w], table, fed, pool, twice=short[w]).items():
                alone[pair].append(seconds)
        for group in companies:
            twice = all(short[w] for w in group)
            for pair, seconds in _run_passes(group, table, fed, pool, twice=twice).items():
                beside.setdefault(pair, []).append(seconds)
        for pair in turns:
            _take_turns(pair[:: 1 if passes % 2 else -1], table, fed, pool, alone, changes,
                        twice=any(short[w] for w in pair))  # fmt: skip
        passes += 1
        if passes >= least_passes:
            found, in_company = _profile(alone, beside, table, passes)
            found = replace(
                found,
                changes_s={(workers[a].name, workers[b].name): max(0.0, statistics.median(longer))
                           for (a, b), longer in changes.items()},
            )  # fmt: skip
            widest = max(found.widest, _widest(*in_company))
            if widest <= width or time.perf_counter() > until:
                break
    if cache is not None and not table.failed:
        cache.put(key, _written(found))
    return found


def _key(
    graph: Graph, regions: Sequence[Region], workers: Sequence[LocalWorker], effort: str
) -> str:
    machine = describe_machine()
    return content_hash(
        _VERSION, PROGRAM_VERSION, machine.host, machine.cpu, repr(machine.caches),
        str(machine.threads),
        repr([(gpu.name, gpu.driver) for gpu in machine.gpus]), graph.digest,
        *(repr(region.nodes) for region in regions),
        *(f"{w.name} {w.label} {w.processors} {w.memory_name}" for w in workers), effort,
    )  # fmt: skip


class _Table:
    """Which worker runs which region, as far as is known by now."""

    def __init__(self, regions: Sequence[Region], workers: Sequence[LocalWorker]) -> None:
        self.regions, self.workers = regions, workers
        self.ready: dict[_Pair, Executable] = {}
        self.refusals: dict[tuple[str, str], str] = {}
        self.infeasible: dict[tuple[str, str], Infeasible] = {}
        #: something failed that another time, other inputs or more free memory may spare
        self.failed = False

    def prepare(self, pool: WorkerPool) -> None:
        """Prepare every region on every worker that does not refuse it.

        Raises
        ------
        ModelError : a region that no worker runs
        """
        for number, region in enumerate(self.regions):
            alone = subgraph(region)
            for w, worker in enumerate(self.workers):
                reason = worker.backend.refuses(alone)
                if reason is None:
                    try:
                        self.ready[number, w] = pool.prepare(worker.name, region)
                        continue
                    except (CancelledError, MissingExtraError):  # nobody wants to go on
                        raise
                    except DoesNotFitError as error:
                        self.failed, reason = True, str(error)
                        self.infeasible[region.name, worker.name] = error.infeasible
                    except Exception as error:  # whatever a library raises, others may run it
                        self.failed |= not isinstance(error, ModelError) or is_shortage(error)
                        reason = _told(worker, region, error)
                self.refusals[region.name, worker.name] = reason
            self._check(number)

    def drop(self, pair: _Pair, error: BaseException) -> None:
        """Take a worker out for a region at which it failed; for all where it hangs.

        Raises
        ------
        ModelError : no worker is left for the region
        """
        (number, w), self.failed = pair, True
        worker, pairs = self.workers[w], [pair]
        if isinstance(error, WorkerHungError):
            error = WorkerHungError(worker.name, self.regions[number].name, _HANGS_S)
            pairs = [one for one in self.ready if one[1] == w]
        for one in pairs:
            region, reason = self.regions[one[0]], _told(worker, self.regions[one[0]], error)
            if is_shortage(error):
                free = None if worker.memory is None else worker.memory.free_bytes()
                short = shortage(f"{region.name} on worker {worker.name!r}", subgraph(region), free)
                self.infeasible[region.name, worker.name], reason = short, str(short)
            self.refusals[region.name, worker.name] = reason
            del self.ready[one]
            self._check(one[0])

    def _check(self, number: int) -> None:
        if not any((number, w) in self.ready for w in range(len(self.workers))):
            name = self.regions[number].name
            why = "; ".join(self.refusals[name, w.name] for w in self.workers)
            raise ModelError(f"subgraph {name!r}", found=f"no worker that runs it: {why}",
                             wanted="one back end or more that does",
                             fix="add a back end, e.g. the reference")  # fmt: skip

    def feeds(self, pool: WorkerPool, inputs: Tensors) -> list[dict[str, Any]]:
        """Return every region's inputs, by running the network once, on the host where it can."""
        values: dict[str, Any] = dict(inputs)
        feeds = []
        for number, region in enumerate(self.regions):
            feed = {name: values[name] for name in region.inputs}
            feeds.append(feed)
            values.update(self._outputs(number, feed, pool))
        return feeds

    def _outputs(self, number: int, feed: Tensors, pool: WorkerPool) -> dict[str, Any]:
        order = sorted(range(len(self.workers)), key=lambda w: self.workers[w].memory is not None)
        while True:
            at = next(w for w in order if (number, w) in self.ready)
            executable, worker = self.ready[number, at], self.workers[at]
            try:
                made = pool.call(worker.name, partial(_run, executable, worker, feed),
                                 timeout_s=_HANGS_S)  # fmt: skip
                check_answer(self.regions[number].graph, self.regions[number].outputs, made)
                return {name: made[name] for name in self.regions[number].outputs}
            except CancelledError:
                raise
            except Exception as error:  # whatever a library raises, others may run it
                self.drop((number, at), error)


def _told(worker: LocalWorker, region: Region, error: BaseException) -> str:
    if isinstance(error, OrreryError):
        return f"{region.name} on worker {worker.name!r}: {error}"
    return str(WorkerFailedError(worker.name, region.name, f"{type(error).__name__}: {error}"))


def _run(executable: Executable, worker: LocalWorker, feed: Tensors) -> dict[str, Any]:
    memory = worker.memory
    if memory is None:
        return executable.run(feed)
    made = memory.launch(executable, {name: memory.put(value) for name, value in feed.items()})
    return {name: memory.take(held) for name, held in made.items()}


def _timed(executable: Executable, worker: LocalWorker, feed: Tensors) -> float:
    """Return the seconds of a run until its results are where the worker writes."""
    memory = worker.memory
    if memory is None:
        run = getattr(executable, "run_trusted", executable.run)
        begun = time.perf_counter()
        run(feed)
        return time.perf_counter() - begun
    held = {name: memory.put(value) for name, value in feed.items()}
    begun = time.perf_counter()
    memory.wait(memory.launch(executable, held).values())
    return time.perf_counter() - begun


def _companies(workers: Sequence[LocalWorker]) -> list[list[int]]:
    """Return workers that are busy at once: disjoint processors of one memory, two or more.

    With the same back end where that is possible.
    """
    groups: list[list[int]] = []
    for same in (True, False):
        for w, worker in enumerate(workers):
            if worker.memory is not None or any(len(g) > 1 and w in g for g in groups):
                continue
            for group in groups:
                if w not in group and all(
                    not workers[other].occupies & worker.occupies
                    and (workers[other].label == worker.label or not same)
                    for other in group
                ):
                    group.append(w)
                    break
            else:
                groups.append([w])
        groups = [group for group in groups if len(group) > 1]
    return groups


def _run_passes(
    group: Sequence[int], table: _Table, feeds: Sequence[Mapping[str, Any]], pool: WorkerPool,
    *, twice: bool = False,
) -> dict[_Pair, float]:  # fmt: skip
    """Have the workers of a group run all they can, side by side; return seconds of each.

    Parameters
    ----------
    twice : everything is run twice in a row and timed the second time

    Raises
    ------
    ModelError : a worker fails or hangs at a region, and no other runs it
    """
    failed: dict[_Pair, Exception] = {}
    group = [w for w in group if any(pair[1] == w for pair in table.ready)]
    company, at = _Company(len(group)), dict.fromkeys(group, 0)

    def work(turn: int, w: int) -> dict[_Pair, float]:
        every, made = [pair for pair in table.ready if pair[1] == w], dict[_Pair, float]()
        # Side by side at the same subgraph they would want the same at every moment.
        first = turn * len(every) // len(group)
        own = every[first:] + every[:first]

        def run(pairs: Sequence[_Pair], into: dict[_Pair, float]) -> None:
            for pair in pairs:
                if pair not in failed:
                    at[w] = pair[0]
                    _time_into(into, failed, pair, table.ready[pair], table.workers[w],
                               feeds[pair[0]])  # fmt: skip

        if twice:
            run(own, {})
        if company.begin():
            run(own, made)
            company.timed()
            longest = max(made.values(), default=0.0)
            heavy = [pair for pair, took in made.items() if took >= _HEAVY * longest]
            for pair in cycle(heavy):
                if company.over():
                    break
                run([pair], {})
        return made

    futures = {w: Future[dict[_Pair, float]]() for w in group}

    def job(turn: int, w: int) -> None:
        with forwarding(futures[w]), company.member():
            futures[w].set_result(work(turn, w))
        pool.back(table.workers[w].name, futures[w])

    for turn, w in enumerate(group):
        with company.member():
            pool.post(table.workers[w].name, partial(job, turn, w))
    found: dict[_Pair, float] = {}
    wait(futures.values(), _HANGS_S)
    for w, future in futures.items():
        if future.done():
            found |= future.result()
        else:
            name, region = table.workers[w].name, table.regions[at[w]].name
            pool.lose(name, region, future)
            failed[at[w], w] = WorkerHungError(name, region, _HANGS_S)
    for pair, error in failed.items():
        if pair in table.ready:
            table.drop(pair, error)
    return found


def _turns(workers: Sequence[LocalWorker]) -> list[tuple[int, int]]:
    """Return pairs of workers of one memory with the same processors."""
    return [
        (a, b)
        for b, second in enumerate(workers)
        for a, first in enumerate(workers[:b])
        if first.memory is second.memory is None and first.occupies == second.occupies
    ]


def _take_turns(
    pair: Sequence[int], table: _Table, feeds: Sequence[Mapping[str, Any]], pool: WorkerPool,
    alone: Mapping[_Pair, Sequence[float]], changes: MutableMapping[_Pair, list[float]], *,
    twice: bool,
) -> None:  # fmt: skip
    """Have two workers take turns from subgraph to subgraph, and note what they take longer.

    Parameters
    ----------
    alone : seconds of subgraphs after those of the same worker
    changes : (first, second) -> a mean over the pass, added here
    """
    longer: dict[_Pair, list[float]] = {}
    for timed in (False, True) if twice else (True,):
        last = -1
        for number in range(len(table.regions)):
            own = pair[number % 2]
            if (number, own) not in table.ready or not alone[number, own]:
                last = -1
                continue
            found: dict[_Pair, float] = {}
            failed: dict[_Pair, Exception] = {}
            try:
                pool.call(table.workers[own].name, partial(
                    _time_into, found, failed, (number, own), table.ready[number, own],
                    table.workers[own], feeds[number]), timeout_s=_HANGS_S)  # fmt: skip
            except WorkerHungError as hung:
                failed[number, own] = hung
            for at, error in failed.items():
                table.drop(at, error)
            if timed and last >= 0 and found:
                usual = statistics.median(alone[number, own])
                longer.setdefault((last, own), []).append(found[number, own] - usual)
            last = own
    for change, seconds in longer.items():
        changes.setdefault(change, []).append(statistics.fmean(seconds))


class _Company:
    """Workers that begin at once, and stay busy until all of them are timed, or one hangs."""

    def __init__(self, count: int) -> None:
        self._until = time.perf_counter() + _HANGS_S / 2
        self._barrier = threading.Barrier(max(1, count), timeout=_HANGS_S / 2)
        self._left, self._lock = count, threading.Lock()

    @contextmanager
    def member(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Have nobody wait for who failed."""
        with self._lock:
            self._left = 0
        self._barrier.abort()

    def begin(self) -> bool:
        """Wait for the others; False where one of them has failed."""
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            return False
        return True

    def timed(self) -> None:
        with self._lock:
            self._left -= 1

    def over(self) -> bool:
        return self._left <= 0 or time.perf_counter() > self._until


def _time_into(
    found: MutableMapping[_Pair, float], failed: MutableMapping[_Pair, Exception], pair: _Pair,
    executable: Executable, worker: LocalWorker, feed: Tensors,
) -> None:  # fmt: skip
    try:
        found[pair] = _timed(executable, worker, feed)
    except CancelledError:
        raise
    except Exception as error:  # whatever a library raises, others may run it
        failed[pair] = error


_Medians = tuple[NDArray[np.float64], NDArray[np.float64]]


def _profile(
    alone: Mapping[_Pair, list[float]], beside: Mapping[_Pair, list[float]], table: _Table,
    passes: int,
) -> tuple[Profile, _Medians]:  # fmt: skip
    """Return what is known by now, and the medians in company with their intervals."""
    regions, workers = table.regions, table.workers
    confidence = 1.0

    def medians(samples: Mapping[_Pair, list[float]]) -> _Medians:
        nonlocal confidence
        shape = (len(regions), len(workers))
        median, interval = np.full(shape, np.inf), np.full((*shape, 2), np.inf)
        for pair, values in samples.items():
            if pair in table.ready and values:
                median[pair] = statistics.median(values)
                interval[pair], reached = median_interval(values, 0.95)
                confidence = min(confidence, reached)
        return median, interval

    (median, interval), in_company = medians(alone), medians(beside)
    found = Profile(
        workers=tuple(w.name for w in workers), regions=tuple(r.name for r in regions),
        median_s=median, interval_s=interval, passes=passes, refusals=dict(table.refusals),
        infeasible=dict(table.infeasible), confidence=confidence,
        beside_s=in_company[0] if beside else None,
    )  # fmt: skip
    return found, in_company


def _written(found: Profile) -> bytes:
    def plain(values: NDArray[np.float64]) -> list[float | None]:
        return [v if math.isfinite(v) else None for v in values.ravel().tolist()]

    return json.dumps({
        "median_s": plain(found.median_s), "interval_s": plain(found.interval_s),
        "beside_s": None if found.beside_s is None else plain(found.beside_s),
        "refusals": [[*pair, why] for pair, why in found.refusals.items()],
        "confidence": found.confidence,
        "changes_s": [[*pair, longer] for pair, longer in found.changes_s.items()],
    }).encode()  # fmt: skip


def _read(
    stored: Mapping[str, Any], regions: Sequence[Region], workers: Sequence[LocalWorker]
) -> Profile:
    def array(name: str, *shape: int) -> NDArray[np.float64]:
        return np.array([np.inf if v is None else v for v in stored[name]]).reshape(shape)

    return Profile(
        workers=tuple(w.name for w in workers), regions=tuple(r.name for r in regions),
        median_s=array("median_s", len(regions), len(workers)),
        interval_s=array("interval_s", len(regions), len(workers), 2),
        beside_s=(None if stored["beside_s"] is None
                  else array("beside_s", len(regions), len(workers))),
        changes_s={(a, b): float(longer) for a, b, longer in stored["changes_s"]},
        passes=0, confidence=float(stored["confidence"]),
        refusals={(region, worker): why for region, worker, why in stored["refusals"]},
    )  # fmt: skip
