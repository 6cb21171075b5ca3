"""What no plan of a problem's choices is faster than, where the exact search asks for too much.

Models:  in series, the dynamic programme of `_exact` with fewer states: where there would be too
         many, it forgets where those tensors lie that are needed last, and lets each be read
         from the set and layout that is cheapest for its reader. In any order, a longest path of
         units that need each other, each shared in its fastest way by its best set and design, and
         all messages between units free.
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

__all__ = ["PATH_BOUND", "path_bound_ps", "series_bound_ps"]

#: of which plans the bound of a path is proved
PATH_BOUND = "every layer shared in its fastest way, layers that need each other one by one"

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
    """Return picoseconds that no plan undercuts whose units are shared in one of their choices."""
    made_by: dict[int, int] = {}
    done: list[int] = []
    for number, unit in enumerate(problem.units):
        least = min(int(table.min()) for table in problem.step_ps[number])
        whole = all(place == len(unit.regions) - 1 for _, place in unit.outputs)
        start, late = 0, 0
        for tensor, place in unit.uses:
            maker = made_by.get(tensor)
            if maker is not None and place == 0:
                start = max(start, done[maker])
            elif maker is not None:  # a follower reads it: what comes before may have run already
                late = max(late, done[maker])
        done.append(max(start + least if whole else start, late))
        for tensor, _ in unit.outputs:
            made_by[tensor] = number
    return max(done, default=0)
