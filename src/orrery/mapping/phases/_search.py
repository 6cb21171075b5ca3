"""Which worker runs which subgraph: greedy, then corrected by prediction and by racing.

Models:  greedy: phase by phase, the longest subgraph first, each where its phase then ends first;
         and stretch by stretch, each as well as can be on its own.
         Correction: subgraphs of the critical path move, subgraphs of one phase swap, all of one
         phase move together, and a few in a row are placed anew as well as can be (`_windows`); a
         change stays when the whole is predicted to become quicker. With a race that is handed in,
         the best of these, what the caller adds and the whole on one worker then really run against
         each other, and so do changes of the winner: only what is surely quicker stays.
Ignores: other orders than the problem's.
Judge:   brute force over all placements; races with made-up times and noise
         (tests/mapping/phases/test_search.py).
Source:  DUET, IPDPS 2021, greedy-correction; races, the moves of whole phases, stretches and
         windows are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from orrery.errors import SpecError
from orrery.progress import SILENT, Progress

from ._problem import PlacementProblem
from ._state import State
from ._tree import Placement, Tree
from ._windows import better_windows

#: A change that moves less than this share of the whole can gain no more, which nobody can measure.
_WORTH = 0.005

#: A change is worth running when it is predicted to take no more than so much of the best so far.
_PROMISING = 1.2


#: A candidate runs only if it is predicted to take no more than so much of the quickest one.
_NEAR = 1.5

#: Placements from which corrections by prediction set out, the quickest.
_STARTS = 3

#: How often a subgraph may be put somewhere while a stretch is placed on its own.
_LOOKS = 2_000

#: So few subgraphs are one window, in which they may be put somewhere so often.
_FEW, _FEW_LOOKS = 12, 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a placement did in a race.

    Attributes
    ----------
    seconds : median; None: it could not run
    quicker : how many times quicker than the first placement of the race, lowest and highest
        likely value; None for that one itself, and without rounds
    rounds : that it ran
    note : why it could not run
    """

    seconds: float | None
    quicker: tuple[float, float, float] | None = None
    rounds: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced:
    """A race: what became of each placement, in their order, and which is surely the quickest.

    Attributes
    ----------
    winner : the first one, unless another was surely quicker; None: none of them could run
    """

    runs: tuple[Ran, ...]
    winner: int | None


#: Runs placements in turn, the best so far first.
Race = Callable[[Sequence[Placement]], Raced]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A change that was tried.

    Attributes
    ----------
    seconds : of the whole after it, as `by` says; None: it could not run
    kept : whether it became the best
    by : ``predicted`` or ``measured``
    quicker, rounds, note : see `Ran`; over the best before it
    """

    what: str
    seconds: float | None
    kept: bool
    by: str
    quicker: tuple[float, float, float] | None = None
    rounds: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A placement that a search stands by.

    Attributes
    ----------
    seconds : measured where a race was handed in, else predicted
    predicted_s : by the problem's timing
    log : changes in the order in which they were tried
    proved : no placement is predicted to be quicker
    least_s : that no placement is predicted to undercut, as far as that was proved
    """

    placement: Placement
    seconds: float
    predicted_s: float
    log: tuple[Correction, ...] = ()
    proved: bool = False
    least_s: float = 0.0


def single_workers(problem: PlacementProblem) -> dict[int, Placement]:
    """Return the placements of everything on one worker, for workers that can run everything."""
    able = np.isfinite(problem.seconds).all(axis=0)
    count = len(problem.partition.subgraphs)
    return {int(w): (int(w),) * count for w in np.flatnonzero(able)}


def greedy_correction(
    problem: PlacementProblem,
    race: Race | None = None,
    *,
    corrected: Placement | None = None,
    also: Mapping[Placement, str] | None = None,
    most_raced: int = 32,
    at_once: int = 4,
    go_on: Callable[[], bool] = lambda: True,
    progress: Progress = SILENT,
) -> Placed:
    """Place subgraphs greedily, then correct while it helps.

    Parameters
    ----------
    race : runs placements against each other. Without it predictions decide
    corrected : what comes out without a race, where that is known
    also : further candidates and what they are, e.g. the best of an exact search
    most_raced : placements that may run; the quickest whole on one worker runs in any case
    at_once : placements that race against the best so far at a time
    go_on : asked before each race but the first; False ends the search

    Raises
    ------
    SpecError : none of the placements that were raced could run
    CancelledError : the user asked to stop
    """
    candidates = {greedy(problem): "greedy"}
    # Greedy takes whole machines, which are done first; parts of them work side by side.
    candidates.setdefault(greedy(problem, smallest_workers(problem)), "greedy on the smallest sets")
    candidates.setdefault(Tree(problem, _LOOKS, progress).start, "each stretch on its own")
    singles = single_workers(problem)
    for worker, placement in singles.items():
        candidates.setdefault(placement, f"all on {problem.workers[worker].name}")
    # All moves by prediction first: they cost nothing.
    improved = corrected
    if improved is None:
        starts = sorted(candidates, key=_predicted(problem))[:_STARTS]
        improved = min((descend(problem, one) for one in starts), key=_predicted(problem))
        improved = better_windows(problem, improved)
        if len(problem.order) <= _FEW:
            improved = better_windows(problem, improved, width=_FEW, looks=_FEW_LOOKS)
    candidates.setdefault(improved, "corrected as predicted")
    for placement, what in (also or {}).items():
        candidates.setdefault(placement, what)
    seconds = {one: problem.timing(one).makespan_s for one in candidates}
    order = sorted(candidates, key=lambda one: (seconds[one], one != improved))
    if race is None:
        log = [Correction(what=candidates[one], seconds=seconds[one], kept=one == order[0],
                          by="predicted") for one in order]  # fmt: skip
        return Placed(placement=order[0], seconds=seconds[order[0]],
                      predicted_s=seconds[order[0]], log=tuple(log))  # fmt: skip
    steward = _Steward(race, most_raced, progress)
    single = min(singles.values(), key=_predicted(problem), default=None)
    # What is predicted to be far off stays at home, but the quickest single worker never does.
    near = [one for one in order if seconds[one] <= _NEAR * seconds[order[0]] and one != single]
    near.sort(key=lambda one: one not in (also or {}))
    entered = near[: max(1, min(most_raced - (single is not None), at_once))]
    entered += [] if single is None else [single]
    steward.hold({one: candidates[one] for one in order if one in entered})
    for one in order:
        if one not in steward.known:
            steward.log.append(Correction(what=candidates[one], seconds=seconds[one], kept=False,
                                          by="predicted"))  # fmt: skip
    while steward.left > 0 and go_on():
        fresh = {p: what for what, p in _promising(problem, steward.best) if p not in steward.known}
        entrants = dict(list(fresh.items())[: min(at_once, steward.left)])
        if not entrants:
            break
        steward.hold(entrants)
    return Placed(placement=steward.best, seconds=steward.seconds, log=tuple(steward.log),
                  predicted_s=problem.timing(steward.best).makespan_s)  # fmt: skip


def _predicted(problem: PlacementProblem) -> Callable[[Placement], float]:
    return lambda placement: problem.timing(placement).makespan_s


@dataclass(slots=True)
class _Steward:
    """Keeps the best placement; enters none twice, save the best."""

    race: Race
    left: int
    progress: Progress
    best: Placement = ()
    seconds: float = float("inf")
    log: list[Correction] = field(default_factory=list)
    known: set[Placement] = field(default_factory=set)

    def hold(self, entrants: Mapping[Placement, str]) -> None:
        """Race the best so far against others."""
        self.progress.step("placing subgraphs", len(self.known), len(self.known) + self.left)
        field_ = [*([self.best] if self.best else []), *entrants]
        found = self.race(field_)
        self.known.update(entrants)
        self.left -= len(entrants)
        for placement, ran in zip(field_, found.runs, strict=True):
            if placement in entrants:
                kept = found.winner is not None and placement == field_[found.winner]
                self.log.append(Correction(
                    what=entrants[placement], seconds=ran.seconds, kept=kept, by="measured",
                    quicker=ran.quicker, rounds=ran.rounds, note=ran.note,
                ))  # fmt: skip
        if found.winner is None:
            why = "; ".join(dict.fromkeys(run.note for run in found.runs if run.note))
            raise SpecError("placement", found=f"none that runs: {why}", wanted="one or more",
                            fix="leave out the back end or device that fails")  # fmt: skip
        self.best = field_[found.winner]
        self.seconds = found.runs[found.winner].seconds or 0.0


def smallest_workers(problem: PlacementProblem) -> tuple[int, ...]:
    """Return workers that occupy nothing that a smaller one could not leave to others."""
    sets = [w.processors for w in problem.workers]
    return tuple(k for k, own in enumerate(sets) if not any(other < own for other in sets))


def greedy(problem: PlacementProblem, allowed: Sequence[int] = ()) -> Placement:
    """Return the greedy placement: longest first within a phase, each where that ends first.

    Parameters
    ----------
    allowed : workers to choose from, where one of them can run a subgraph; none: all
    """
    state, chosen = State(problem), [-1] * len(problem.partition.subgraphs)
    phase_of = [s.phase for s in problem.partition.subgraphs]
    # Subgraphs are numbered so that what one needs comes before; longest first within a phase.
    longest = np.where(np.isfinite(problem.seconds), problem.seconds, 0.0).max(axis=1)
    groups: list[list[int]] = []
    at = problem.stretch_of  # a stretch is put whole before the next one
    for number, phase in enumerate(phase_of):
        before = groups[-1][0] if groups else -1
        if groups and phase_of[before] == phase and at[before] == at[number]:
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        until, put = 0.0, list[int]()
        for number in sorted(group, key=lambda k: (-longest[k], k)):
            ends = []
            able = np.flatnonzero(np.isfinite(problem.seconds[number])).tolist()
            for worker in [w for w in able if w in allowed] or able:
                end = state.put(number, worker)
                ends.append((max(state.ended_s([*put, number]), until), end, worker))
                state.take_back(number)
            until, _, chosen[number] = min(ends)
            state.put(number, chosen[number])
            put.append(number)
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


def _pairs(problem: PlacementProblem, placement: Placement) -> Iterator[Placement]:
    """Yield placements of two subgraphs of one phase anew, one of them on the critical path."""
    able = [np.flatnonzero(np.isfinite(row)).tolist() for row in problem.seconds]
    subgraphs = problem.partition.subgraphs
    for a in problem.timing(placement).critical_path():
        for b in problem.partition.phases[subgraphs[a].phase].subgraphs:
            for there in able[a] if b != a else ():
                for here in able[b]:
                    if there != placement[a] and here != placement[b]:
                        found = list(placement)
                        found[a], found[b] = there, here
                        yield tuple(found)


def descend(problem: PlacementProblem, placement: Placement) -> Placement:
    """Return a placement that no change, and none of two at once, is predicted to better."""
    seconds = problem.timing(placement).makespan_s
    while True:
        before = seconds
        for changes in ((p for _, p in _changes(problem, placement)), _pairs(problem, placement)):
            start = placement
            for changed in changes:
                # What changes is put into the best so far, so that one round betters many phases.
                tried = tuple(now if new == old else new
                              for new, old, now in zip(changed, start, placement))  # fmt: skip
                made = problem.makespan_s(tried, seconds)
                if made < seconds:
                    placement, seconds = tried, made
            if seconds < before:
                break
        if not seconds < before:
            return placement


def _promising(problem: PlacementProblem, placement: Placement) -> list[tuple[str, Placement]]:
    """Return changes whose prediction is not much worse, the most promising first."""
    now = problem.timing(placement).makespan_s
    rated = []
    for what, changed in _changes(problem, placement):
        moved = sum(float(problem.seconds[k, w]) for k, w in enumerate(placement)
                    if changed[k] != w)  # fmt: skip
        seconds = problem.timing(changed).makespan_s
        if moved > _WORTH * now and seconds <= _PROMISING * now:
            rated.append((seconds, what, changed))
    return [(what, changed) for _, what, changed in sorted(rated)]
