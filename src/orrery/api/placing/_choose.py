"""From a network to the workers that run its parts: cut, timed, placed, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError, SpecError
from orrery.progress import Progress
from orrery.store import Cache

from ..choosing import PLACED, Choice, Effort, Out, Ways, load_note, node_work, problem_of
from ..keeping import thread_name
from ._compared import compared

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.runtime.together import LocalWorker, WorkerPool

__all__ = ["PLACED", "Choice", "Effort", "choose", "local_workers"]

#: A path is worth a subgraph of its own from so many seconds on: handing over costs tens of µs.
_LEAST_S, _LEAST_SHARE = 6e-5, 0.01


def local_workers(backends: Sequence[str] = ()) -> list[LocalWorker]:
    """Return workers of this machine: ``BACKEND``, ``BACKEND@DEVICE``, ``DEVICE``, or the usual.

    Raises
    ------
    UnknownNameError : no such back end
    SpecError : no such device here, or nothing is installed
    """
    from orrery.runtime.together import workers_here

    return workers_here(backends)


def choose(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], pool: WorkerPool, *, repeats: int,
    cache: Cache | None, progress: Progress, effort: Effort | None = None,
) -> Choice:  # fmt: skip
    """Cut a network, time its parts, place them, and compare with the whole on one worker.

    Raises
    ------
    SpecError : no worker runs the whole network
    CancelledError : the user asked to stop
    """
    from orrery.mapping.phases import flows_of, partition
    from orrery.runtime.together import (
        PROCESS,
        WorkerFailedError,
        WorkerHungError,
        measure_links,
        profile_subgraphs,
    )

    effort, busy = effort or Effort(), load_note()
    work, estimated = node_work(graph, inputs, pool, progress)
    least = max(_LEAST_S, _LEAST_SHARE * sum(work.values()))
    uncut = ""
    while True:
        cut = partition(graph, work, least=least)
        regions = [part.region for part in cut.subgraphs]
        try:
            flows_of(cut)  # sizes of what lies between them are known
            profile = profile_subgraphs(graph, regions, pool, inputs, most_s=effort.profile_s,
                                        cache=cache, progress=progress)  # fmt: skip
            break
        except ModelError as error:  # what runs nowhere by itself may run in one piece
            if uncut or len(regions) == 1:
                raise
            least, uncut = math.inf, f"It was not cut into paths side by side: {error}"
    failed: dict[str, OrreryError] = {}
    links = measure_links(pool, cache=cache, progress=progress, failed=failed)
    gone = {
        worker.name: error
        for place, error in failed.items()
        for worker in pool.workers.values()
        if place in (worker.name, worker.memory_name)
    }
    try:
        out = Out(problem_of(cut, profile, pool, links, gone))
    except SpecError as error:  # nobody else runs all of it
        raise next(iter(failed.values()), error) from error
    out.whole |= gone.keys()
    out.notes += [f"Went on without {name}: {error}" for name, error in gone.items()]
    may_part = True
    while True:
        ways = Ways(out.problem, pool, inputs, may_part=may_part)
        try:
            choice = compared(ways, out, profile, repeats, effort, progress)
        except (WorkerFailedError, WorkerHungError) as error:
            if may_part and error.worker.endswith(PROCESS):
                may_part = False  # its worker is as good as ever, as a thread
                out.notes.append(f"Went on with workers that are threads: {error}")
            elif not out.take([error.worker], f"Went on without a worker that failed: {error}",
                            error.region):  # fmt: skip
                raise
            continue
        if choice is not None:
            notes = (busy, estimated, uncut, *choice.notes, *out.notes, *_caveats(choice, pool))
            return replace(choice, notes=tuple(note for note in notes if note))


def _caveats(choice: Choice, pool: WorkerPool) -> list[str]:
    """Return in what the outputs of the back ends that are taken may differ, as they say."""
    used = sorted({thread_name(step.worker) for step in choice.networks[choice.best].steps})
    return list(dict.fromkeys(getattr(pool.workers[n].backend, "caveat", "") for n in used))
