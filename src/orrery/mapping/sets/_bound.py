"""What no plan of a problem's choices is faster than, whatever its sets do at the same time.

Models:  a longest path of units that need each other, each shared in its fastest way by its best
         set and design, and all messages between units free.
Ignores: fetches, hand-overs, memories, that sets are disjoint and keep one design.
Judge:   every plan of every search (tests).
"""

from __future__ import annotations

from ._problem import Problem

__all__ = ["PATH_BOUND", "path_bound_ps"]

#: of which plans the bound is proved
PATH_BOUND = "every layer shared in its fastest way, layers that need each other one by one"


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
