"""Where the time of a placed network goes, from measurements: what forbids a gain, or ate it.

Models:  the time of a placement as its measured critical path: what its subgraphs take alone, what
         they take longer in company, and what passes between one's end and the next one's begin.
         Beside it, what the whole takes on one worker, what its parts take there one after the
         other, and what no placement undercuts.
Ignores: why a subgraph is slower in company (shared memory bandwidth, caches, clock, a busy
         machine): that is not told by times.
Judge:   made-up workers, one for each cause (tests/mapping/phases/test_explain.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ._problem import PlacementProblem
from ._state import Timing

Cause = Literal["bound", "limit", "cuts", "company", "drift", "hand-over", "split", "even"]

#: What takes less than this share of the whole is not called a cause.
_MATTERS = 0.02

#: A bound that its own placement, its parts timed anew, would undercut by more does not hold.
_UNDERCUT = 0.05

#: A subgraph has company when others run during more than this share of it.
_COMPANY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A reason why a placement is no quicker than the whole on one worker.

    Attributes
    ----------
    cause : ``bound`` no placement could be; ``limit`` none could with company as it was measured;
        ``cuts`` the parts take longer than the whole on the same worker; ``company`` subgraphs of
        the critical path are slower beside others than alone; ``drift`` they are slower in a
        request with nothing beside them; ``hand-over`` nothing runs between its subgraphs;
        ``split`` even alone and at once, the subgraphs of the critical path take as long; ``even``
        nothing of this, the two are as good as equal
    seconds : that it costs; for ``bound``, ``limit`` and ``split``, that it takes
    """

    cause: Cause
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The time of a placement, taken apart.

    Attributes
    ----------
    whole_s, placed_s : measured; the whole on one worker, and the placement
    parts_s : sum of the subgraphs on the worker of the whole, one after the other, at the pace of
        what was measured; None where it cannot run one
    path : the critical path as measured
    path_s : what its subgraphs take alone
    company_s : what those of them that others run beside take longer in a request
    drift_s : what the rest of them takes longer or shorter; the machine's speed changes
    hand_over_s : what passes between them, before the first and after the last
    undercut_s : what the placement takes below the bound, as measured, compared or as follows from
        its parts alone: the bound's times were not the least, and it proves nothing; None: it holds
    limit_s : that no placement undercuts if subgraphs slow each other down as they did while they
        were timed; None: not known, or undercut like the bound
    slower : how many times longer subgraphs take that ran beside another one; None if none did
    causes : the largest first
    """

    whole_s: float
    placed_s: float
    parts_s: float | None
    bound_s: float
    path: tuple[int, ...]
    path_s: float
    company_s: float
    drift_s: float
    hand_over_s: float
    undercut_s: float | None
    slower: float | None
    causes: tuple[Loss, ...]
    limit_s: float | None = None


def losses_of(
    problem: PlacementProblem, measured: Timing, alone_s: Sequence[float], *, whole_s: float,
    whole_on: int, bound_s: float, limit_s: float | None = None, pace: float = 1.0,
    compared_s: float = math.inf,
) -> Losses:  # fmt: skip
    """Take the time of a placement apart.

    Parameters
    ----------
    measured : medians of requests, as `PlacementProblem.observed` makes them
    alone_s : per subgraph, on the same worker with nothing beside it
    whole_s, whole_on : seconds of the network in one piece, and the number of the worker
    bound_s : that no placement undercuts, at the pace of what was measured
    limit_s : the same with company as it was measured
    pace : how many times as long as in the problem subgraphs took, one at a time
    compared_s : that the placement took in turn with other ways; infinite: it was not compared
    """
    path = measured.critical_path()
    took = [measured.end[k] - measured.begin[k] for k in range(len(alone_s))]
    path_s = sum(alone_s[k] for k in path)
    beside = [k for k in range(len(took)) if _accompanied(measured, k)]
    company_s = sum(took[k] - alone_s[k] for k in path if k in beside)
    drift_s = sum(took[k] - alone_s[k] for k in path if k not in beside)
    hand_over_s = measured.makespan_s - sum(took[k] for k in path)
    single = sum(alone_s[k] for k in beside)
    column = problem.seconds[:, whole_on]
    parts_s = pace * float(column.sum()) if np.isfinite(column).all() else None
    least = _MATTERS * whole_s
    costs: list[Loss] = []
    if parts_s is not None and parts_s - whole_s > least:
        costs.append(Loss(cause="cuts", seconds=parts_s - whole_s))
    if company_s > least:
        costs.append(Loss(cause="company", seconds=company_s))
    if drift_s > least:
        costs.append(Loss(cause="drift", seconds=drift_s))
    if hand_over_s > least:
        costs.append(Loss(cause="hand-over", seconds=hand_over_s))
    costs.sort(key=lambda loss: -loss.seconds)
    # The bound is of times alone, and so is what it is held against; the limit knows of company.
    took_s, now = min(measured.makespan_s, compared_s), [s / pace for s in alone_s]
    least_s = min(took_s, pace * _anew(replace(problem, slower=None), measured.worker, now))
    undercut_s = least_s if least_s < (1 - _UNDERCUT) * bound_s else None
    beside_s = min(took_s, pace * _anew(problem, measured.worker, now))
    if limit_s is not None and beside_s < (1 - _UNDERCUT) * limit_s:
        limit_s = None
    holds = undercut_s is None and took_s > (1 - _MATTERS) * bound_s
    if holds and bound_s > (1 - _MATTERS) * whole_s:
        costs.insert(0, Loss(cause="bound", seconds=bound_s))
    elif limit_s is not None and limit_s > (1 - _MATTERS) * whole_s:
        costs.insert(0, Loss(cause="limit", seconds=limit_s))
    elif path_s > (1 - _MATTERS) * whole_s:
        costs.append(Loss(cause="split", seconds=path_s))
    if not costs:
        costs.append(Loss(cause="even", seconds=measured.makespan_s - whole_s))
    return Losses(
        whole_s=whole_s, placed_s=measured.makespan_s, parts_s=parts_s, bound_s=bound_s, path=path,
        path_s=path_s, company_s=company_s, drift_s=drift_s, hand_over_s=hand_over_s,
        undercut_s=undercut_s, limit_s=limit_s,
        slower=sum(took[k] for k in beside) / single if single > 0 else None, causes=tuple(costs),
    )  # fmt: skip


def _anew(problem: PlacementProblem, placement: Sequence[int], alone_s: Sequence[float]) -> float:
    """Return what a placement is predicted to take from its parts as they were timed last."""
    seconds = problem.seconds.copy()
    seconds[range(len(placement)), list(placement)] = alone_s
    return replace(problem, seconds=seconds).timing(placement).makespan_s


def _accompanied(measured: Timing, number: int) -> bool:
    """Say whether others ran during a subgraph for more than a moment."""
    begin, end = measured.begin[number], measured.end[number]
    spans = sorted(
        (max(begin, measured.begin[k]), min(end, measured.end[k]))
        for k in range(len(measured.begin)) if k != number
    )  # fmt: skip
    covered, until = 0.0, begin
    for a, b in spans:
        if b > max(a, until):
            covered += b - max(a, until)
            until = b
    return covered > _COMPANY * (end - begin)
