"""How long each subgraph takes on each worker, compiled as a whole and timed in its place.

Models:  nothing; it measures. In a pass a worker runs all subgraphs of the network one after the
         other, each timed, so that caches hold what they will hold later and not one subgraph's
         weights. Workers that share no processor make their passes at the same time, as they will
         later; others take turns. Passes are repeated, workers interleaved, until the interval of
         every median is narrow or the time is up.
Ignores: what a subgraph takes in other company than a full neighbour.
Judge:   made-up back ends of known speed (tests/runtime/together/test_profile.py); predicted
         against measured makespans in the study.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph, Region, subgraph
from orrery.progress import SILENT, Progress
from orrery.store import Cache, content_hash

from .._backend import Executable, Tensors, median_interval
from .._machine import describe_machine
from ._pool import LocalWorker, WorkerPool, forwarding

__all__ = ["Profile", "profile_subgraphs"]

#: Bumped when the same profile would come out otherwise.
_VERSION = "profile-2"

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
    confidence : of the intervals
    """

    workers: tuple[str, ...]
    regions: tuple[str, ...]
    median_s: NDArray[np.float64]
    interval_s: NDArray[np.float64]
    passes: int
    refusals: Mapping[tuple[str, str], str]
    confidence: float

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
    ready, refusals = _prepare(regions, workers, pool)
    fed = _feeds(regions, ready, workers, pool, inputs)
    samples: dict[tuple[int, int], list[float]] = {pair: [] for pair in ready}
    groups = _groups(workers)
    passes = 0
    short = dict.fromkeys(range(len(groups)), False)
    for _ in range(warmup):
        for g, group in enumerate(groups):
            taken = _run_passes(group, ready, fed, pool, workers)
            short[g] = sum(taken.values()) < _SHORT_S * len(group)
    until = time.perf_counter() + most_s
    while True:
        progress.step("timing subgraphs", passes, max(least_passes, passes + 1))
        for g, group in enumerate(groups):
            taken = _run_passes(group, ready, fed, pool, workers, twice=short[g])
            for pair, seconds in taken.items():
                samples[pair].append(seconds)
        passes += 1
        if passes >= least_passes:
            found = _profile(samples, regions, workers, refusals, passes)
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
        _VERSION, machine.host, machine.cpu, repr(machine.caches), graph.digest,
        *(repr(region.nodes) for region in regions),
        *(f"{w.name} {w.label} {w.processors}" for w in workers), f"{width:g}",
    )  # fmt: skip


def _prepare(
    regions: Sequence[Region], workers: Sequence[LocalWorker], pool: WorkerPool
) -> tuple[dict[tuple[int, int], Executable], dict[tuple[str, str], str]]:
    ready: dict[tuple[int, int], Executable] = {}
    refusals: dict[tuple[str, str], str] = {}
    for number, region in enumerate(regions):
        alone = subgraph(region)
        for w, worker in enumerate(workers):
            reason = worker.backend.refuses(alone)
            if reason is None:
                try:
                    ready[number, w] = pool.prepare(worker.name, region)
                    continue
                except ModelError as error:
                    reason = str(error)
            refusals[region.name, worker.name] = reason
        if not any((number, w) in ready for w in range(len(workers))):
            why = "; ".join(refusals[region.name, w.name] for w in workers)
            raise ModelError(f"subgraph {region.name!r}", found=f"no worker that runs it: {why}",
                             wanted="one back end or more that does",
                             fix="add a back end, e.g. the reference")  # fmt: skip
    return ready, refusals


def _feeds(
    regions: Sequence[Region], ready: Mapping[tuple[int, int], Executable],
    workers: Sequence[LocalWorker], pool: WorkerPool, inputs: Tensors,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return every region's inputs, by running the network once."""
    values: dict[str, Any] = dict(inputs)
    feeds = []
    for number, region in enumerate(regions):
        feed = {name: values[name] for name in region.inputs}
        feeds.append(feed)
        at = next(w for w in range(len(workers)) if (number, w) in ready)
        executable = ready[number, at]
        values.update(pool.call(workers[at].name, lambda e=executable, f=feed: e.run(f)))  # type: ignore[misc]
    return feeds


def _groups(workers: Sequence[LocalWorker]) -> list[list[int]]:
    """Return workers that make their passes at once: disjoint processors, the same back end."""
    groups: list[list[int]] = []
    for w, worker in enumerate(workers):
        for group in groups:
            if all(
                workers[other].label == worker.label
                and not set(workers[other].processors) & set(worker.processors)
                for other in group
            ):
                group.append(w)
                break
        else:
            groups.append([w])
    return groups


def _run_passes(
    group: Sequence[int], ready: Mapping[tuple[int, int], Executable],
    feeds: Sequence[Mapping[str, Any]], pool: WorkerPool, workers: Sequence[LocalWorker],
    *, twice: bool = False,
) -> dict[tuple[int, int], float]:  # fmt: skip
    """Have the workers of a group run all they can, side by side; return seconds of each.

    Parameters
    ----------
    twice : everything is run twice in a row and timed the second time
    """
    futures: list[Future[dict[tuple[int, int], float]]] = []
    for w in group:
        own = [(number, w) for number in range(len(feeds)) if (number, w) in ready]
        future: Future[dict[tuple[int, int], float]] = Future()

        def job(
            own: list[tuple[int, int]] = own,
            future: Future[dict[tuple[int, int], float]] = future,
        ) -> None:
            with forwarding(future):
                found = {}
                for pair in (own + own) if twice else own:
                    executable, feed = ready[pair], feeds[pair[0]]
                    run = getattr(executable, "run_trusted", executable.run)
                    begun = time.perf_counter()
                    run(feed)
                    found[pair] = time.perf_counter() - begun
                future.set_result(found)

        pool.post(workers[w].name, job)
        futures.append(future)
    wait(futures)
    return {pair: seconds for future in futures for pair, seconds in future.result().items()}


def _profile(
    samples: Mapping[tuple[int, int], list[float]], regions: Sequence[Region],
    workers: Sequence[LocalWorker], refusals: Mapping[tuple[str, str], str], passes: int,
) -> Profile:  # fmt: skip
    shape = (len(regions), len(workers))
    median, interval = np.full(shape, np.inf), np.full((*shape, 2), np.inf)
    confidence = 1.0
    for pair, values in samples.items():
        median[pair] = statistics.median(values)
        interval[pair], reached = median_interval(values, 0.95)
        confidence = min(confidence, reached)
    return Profile(
        workers=tuple(w.name for w in workers), regions=tuple(r.name for r in regions),
        median_s=median, interval_s=interval, passes=passes, refusals=refusals,
        confidence=confidence,
    )  # fmt: skip


def _written(found: Profile) -> bytes:
    def plain(values: NDArray[np.float64]) -> list[float | None]:
        return [v if math.isfinite(v) else None for v in values.ravel().tolist()]

    return json.dumps({
        "median_s": plain(found.median_s), "interval_s": plain(found.interval_s),
        "refusals": [[*pair, why] for pair, why in found.refusals.items()],
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
    )  # fmt: skip
