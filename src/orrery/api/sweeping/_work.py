"""Price points one after the other, or side by side in processes that stay warm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from orrery.errors import OrreryError
from orrery.mapping.space import Parameter
from orrery.progress import Progress
from orrery.runtime import usable_cores, worker_processes
from orrery.store import content_hash

from ._price import price_point
from ._rows import Row
from ._task import UNREAD, Task

#: How often a stop by the user is looked for while processes work.
_PATIENCE_S = 0.2
#: What every process needs.
_NEEDED = ("orrery.api.sweeping", "orrery.mapping.nest", "orrery.cost.nest", "orrery.accel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A point to price: its key, its values as typed, and what they change."""

    key: str
    labels: Mapping[str, str]
    choice: Sequence[tuple[str, str]]


def wanted_of(task: Task, parameters: Sequence[Parameter], point: Sequence[int]) -> Wanted:
    """Return the point with these places of its parameters' values."""
    labels = {p.name: p.labels[place] for p, place in zip(parameters, point, strict=True)}
    choice = [pair for p, place in zip(parameters, point, strict=True)
              for pair in zip(p.paths, p.values[place], strict=True)]  # fmt: skip
    try:
        key = task.key(choice)
    except OrreryError:  # said when the point is priced
        key = UNREAD + content_hash(*(text for pair in choice for text in pair))
    return Wanted(key=key, labels=labels, choice=choice)


def priced(
    task: Task, wanted: Sequence[Wanted], *, jobs: int, progress: Progress, total: int
) -> Iterator[Row]:
    """Yield rows as they are finished.

    Parameters
    ----------
    jobs : processes that price points; 0 for one per core, 1 for this one alone
    total : points of the sweep, for the progress: those that are missing here are done

    Raises
    ------
    CancelledError : the user asked to stop
    OrreryError : a process died, as when memory runs out; a network changed meanwhile
    """
    done = total - len(wanted)
    jobs = min(jobs or usable_cores(), len(wanted)) if jobs >= 0 else jobs
    if 0 <= jobs <= 1:
        for one in wanted:
            progress.step("points", done, total)
            yield price_point(task, one.choice, one.labels, one.key, progress)
            done += 1
        return
    # One process more than jobs: this one only hands out points and keeps rows.
    with worker_processes(jobs + 1 if jobs > 0 else jobs, preload=_NEEDED) as executor:
        if executor is None:
            raise TypeError("more than one job, but no processes")
        rest = iter(wanted)
        running: set[Future[Row]] = set()
        try:
            while True:
                for one in islice(rest, 2 * jobs - len(running)):
                    running.add(executor.submit(price_point, task, one.choice, one.labels, one.key))
                if not running:
                    return
                finished, running = wait(running, _PATIENCE_S, FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
                    done += 1
                progress.step("points", done, total)
        except BrokenProcessPool:
            raise OrreryError(
                "sweep: a process ended before its point was priced, as when memory runs out; "
                "what was finished is kept: run it again with fewer --jobs"
            ) from None
        finally:
            for future in running:
                future.cancel()
            with suppress(BrokenProcessPool):
                executor.shutdown(wait=False, cancel_futures=True)
