"""What no plan of a problem's choices is faster than, where the exact search asks for too much.

Models:  in series, the dynamic programme of `_exact` with fewer states: where there would be too
         many, it forgets where those tensors lie that are needed last, and lets each be read
         from the set and layout that is cheapest for its reader. In any order, a longest path of
         regions that need each other, each by itself: whole on its best device, or shared in its
         fastest way by its best set and design; all messages between regions free.
Ignores: in series, memories, and where forgotten tensors really lie; on the path, also fetches,
         hand-overs, that sets are disjoint and keep one design.
Judge:   brute force, and every plan of every search (tests).

Why the first holds: take any mapping onto sets in series and follow its states. Forgetting a tensor
takes the least over its states, one of which is the mapping's own; reading a forgotten tensor costs
the least over all that could have it, the mapping's own among them; what was left behind is bounded
likewise (``relaxed``). All else is priced as it is. So the programme has a way through that takes
no longer than the mapping, and its least way takes no longer either.
"""

from __future__ import annotations

from orrery.progress import SILENT, Progress

from ._exact import TooManyStatesError
from ._problem import Problem
from ._series import PROOF, series_optimum

#: of which plans the bound of a path is proved
PATH_BOUND = (
    "every layer, element-wise ones too, by itself in its fastest way, whole on any device or "
    "split among any set of like ones; layers that need each other one by one, messages free"
)

#: of all units together, in a search for a bound alone: some seconds' worth
_STATES = 330_000_000


def series_bound_ps(
    problem: Problem, *, states: int | None = None, progress: Progress = SILENT
) -> tuple[int, str]:
    """Return picoseconds that no plan of sets in series undercuts, and of which plans that is said.

    Where sets and one tensor alone have too many states, or nothing in series is possible, the
    bound is that of a path.

    Parameters
    ----------
    states : that the search keeps between two units at most; the more, the closer the bound. By
        default so many that all units together have not too many

    Raises
    ------
    CancelledError : the user asked to stop
    """
    path = path_bound_ps(problem)
    states = _STATES // len(problem.units) if states is None else states
    try:
        found = series_optimum(problem, behind="relaxed", forget=states, passes=1,
                               progress=progress)  # fmt: skip
    except TooManyStatesError:
        return path, PATH_BOUND
    return (path, PATH_BOUND) if found is None or found[0] < path else (found[0], PROOF)


def path_bound_ps(problem: Problem) -> int:
    """Return picoseconds that no plan undercuts, whichever devices share its layers as listed."""
    done: list[int] = []
    for region, needs in enumerate(problem.tables.workload.needs):
        done.append(max((done[need] for need in needs), default=0) + problem.least_ps[region])
    return max(done, default=0)
