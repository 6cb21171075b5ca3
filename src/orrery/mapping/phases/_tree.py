"""All placements as a tree: what may be left out of it, and a search of what remains.

Models:  every placement in the problem's order, stretch after stretch: a branch is left when the
         longest way to the end of the stretch from its last subgraph, or the processors shared out
         evenly over what is left of it, and then the stretches to come, take as long as the best
         known. Before that, choices are struck out that another one can replace in every placement
         without anything ending later. Where subgraphs slow each other down none is surely so: all
         are tried, and a branch is left by times alone, or by what processors at least have to do.
Ignores: other orders than the problem's.
Judge:   brute force over all placements (tests/mapping/phases/test_exact.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from orrery.progress import Progress

from ._problem import Passage, PlacementProblem
from ._state import State

Placement = tuple[int, ...]


def worthwhile(problem: PlacementProblem) -> tuple[tuple[int, ...], ...]:
    """Return per subgraph the workers that some best placement needs, at the most.

    A worker is struck out for a subgraph when another of the same memory, on the same processors or
    some of them, is quicker by what the hand-overs to and from it may cost more; and for all
    subgraphs when the other is nowhere slower and its hand-overs cost no more. Times of a placement
    are sums and maxima of seconds, in an order that does not change, so that nothing ends later
    when one takes the place of the other. With company that is likely, and not certain: what ends
    sooner may come to run beside something else.
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

    beside = p.seconds if p.slower is None else p.seconds * p.slower
    both = np.stack([p.seconds, beside])

    def nowhere_dearer(v: int, w: int) -> bool:
        others = [x for x in range(count) if x not in (v, w)]
        return bool((both[..., v] <= both[..., w]).all()) and all(
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
    for row, slow in zip(p.seconds, beside):
        own = {w for w in kept if math.isfinite(row[w])}
        for (v, w), cost in costs.items():
            if v in own and w in own and row[v] + cost <= row[w] and slow[v] + cost <= slow[w]:
                own.discard(w)
        found.append(tuple(sorted(own, key=lambda w, row=row: (row[w], w))))  # type: ignore[misc]
    return tuple(found)


class Tree:
    """Placements in the problem's order, stretch after stretch.

    Each stretch is searched on its own first, as if nothing took time to hand over: what all of
    them take is a bound of what is still to come, and their choices together are a good start.

    Attributes
    ----------
    choices : see `worthwhile`; all of them where subgraphs slow each other down
    start : the best choices of each stretch on its own
    least_s : that no placement undercuts
    """

    def __init__(self, problem: PlacementProblem, most: int, progress: Progress) -> None:
        self.problem, self.most, self.progress = problem, most, progress
        self.choices = likely = worthwhile(problem)
        stretches = problem.stretches
        self.at = at = {k: number for number, members in enumerate(stretches) for k in members}
        self.processors = len(frozenset().union(*(w.processors for w in problem.workers)))
        fits = np.isfinite(problem.seconds)
        #: per subgraph, the least processor seconds: those that it has itself, and with those of
        #: its memory that nobody may use beside it
        own = problem.seconds * [len(worker.processors) for worker in problem.workers]
        self.own = own.min(axis=1).tolist()
        self.area = [float(problem.areas[k][fits[k]].min()) for k in range(len(at))]
        self.areas = problem.areas.tolist()
        #: the least way to the end of its stretch
        self.tail = [0.0] * len(at)
        for k in reversed(range(len(at))):
            after = [j for j in stretches[at[k]] if k in problem.partition.subgraphs[j].needs]
            self.tail[k] = max((float(problem.seconds[j].min()) + self.tail[j] for j in after),
                               default=0.0)  # fmt: skip
        free = replace(problem, passages=dict.fromkeys(problem.passages, Passage()))
        alone = replace(free, slower=None)
        chosen, self.rest = [-1] * len(at), [0.0] * len(stretches)
        total = 0.0
        for number in reversed(range(len(stretches))):
            self.rest[number] = total
            members = stretches[number]
            if problem.factors is None:
                total += self._alone(free, members, chosen)
                continue
            # Who waits for hand-overs may run beside others for less long, and all end sooner: what
            # a stretch takes without them is certain by times alone.
            self.choices = worthwhile(alone)
            least = self._alone(alone, members, [-1] * len(at))
            self.choices = likely
            self._alone(free, members, chosen)
            total += max(least, sum(self.area[k] for k in members) / self.processors)
        if problem.factors is not None:
            self.choices = tuple(
                tuple(sorted(np.flatnonzero(np.isfinite(row)).tolist(),
                             key=lambda w, row=row: (row[w], w)))  # type: ignore[misc]
                for row in problem.seconds
            )  # fmt: skip
        self.start, self.least_s = tuple(chosen), total

    def _alone(self, free: PlacementProblem, members: Sequence[int], chosen: list[int]) -> float:
        """Choose for one stretch; return seconds that it takes at the least."""
        order = [k for k in free.order if k in members]
        state = State(free)
        for turn, k in enumerate(order):
            ends = {}
            for w in self.choices[k]:
                state.put(k, w)
                ends[w] = state.ended_s(order[: turn + 1]), state.end[k]
                state.take_back(k)
            chosen[k] = min(ends, key=lambda w: (ends[w], w))
            state.put(k, chosen[k], for_good=True)
        best = state.ended_s(order)

        def found(placement: Placement, seconds: float) -> None:
            nonlocal best
            best = seconds
            for k in order:
                chosen[k] = placement[k]

        if self._walk(free, order, [0.0] * len(self.choices), lambda: best, found):
            return best
        areas = self.own if free.factors is None else self.area
        return max(
            sum(areas[k] for k in members) / self.processors,
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
        state, looked, slows = State(problem), 0, problem.factors is not None
        # What is left of the stretch of each, to be shared out over the processors: beside when
        # they are free again only what it has itself, as their waiting is in that already.
        left, crowded = (
            [
                sum(areas[j] for j in order[depth + 1 :] if self.at[j] == self.at[k])
                for depth, k in enumerate(order)
            ]
            for areas in (self.own, self.area)
        )
        chosen, done = [-1] * len(self.choices), [0.0] * (len(order) + 1)
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
            if slows:
                # Beside that, the processor seconds of this stretch: more of them in company.
                first = depth == 0 or self.at[order[depth - 1]] != self.at[number]
                done[depth + 1] = (0.0 if first else done[depth]) + self.areas[number][worker]
                least = max(least, rest[number] + state.since
                            + (done[depth + 1] + crowded[depth]) / self.processors)  # fmt: skip
            if least * (1 - 1e-12) >= limit():
                continue
            if depth + 1 < len(order):
                stack.append(iter(self.choices[order[depth + 1]]))
                continue
            makespan = (
                state.timing().makespan_s if len(order) == len(chosen)
                else state.ended_s(order)
            )  # fmt: skip
            if makespan < limit():
                found(tuple(chosen), makespan)
        return True
