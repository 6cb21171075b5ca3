"""How long each subgraph takes on each worker, compiled as a whole and timed in its place.

Models:  nothing; it measures. In a pass a worker runs all subgraphs of the network one after the
         other, each timed, so that caches hold what they will hold later and not one subgraph's
         weights. Workers that share no processor make their passes at the same time, as they will
         later; others take turns. Passes are repeated, workers interleaved, until the interval of
         every median is narrow or the time is up. Where inputs lie in a memory of the worker's own
         they are put there before; a time ends when the results are there.
Ignores: what a subgraph takes in other company than a full neighbour.
Judge:   made-up back ends of known speed (tests/runtime/together/test_profile.py); predicted
         against measured makespans in the study.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, MutableMapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError, SpecError
from orrery.graph import Graph, Region, subgraph
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.store import Cache, content_hash

from .._backend import Executable, Tensors, median_interval
from .._machine import describe_machine
from ._capacity import DoesNotFitError, is_shortage, shortage
from ._pool import LocalWorker, WorkerFailedError, WorkerPool, forwarding

__all__ = ["Profile", "profile_subgraphs"]

#: Bumped when the same profile would come out otherwise.
_VERSION = "profile-3"

#: (number of a region, number of a worker)
_Pair = tuple[int, int]

#: A pass shorter than this is made twice and timed the second time: a thread that slept, and what
#: others left in the caches, would otherwise be timed with it.
_SHORT_S = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Seconds of subgraphs on workers.

    Attributes
    ----------
    median_s : regions × workers; infinite where a worker refuses a region
    interval_s : regions × workers × 2, of the median
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

    @property
    def widest(self) -> float:
        """The widest half interval as a share of its median; of subgraphs that matter.

        A subgraph that takes less than a hundredth of its network on that worker does not.
        """
        total = np.where(np.isfinite(self.median_s), self.median_s, 0.0).sum(axis=0)
        matter = np.isfinite(self.median_s) & (self.median_s > 0.01 * total)
        low, high = self.interval_s[matter, 0], self.interval_s[matter, 1]
        return float(((high - low) / 2 / self.median_s[matter]).max(initial=0.0))


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
    """Time every subgraph on every worker.

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
    ModelError : subgraphs that no worker runs
    WorkerFailedError : a device that failed
    CancelledError : the user asked to stop
    """
    if not width > 0 or least_passes < 1 or warmup < 0:
        raise SpecError("profile", found=f"width {width}, {least_passes} passes, {warmup} to "
                        "warm up", wanted="a positive width, 1 pass or more",
                        fix="correct the numbers")  # fmt: skip
    workers = list(pool.workers.values())
    key = _key(graph, regions, workers, width)
    if cache is not None and (known := cache.get(key)) is not None:
        return _read(json.loads(known), regions, workers)
    table = _Table(regions, workers)
    table.prepare(pool)
    fed = table.feeds(pool, inputs)
    samples: dict[_Pair, list[float]] = {pair: [] for pair in table.ready}
    groups = _groups(workers)
    passes = 0
    short = dict.fromkeys(range(len(groups)), False)
    for _ in range(warmup):
        for g, group in enumerate(groups):
            taken = _run_passes(group, table, fed, pool)
            short[g] = sum(taken.values()) < _SHORT_S * len(group)
    until = time.perf_counter() + most_s
    while True:
        progress.step("timing subgraphs", passes, max(least_passes, passes + 1))
        for g, group in enumerate(groups):
            taken = _run_passes(group, table, fed, pool, twice=short[g])
            for pair, seconds in taken.items():
                samples[pair].append(seconds)
        passes += 1
        if passes >= least_passes:
            usable = {pair: samples[pair] for pair in table.ready if samples[pair]}
            found = _profile(usable, table, passes)
            if found.widest <= width or time.perf_counter() > until:
                break
    if cache is not None:
        cache.put(key, _written(found))
    return found


def _key(
    graph: Graph, regions: Sequence[Region], workers: Sequence[LocalWorker], width: float
) -> str:
    machine = describe_machine()
    return content_hash(
        _VERSION, machine.host, machine.cpu, repr(machine.caches),
        repr([(gpu.name, gpu.driver) for gpu in machine.gpus]), graph.digest,
        *(repr(region.nodes) for region in regions),
        *(f"{w.name} {w.label} {w.processors} {w.memory_name}" for w in workers), f"{width:g}",
    )  # fmt: skip


class _Table:
    """Which worker runs which region, as far as is known by now."""

    def __init__(self, regions: Sequence[Region], workers: Sequence[LocalWorker]) -> None:
        self.regions, self.workers = regions, workers
        self.ready: dict[_Pair, Executable] = {}
        self.refusals: dict[tuple[str, str], str] = {}
        self.infeasible: dict[tuple[str, str], Infeasible] = {}

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
                    except DoesNotFitError as error:
                        reason = str(error)
                        self.infeasible[region.name, worker.name] = error.infeasible
                    except ModelError as error:
                        reason = str(error)
                self.refusals[region.name, worker.name] = reason
            self._check(number)

    def does_not_fit(self, pair: _Pair) -> None:
        """Take a worker out for a region: the library said that memory does not suffice.

        Raises
        ------
        ModelError : no worker is left for the region
        """
        number, w = pair
        region, worker = self.regions[number], self.workers[w]
        free = None if worker.memory is None else worker.memory.free_bytes()
        short = shortage(f"{region.name} on worker {worker.name!r}", subgraph(region), free)
        self.infeasible[region.name, worker.name] = short
        self.refusals[region.name, worker.name] = str(short)
        del self.ready[pair]
        self._check(number)

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
                return pool.call(worker.name, lambda e=executable, w=worker: _run(e, w, feed))  # type: ignore[misc]
            except (MemoryError, RuntimeError, OrreryError) as error:
                if not is_shortage(error):
                    raise
                self.does_not_fit((number, at))


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


def _groups(workers: Sequence[LocalWorker]) -> list[list[int]]:
    """Return workers that make their passes at once: disjoint processors, the same back end."""
    groups: list[list[int]] = []
    for w, worker in enumerate(workers):
        for group in groups:
            if all(
                workers[other].label == worker.label
                and not workers[other].occupies & worker.occupies
                for other in group
            ):
                group.append(w)
                break
        else:
            groups.append([w])
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
    ModelError : a worker has too little memory for a region, and no other runs it
    """
    futures: list[Future[dict[_Pair, float]]] = []
    short: dict[_Pair, None] = {}
    for w in group:
        own = {pair: run for pair, run in table.ready.items() if pair[1] == w}
        future: Future[dict[_Pair, float]] = Future()

        def job(
            own: Mapping[_Pair, Executable] = own,
            future: Future[dict[_Pair, float]] = future,
            worker: LocalWorker = table.workers[w],
        ) -> None:
            with forwarding(future):
                found: dict[_Pair, float] = {}
                for pair in (*own, *own) if twice else own:
                    if pair not in short:
                        _time_into(found, short, pair, own[pair], worker,
                                   table.regions[pair[0]], feeds[pair[0]])  # fmt: skip
                future.set_result(found)

        pool.post(table.workers[w].name, job)
        futures.append(future)
    wait(futures)
    found = {pair: seconds for future in futures for pair, seconds in future.result().items()}
    for pair in short:
        table.does_not_fit(pair)
    return found


def _time_into(
    found: MutableMapping[_Pair, float], short: MutableMapping[_Pair, None], pair: _Pair,
    executable: Executable, worker: LocalWorker, region: Region, feed: Tensors,
) -> None:  # fmt: skip
    try:
        found[pair] = _timed(executable, worker, feed)
    except (MemoryError, RuntimeError, OrreryError) as error:
        if is_shortage(error):
            short[pair] = None
        elif isinstance(error, OrreryError):
            raise
        else:  # a device that fails, of which a library says no more
            told = f"{type(error).__name__}: {error}"
            raise WorkerFailedError(worker.name, region.name, told) from error


def _profile(samples: Mapping[_Pair, list[float]], table: _Table, passes: int) -> Profile:
    regions, workers = table.regions, table.workers
    shape = (len(regions), len(workers))
    median, interval = np.full(shape, np.inf), np.full((*shape, 2), np.inf)
    confidence = 1.0
    for pair, values in samples.items():
        median[pair] = statistics.median(values)
        interval[pair], reached = median_interval(values, 0.95)
        confidence = min(confidence, reached)
    return Profile(
        workers=tuple(w.name for w in workers), regions=tuple(r.name for r in regions),
        median_s=median, interval_s=interval, passes=passes, refusals=dict(table.refusals),
        infeasible=dict(table.infeasible), confidence=confidence,
    )  # fmt: skip


def _written(found: Profile) -> bytes:
    def plain(values: NDArray[np.float64]) -> list[float | None]:
        return [v if math.isfinite(v) else None for v in values.ravel().tolist()]

    return json.dumps({
        "median_s": plain(found.median_s), "interval_s": plain(found.interval_s),
        "refusals": [[*pair, why] for pair, why in found.refusals.items()],
        "infeasible": [[*pair, asdict(why)] for pair, why in found.infeasible.items()],
        "confidence": found.confidence,
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
        passes=0, confidence=float(stored["confidence"]),
        refusals={(region, worker): why for region, worker, why in stored["refusals"]},
        infeasible={
            (region, worker): Infeasible(**{**why, "remedies": tuple(why["remedies"])})
            for region, worker, why in stored["infeasible"]
        },
    )  # fmt: skip
