"""Seconds that no placement of these subgraphs undercuts, and what forbids it.

Models:  (1) the longest path, each subgraph where the path is shortest, transfers between memories
         and hand-overs along it included; (2) the area: each subgraph where it takes the fewest
         processor seconds, shared out evenly; (3) stretch by stretch (each waits for all of the one
         before), the linear program in which a subgraph may run in shares on several workers, no
         processor does more than there is time, and what reads begins after what it reads.
Ignores: that a subgraph runs on one worker, and that processors do one thing at a time.
Judge:   brute force over all placements, none of which is quicker
         (tests/mapping/phases/test_bounds.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._solver import linear_bound
from ._problem import PlacementProblem
from ._search import greedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds that no placement undercuts, each for a reason of its own.

    Attributes
    ----------
    path_s : the longest path with its transfers
    area_s : all processors always busy
    shared_s : the linear programs of all stretches; None without SciPy
    stretches : how many there are
    """

    path_s: float
    area_s: float
    shared_s: float | None
    stretches: int

    def at(self, pace: float) -> Bounds:
        """Return the bounds where everything takes so many times as long."""
        shared_s = None if self.shared_s is None else pace * self.shared_s
        return replace(
            self, path_s=pace * self.path_s, area_s=pace * self.area_s, shared_s=shared_s
        )

    @property
    def best_s(self) -> float:
        return max(self.path_s, self.area_s, self.shared_s or 0.0)

    @property
    def reason(self) -> str:
        """What forbids less, in words that follow "because"."""
        if self.path_s >= self.best_s * (1 - 1e-6):
            return "its longest path takes that long, each subgraph where the path is shortest"
        if self.area_s >= self.best_s * (1 - 1e-6):
            return "all processors would be busy all the time"
        return (f"its {self.stretches} stretches follow each other, and each takes that long with "
                "its work shared out as well as can be") if self.stretches > 1 else (
                "its work cannot be shared out better over workers and paths")  # fmt: skip


def bounds_of(problem: PlacementProblem) -> Bounds:
    """Return lower bounds of the time of any placement."""
    stretches = problem.stretches
    highest = problem.timing(greedy(problem)).makespan_s
    shared: float | None = 0.0
    for turn, members in enumerate(stretches):
        one = _shared(problem, members, highest, turn == 0, turn == len(stretches) - 1)
        shared = None if one is None or shared is None else shared + one
    return Bounds(path_s=_path(problem), area_s=problem.bounds()[1], shared_s=shared,
                  stretches=len(stretches))  # fmt: skip


def _path(problem: PlacementProblem) -> float:
    """Return the longest path; each tensor comes from wherever it arrives first."""
    workers = range(len(problem.workers))
    done = np.zeros(problem.seconds.shape)
    longest = 0.0
    for number in range(len(done)):
        for w in workers:
            seconds = float(problem.seconds[number, w])
            arrivals = [0.0]
            for f in problem.incoming[number]:
                flow = problem.flows[f]
                sources = [-1] if flow.producer < 0 else workers
                arrivals.append(min(
                    (0.0 if v < 0 else float(done[flow.producer, v]))
                    + problem.passage_s(flow.size_bytes, v, w) for v in sources
                ))  # fmt: skip
            done[number, w] = max(arrivals) + seconds
        returned = [f for f in problem.flows if f.returned and f.producer == number]
        longest = max(longest, min(
            float(done[number, w])
            + max((problem.passage_s(f.size_bytes, w, -1) for f in returned), default=0.0)
            for w in workers if math.isfinite(done[number, w])
        ))  # fmt: skip
    return longest


def _shared(
    problem: PlacementProblem, members: Sequence[int], highest: float, first: bool, last: bool
) -> float | None:
    """Return the value of the linear program of some subgraphs, on their own."""
    made, p = _Program(problem, members), problem
    for processor in sorted(frozenset().union(*(w.processors for w in p.workers))):
        load = made.row()
        for (k, w), column in made.shares.items():
            if processor in p.workers[w].processors:
                load[column] = p.seconds[k, w]
        load[made.end] = -1
    for k in members:
        final = made.row()
        made.add_end(final, k)
        final[made.end] = -1
        if last:
            returned = [f.size_bytes for f in p.flows if f.returned and f.producer == k]
            for w in made.able(k):
                final[made.shares[k, w]] += max(
                    (p.passage_s(size, w, -1) for size in returned), default=0.0
                )
        for flow in (p.flows[f] for f in p.incoming[k]):
            if flow.producer in made.begin:
                made.follow(flow.producer, k, flow.size_bytes)
            elif first and flow.producer < 0:
                arrives = made.row()
                arrives[made.begin[k]] = -1
                for w in made.able(k):
                    arrives[made.shares[k, w]] = p.passage_s(flow.size_bytes, -1, w)
    return made.value(highest)


class _Program:
    """Variables: a share per subgraph and worker, a begin per subgraph, the end of all."""

    def __init__(self, problem: PlacementProblem, members: Sequence[int]) -> None:
        self.p, self.members = problem, members
        pairs = [(k, w) for k in members for w in range(len(problem.workers))
                 if math.isfinite(problem.seconds[k, w])]  # fmt: skip
        self.shares = {pair: column for column, pair in enumerate(pairs)}
        self.begin = {k: len(pairs) + turn for turn, k in enumerate(members)}
        self.end = len(pairs) + len(members)
        self.rows: list[NDArray[np.float64]] = []
        self.right: list[float] = []

    def able(self, k: int) -> list[int]:
        return [w for w in range(len(self.p.workers)) if (k, w) in self.shares]

    def row(self, right: float = 0.0) -> NDArray[np.float64]:
        """Return a new row of "at most", for the caller to fill."""
        self.rows.append(np.zeros(self.end + 1))
        self.right.append(right)
        return self.rows[-1]

    def add_end(self, row: NDArray[np.float64], k: int) -> None:
        row[self.begin[k]] += 1
        for w in self.able(k):
            row[self.shares[k, w]] += self.p.seconds[k, w]

    def follow(self, a: int, b: int, size_bytes: int) -> None:
        """Have b begin after a, and after the transfer where both are wholly elsewhere."""
        plain = self.row()
        self.add_end(plain, a)
        plain[self.begin[b]] -= 1
        memories = sorted({w.memory for w in self.p.workers})
        for source in memories:
            for target in memories:
                there = [v for v in self.able(a) if self.p.workers[v].memory == source]
                here = [w for w in self.able(b) if self.p.workers[w].memory == target]
                if source == target or not there or not here:
                    continue
                least = min(self.p.passage_s(size_bytes, v, w) for v in there for w in here)
                carried = self.row(least)
                self.add_end(carried, a)
                carried[self.begin[b]] -= 1
                for pair in (*((a, v) for v in there), *((b, w) for w in here)):
                    carried[self.shares[pair]] += least

    def value(self, highest: float) -> float | None:
        """Return a proved lower bound of the end; no begin or end need be above `highest`."""
        once = np.zeros((len(self.members), self.end + 1))
        for (k, _), column in self.shares.items():
            once[self.members.index(k), column] = 1
        # In units of the highest, so that the solver's tolerances mean the same at every scale.
        unit = highest or 1.0
        scale = np.where(np.arange(self.end + 1) < len(self.shares), 1.0, unit)
        objective = np.zeros(self.end + 1)
        objective[self.end] = 1
        found = linear_bound(
            objective, (np.stack(self.rows) * scale / unit, np.array(self.right) / unit),
            (once, np.ones(len(self.members))), np.ones(self.end + 1),
        )  # fmt: skip
        return None if found is None else max(0.0, found) * unit
