"""Where a placement stands among all there are, as predicted and, as far as affordable, measured.

Models:  nothing; it enumerates and measures. Placements are measured in turn, those predicted best
         first; the quickest of many noisy medians is quick by luck too, so that it meets ours again
         in rounds of its own, and only these give the gap.
Judge:   made-up workers of known times (tests/studies/duet/test_sweep.py).
"""

from __future__ import annotations

from collections.abc import Callable

from orrery.mapping.phases import (
    PlacementProblem,
    all_placements,
    best_placement,
    greedy_correction,
    quickest_placements,
    single_workers,
    standing,
)
from orrery.progress import Progress

from ._case import IN_TURN, Effort, Point, Sweep
from ._rounds import Way, in_rounds

Placement = tuple[int, ...]

_MOST_MEASURED = 256


def survey(
    problem: PlacementProblem,
    ours: Placement,
    way: Callable[[Placement], Way],
    in_turn: Callable[[Placement], Way],
    effort: Effort,
    progress: Progress,
) -> Sweep:
    """Rank a placement among all by prediction, and among those that are measured.

    Parameters
    ----------
    way : makes a placement ready to run
    in_turn : makes it ready to run its subgraphs one at a time, and takes what they take together
    """
    corrected = greedy_correction(problem)
    exact = best_placement(problem, most=effort.looked, progress=progress)
    stands = standing(problem, ours, best=exact, most=effort.looked, progress=progress)
    rank = stands.rank if stands.rank_proved else None
    # Nothing quicker than ours proves it as well.
    least = exact.predicted_s if exact.proved or rank == 1 else None
    what = {ours: "ours"}
    what.setdefault(corrected.placement, "greedy-correction, by prediction")
    what.setdefault(exact.placement, "the quickest as predicted")
    for worker, placement in single_workers(problem).items():
        what.setdefault(placement, f"all on {problem.workers[worker].name}")
    typical = max(problem.timing(ours).makespan_s, 1e-6)
    many = max(1, min(int(effort.sweep_s / (effort.sweep_rounds * typical)), _MOST_MEASURED))
    near = (
        all_placements(problem) if stands.placements <= many else
        quickest_placements(problem, many, most=effort.looked, progress=progress)
    )  # fmt: skip
    for placement in near:
        what.setdefault(placement, "predicted among the best")
    ready = {placement: way(placement) for placement in what}
    names = {placement: str(number) for number, placement in enumerate(what)}
    found = in_rounds(
        {IN_TURN: in_turn(ours), **{names[p]: ready[p] for p in what}},
        rounds=effort.sweep_rounds, most_s=2 * effort.sweep_s,
        warmup=1, progress=progress, task="measuring placements",
    )  # fmt: skip
    points = tuple(
        Point(what=said, placement=p, predicted_s=problem.timing(p).makespan_s,
              measured_s=found.median_s(names[p]))
        for p, said in what.items()
    )  # fmt: skip
    gap, interval = 0.0, (0.0, 0.0)
    if len(points) > 1:
        rival = min(points[1:], key=lambda point: point.measured_s).placement
        again = in_rounds(
            {"ours": ready[ours], "rival": ready[rival]}, rounds=10 * effort.sweep_rounds,
            most_s=effort.sweep_s, progress=progress, task="ours against the best other",
        )  # fmt: skip
        ratio, (low, high) = again.speedup("rival", "ours")
        gap, interval = ratio - 1, (low - 1, high - 1)
    return Sweep(
        total=stands.placements, corrected_s=corrected.predicted_s, exact_s=least, rank=rank,
        points=points, gap=gap, interval=interval, least_s=least or exact.least_s or None,
        pace=problem.paced(ours, found.median_s(IN_TURN)),
    )  # fmt: skip
