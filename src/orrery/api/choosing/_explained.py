"""A placement watched at work: where its time goes, and what forbids less."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ._choice import PLACED, Choice, Effort, Found
from ._search import tries
from ._ways import Ways

if TYPE_CHECKING:
    from orrery.mapping.phases import Standing


def explained(
    choice: Choice, ways: Ways, greedy: Standing, kept: Standing, effort: Effort
) -> Found:
    """Watch the placement at work and say where its time goes."""
    from orrery.mapping.phases import best_placement, bounds_of, losses_of

    problem, placement = choice.problem, choice.placed.placement
    measured, alone_s = ways.observed(placement, choice.networks[PLACED],
                                      most_s=effort.observed_s)  # fmt: skip
    # What follows from times of the profile is as the machine is now.
    pace = choice.paced(alone_s) or 1.0
    bounds, company = bounds_of(problem).at(pace), None
    exact, limit_s = kept.best, None
    if problem.factors is not None:
        company = bounds_of(problem.apart).at(pace)
        limit_s = pace * exact.predicted_s if exact.proved else company.best_s
        exact = best_placement(replace(problem, slower=None), most=tries(problem))
    bound_s = pace * exact.predicted_s if exact.proved else bounds.best_s
    losses = losses_of(
        problem, measured, alone_s, whole_s=choice.comparison.median_s(choice.single),
        whole_on=[w.name for w in problem.workers].index(choice.single),
        bound_s=bound_s, limit_s=None if limit_s is None else max(limit_s, bound_s), pace=pace,
        compared_s=choice.comparison.median_s(PLACED),
    )  # fmt: skip
    return Found(measured=measured, alone_s=alone_s, losses=losses, bounds=bounds, greedy=greedy,
                 kept=kept, company=company)  # fmt: skip
