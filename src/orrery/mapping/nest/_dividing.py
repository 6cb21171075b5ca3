"""The best loop nest whose factors divide the loops, where a given nest has others.

Models:  the nests of `options_of(…, dividing=True)`; price and search are those of all nests.
Ignores: where the wiring fixes parts that do not divide a loop, its array is filled unevenly.
Judge:   the best of all nests is no worse, and no nest with one loop cut anew is better (tests).

Other tools know no factors but these. Before: H = 28 cut 6 x 5; after: 7 x 4.
"""

from __future__ import annotations

from math import prod

from orrery.cost.nest import NestMapping, NestProblem
from orrery.hardware import Architecture
from orrery.plan import Infeasible

from ._find import best_nest

#: evaluations before the best so far stands
MOST = 5_000_000


def dividing_nest(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture,
    objective: str = "latency", *, most: int = MOST,
) -> NestMapping | None:  # fmt: skip
    """Return a nest whose factors divide: the given one if it is so, else the best there is.

    Returns
    -------
    NestMapping | None
        None where no such nest fits the memories.
    """
    if all(_divides(mapping, loop, extent, architecture) for loop, extent in problem.loops):
        return mapping
    found = best_nest(problem, architecture, objective, most=most, dividing=True)
    return None if isinstance(found, Infeasible) else found.mapping


def _divides(mapping: NestMapping, loop: str, extent: int, architecture: Architecture) -> bool:
    fixed = {axis.name for axis in architecture.axes if axis.fixed is not None}
    wired = prod(f for axis, pairs in mapping.spatial.items() if axis in fixed
                 for name, f in pairs if name == loop)  # fmt: skip
    free = [pairs for axis, pairs in mapping.spatial.items() if axis not in fixed]
    cut = prod(f for pairs in (*mapping.temporal, *free) for name, f in pairs if name == loop)
    return cut == -(-extent // wired)
