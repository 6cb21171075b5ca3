"""A kept placement timed again, by the first way whose workers all still work."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orrery.progress import Progress

from ._ready import Arrays

if TYPE_CHECKING:
    from orrery.runtime.together import Ask, Comparison, Fallback, Outcome, WorkerPool


def timed_again(
    served: Fallback, pool: WorkerPool, given: Arrays, repeats: int, progress: Progress, *,
    limit_s: float,
) -> tuple[Comparison, Outcome]:  # fmt: skip
    """Return how long the first way takes that is left, by its name, and one of its requests.

    Parameters
    ----------
    limit_s : who is longer at a subgraph hangs, and is left out

    Raises
    ------
    WorkerFailedError, WorkerHungError : no way is left
    """
    from orrery.runtime.together import WorkerHungError, compare, watched

    def timed(way: str, ask: Ask) -> tuple[Comparison, Outcome]:
        found = compare({way: partial(ask, served, given)}, rounds=repeats, progress=progress)
        return found, ask(served, given)

    served.run(given, timeout_s=limit_s)
    while True:
        current = served.current or next(iter(served.ways))
        try:
            found = watched(pool, partial(timed, current), limit_s=limit_s)
        except WorkerHungError as error:
            served.leave_out(error)
        else:
            if current == served.current:  # else a worker failed meanwhile, and was left out
                return found
