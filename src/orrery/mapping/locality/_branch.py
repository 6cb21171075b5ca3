"""Raise a lower bound by branching: a layer runs on an accelerator, or it does not.

Models:  best first, always the case with the least bound is divided in two. The layer to divide
         by is the one whose accelerator the minimisers of the Lagrangian agree on least, weighed
         by its seconds. The bound is the least over all open cases; once it reaches the makespan
         of a known schedule, that schedule is optimal.
Ignores: the order on an accelerator, beyond what the rows say of it: with every layer placed a
         case may still be bounded below its optimum, and is then left as it is.
Judge:   brute force on small problems: never above the optimum.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np

from orrery.progress import SILENT, Progress, Step

from ._bound import LocalityBound, Rows, bound_rows, sent_cases
from ._problem import LocalityProblem

#: Work on each case: fewer rounds than at the root, because its weights start from its parent's.
_ROUNDS, _STEPS = 4, 150


def branch_bound(
    problem: LocalityProblem, bound: LocalityBound, *, makespan_s: float, cases: int = 400,
    rounds: int = 30, steps: int = 400, progress: Progress = SILENT,
) -> LocalityBound:  # fmt: skip
    """Return a bound at least as good, with `cases` cases divided at most.

    Parameters
    ----------
    bound : what is known already
    makespan_s : of a valid schedule; cases that cannot be faster are closed
    rounds, steps : effort at the root
    progress : told of every case; when cancelled, the bound so far is returned
    """
    closed = makespan_s * (1 - 1e-9)
    heap: list[tuple[float, int, Rows]] = []
    for number, sent in enumerate(sent_cases(problem)):
        rows = Rows(problem, sent)
        heap.append((bound_rows(rows, rounds, steps, progress), number, rows))
    heapq.heapify(heap)
    count, best, done = len(heap), closed, 0
    while heap and done < cases and heap[0][0] < closed and not progress.cancelled():
        value, _, rows = heapq.heappop(heap)
        progress.report(
            Step(task="branching", done=done, total=cases, best=makespan_s, bound=min(best, value))
        )
        done += 1
        chosen = _layer_to_divide(rows)
        if chosen is None:
            best = min(best, value)
            continue
        layer, device = chosen
        for here in (True, False):
            compute = rows.compute.copy()
            if here:
                compute[layer, np.arange(compute.shape[1]) != device] = np.inf
            else:
                compute[layer, device] = np.inf
            child = rows.branch(compute)
            lower = max(value, bound_rows(child, _ROUNDS, _STEPS, SILENT))
            if lower < closed:
                heapq.heappush(heap, (lower, count, child))
                count += 1
    found = min(best, heap[0][0]) if heap else best
    if found <= bound.value_s:
        return bound
    return replace(bound, value_s=found, reason="branched", branched_s=found)


def _layer_to_divide(rows: Rows) -> tuple[int, int] | None:
    """Return the layer that is spread most over accelerators, and where most of it is."""
    total = rows.average.sum(axis=1)
    share = rows.average.max(axis=1)
    choice = np.isfinite(rows.compute).sum(axis=1) > 1
    spread = np.where(choice, total - share + 1e-9 * total, -1.0)
    layer = int(spread.argmax())
    if spread[layer] < 0:
        return None
    device = int(rows.average[layer].argmax())
    if not np.isfinite(rows.compute[layer, device]):
        device = int(rows.compute[layer].argmin())
    return layer, device
