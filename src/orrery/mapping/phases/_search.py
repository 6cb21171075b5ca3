"""Which worker runs which subgraph: greedy-correction, and all placements where they are few.

Models:  greedy: phase by phase, the longest subgraph first, each where its phase then ends first.
         Correction: subgraphs of the critical path move, subgraphs of one phase swap, all of one
         phase move together; a change stays when the whole becomes quicker, by the problem's own
         timing or by a measurement that is handed in. The whole network on one worker is always
         among the candidates. Exact: every placement, by branch and bound.
Ignores: other orders than the problem's.
Judge:   brute force over all placements (tests/mapping/phases/test_search.py).
Source:  DUET, IPDPS 2021, greedy-correction; the moves of whole phases are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from orrery.progress import SILENT, Progress

from ._problem import PlacementProblem, State

__all__ = ["Correction", "Placed", "all_placements", "best_placement", "greedy_correction",
           "single_workers"]  # fmt: skip

Placement = tuple[int, ...]
Measure = Callable[[Placement], float]

#: A change must win by so much to stay, so that noise does not walk in circles.
LEAST_GAIN = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A change that was tried.

    Attributes
    ----------
    seconds : of the whole after it, as `by` says
    kept : whether it stayed
    by : ``predicted`` or ``measured``
    """

    what: str
    seconds: float
    kept: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A placement that a search stands by.

    Attributes
    ----------
    seconds : measured where a measurement was handed in, else predicted
    predicted_s : by the problem's timing
    log : changes in the order in which they were tried
    proved : no placement is predicted to be quicker
    """

    placement: Placement
    seconds: float
    predicted_s: float
    log: tuple[Correction, ...] = ()
    proved: bool = False


def single_workers(problem: PlacementProblem) -> dict[int, Placement]:
    """Return the placements of everything on one worker, for workers that can run everything."""
    able = np.isfinite(problem.seconds).all(axis=0)
    count = len(problem.partition.subgraphs)
    return {int(w): (int(w),) * count for w in np.flatnonzero(able)}


def greedy_correction(
    problem: PlacementProblem,
    measure: Measure | None = None,
    *,
    most_measured: int = 64,
    progress: Progress = SILENT,
) -> Placed:
    """Place subgraphs greedily, then correct while it helps.

    Parameters
    ----------
    measure : placement -> seconds of the whole, really run. Corrections are then tried in the
        order of what they are predicted to bring, and only measured gains stay
    most_measured : different placements that may be measured

    Raises
    ------
    CancelledError : the user asked to stop
    """
    meter = _Meter(problem, measure, most_measured, progress)
    start = _greedy(problem)
    candidates = {start: "greedy"}
    for worker, placement in single_workers(problem).items():
        candidates.setdefault(placement, f"all on {problem.workers[worker].name}")
    # All moves by prediction first: they cost nothing.
    improved = min((_descend(problem, one) for one in candidates),
                   key=lambda one: problem.timing(one).makespan_s)  # fmt: skip
    candidates.setdefault(improved, "corrected as predicted")
    for placement, what in candidates.items():
        meter.try_(what, placement)
    if measure is not None:
        while meter.left > 0 and any(
            meter.try_(what, placement)
            for what, placement in _promising(problem, meter.best)
            if meter.left > 0
        ):
            pass
    predicted_s = problem.timing(meter.best).makespan_s
    return Placed(placement=meter.best, seconds=meter.seconds, predicted_s=predicted_s,
                  log=tuple(meter.log))  # fmt: skip


@dataclass(slots=True)
class _Meter:
    """Keeps the best placement; measures none twice."""

    problem: PlacementProblem
    measure: Measure | None
    left: int
    progress: Progress
    best: Placement = ()
    seconds: float = float("inf")
    log: list[Correction] = field(default_factory=list)
    known: set[Placement] = field(default_factory=set)

    def try_(self, what: str, placement: Placement) -> bool:
        """Look at a placement; say whether it became the best."""
        if placement in self.known:
            return False
        self.known.add(placement)
        self.progress.step("placing subgraphs", len(self.known), len(self.known) + 1)
        if self.measure is None:
            seconds, by = self.problem.timing(placement).makespan_s, "predicted"
        else:
            seconds, by = self.measure(placement), "measured"
            self.left -= 1
        kept = seconds < self.seconds * (1 - LEAST_GAIN if self.best and self.measure else 1)
        if kept:
            self.best, self.seconds = placement, seconds
        self.log.append(Correction(what=what, seconds=seconds, kept=kept, by=by))
        return kept


def _greedy(problem: PlacementProblem) -> Placement:
    state, chosen = State(problem), [-1] * len(problem.partition.subgraphs)
    phase_of = [s.phase for s in problem.partition.subgraphs]
    # Subgraphs are numbered so that what one needs comes before; longest first within a phase.
    longest = np.where(np.isfinite(problem.seconds), problem.seconds, 0.0).max(axis=1)
    groups: list[list[int]] = []
    for number, phase in enumerate(phase_of):
        if groups and phase_of[groups[-1][0]] == phase:
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        until = 0.0
        for number in sorted(group, key=lambda k: (-longest[k], k)):
            ends = []
            for worker in np.flatnonzero(np.isfinite(problem.seconds[number])):
                end = state.put(number, int(worker))
                state.take_back(number)
                ends.append((max(end, until), end, int(worker)))
            until, _, chosen[number] = min(ends)
            state.put(number, chosen[number])
    return tuple(chosen)


def _changes(problem: PlacementProblem, placement: Placement) -> Iterator[tuple[str, Placement]]:
    """Yield changes: moves on the critical path, swaps within phases, moves of phases."""
    names = [s.region.name for s in problem.partition.subgraphs]
    workers = [w.name for w in problem.workers]
    fits = np.isfinite(problem.seconds)

    def moved(numbers: Iterable[int], worker: int) -> Placement | None:
        found = list(placement)
        for number in numbers:
            if not fits[number, worker]:
                return None
            found[number] = worker
        return tuple(found) if tuple(found) != placement else None

    for number in problem.timing(placement).critical_path():
        for worker in range(len(workers)):
            if (found := moved((number,), worker)) is not None:
                yield f"{names[number]} to {workers[worker]}", found
    for phase in problem.partition.phases:
        inside = phase.subgraphs
        for i, a in enumerate(inside):
            for b in inside[i + 1 :]:
                if placement[a] != placement[b] and fits[a, placement[b]] and fits[b, placement[a]]:
                    swapped = list(placement)
                    swapped[a], swapped[b] = placement[b], placement[a]
                    yield f"{names[a]} and {names[b]} swapped", tuple(swapped)
        if len(inside) > 1:
            for worker in range(len(workers)):
                if (found := moved(inside, worker)) is not None:
                    yield f"{', '.join(names[k] for k in inside)} to {workers[worker]}", found


def _descend(problem: PlacementProblem, placement: Placement) -> Placement:
    """Return a placement that no change is predicted to better."""
    seconds = problem.timing(placement).makespan_s
    while True:
        found = min(
            ((problem.timing(p).makespan_s, p) for _, p in _changes(problem, placement)),
            default=(seconds, placement),
        )
        if not found[0] < seconds:
            return placement
        seconds, placement = found


def _promising(problem: PlacementProblem, placement: Placement) -> list[tuple[str, Placement]]:
    """Return changes whose prediction is not much worse, the most promising first."""
    now = problem.timing(placement).makespan_s
    rated = [(problem.timing(p).makespan_s, what, p) for what, p in _changes(problem, placement)]
    return [(what, p) for seconds, what, p in sorted(rated) if seconds <= 1.1 * now]


def best_placement(problem: PlacementProblem, *, most: int = 1_000_000) -> Placed | None:
    """Return a placement that no other is predicted to undercut, in the problem's order.

    Parameters
    ----------
    most : subgraphs that may be put somewhere on the way; None is returned beyond
    """
    start = _descend(problem, _greedy(problem))
    for placement in single_workers(problem).values():
        start = min(start, placement, key=lambda p: problem.timing(p).makespan_s)
    best, seconds = start, problem.timing(start).makespan_s
    state, order, looked = State(problem), problem.order, 0
    chosen = [-1] * len(order)
    choices = [
        [int(w) for w in np.argsort(problem.seconds[k], kind="stable")
         if np.isfinite(problem.seconds[k, w])]
        for k in order
    ]  # fmt: skip
    # The wait for others is in `begin`; from there on the least way to the end is still to come.
    stack = [iter(choices[0])]
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
        if looked > most:
            return None
        end = state.put(number, worker)
        chosen[number] = worker
        least = problem.seconds[number].min()
        if end + problem.tails[number] - least >= seconds:
            continue
        if depth + 1 < len(order):
            stack.append(iter(choices[depth + 1]))
            continue
        makespan = state.timing().makespan_s
        if makespan < seconds:
            best, seconds = tuple(chosen), makespan
    return Placed(placement=best, seconds=seconds, predicted_s=seconds, proved=True)


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
