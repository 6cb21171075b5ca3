"""The fastest mapping onto sets, by dynamic programming over units, sets taken and layouts.

Models:  states are the set at work (its class and design), how many like devices are taken by it
         and by earlier sets, and the layout of every tensor that is still needed. A step shares the
         next unit in one of its ways; between units a set may hand over to one of free devices.
         Like devices are interchangeable, so counts stand for sets.
         A tensor stays behind on the set that has it until another reads it. A result
         that is made early may come home last: whether all are home by some time is decided by
         leaving out states whose results would not be (`upper_ps`), for whoever is done earlier
         has them home earlier; `_series` finds the least such time by halving.
Ignores: memories (the caller checks; without room the value is still a lower bound).
Judge:   brute force over all mappings of random residual networks (tests, `bench/brute_force.py`).

The answer is the optimum of all plans of this form, so its value is the bound of every search over
sets that keeps the order of units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress

from ._mapping import Placed
from ._problem import Problem
from ._routes import NEVER, Ints

Table = NDArray[np.int64]


class TooManyStatesError(Exception):
    """More states than the caller allows; raised and caught inside this room."""

    def __init__(self, states: int, most: int, unit: int) -> None:
        self.infeasible = Infeasible(
            what=f"states of an exact search after {unit} units, where many tensors are live",
            need=float(states), have=float(most), unit="states",
            remedies=("search by two-level", "allow fewer sizes of sets (--set-sizes)",
                      "split fewer loops at once (--loops 1)"),
        )  # fmt: skip
        super().__init__(str(self.infeasible))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptimum:
    """What one network takes at best, for every number of devices it may take.

    Attributes
    ----------
    value_ps : devices taken of each group -> picoseconds until the last unit's results are home
    next_ps : the least `upper_ps` that leaves out fewer states
    """

    value_ps: Mapping[tuple[int, ...], int]
    next_ps: int
    _solver: _Chain

    def mapping(
        self, taken: tuple[int, ...], offset: tuple[int, ...]
    ) -> tuple[list[Placed], dict[int, int], int]:
        """Return the sets and the choice per unit that reach a value, and when all is home.

        Parameters
        ----------
        taken : a key of `value_ps`
        offset : devices of each group that other networks have taken
        """
        return self._solver.trace(taken, offset)


def chain_optimum(
    problem: Problem, network: int, *, behind: str = "exact", upper_ps: int = NEVER,
    period_ps: int | None = None, most_states: int = 20_000_000, forget: int | None = None,
    progress: Progress = SILENT,
) -> ChainOptimum:  # fmt: skip
    """Solve one network exactly.

    Parameters
    ----------
    behind : what becomes of tensors that the next set does not read: ``exact`` knows where each
        lies; ``relaxed`` forgets, with far fewer states, and bounds from below; ``never`` forbids.
        Both price what is handed over before it is read, and heed no result that is made early
    upper_ps : when all results must be home; states from which they cannot be are left out
    period_ps : ask instead for a mapping in which no set works longer than this on one input;
        values are then what the last set takes
    most_states : refuse when there would be more states between two units
    forget : where there would be more states than this, forget where those tensors lie that are
        needed last: they are read from wherever that is cheapest, so that values bound from below

    Raises
    ------
    TooManyStatesError : so many tensors are needed later at some place that the states explode
    CancelledError : the user asked to stop
    """
    solver = _Chain(problem, network, behind, upper_ps, period_ps, most_states, forget, progress)
    value_ps = solver.solve()
    return ChainOptimum(value_ps=value_ps, next_ps=solver.next, _solver=solver)


class _Chain:
    def __init__(
        self, problem: Problem, network: int, behind: str, upper_ps: int, period_ps: int | None,
        most_states: int, forget: int | None, progress: Progress,
    ) -> None:  # fmt: skip
        self.p, self.upper, self.most, self.progress = problem, upper_ps, most_states, progress
        self.behind, self.period, self.next = behind, period_ps, NEVER
        self.units = [i for i, unit in enumerate(problem.units) if unit.network == network]
        w = problem.tables.workload
        used: dict[int, list[int]] = {}
        for place, number in enumerate(self.units):
            for tensor, _ in problem.units[number].uses:
                used.setdefault(tensor, []).append(place)
        self.born: dict[int, int] = {}
        for place, number in enumerate(self.units):
            for tensor, _ in (*problem.units[number].uses, *problem.units[number].outputs):
                self.born.setdefault(tensor, place)
        #: per boundary (after so many units), tensors that lie on devices and are still needed
        self.live = [
            tuple(sorted(t for t in self.born if self.born[t] < place <= used.get(t, [-1])[-1]))
            for place in range(len(self.units) + 1)
        ]
        self.results = w.results
        reached = _reached(problem)
        #: per class, the counts taken that include it
        self.taken = [
            [u for u in reached if tuple(a - b for a, b in zip(u, one.counts)) in reached]
            for one in problem.classes
        ]
        self.row = [{u: i for i, u in enumerate(taken)} for taken in self.taken]
        self.hands: dict[tuple[int, int, int], Ints] = {}
        if forget is not None:
            self._forget(used, forget)
        self.rest = self._rest()
        self.tables: list[list[Table]] = []

    def _forget(self, used: Mapping[int, list[int]], most: int) -> None:
        """Forget what is needed last wherever there are too many states."""
        gone: set[int] = set()
        for place in range(len(self.live)):
            left = [t for t in self.live[place] if t not in gone]
            # One stays that the next unit reads, for what waits to be read tells of a hand-over.
            left.sort(key=lambda t: (min(u for u in used[t] if u >= place), -self.born[t]))
            self.live[place] = tuple(sorted(left))
            while len(left) > 1 and self._states(place) > most:
                gone.add(left.pop())
                self.live[place] = tuple(sorted(left))

    def _states(self, place: int) -> int:
        return sum(math.prod(self._shape(k, place)) for k in range(len(self.p.classes)))

    def _rest(self) -> list[int]:
        """Return per boundary a bound of what is still to come."""
        rest = [0]
        for number in reversed(self.units):
            least = min(int(table.min()) for table in self.p.step_ps[number])
            rest.append(rest[-1] + least)
        return rest[::-1]

    def _shape(self, k: int, place: int) -> tuple[int, ...]:
        parties = self.p.classes[k].parties
        axes = tuple(2 * len(self.p.layouts[t][parties]) + self._left(t) for t in self.live[place])
        return (len(self.p.designs[k]), len(self.taken[k]), *axes)

    def _left(self, tensor: int) -> int:
        """Return how many states a tensor has that lies behind, on an earlier set."""
        if self.behind == "exact":
            return sum(len(self.p.layouts[tensor][c.parties]) for c in self.p.classes)
        return 1 if self.behind == "relaxed" else 0

    # -- forwards ---------------------------------------------------------------------------------

    def solve(self) -> dict[tuple[int, ...], int]:
        count = len(self.units)
        for place in range(count + 1):
            total = self._states(place)
            if total > self.most:
                raise TooManyStatesError(total, self.most, place)
        self.tables = []
        now = []
        for k, one in enumerate(self.p.classes):
            table = np.full(self._shape(k, 0), NEVER, np.int64)
            table[:, self.row[k][one.counts]] = 0
            now.append(table)
        self.tables.append(now)
        for place in range(count):
            self.progress.step("exact mapping", place, count)
            if self.p.cuts[self.units[place]]:
                self._hand_over(place)
            self.tables.append([
                self._through(k, place, self.tables[place][k])
                for k in range(len(self.p.classes))
            ])  # fmt: skip
        best: dict[tuple[int, ...], int] = {}
        for k, table in enumerate(self.tables[count]):
            for taken, row in self.row[k].items():
                value = int(table[:, row].min())
                if value < best.get(taken, NEVER):
                    best[taken] = value
        return best

    def _prune(self, table: Table, place: int) -> Table:
        if self.period is not None:
            table[table > self.period] = NEVER
            return table
        return self._cut_off(table, self.rest[place])

    def _cut_off(self, table: Table, more: int) -> Table:
        """Leave out what would take too long with so much more to come."""
        if self.upper < NEVER:
            late = (table + more > self.upper) & (table < NEVER)
            if late.any():
                self.next = min(self.next, int(table[late].min()) + more)
                table[late] = NEVER
        return table

    def _through(self, k: int, place: int, table: Table) -> Table:
        """Return the states after a unit is done on sets of a class."""
        out = np.full(self._shape(k, place + 1), NEVER, np.int64)
        if not (table < NEVER).any():
            return out
        number, before, after = self.units[place], self.live[place], self.live[place + 1]
        listed = self.p.choices[number][self.p.classes[k].parties]
        alike: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
        for choice, one in enumerate(listed):
            alike.setdefault(one.needs, {}).setdefault(one.outputs, []).append(choice)
        for leaving in alike.values():
            part: Table | None = None
            for choices in leaving.values():
                step = self.p.step_ps[number][k][:, choices].min(axis=1)
                if not (step < NEVER).any():
                    continue
                ways, fresh, extra = self._terms(k, place, choices[0])
                if part is None:
                    part = self._moved(table, before, after, ways)
                shift = (step + extra).reshape(-1, *(1,) * (part.ndim - 1))
                done = np.minimum(part + shift, NEVER)
                back = self._back(k, place, choices[0])
                if back:
                    done = self._cut_off(done, back)
                index = (slice(None), slice(None), *(
                    slice(None) if tensor in before else fresh[tensor] for tensor in after
                ))  # fmt: skip
                np.minimum(out[index], done, out=out[index])
        return self._prune(out, place + 1)

    def _back(self, k: int, place: int, choice: int) -> int:
        """Return how long what an early unit makes for the caller takes to come home."""
        known = self.behind == "exact" and self.period is None
        if place == len(self.units) - 1 or not known:
            return 0
        return self._home(k, place, choice)

    def _home(self, k: int, place: int, choice: int) -> int:
        number = self.units[place]
        one = self.p.choices[number][self.p.classes[k].parties][choice]
        return max(
            (int(self.p.finish_ps(t, k)[layout])
             for (t, _), layout in zip(self.p.units[number].outputs, one.outputs)
             if t in self.results), default=0,
        )  # fmt: skip

    def _terms(
        self, k: int, place: int, choice: int
    ) -> tuple[dict[int, tuple[Ints, Ints]], dict[int, int], int]:
        """Return how one choice moves tensors that lie somewhere, where others come to lie, and
        what these take."""
        number = self.units[place]
        unit, before = self.p.units[number], self.live[place]
        one = self.p.choices[number][self.p.classes[k].parties][choice]
        ways: dict[int, tuple[Ints, Ints]] = {}
        fresh: dict[int, int] = {}
        extra = 0
        for (tensor, _), need in zip(unit.uses, one.needs):
            if tensor in before:
                cost, goal = self._way(tensor, k, need)
                if tensor in ways:
                    first_cost, first_goal = ways[tensor]
                    cost, goal = first_cost + cost[first_goal], goal[first_goal]
                ways[tensor] = (cost, goal)
            elif self.born[tensor] < place:
                extra += self._least(tensor, k, need)
            elif tensor in fresh:
                moved = int(self.p.move_ps(tensor, k)[fresh[tensor], need])
                if moved >= 0:
                    extra += moved
                    fresh[tensor] = need
            else:
                extra += int(self.p.start_ps(tensor, k)[need])
                fresh[tensor] = need
        for (tensor, _), layout in zip(unit.outputs, one.outputs):
            fresh[tensor] = layout
        if place == len(self.units) - 1 and self.period is None:
            extra += self._home(k, place, choice)
        return ways, fresh, extra

    def _least(self, tensor: int, k: int, need: int) -> int:
        """Return what a set takes at least to read a tensor of which nobody knows where it lies."""
        ways = [self.p.move_ps(tensor, k), *(
            self.p.hand_ps(tensor, other, k) for other in range(len(self.p.classes))
            if self._apart(other, k)
        )]  # fmt: skip
        return max(0, min(int(way[:, need].min()) for way in ways))

    def _moved(
        self, table: Table, before: tuple[int, ...], after: tuple[int, ...],
        ways: Mapping[int, tuple[Ints, Ints]],
    ) -> Table:  # fmt: skip
        """Return values once tensors have moved to where a choice needs them."""
        for axis in range(len(before) - 1, -1, -1):
            tensor = before[axis]
            if tensor in ways:
                table = self._move(table, axis + 2, ways[tensor], stays=tensor in after)
            elif tensor not in after:
                table = table.min(axis=axis + 2)
        return table

    def _way(self, tensor: int, k: int, need: int) -> tuple[Ints, Ints]:
        """Return per state of a tensor what a need costs, and its state afterwards."""
        moves = self.p.move_ps(tensor, k)[:, need]
        count = len(moves)
        here = np.arange(count)
        free = moves < 0
        cost = np.concatenate([np.where(free, 0, moves), np.full(count, NEVER, np.int64)])
        goal = np.concatenate([np.where(free, here, need), np.full(count, need)])
        cost[count + need] = 0  # handed over in just this layout
        left = self._left(tensor)
        cost = np.concatenate([cost, np.full(left, NEVER, np.int64)])
        goal = np.concatenate([goal, np.full(left, need)])
        first = 2 * count
        for other, one in enumerate(self.p.classes if self.behind == "exact" else ()):
            last = first + len(self.p.layouts[tensor][one.parties])
            if self._apart(other, k):
                moves = self.p.hand_ps(tensor, other, k)[:, need]
                cost[first:last] = np.maximum(moves, 0)
                goal[first:last] = np.where(moves < 0, np.arange(first, last), need)
            first = last
        return cost, goal

    def _move(self, part: Table, axis: int, way: tuple[Ints, Ints], *, stays: bool) -> Table:
        cost, goal = way
        moved = part + cost.reshape(-1, *(1,) * (part.ndim - axis - 1))
        if not stays:
            dead: Table = moved.min(axis=axis)
            return dead
        out = np.full_like(part, NEVER)
        source, target = np.moveaxis(moved, axis, 0), np.moveaxis(out, axis, 0)
        still = goal == np.arange(len(goal))
        target[still] = np.minimum(source[still], NEVER)
        for state in np.unique(goal[~still]):
            coming = source[(goal == state) & ~still].min(axis=0)
            target[state] = np.minimum(target[state], coming)
        return out

    def _hand_over(self, place: int) -> None:
        """Let other sets take over before a unit."""
        tables, classes = self.tables[place], self.p.classes
        arriving: dict[int, Table] = {}
        for k in range(len(classes)):
            leaving = self._reset(tables[k][self._leaving(k, place)].min(axis=0))
            if not (leaving < NEVER).any():
                continue
            for after, other in enumerate(classes):
                rows = [
                    (row, self.row[after][new])
                    for taken, row in self.row[k].items()
                    if (new := tuple(a + b for a, b in zip(taken, other.counts))) in self.row[after]
                    and (leaving[row] < NEVER).any()
                ]
                if not rows:
                    continue
                part = leaving[[row for row, _ in rows]]
                for axis, tensor in enumerate(self.live[place]):
                    part = _min_plus(part, axis + 1, self._hand(tensor, k, after))
                if after not in arriving:
                    arriving[after] = np.full(
                        (len(self.taken[after]), *part.shape[1:]), NEVER, np.int64
                    )
                np.minimum.at(arriving[after], [row for _, row in rows], part)
        for after, values in arriving.items():
            index = self._arriving(after, place)
            tables[after][index] = np.minimum(tables[after][index], values[None])
            self._prune(tables[after], place)

    def _reset(self, values: Table) -> Table:
        """In a pipeline, the clock of the next set starts at zero."""
        return values if self.period is None else np.where(values <= self.period, 0, NEVER)

    def _leaving(self, k: int, place: int) -> tuple[Any, ...]:
        """Index of states from which a set may hand over: nothing waits to be read by it."""
        return self._mesh(k, place, lambda half, left: np.r_[0:half, 2 * half : 2 * half + left])

    def _arriving(self, k: int, place: int) -> tuple[Any, ...]:
        """Index of states just after a hand-over: all waits to be read, or lies behind."""
        return self._mesh(k, place, lambda half, left: np.r_[half : 2 * half + left])

    def _mesh(self, k: int, place: int, axis: Callable[[int, int], Ints]) -> tuple[Any, ...]:
        parties = self.p.classes[k].parties
        axes = [axis(len(self.p.layouts[t][parties]), self._left(t)) for t in self.live[place]]
        return np.ix_(np.arange(len(self.p.designs[k])), np.arange(len(self.taken[k])), *axes)

    def _hand(self, tensor: int, before: int, after: int) -> Ints:
        """Return what a hand-over costs from each state of leaving to each of arriving."""
        key = (tensor, before, after)
        if key in self.hands:
            return self.hands[key]
        layouts, classes = self.p.layouts[tensor], self.p.classes
        here, there = len(layouts[classes[before].parties]), len(layouts[classes[after].parties])
        left = self._left(tensor)
        cost = np.full((here + left, there + left), NEVER, np.int64)
        if self.behind == "exact":  # all stays behind until it is read, and is paid for then
            first = sum(len(layouts[one.parties]) for one in classes[:before])
            cost[np.arange(here), there + first + np.arange(here)] = 0
        else:
            cost[:here, :there] = np.maximum(self.p.hand_ps(tensor, before, after), 0)
        if self.behind == "relaxed":
            cost[:here, there] = 0
            cheapest = [np.maximum(self.p.hand_ps(tensor, k, after), 0).min(axis=0)
                        for k in range(len(classes)) if self._apart(k, after)]  # fmt: skip
            cost[here, :there] = np.min(cheapest, axis=0)
        cost[here + np.arange(left), there + np.arange(left)] = 0
        self.hands[key] = cost
        return cost

    def _apart(self, one: int, other: int) -> bool:
        """Whether sets of two classes fit beside each other."""
        sizes = (len(group) for group in self.p.groups)
        counts = zip(self.p.classes[one].counts, self.p.classes[other].counts)
        return all(a + b <= n for (a, b), n in zip(counts, sizes))

    # -- backwards --------------------------------------------------------------------------------

    def trace(
        self, taken: tuple[int, ...], offset: tuple[int, ...]
    ) -> tuple[list[Placed], dict[int, int], int]:
        count = len(self.units)
        k, where = min(
            ((k, (d, self.row[k][taken])) for k in range(len(self.p.classes))
             if taken in self.row[k] for d in range(len(self.p.designs[k]))),
            key=lambda state: int(self.tables[count][state[0]][state[1]]),
        )  # fmt: skip
        ends = int(self.tables[count][k][where])
        choices: dict[int, int] = {}
        sets: list[tuple[int, int, int, int, int]] = []
        end = count
        at: tuple[int, ...] = where
        for place in range(count, -1, -1):
            found = self._undo(k, place - 1, at) if place else None
            if found is None:  # the set began here
                sets.append((k, at[0], at[1], place, end))
                end = place
                if not place:
                    break
                k, at = self._undo_hand_over(k, place, at)
                found = self._undo(k, place - 1, at)
            if found is None:
                raise AssertionError(f"no way back from unit {place}")  # forwards, one was found
            back = self._back(k, place - 1, found[0])
            if back:
                ends = max(ends, int(self.tables[place][k][at]) + back)
            choices[self.units[place - 1]], at = found
        placed = []
        for k, design, row, first, last in reversed(sets):
            one = self.p.classes[k]
            gone = tuple(o + u - c for o, u, c in zip(offset, self.taken[k][row], one.counts))
            placed.append(Placed(
                set_class=k, design=design, devices=one.placed(self.p.groups, gone),
                first=self.units[first], last=self.units[last - 1] + 1,
            ))  # fmt: skip
        return placed, choices, ends

    def _undo(
        self, k: int, place: int, where: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]] | None:
        """Return the choice and the state before a unit that lead to a state after it, if any."""
        goal = int(self.tables[place + 1][k][where])
        d, row = where[:2]
        layouts = dict(zip(self.live[place + 1], where[2:]))
        values = self.tables[place][k][d, row]
        number = self.units[place]
        for choice in range(len(self.p.choices[number][self.p.classes[k].parties])):
            step = int(self.p.step_ps[number][k][d, choice])
            if step >= NEVER or goal + self._back(k, place, choice) > self.upper:
                continue
            ways, fresh, extra = self._terms(k, place, choice)
            if any(layouts[t] != fresh[t] for t in layouts if t in fresh):
                continue
            total = values + step + extra
            for axis, tensor in enumerate(self.live[place]):
                states = np.arange(values.shape[axis])
                cost, ends = ways.get(tensor, (np.zeros_like(states), states))
                if tensor in layouts:
                    cost = np.where(ends == layouts[tensor], cost, NEVER)
                total = total + cost.reshape(-1, *(1,) * (values.ndim - axis - 1))
            hits = np.argwhere(total == goal)
            if len(hits):
                return choice, (d, row, *(int(x) for x in hits[0]))
        return None

    def _undo_hand_over(
        self, k: int, place: int, where: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        """Return class and state of the set before, where a state came by a hand-over."""
        value = int(self.tables[place][k][where])
        live, parties = self.live[place], self.p.classes[k].parties
        arrived = [s - len(self.p.layouts[t][parties]) for t, s in zip(live, where[2:])]
        gone = tuple(a - b for a, b in zip(self.taken[k][where[1]], self.p.classes[k].counts))
        for before, one in enumerate(self.p.classes):
            if gone not in self.row[before] or min(arrived, default=0) < 0:
                continue
            row = self.row[before][gone]
            total = self._reset(self.tables[place][before][self._leaving(before, place)][:, row])
            for axis, (tensor, state) in enumerate(zip(live, arrived)):
                cost = self._hand(tensor, before, k)[:, state]
                total = total + cost.reshape(-1, *(1,) * (total.ndim - axis - 2))
            halves = [len(self.p.layouts[t][one.parties]) for t in live]
            for d, *states in np.argwhere(total == value).tolist():
                back = (x if x < half else x + half for x, half in zip(states, halves))
                left = (d, row, *back)
                # Where all lies behind, a set that has just taken over has such a state too.
                if self._undo(before, place - 1, left) is not None:
                    return before, left
        raise AssertionError(f"no set before unit {place}")  # forwards, one was found


def _reached(problem: Problem) -> dict[tuple[int, ...], None]:
    """Return every count of devices that some sets together take, none included."""
    sizes = [len(group) for group in problem.groups]
    found = {(0,) * len(sizes): None}
    fresh = list(found)
    while fresh:
        fresh = list(
            dict.fromkeys(
                total
                for taken in fresh
                for one in problem.classes
                if all((a + b) <= n for a, b, n in zip(taken, one.counts, sizes))
                and (total := tuple(a + b for a, b in zip(taken, one.counts))) not in found
            )
        )
        found.update(dict.fromkeys(fresh))
    return found


def _min_plus(part: Table, axis: int, cost: Ints) -> Table:
    """Return min over one axis of values plus a cost matrix, the new states in its place."""
    moved = np.moveaxis(part, axis, -1)
    out = np.full((*moved.shape[:-1], cost.shape[1]), NEVER, np.int64)
    for state in range(cost.shape[0]):
        np.minimum(out, moved[..., state, None] + cost[state], out=out)
    return np.moveaxis(np.minimum(out, NEVER), -1, axis)
