"""Ways of running a network in turn, each of which says itself how long it took.

Models:  nothing; it measures. A way may run in another process: what it takes to ask there is not
         of the network and is not counted.
Judge:   made-up ways of known times (tests/studies/duet/test_rounds.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from orrery.progress import Progress
from orrery.runtime.together import Comparison, WorkerPool, in_turn

__all__ = ["SHARES", "Way", "outside", "percentiles", "rounds_of", "timed"]

#: Runs once and returns seconds.
Way = Callable[[], float]

SHARES = (0.5, 0.9, 0.99, 0.999)

#: A way that takes less runs twice in a row and is timed the second time, as its subgraphs were:
#: what other ways left in the caches, and a thread that slept, are not of the network.
_SHORT_S = 5e-3


def timed(action: Callable[[], object]) -> Way:
    """Return an action as a way that takes as long as the call."""

    def once() -> float:
        begun = time.perf_counter()
        action()
        return time.perf_counter() - begun

    return once


def outside(pool: WorkerPool, way: Way) -> Way:
    """Return a way that no worker's thread takes part in: those of the pool sleep meanwhile.

    They would stay awake for some milliseconds after what they did last, on its processors.
    """

    def once() -> float:
        for worker in pool.workers:
            pool.clear(worker, own=True)
        return way()

    return once


def rounds_of(
    ways: Mapping[str, Way],
    *,
    most: int,
    most_s: float,
    progress: Progress,
    task: str,
    least: int = 6,
    warmup: int = 3,
) -> Comparison:
    """Run every way once a round, in an order that turns from round to round.

    Parameters
    ----------
    most, most_s : no further round after so many, or so many seconds; seconds do not count below
        `least` rounds
    warmup : rounds that are not counted

    Raises
    ------
    CancelledError : the user asked to stop
    """
    names, times = list(ways), {name: list[float]() for name in ways}
    short = dict.fromkeys(ways, False)
    for _ in range(warmup):
        for name, way in ways.items():
            short[name] = way() < _SHORT_S
    until = time.perf_counter() + most_s
    for turn in range(most):
        if turn >= least and time.perf_counter() > until:
            break
        progress.step(task, turn, most)
        for name in in_turn(names, turn):
            if short[name]:
                ways[name]()
            times[name].append(ways[name]())
    return Comparison(times_s={name: tuple(found) for name, found in times.items()})


def percentiles(times_s: Sequence[float]) -> tuple[float | None, ...]:
    """Return the time that each of `SHARES` of the runs keeps within.

    None where not one run would lie beyond: the largest of too few says nothing of a share.
    """
    ordered = sorted(times_s)
    count = len(ordered)

    def at(share: float) -> float | None:
        # Rounded: 1000 runs leave exactly one beyond 99.9 %, whatever 1 - 0.999 is in binary.
        if round(count * (1 - share), 6) < 1:
            return None
        return ordered[math.ceil(round(count * share, 6)) - 1]

    return tuple(at(share) for share in SHARES)
