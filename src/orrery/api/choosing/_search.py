"""From timed subgraphs to the placement that stays, and to what explains it."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Protocol

from orrery.progress import Progress

from ._choice import Effort
from ._kind import if_processes, race_kinds
from ._ways import Ways

if TYPE_CHECKING:
    from orrery.mapping.phases import Partition, Placed, PlacementProblem, Standing
    from orrery.runtime.together import Profile, WorkerPool

#: Up to so many subgraphs all placements are tried, however long; beyond, for a few seconds.
_FEW, _MANY_TRIES, _TRIES = 10, 5_000_000, 100_000

#: Rounds that a race should have at the least; fewer placements take part where they take long.
_ROUNDS = 15


class _Link(Protocol):
    """What handing over takes, as `orrery.runtime.together` fits it."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def fixed_s(self) -> float: ...
    @property
    def s_per_byte(self) -> float: ...


def problem_of(
    cut: Partition, profile: Profile, pool: WorkerPool, links: Iterable[_Link] = (),
    without: Container[str] = (),
) -> PlacementProblem:  # fmt: skip
    """Return the placement problem of timed subgraphs.

    Parameters
    ----------
    links : what hand-overs take, between memories or workers of one memory
    without : workers that get nothing to do
    """
    import numpy as np

    from orrery.mapping.phases import Passage, PlacementProblem, Worker, flows_of
    from orrery.runtime.together import HOST

    workers = tuple(
        Worker(name=w.name, processors=w.occupies, memory=w.memory_name)
        for w in pool.workers.values()
    )
    passages = {
        (link.source, link.target): Passage(fixed_s=link.fixed_s, s_per_byte=link.s_per_byte)
        for link in links
    }
    out = [worker.name in without for worker in workers]
    unused = {worker.memory for worker in workers if worker.name in without}
    for pair in permutations({HOST, *(worker.memory for worker in workers)}, 2):
        if not unused.isdisjoint(pair):  # whatever it would take
            passages.setdefault(pair, Passage())
    return PlacementProblem(
        partition=cut, workers=workers, flows=flows_of(cut), slower=profile.slower,
        seconds=np.ascontiguousarray(np.where(out, np.inf, profile.median_s)),
        passages=passages | {
            pair: replace(passages.get(pair, Passage()), change_s=longer_s)
            for pair, longer_s in profile.changes_s.items()
        },
    )  # fmt: skip


def tries(problem: PlacementProblem) -> int:
    """Return how many placements an exact search may look at."""
    return _MANY_TRIES if len(problem.order) <= _FEW else _TRIES


def search(
    ways: Ways, effort: Effort, progress: Progress
) -> tuple[Placed, Standing, Standing]:  # fmt: skip
    """Place subgraphs: by prediction, exactly, and by races of what is best so far.

    Returns
    -------
    what racing kept; where greedy-correction stands by prediction alone, and where what was kept
    """
    from orrery.mapping.phases import best_placement, greedy_correction, standing

    most = tries(ways.problem)

    def predicted() -> tuple[Placed, Placed]:
        return (best_placement(ways.problem, most=most, progress=progress),
                greedy_correction(ways.problem))  # fmt: skip

    exact, greedy = predicted()
    several = [p for p in (exact.placement, greedy.placement) if len(set(p)) > 1]
    if not several and (supposed := if_processes(ways)) is not None:
        # It may pay between processes, though not between threads.
        best = best_placement(supposed, most=most, progress=progress).placement
        several = [best] if len(set(best)) > 1 else []
    if several and race_kinds(ways, several[0], most_s=effort.race_s):
        exact, greedy = predicted()  # hand-overs take less now
    problem = ways.problem
    where = partial(standing, problem, best=exact, most=most, progress=progress)
    until = time.perf_counter() + effort.races_s
    also = {exact.placement: "the best of all as predicted" if exact.proved
            else "the best of those tried, as predicted"}  # fmt: skip
    kept = greedy_correction(
        problem, partial(ways.race, most_s=effort.race_s), corrected=greedy.placement, also=also,
        most_raced=effort.most_raced,
        at_once=max(1, min(4, int(effort.race_s / (_ROUNDS * exact.predicted_s + 1e-9)) - 1)),
        go_on=lambda: time.perf_counter() < until, progress=progress,
    )  # fmt: skip
    return kept, where(greedy.placement), where(kept.placement)


def in_one_piece(problem: PlacementProblem, pool: WorkerPool, profile: Profile) -> list[str]:
    """Return workers on which the whole network is a way: the best alone must be among them.

    Each with all that its back end may use; and a part of that where the sum of the subgraphs was
    less there, as it is of networks too small to share out.
    """
    sums = dict(zip(profile.workers, profile.median_s.sum(axis=0).tolist(), strict=True))
    found: dict[tuple[str, bool], str] = {}
    for worker in sorted(pool.workers.values(), key=lambda w: sums[w.name]):
        own, kind = worker.occupies, worker.backend.name
        larger = [w.name for w in pool.workers.values()
                  if own < w.occupies and w.backend.name == kind]  # fmt: skip
        part = (worker.name, False) if not larger else (kind, True)  # of the parts, the quickest
        if (
            part not in found
            and all(sums[worker.name] < sums[name] for name in larger)
            and (worker.backend.refuses(problem.partition.graph) is None)
        ):
            found[part] = worker.name
    return [name for name in pool.workers if name in found.values()]
