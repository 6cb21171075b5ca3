"""From a network to the workers that run its parts: cut, timed, placed, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import CancelledError, OrreryError, SpecError
from orrery.progress import Progress
from orrery.store import Cache

from ..choosing import (
    PATIENCE_S,
    PLACED,
    Choice,
    Effort,
    Ways,
    explained,
    in_one_piece,
    load_note,
    node_work,
    problem_of,
    search,
)

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
    from orrery.mapping.phases import partition
    from orrery.runtime.together import compare, measure_links, profile_subgraphs

    effort, busy = effort or Effort(), load_note()
    work, estimated = node_work(graph, inputs, pool, progress)
    least = max(_LEAST_S, _LEAST_SHARE * sum(work.values()))
    cut = partition(graph, work, least=least)
    regions = [part.region for part in cut.subgraphs]
    profile = profile_subgraphs(graph, regions, pool, inputs, most_s=effort.profile_s,
                                cache=cache, progress=progress)  # fmt: skip
    links = measure_links(pool, cache=cache, progress=progress)
    problem = problem_of(cut, profile, pool, links)
    ways = Ways(problem, pool, inputs)
    placed, greedy, kept = search(ways, effort, progress)
    networks = {PLACED: ways.placed(placed.placement)}
    pool.forget()  # weights of subgraphs that only other placements use
    failed = []
    for name in in_one_piece(problem, pool, profile):
        try:
            made = networks[PLACED]
            if [step.worker for step in made.steps] != [name]:  # else: it is the same
                made = ways.whole(name)
                made.run(inputs, timeout_s=PATIENCE_S)
            networks[name] = made
        except CancelledError:
            raise
        except OrreryError as error:
            failed.append(f"The whole on {name} was left out: {error}")
    if len(networks) == 1:
        raise SpecError(f"{graph.name} here", found="no back end that runs the whole network",
                        wanted="one to compare with", fix="add the reference back end")  # fmt: skip
    runs = {made: partial(made.run, inputs) for made in networks.values()}
    comparison = compare({name: runs[made] for name, made in networks.items()}, rounds=repeats,
                         progress=progress)  # fmt: skip
    choice = Choice(
        problem=ways.problem, processes=ways.processes, profile=profile, placed=placed,
        networks=networks, alone=tuple(name for name in networks if name != PLACED),
        comparison=comparison,
        notes=tuple(note for note in (busy, estimated, *ways.notes, *failed) if note),
    )  # fmt: skip
    return replace(choice, found=explained(choice, ways, greedy, kept, effort))
