"""Ways of running a network in turn, each of which says itself how long it took; percentiles.

Models:  nothing; it measures. A way may run in another process: what it takes to ask there is not
         of the network and is not counted.
Judge:   made-up ways of known times (tests/studies/duet/test_rounds.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from orrery.runtime.together import SETTLED_S, WorkerPool, compare

#: Runs once and returns seconds.
Way = Callable[[], float]

SHARES = (0.5, 0.9, 0.99, 0.999)

#: `compare` for ways that say how long they took; six rounds at the least, as fewer prove nothing.
in_rounds = partial(compare, told=True, least=6, short_s=SETTLED_S)


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
