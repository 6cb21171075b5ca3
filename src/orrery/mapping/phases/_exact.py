"""The best of all placements as predicted, and where another one stands among them.

Models:  every placement, by branch and bound (`_tree`).
Ignores: other orders than the problem's.
Judge:   brute force over all placements (tests/mapping/phases/test_exact.py).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orrery.progress import SILENT, Progress

from ._problem import PlacementProblem
from ._search import Placed, descend, greedy, single_workers
from ._tree import Placement, Tree
from ._windows import better_windows

#: Placements nearer than this share of their seconds count as equally quick: sums are rounded.
_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a placement stands among all others, as predicted.

    Attributes
    ----------
    best : of all; `best.proved` says whether every one was looked at or ruled out
    rank : 1 and the number of placements that are predicted to be quicker; at least so many where
        the search ended early
    rank_proved : whether it did not
    gap : seconds over those of `best`, less one
    placements : that can run; the rank counts among `considered` of them, the others cannot be
        better than one of these
    """

    best: Placed
    rank: int
    rank_proved: bool
    gap: float
    placements: int
    considered: int


def best_placement(
    problem: PlacementProblem, *, most: int = 1_000_000, progress: Progress = SILENT
) -> Placed:
    """Return a placement that no other is predicted to undercut, in the problem's order.

    Parameters
    ----------
    most : subgraphs that may be put somewhere on the way; beyond, the best so far is returned,
        which is not `proved`

    Raises
    ------
    CancelledError : the user asked to stop
    """
    tree = Tree(problem, most, progress)
    best = min(
        (greedy(problem), tree.start, *single_workers(problem).values()),
        key=lambda p: problem.timing(p).makespan_s,
    )
    seconds = problem.timing(best).makespan_s
    if tree.least_s < seconds * (1 - _SAME):
        best = better_windows(problem, descend(problem, best))
        seconds = problem.timing(best).makespan_s

    def found(placement: Placement, makespan: float) -> None:
        nonlocal best, seconds
        best, seconds = placement, makespan

    done = tree.least_s >= seconds * (1 - _SAME) or tree.search(lambda: seconds, found)
    return Placed(placement=best, seconds=seconds, predicted_s=seconds, proved=done,
                  least_s=seconds if done else tree.least_s)  # fmt: skip


def quickest_placements(
    problem: PlacementProblem, count: int, *, most: int = 1_000_000, progress: Progress = SILENT
) -> tuple[Placement, ...]:
    """Return the placements that are predicted to be quickest, in order, of those worthwhile.

    Parameters
    ----------
    count : how many; all where there are fewer
    most : see `best_placement`; beyond, they are the quickest of those looked at
    """
    kept: list[tuple[float, Placement]] = []

    def found(placement: Placement, makespan: float) -> None:
        heapq.heappush(kept, (-makespan, placement))
        if len(kept) > count:
            heapq.heappop(kept)

    def limit() -> float:
        return -kept[0][0] if len(kept) == count else math.inf

    if count > 0:
        Tree(problem, most, progress).search(limit, found)
    return tuple(placement for _, placement in sorted(kept, key=lambda one: (-one[0], one[1])))


def standing(
    problem: PlacementProblem, placement: Sequence[int], *, best: Placed | None = None,
    most: int = 1_000_000, progress: Progress = SILENT,
) -> Standing:  # fmt: skip
    """Return where a placement stands among all, as predicted.

    Parameters
    ----------
    best : what `best_placement` found, if that is known
    most : see `best_placement`; for each of the two searches
    """
    best = best or best_placement(problem, most=most, progress=progress)
    seconds, quicker = problem.timing(placement).makespan_s, 0

    def found(_placement: Placement, _makespan: float) -> None:
        nonlocal quicker
        quicker += 1

    tree = Tree(problem, most, progress)
    done = tree.search(lambda: seconds * (1 - _SAME), found)
    return Standing(
        best=best, rank=1 + quicker, rank_proved=done,
        gap=seconds / best.predicted_s - 1 if best.predicted_s > 0 else 0.0,
        placements=math.prod(int(np.isfinite(row).sum()) for row in problem.seconds),
        considered=math.prod(len(one) for one in tree.choices),
    )  # fmt: skip


def all_placements(problem: PlacementProblem) -> Iterator[Placement]:
    """Yield every placement that can run, for measuring them all."""
    fits = [np.flatnonzero(np.isfinite(row)).tolist() for row in problem.seconds]

    def rest(number: int) -> Iterator[Placement]:
        if number == len(fits):
            yield ()
            return
        for worker in fits[number]:
            for tail in rest(number + 1):
                yield (worker, *tail)

    return rest(0)
