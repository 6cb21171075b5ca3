"""Makespans of mappings in compiled code: whole, or again after one gene has changed.

Models:  exactly `evaluate`, in integers. A tensor's way from set to set depends only on the units
         that touch it, so a changed unit costs its own step and its own tensors' ways.
Ignores: which device is over its memory; only by how many bytes all are, together.
Judge:   `evaluate` on random mappings and random changes of genes (tests).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._flat import Costs, State, flatten, new_state
from ._kernels import compiled
from ._mapping import Placed, SetMapping
from ._problem import Problem
from ._routes import Ints


class Evaluator:
    """Evaluates mappings of one problem; fills tables of fetches as classes of sets come up.

    Threads may share it.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.flat, self.tensors = flatten(problem)
        shape = (len(self.tensors), len(problem.classes))
        layouts = np.zeros(shape, np.int64)
        for t, tensor in enumerate(self.tensors):
            for k, one in enumerate(problem.classes):
                layouts[t, k] = len(problem.layouts[tensor].get(one.parties, ()))
        self._pool, self._used = np.zeros(4096, np.int64), 0
        self._at: dict[int, tuple[Ints, int]] = {}
        start, finish, move = (np.full(shape, -1, np.int64) for _ in range(3))
        self._costs = Costs(
            layouts=layouts, start=start, finish=finish, move=move,
            hand=np.full((*shape, shape[1]), -1, np.int64), pool=self._pool,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._ways = _ways(self.flat.touch_at, self.flat.touch_unit)
        self._inputs = np.array([
            not self.flat.touch_made[a:b].any()
            for a, b in pairwise(self.flat.touch_at)
        ])  # fmt: skip

    def __getstate__(self) -> Problem:
        return self.problem

    def __setstate__(self, problem: Problem) -> None:
        Evaluator.__init__(self, problem)

    def start(self, mapping: SetMapping) -> Running:
        """Evaluate a mapping whole, ready for changes; units that no set takes count nothing."""
        return Running(self, new_state(self.flat, self.problem, mapping), mapping.sets)

    def costs(self, state: State) -> Costs:
        """Return tables that hold all that these sets and any choices can need."""
        tensor, before, after = self._ways
        ones, others = state.set_of[before], state.set_of[after]
        real = (ones >= 0) & (others >= 0)
        tensor, ones, others = tensor[real], ones[real], others[real]
        here, there = state.set_class[ones], state.set_class[others]
        same = state.home[ones] == state.home[others]
        c = self._costs
        missing = np.where(same, c.move[tensor, here], c.hand[tensor, here, there]) < 0
        touched = state.set_of[self.flat.touch_unit]
        owner = np.repeat(np.arange(len(self.tensors)), np.diff(self.flat.touch_at))[touched >= 0]
        at = state.set_class[touched[touched >= 0]]
        fresh = c.start[owner, at] < 0
        if missing.any() or fresh.any():
            with self._lock:
                for t, k in {(int(t), int(k)) for t, k in zip(owner[fresh], at[fresh])}:
                    self._ends(t, k)
                for i in np.flatnonzero(missing):
                    self._way(int(tensor[i]), int(here[i]), int(there[i]), bool(same[i]))
        with self._lock:
            return self._costs._replace(pool=self._pool)

    def _ends(self, t: int, k: int) -> None:
        tensor = self.tensors[t]
        free = np.zeros(int(self._costs.layouts[t, k]), np.int64)
        result = self.flat.result_of[t] >= 0
        finish = self.problem.finish_ps(tensor, k) if result else free
        start = self.problem.start_ps(tensor, k) if self._inputs[t] else free
        self._costs.finish[t, k] = self._put(finish)
        self._costs.start[t, k] = self._put(start)

    def _way(self, t: int, here: int, there: int, same: bool) -> None:
        tensor = self.tensors[t]
        if same and self._costs.move[t, here] < 0:
            self._costs.move[t, here] = self._put(self.problem.move_ps(tensor, here))
        elif not same and self._costs.hand[t, here, there] < 0:
            table = self.problem.hand_ps(tensor, here, there)
            self._costs.hand[t, here, there] = self._put(table)

    def _put(self, table: Ints) -> int:
        """Return where a table lies in the pool; one that the problem shares lies there once."""
        known = self._at.get(id(table))
        if known is not None:
            return known[1]
        at, self._used = self._used, self._used + table.size
        if self._used > len(self._pool):
            # A new pool: whoever still computes with the old one finds there all it asked for.
            grown = np.zeros(2 * self._used, np.int64)
            grown[:at] = self._pool[:at]
            self._pool = grown
        self._pool[at : self._used] = table.ravel()
        self._at[id(table)] = (table, at)
        return at


class Running:
    """A mapping under change, with its makespan.

    Attributes
    ----------
    makespan_ps, excess_bytes : as it stands; bytes above capacity, all devices together
    sets : as they are now, but for the units they take
    """

    def __init__(self, evaluator: Evaluator, state: State, sets: Sequence[Placed]) -> None:
        self.evaluator, self.state, self.sets = evaluator, state, list(sets)
        self.costs = evaluator.costs(state)
        self._run(compiled().whole)

    def choose(self, unit: int, choice: int) -> int:
        """Change the choice of one unit; return the makespan."""
        return self.move_unit(unit, int(self.state.set_of[unit]), choice)

    def move_unit(self, unit: int, number: int, choice: int) -> int:
        """Give one unit to another set (a cut moves by one unit); return the makespan."""
        if number != self.state.set_of[unit]:
            self.state.set_of[unit] = number
            self.costs = self.evaluator.costs(self.state)
            return self._again(np.array([unit]), ways=True, choices=np.array([choice]))
        return self._run(compiled().choose, unit, choice)

    def configure(self, number: int, design: int) -> int:
        """Change the design of a set; return the makespan."""
        self.state.set_design[number] = design
        return self._again(np.flatnonzero(self.state.set_of == number), ways=False)

    def explore(self, units: Ints, choices: Ints) -> Ints:
        """Return the makespan after each of many changes of one choice, all from here."""
        out = np.empty(len(units), np.int64)
        compiled().explore(self.evaluator.flat, self.costs, self.state, units, choices, out)
        return out

    def descend(self, units: Ints, sweeps: int, follow: int) -> int:
        """Change one choice after the other while that helps; return the makespan.

        Parameters
        ----------
        units : whose choices may change, in the order of trial
        sweeps : most times over all units
        follow : units after a changed one that may answer it before the change is judged
        """
        return self._run(compiled().descend, units, sweeps, follow)

    def spread(self, units: Ints, wishes: Ints, length: int) -> int:
        """Give runs of units choices of one kind while that helps; return the makespan.

        Parameters
        ----------
        wishes : kinds × units, the choice of that kind or -1
        length : units in a run at most
        """
        return self._run(compiled().spread, units, wishes, length)

    def reset(self, units: Ints, choices: Ints) -> int:
        """Change the choices of many units at once; return the makespan."""
        return self._again(units, ways=True, choices=choices)

    def greedy(self, units: Ints, number: int) -> int:
        """Choose unit by unit what is fastest as those before stand; return the makespan."""
        self.state.set_of[units] = number
        self.costs = self.evaluator.costs(self.state)
        self.state.set_of[units] = -1
        return self._run(compiled().greedy, units, number)

    def mapping(self) -> SetMapping:
        """Return what stands now; every set's units must be neighbours."""
        sets = []
        for number, placed in enumerate(self.sets):
            units = np.flatnonzero(self.state.set_of == number)
            if len(units):
                sets.append(Placed(
                    set_class=placed.set_class, design=int(self.state.set_design[number]),
                    devices=placed.devices, first=int(units[0]), last=int(units[-1]) + 1,
                ))  # fmt: skip
        return SetMapping(
            sets=tuple(sorted(sets, key=lambda s: s.first)),
            choices=tuple(map(int, self.state.choice)),
        )

    def _again(
        self, units: NDArray[np.int64], *, ways: bool, choices: Ints | None = None
    ) -> int:  # fmt: skip
        if choices is not None:
            self.state.choice[units] = choices
        return self._run(compiled().again, units, ways)

    def _run(self, kernel: Callable[..., Any], *what: Any) -> int:
        """Run compiled code on the mapping as it stands; keep and return what it then takes."""
        found = kernel(self.evaluator.flat, self.costs, self.state, *what)
        self.makespan_ps, self.excess_bytes = map(int, found)
        return self.makespan_ps


def _ways(touch_at: Ints, touch_unit: Ints) -> tuple[Ints, Ints, Ints]:
    """Return tensor, unit before and unit after, for every two touches of a tensor."""
    found = [
        (t, int(touch_unit[i]), int(touch_unit[j]))
        for t, (begin, end) in enumerate(pairwise(touch_at))
        for j in range(begin, end)
        for i in range(begin, j)
    ]
    table = np.array(found, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
