"""All placements as a tree: what may be left out of it, and a search of what remains.

Models:  every placement in the problem's order, stretch after stretch: a branch is left when the
         longest way to the end of the stretch from its last subgraph, or the processors shared out
         evenly over what is left of it, and then the stretches to come, take as long as the best
         known. Before that, choices are struck out that another one can replace in every placement
         without anything ending later.
Ignores: other orders than the problem's.
Judge:   brute force over all placements (tests/mapping/phases/test_exact.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from orrery.progress import Progress

from ._problem import Passage, PlacementProblem, State

__all__ = ["Placement", "Tree", "worthwhile"]

Placement = tuple[int, ...]


def worthwhile(problem: PlacementProblem) -> tuple[tuple[int, ...], ...]:
    """Return per subgraph the workers that some best placement needs, at the most.

    A worker is struck out for a subgraph when another of the same memory, on the same processors or
    some of them, is quicker by what the hand-overs to and from it may cost more; and for all
    subgraphs when the other is nowhere slower and its hand-overs cost no more. Times of a placement
    are sums and maxima of seconds, in an order that does not change, so that nothing ends later
    when one takes the place of the other.
    """
    p, count = problem, len(problem.workers)
    largest = max((flow.size_bytes for flow in p.flows), default=0)

    def passes(a: int, b: int) -> tuple[float, float]:
        return p.passage_s(0, a, b), p.passage_s(largest, a, b)

    def may_replace(v: int, w: int) -> bool:
        one, other = p.workers[v], p.workers[w]
        return (
            v != w and one.memory == other.memory and one.processors <= other.processors
            # Who carries a tensor to another memory first carries it for all there.
            and all(
                passes(v, x) == passes(w, x) and passes(x, v) == passes(x, w)
                for x in (-1, *range(count))
                if x < 0 or p.workers[x].memory != one.memory
            )
        )  # fmt: skip

    def dearer(v: int, w: int) -> float:
        """Return what hand-overs to and from v may cost more than those of w."""
        near = [x for x in range(count) if p.workers[x].memory == p.workers[w].memory]
        return sum(
            max(0.0, *(a - b for x in near for a, b in zip(there(x, v), there(x, w))))
            for there in (passes, lambda x, y: passes(y, x))
        )

    def nowhere_dearer(v: int, w: int) -> bool:
        others = [x for x in range(count) if x not in (v, w)]
        return bool((p.seconds[:, v] <= p.seconds[:, w]).all()) and all(
            a <= b
            for x in others
            for a, b in (*zip(passes(v, x), passes(w, x)), *zip(passes(x, v), passes(x, w)))
        )

    pairs = [(v, w) for w in range(count) for v in range(count) if may_replace(v, w)]
    kept = set(range(count))
    for v, w in pairs:
        if v in kept and w in kept and nowhere_dearer(v, w):
            kept.discard(w)
    costs = {(v, w): dearer(v, w) for v, w in pairs if v in kept and w in kept}
    found = []
    for row in p.seconds:
        own = {w for w in kept if math.isfinite(row[w])}
        for (v, w), cost in costs.items():
            if v in own and w in own and row[v] + cost <= row[w]:
                own.discard(w)
        found.append(tuple(sorted(own, key=lambda w, row=row: (row[w], w))))  # type: ignore[misc]
    return tuple(found)


class Tree:
    """Placements in the problem's order, stretch after stretch.

    Each stretch is searched on its own first, as if nothing took time to hand over: what all of
    them take is a bound of what is still to come, and their choices together are a good start.

    Attributes
    ----------
    choices : see `worthwhile`
    start : the best choices of each stretch on its own
    least_s : that no placement undercuts
    """

    def __init__(self, problem: PlacementProblem, most: int, progress: Progress) -> None:
        self.problem, self.most, self.progress = problem, most, progress
        self.choices = worthwhile(problem)
        stretches = problem.stretches
        at = {k: number for number, members in enumerate(stretches) for k in members}
        sizes = np.array([len(w.processors) for w in problem.workers])
        self.processors = len(frozenset().union(*(w.processors for w in problem.workers)))
        #: per subgraph, the least processor seconds, and the least way to the end of its stretch
        self.area = [float((problem.seconds[k] * sizes)[list(c)].min())
                     for k, c in enumerate(self.choices)]  # fmt: skip
        self.tail = [0.0] * len(at)
        for k in reversed(range(len(at))):
            after = [j for j in stretches[at[k]] if k in problem.partition.subgraphs[j].needs]
            self.tail[k] = max((float(problem.seconds[j].min()) + self.tail[j] for j in after),
                               default=0.0)  # fmt: skip
        free = replace(problem, passages=dict.fromkeys(problem.passages, Passage()))
        chosen, self.rest = [-1] * len(at), [0.0] * len(stretches)
        total = 0.0
        for number in reversed(range(len(stretches))):
            self.rest[number] = total
            total += self._alone(free, stretches[number], chosen)
        self.at, self.start, self.least_s = at, tuple(chosen), total

    def _alone(self, free: PlacementProblem, members: Sequence[int], chosen: list[int]) -> float:
        """Choose for one stretch; return seconds that it takes at the least."""
        order = [k for k in free.order if k in members]
        state = State(free)
        for k in order:
            ends = {}
            for w in self.choices[k]:
                ends[w] = state.put(k, w)
                state.take_back(k)
            chosen[k] = min(ends, key=lambda w: (ends[w], w))
            state.put(k, chosen[k], for_good=True)
        best = max(state.end[k] for k in members)

        def found(placement: Placement, seconds: float) -> None:
            nonlocal best
            best = seconds
            for k in order:
                chosen[k] = placement[k]

        if self._walk(free, order, [0.0] * len(self.choices), lambda: best, found):
            return best
        return max(
            sum(self.area[k] for k in members) / self.processors,
            max(float(free.seconds[k].min()) + self.tail[k] for k in members),
        )

    def search(self, limit: Callable[[], float], found: Callable[[Placement, float], None]) -> bool:
        """Call `found` with every placement that takes less than `limit`; say if all were seen."""
        rest = [self.rest[self.at[k]] for k in range(len(self.choices))]
        return self._walk(self.problem, self.problem.order, rest, limit, found)

    def _walk(
        self, problem: PlacementProblem, order: Sequence[int], rest: Sequence[float],
        limit: Callable[[], float], found: Callable[[Placement, float], None],
    ) -> bool:  # fmt: skip
        """Put subgraphs in order; `rest`: seconds after the stretch of each, at the least."""
        state, looked = State(problem), 0
        areas = [self.area[k] for k in order]
        # What is left of the stretch of each, to be shared out over the processors.
        left = [
            sum(a for a, j in zip(areas[depth + 1 :], order[depth + 1 :]) if rest[j] == rest[k])
            for depth, k in enumerate(order)
        ]
        chosen = [-1] * len(self.choices)
        stack = [iter(self.choices[order[0]])]
        while stack:
            depth = len(stack) - 1
            number = order[depth]
            if chosen[number] >= 0:
                state.take_back(number)
                chosen[number] = -1
            worker = next(stack[-1], None)
            if worker is None:
                stack.pop()
                continue
            looked += 1
            if looked > self.most:
                return False
            if looked % 4096 == 0:
                self.progress.step("trying all placements", looked, self.most)
            end = state.put(number, worker)
            chosen[number] = worker
            # What a subgraph waits for is in its end; from there the least way is still to come.
            least = rest[number] + max(
                end + self.tail[number], (state.busy_s() + left[depth]) / self.processors
            )
            if least * (1 - 1e-12) >= limit():
                continue
            if depth + 1 < len(order):
                stack.append(iter(self.choices[order[depth + 1]]))
                continue
            makespan = (
                state.timing().makespan_s if len(order) == len(chosen)
                else max(state.end[k] for k in order)
            )  # fmt: skip
            if makespan < limit():
                found(tuple(chosen), makespan)
        return True
