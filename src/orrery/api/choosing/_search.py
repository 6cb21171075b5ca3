"""From timed subgraphs to the placement that stays, and to what explains it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from orrery.progress import Progress

from ._choice import PLACED, Choice, Found
from ._ways import Ways

if TYPE_CHECKING:
    from orrery.mapping.phases import Partition, Placed, PlacementProblem, Standing
    from orrery.runtime.together import Profile, WorkerPool

__all__ = ["explained", "in_one_piece", "problem_of", "search"]

#: Up to so many subgraphs all placements are tried, however long; beyond, for a few seconds.
_FEW, _MANY_TRIES, _TRIES = 10, 5_000_000, 100_000

#: Seconds of one race and of all of them, and placements that may run.
_RACE_S, _RACES_S, _MOST_RACED = 6.0, 30.0, 32


def problem_of(cut: Partition, profile: Profile, pool: WorkerPool) -> PlacementProblem:
    """Return the placement problem of timed subgraphs."""
    import numpy as np

    from orrery.mapping.phases import PlacementProblem, Worker, flows_of

    workers = tuple(
        Worker(name=w.name, processors=frozenset(map(str, w.processors)))
        for w in pool.workers.values()
    )
    return PlacementProblem(
        partition=cut, workers=workers, seconds=np.ascontiguousarray(profile.median_s),
        flows=flows_of(cut), passages={},
    )  # fmt: skip


def search(ways: Ways, progress: Progress) -> tuple[Placed, Standing, Standing]:
    """Place subgraphs: by prediction, exactly, and by races of what is best so far.

    Returns
    -------
    what racing kept; where greedy-correction stands by prediction alone, and where what was kept
    """
    from orrery.mapping.phases import best_placement, greedy_correction, standing

    problem = ways.problem
    most = _MANY_TRIES if len(problem.order) <= _FEW else _TRIES
    exact = best_placement(problem, most=most, progress=progress)
    greedy = greedy_correction(problem)
    where = partial(standing, problem, best=exact, most=most, progress=progress)
    until = time.perf_counter() + _RACES_S
    also = {exact.placement: "the best of all as predicted" if exact.proved
            else "the best of those tried, as predicted"}  # fmt: skip
    kept = greedy_correction(
        problem, partial(ways.race, most_s=_RACE_S), also=also, most_raced=_MOST_RACED,
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
        own, kind = set(worker.processors), worker.backend.name
        larger = [w.name for w in pool.workers.values()
                  if own < set(w.processors) and w.backend.name == kind]  # fmt: skip
        part = (worker.name, False) if not larger else (kind, True)  # of the parts, the quickest
        if (
            part not in found
            and all(sums[worker.name] < sums[name] for name in larger)
            and (worker.backend.refuses(problem.partition.graph) is None)
        ):
            found[part] = worker.name
    return [name for name in pool.workers if name in found.values()]


def explained(choice: Choice, ways: Ways, greedy: Standing, kept: Standing) -> Found:
    """Watch the placement at work and say where its time goes."""
    from orrery.mapping.phases import bounds_of, losses_of

    problem, placement = choice.problem, choice.placed.placement
    measured, alone_s = ways.observed(placement, choice.networks[PLACED])
    bounds = bounds_of(problem)
    losses = losses_of(
        problem, measured, alone_s, whole_s=choice.comparison.median_s(choice.single),
        whole_on=[w.name for w in problem.workers].index(choice.single), bound_s=bounds.best_s,
    )  # fmt: skip
    return Found(measured=measured, alone_s=alone_s, losses=losses, bounds=bounds, greedy=greedy,
                 kept=kept)  # fmt: skip
