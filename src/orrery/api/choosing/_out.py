"""Which workers are out after everything was timed, and the placement problem without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.mapping.phases import PlacementProblem


class Out:
    """Workers that failed, or gave something else than is right.

    Attributes
    ----------
    problem : what is left to place
    whole : workers on which the network in one piece is not tried any more
    notes : what happened
    """

    def __init__(self, problem: PlacementProblem) -> None:
        self.problem = problem
        self.whole: set[str] = set()
        self.notes: list[str] = []

    def take(self, workers: Iterable[str], why: str, region: str = "") -> bool:
        """Take workers out, of everything if others can do all without them; else of one region.

        Returns
        -------
        whether anything has changed
        """
        from orrery.runtime.together import PROCESS

        changed = [self._take(name.removesuffix(PROCESS), region) for name in workers]
        if any(changed):
            self.notes.append(why)
        return any(changed)

    def _take(self, worker: str, region: str) -> bool:
        import numpy as np

        problem = self.problem
        names = [w.name for w in problem.workers]
        if worker not in names:
            return False
        column, seconds = names.index(worker), problem.seconds.copy()
        others = [bool(row.any()) for row in np.isfinite(np.delete(seconds, column, axis=1))]
        parts = problem.partition.subgraphs
        own = [k for k, part in enumerate(parts) if part.region.name == region]
        rows = list(range(len(others))) if all(others) else [k for k in own if others[k]]
        fresh = worker not in self.whole and (all(others) or not own)
        if fresh:
            self.whole.add(worker)
        changed = bool(np.isfinite(seconds[rows, column]).any())
        if changed:
            seconds[rows, column] = np.inf
            self.problem = replace(problem, seconds=seconds)
        return fresh or changed
