"""What it takes to hand a tensor from one worker to another: fixed seconds and seconds per byte.

Models:  t(V) = fixed + V × per byte for each direction between two memories, fitted to a sweep of
         sizes; between workers of one memory, where nothing is copied, fixed alone. Measured from
         the end in one worker's thread to the begin in the other's, the copying thread between.
Ignores: copies that disturb each other, or a neighbour that is busy.
Judge:   links of known seconds, with noise and outliers (tests/runtime/together/test_links.py).
"""

from __future__ import annotations

import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError, SpecError
from orrery.progress import SILENT, Progress
from orrery.store import Cache, content_hash

from .._backend import median_interval
from .._machine import describe_machine
from ._capacity import is_shortage
from ._memory import HOST, Held
from ._pool import Job, WorkerFailedError, WorkerHungError, WorkerPool

#: Bumped when the same links would come out otherwise.
_VERSION = "links-1"

#: From where the fixed part is all to where it is nothing, on any machine of today.
_SIZES = tuple(4 << (2 * k) for k in range(12))

_RESAMPLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Seconds of a tensor from one place to another.

    Attributes
    ----------
    source, target : names of memories; of two workers, where both have the same memory
    fixed_interval_s, per_byte_interval_s : hold the medians' values with 95 %, by resampling
    """

    source: str
    target: str
    fixed_s: float
    s_per_byte: float
    fixed_interval_s: tuple[float, float]
    per_byte_interval_s: tuple[float, float]

    def seconds(self, size_bytes: int) -> float:
        return self.fixed_s + self.s_per_byte * size_bytes


def fit_link(
    source: str, target: str, times_s: Mapping[int, Sequence[float]], *, seed: int = 0
) -> Link:
    """Fit fixed seconds and seconds per byte, neither negative, to times of several sizes.

    The line whose relative distances from the medians of the sizes sum to the least: such a line
    passes through two of the points (or through one, with a part that is 0), so all are tried.

    Parameters
    ----------
    times_s : size in bytes -> seconds of repeated transfers

    Raises
    ------
    SpecError : fewer than two sizes, one below a byte or without a time, a time not above 0
    """
    if len(times_s) < 2 or min(times_s) < 1 or any(not t or min(t) <= 0 for t in times_s.values()):
        raise SpecError(f"link from {source} to {target}", found=f"times of {len(times_s)} sizes",
                        wanted="positive ones of two sizes or more",
                        fix="measure more")  # fmt: skip
    sizes = np.array(sorted(times_s), float)
    samples = [np.asarray(times_s[int(size)]) for size in sizes]
    rng = np.random.default_rng(seed)
    medians = np.empty((1 + _RESAMPLES, len(sizes)))
    for column, values in enumerate(samples):
        medians[0, column] = np.median(values)
        drawn = rng.choice(values, (_RESAMPLES, len(values)))
        medians[1:, column] = np.median(drawn, axis=1)
    lines = _lines(sizes, medians)
    fixed, slope = map(float, lines[0])
    low, high = np.percentile(lines[1:], (2.5, 97.5), axis=0)
    return Link(
        source=source, target=target, fixed_s=fixed, s_per_byte=slope,
        fixed_interval_s=(min(float(low[0]), fixed), max(float(high[0]), fixed)),
        per_byte_interval_s=(min(float(low[1]), slope), max(float(high[1]), slope)),
    )  # fmt: skip


def _lines(sizes: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best fixed part and slope for each row of seconds."""
    pairs = np.array(list(itertools.combinations(range(len(sizes)), 2)))
    a, b = pairs[:, 0], pairs[:, 1]
    slope = (seconds[:, b] - seconds[:, a]) / (sizes[b] - sizes[a])
    fixed = seconds[:, a] - slope * sizes[a]
    zero = np.zeros_like(seconds)
    slopes = np.hstack([slope, zero, seconds / sizes])
    fixes = np.hstack([fixed, seconds, zero])
    off = fixes[:, :, None] + slopes[:, :, None] * sizes - seconds[:, None, :]
    distance = np.abs(off / seconds[:, None, :]).sum(axis=2)
    distance[(slopes < 0) | (fixes < 0)] = np.inf
    best = distance.argmin(axis=1)
    rows = np.arange(len(seconds))
    return np.column_stack([fixes[rows, best], slopes[rows, best]])


def measure_links(
    pool: WorkerPool, *, sizes: Sequence[int] = _SIZES, repeats: int = 30, most_s: float = 5.0,
    timeout_s: float = 60.0, cache: Cache | None = None, progress: Progress = SILENT,
    failed: MutableMapping[str, OrreryError] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Link, ...]:  # fmt: skip
    """Measure links between the memories of a pool's workers, the host's included, and between
    workers of one memory.

    Links take turns, sizes too, so that a noisy machine disturbs all alike.

    Parameters
    ----------
    sizes : bytes; what a memory has no room for is left out
    repeats : of each; fewer when `most_s` is over, but never fewer than 3
    timeout_s : a single transfer that takes longer counts as a hang
    cache : of links of the same workers and machine; None measures always
    failed : memories, and workers of the host's, at which transfers fail are noted here, with the
        error, and their links left out; None raises it

    Raises
    ------
    SpecError : no repeat, fewer than two sizes
    WorkerFailedError, WorkerHungError : a transfer that failed or never arrived, or a memory
        without room for two of the sizes
    """
    if repeats < 1 or len(set(sizes)) < 2 or min(sizes) < 1:
        raise SpecError("links", found=f"{repeats} repeats, {len(set(sizes))} sizes",
                        wanted="1 repeat or more, two sizes or more, none below 1 byte",
                        fix="correct the numbers")  # fmt: skip
    workers = pool.workers.values()
    machine = describe_machine()
    cache_key = content_hash(
        _VERSION, machine.host, machine.cpu, repr([(g.name, g.driver) for g in machine.gpus]),
        repr([(w.name, w.label, w.processors, w.memory_name) for w in workers]),
        repr((tuple(sizes), repeats)),
    )  # fmt: skip
    if cache is not None and (known := cache.get(cache_key)) is not None:
        return tuple(_read(entry) for entry in json.loads(known))
    routes = _routes(pool)
    probes = [
        (route, size) for route in routes for size in (sorted(set(sizes)) if route.copies else [1])
    ]
    arrays = {size: np.zeros(size, np.uint8) for _, size in probes}
    times: dict[tuple[str, str], dict[int, list[float]]] = {r.name: {} for r in routes}
    left_out: set[tuple[tuple[str, str], int]] = set()
    gone: MutableMapping[str, OrreryError] = {} if failed is None else failed

    def fails(route: _Route, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        if not isinstance(error, WorkerFailedError | WorkerHungError):
            error = WorkerFailedError(route.worker, route.what, told)
        if failed is None:
            raise error
        gone[next(n for n in route.name if n != HOST) if route.copies else error.worker] = error

    until = clock() + most_s
    for turn in range(-1, repeats):  # the first is to warm up: threads wake, memory is mapped
        if turn >= 3 and clock() > until:
            break
        progress.step("timing transfers", max(turn, 0), repeats)
        for route, size in probes:
            if (route.name, size) in left_out or not gone.keys().isdisjoint(route.name):
                continue
            try:
                seconds = route.seconds(arrays[size], clock, timeout_s)
            except Exception as error:  # whatever a library raises
                if not is_shortage(error):
                    fails(route, error)
                left_out.add((route.name, size))
                times[route.name].pop(size, None)
                continue
            if turn >= 0:
                times[route.name].setdefault(size, []).append(seconds)
    found: list[Link] = []
    for route in routes:
        if gone.keys().isdisjoint(route.name):
            try:
                found.append(_link(route, times[route.name]))
            except ModelError as error:
                fails(route, error)
    if cache is not None and not gone:
        cache.put(cache_key, json.dumps([asdict(link) for link in found]).encode())
    return tuple(found)


def _read(entry: Mapping[str, object]) -> Link:
    return Link(**{
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    })  # type: ignore[arg-type]  # fmt: skip


def _link(route: _Route, times: Mapping[int, Sequence[float]]) -> Link:
    source, target = route.name
    if route.copies:
        if len(times) < 2:
            raise ModelError(f"link from {source} to {target}", found="no room for two sizes",
                             wanted="room for some bytes", fix="free the memory")  # fmt: skip
        return fit_link(source, target, times)
    values = list(times[1])
    interval, _ = median_interval(values, 0.95)
    return Link(source=source, target=target, fixed_s=statistics.median(values), s_per_byte=0.0,
                fixed_interval_s=interval, per_byte_interval_s=(0.0, 0.0))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """From a thread to a thread, by way of copying threads; None is the thread that calls."""

    pool: WorkerPool
    name: tuple[str, str]
    start: str | None
    end: str | None
    copies: bool

    @property
    def worker(self) -> str:
        """The worker that is not the host's, of two memories; else the one that waits."""
        return (self.start if self.name[0] != HOST else self.end) or HOST

    @property
    def what(self) -> str:
        return f"a transfer from {self.name[0]} to {self.name[1]}"

    def seconds(
        self, array: NDArray[np.uint8], clock: Callable[[], float], timeout_s: float
    ) -> float:
        """Return how long something takes from the end of one's work to the other's begin.

        Raises
        ------
        WorkerHungError : it never arrived
        """
        pool, (source, target) = self.pool, self.name
        value: object = array
        if self.copies and source != HOST:
            lane = f"{HOST} to {source}"
            value = pool.call(lane, lambda: _moved(pool, HOST, source, array), timeout_s=timeout_s)
        begun: list[float] = []
        ended: list[float] = []
        failed: list[BaseException] = []
        over = threading.Event()
        hops: list[tuple[str, str]] = []
        if self.copies:
            hops = [(source, HOST)] if source != HOST else []
            hops += [(HOST, target)] if target != HOST else []

        def guarded(action: Job) -> Job:
            def job() -> Job | None:
                try:
                    return action()
                except BaseException as error:  # the caller waits, and must hear of it
                    failed.append(error)
                    over.set()
                    return None

            return job

        def arrive() -> Job | None:
            ended.append(clock())
            over.set()
            return None

        def hop(number: int, carried: object) -> Job | None:
            if number == len(hops):
                if self.end is None:
                    return arrive()
                pool.post(self.end, arrive)
                return None
            where = hops[number]

            def copy() -> Job | None:
                return hop(number + 1, _moved(pool, *where, carried))

            pool.post(f"{where[0]} to {where[1]}", guarded(copy))
            return None

        def depart() -> Job | None:
            begun.append(clock())
            return hop(0, value)

        if self.start is None:
            guarded(depart)()
        else:
            pool.post(self.start, guarded(depart))
        if not over.wait(timeout_s):
            hangs = self.worker if self.copies else self.end if begun else self.start
            raise WorkerHungError(hangs or HOST, self.what, timeout_s)
        if failed:
            raise failed[0]
        return ended[0] - begun[0]


def _moved(pool: WorkerPool, source: str, target: str, value: object) -> object:
    if source == HOST:
        return pool.memories[target].put(cast("NDArray[np.uint8]", value))
    return pool.memories[source].take(cast("Held", value))


def _routes(pool: WorkerPool) -> list[_Route]:
    """Return every direction between two memories, and every pair of workers in one."""
    first: dict[str, str | None] = {HOST: None}
    for worker in pool.workers.values():
        if first.get(worker.memory_name) is None:
            first[worker.memory_name] = worker.name
    routes = [
        _Route(pool=pool, name=(a, b), start=first[a], end=first[b], copies=True)
        for a, b in itertools.permutations(first, 2)
    ]
    for one, other in itertools.permutations(pool.workers.values(), 2):
        if one.memory_name == other.memory_name:
            routes.append(_Route(pool=pool, name=(one.name, other.name), start=one.name,
                                 end=other.name, copies=False))  # fmt: skip
    return routes
