"""A problem whose clock counts seconds and joules, each at a price.

Models:  every entry of a problem's tables as time times one price plus energy times another, in
         whole units, rounded down: so any search for the least time finds the least sum instead,
         and its lower bound stays one. What results take on their way home stands in the steps.
Ignores: results of early units that come home last (their energy counts, their time does not).
Judge:   `orrery.mapping.trade._search`'s (tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np

from ..sets._problem import Problem
from ..sets._routes import NEVER, Ints
from ._joules import Floats, Joules


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed(Problem):
    """A problem in units of ``per_ps`` for a picosecond and ``per_j`` for a joule."""

    joules: Joules
    per_ps: float
    per_j: float
    _known: dict[tuple[object, ...], Ints] = field(default_factory=dict)

    def move_ps(self, tensor: int, set_class: int) -> Ints:
        """Return layouts × layouts within a set, -1 where nothing moves."""
        plain = self.joules.problem
        return self._sum(("move", tensor, set_class), lambda: plain.move_ps(tensor, set_class),
                         lambda: self.joules.move_j(tensor, set_class))  # fmt: skip

    def hand_ps(self, tensor: int, before: int, after: int) -> Ints:
        """Return layouts × layouts between sets."""
        plain = self.joules.problem
        return self._sum(("hand", tensor, before, after),
                         lambda: plain.hand_ps(tensor, before, after),
                         lambda: self.joules.hand_j(tensor, before, after))  # fmt: skip

    def start_ps(self, tensor: int, set_class: int) -> Ints:
        """Return per layout what fetching a network input takes."""
        plain = self.joules.problem
        return self._sum(("start", tensor, set_class), lambda: plain.start_ps(tensor, set_class),
                         lambda: self.joules.start_j(tensor, set_class))  # fmt: skip

    def finish_ps(self, tensor: int, set_class: int) -> Ints:
        """Return zeros: the steps hold what results take on their way home."""
        return np.zeros_like(self.joules.problem.finish_ps(tensor, set_class))

    def _sum(
        self, key: tuple[object, ...], ps: Callable[[], Ints], joules: Callable[[], Floats]
    ) -> Ints:
        if key not in self._known:
            self._known[key] = _units(ps(), joules(), self.per_ps, self.per_j)
        return self._known[key]


def _units(ps: Ints, joules: Floats, per_ps: float, per_j: float) -> Ints:
    known = np.where(np.isfinite(joules), joules, 0.0)
    total = np.floor(np.maximum(ps, 0) * per_ps + known * per_j)
    never = (ps >= NEVER) | (total >= NEVER) | ~np.isfinite(joules)
    found: Ints = np.where(never, NEVER, np.where(ps < 0, -1.0, total)).astype(np.int64)
    return found


def weigh(joules: Joules, per_ps: float, per_j: float, per_byte: float = 0.0) -> Weighed:
    """Return the problem of some energies with prices of time, energy and resident bytes."""
    problem = joules.problem
    last = {unit.network: number for number, unit in enumerate(problem.units)}
    results = problem.tables.workload.results
    steps = []
    for number, unit in enumerate(problem.units):
        tables = []
        for k, one in enumerate(problem.classes):
            choices, ps = problem.choices[number][one.parties], problem.step_ps[number][k]
            if number == last[unit.network]:
                home = {t: problem.finish_ps(t, k) for t, _ in unit.outputs if t in results}
                late = [
                    max((int(home[t][layout]) for (t, _), layout in zip(unit.outputs, c.outputs)
                         if t in home), default=0)
                    for c in choices
                ]  # fmt: skip
                ps = ps + np.array(late, np.int64)
            table = _units(ps, joules.step_j[number][k], per_ps, per_j)
            if per_byte:
                resident = np.array([c.resident_bytes for c in choices], np.float64)
                table = np.minimum(table + (per_byte * resident).astype(np.int64), NEVER)
            tables.append(table)
        steps.append(tuple(tables))
    same = {f.name: getattr(problem, f.name) for f in fields(Problem) if f.name != "step_ps"}
    return Weighed(**same, step_ps=tuple(steps), joules=joules, per_ps=per_ps, per_j=per_j)
