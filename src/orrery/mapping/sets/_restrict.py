"""A problem with less to choose from: what each freedom of a mapping is worth.

Models:  the same units, layouts and clock; designs left out, or choices and cuts forbidden. A
         mapping of the restricted problem takes what the same mapping takes in the full one.
Ignores: layouts that no allowed choice needs stay listed.
Judge:   problems that were filled under the same restriction (tests).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from orrery.errors import UnknownNameError

from ._choices import Choice
from ._problem import Problem
from ._routes import NEVER

__all__ = ["restrict"]


def restrict(
    problem: Problem, *, designs: Collection[str | None] | None = None, rings: bool = True,
    loops: int | None = None, one_set: bool = False,
) -> Problem:  # fmt: skip
    """Return a problem with fewer freedoms; nothing is priced again.

    Parameters
    ----------
    designs : the only ones that devices may be configured with (None in it: as they are). Designs
        are numbered anew; choices keep their numbers
    rings : whether operands may rotate round a set
    loops : most loops of a layer that are split at once
    one_set : whether one set takes over all units of a network

    Raises
    ------
    UnknownNameError : no device offers such a design; offers the nearest
    """
    steps = problem.step_ps
    offered = problem.designs
    if designs is not None:
        known = dict.fromkeys(name for names in offered for name in names)
        for name in designs:
            if name not in known:
                raise UnknownNameError("design", str(name), [n for n in known if n is not None])
        kept = [[d for d, name in enumerate(names) if name in designs] for names in offered]
        steps = tuple(tuple(table[rows] for table, rows in zip(tables, kept)) for tables in steps)
        offered = tuple(tuple(names[d] for d in rows) for names, rows in zip(offered, kept))
    if not rings or loops is not None:
        masked = []
        for choices, tables in zip(problem.choices, steps):
            forbidden = {
                parties: np.array([not _allowed(c, rings, loops) for c in listed])
                for parties, listed in choices.items()
            }
            masked.append(tuple(
                np.where(forbidden[one.parties], NEVER, table)
                for one, table in zip(problem.classes, tables)
            ))  # fmt: skip
        steps = tuple(masked)
    cuts = (False,) * len(problem.cuts) if one_set else problem.cuts
    return replace(problem, designs=offered, step_ps=steps, cuts=cuts)


def _allowed(choice: Choice, rings: bool, loops: int | None) -> bool:
    strategies = [s for s in choice.strategies if s is not None]
    if not rings and any(s.shared is not None for s in strategies):
        return False
    first = choice.strategies[0]
    return loops is None or first is None or len(first.exclusive) <= loops
