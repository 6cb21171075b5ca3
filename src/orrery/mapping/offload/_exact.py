"""How far a plan is from the best one, by constraint programming.

Models
    Per tensor one of its choices. Kept tensors and those in use fit at every instant of the
    forward and the backward, and so do kept ones beside what is made again and what that takes;
    writes end no sooner than the queue allows, and some of the tensors
    are made no sooner than enough is written; the backward is delayed by reads in the order of
    need, one after the other, each after the tensors needed just before have made room for it, and
    by what is made again.
    What others are made again from is needed with them. Transfers are as fast as while the step
    waits, and computing is not slowed; instead the step is no shorter than what computing loses
    beside all transfers, which is no more than waiting for them would take.
Ignores
    That both happen;
    That what several, or something that is needed sooner itself, are made again from takes time;
    that every tensor waits for memory (a grid of 24 is looked at), also for the last use of others,
    and that reads wait for the room of any tensor before: all this makes a step longer, so the
    least step of this model is a bound for the whole one. Each solution is timed by `time_step`,
    and a plan that meets the bound is proved best.
Judge
    Every combination of choices (`every_choice`), tensor by tensor up to 14.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from orrery.errors import SpecError
from orrery.progress import Progress
from orrery.units import format_si

from .._solver import Limits, constraint_programming, solve
from ._mend import SAME, Standing, mend
from ._problem import DROP, KEEP, PACK, WRITE, Choices, Columns
from ._select import Selection
from ._settings import OffloadSearch
from ._timing import Timing, time_step

#: Units of time in a step with everything moved: the finer, the longer the solver takes.
_RESOLUTION = 2**24
_MOST_TENSORS = 14
_GRID = 24  #: tensors whose making waits for writes, and writes that they wait for
_BACK = 6  #: earlier tensors whose room a read may wait for
_KEPT = 8  #: solutions that are timed, the last and best ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The best plan known after the search, what none can beat, and a sentence on both."""

    best: Standing | None
    lower_bound_s: float
    said: str


def every_choice(columns: Columns) -> Iterator[Standing]:
    """Yield every combination of choices that fits, timed; for at most 14 tensors.

    Raises
    ------
    SpecError : more tensors
    """
    if len(columns.size) > _MOST_TENSORS:
        raise SpecError("every choice", found=f"{len(columns.size)} tensors",
                        wanted=f"at most {_MOST_TENSORS}", fix="use method='exact'")  # fmt: skip
    for choices in product(*columns.allowed):
        moved = columns.moved_bytes(choices)
        if columns.disk is not None and moved > columns.disk:
            continue
        if columns.too_deep(choices) is not None:
            continue
        timing = time_step(columns, choices)
        if isinstance(timing, Timing):
            yield Standing(choices=choices, timing=timing, moved_bytes=moved, label="every choice")


def prove(
    columns: Columns, best: Standing | None, *, least_bytes: int, search: OffloadSearch,
    progress: Progress,
) -> Proof:  # fmt: skip
    """Return a bound on every plan's step, and a better plan than `best` if the search meets one.

    Raises
    ------
    MissingExtraError : OR-Tools is not installed
    """
    model = _Model(columns)
    if best is not None:
        model.hint(best.choices)
    found: list[Choices] = []

    def keep(value: Any, objective: float) -> None:
        del objective
        found.append(model.read(value))

    limits = Limits(work=search.work, seconds=search.limit_s, seed=search.seed)
    verdict = solve(model.model, limits, found=keep, task="offload plan", progress=progress,
                    scale=model.second)  # fmt: skip
    for choices in found[-_KEPT:]:
        selection = Selection(choices=choices, label="exact")
        timed = mend(columns, selection, least_bytes=least_bytes)
        if timed is not None and timed.better_than(best):
            best = timed
    if verdict.status == "infeasible":
        return Proof(best=None, lower_bound_s=0.0, said="exact: proved that nothing fits")
    bound = max(columns.plain_s, verdict.bound * model.second)
    if best is None:
        return Proof(best=None, lower_bound_s=bound, said="exact: no plan found")
    if bound <= best.timing.step_s * (1 + SAME):  # more than rounding would be a mistake: it shows
        bound = min(bound, best.timing.step_s)
    gap = best.timing.step_s / bound - 1 if bound else 0.0
    said = f"exact: no plan's step is under {format_si(bound, 's', digits=4)}; this one's "
    said += "is as short" if gap <= 1e-6 else f"is {100 * gap:.2g} % longer"
    if verdict.status != "optimal":
        said += "; the search met its limit"
    return Proof(best=best, lower_bound_s=bound, said=said)


class _Model:
    """The constraint model of a step; times and bytes rounded so that its optimum is a bound."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        longest = columns.plain_s + sum(max(w) + max(r) + a for w, r, a in zip(
            columns.write_s, columns.read_s, columns.again_s))  # fmt: skip
        self.second = max(longest, 1e-12) / _RESOLUTION  #: seconds of one unit
        self.byte = max(1, sum(columns.size) // 2**30)
        self.model = constraint_programming().CpModel()
        self.ways = [{choice: self.model.new_bool_var(f"{n} {choice}") for choice in allowed}
                     for n, allowed in enumerate(columns.allowed)]  # fmt: skip
        for ways in self.ways:
            self.model.add_exactly_one(ways.values())
        self._fits_forward()
        self._fits_backward()
        self._fits_disk()
        horizon = 2 * _RESOLUTION
        self.begin = self._writes(horizon)
        delay = self._delay(horizon)
        forward = self._time(columns.forward_s)
        self.model.add(self.begin >= forward + self._taken(columns.write_drag, columns.write_s))
        self.model.add(delay >= self._taken(columns.read_drag, columns.read_s) + sum(
            self._time(columns.again_s[n]) * ways[DROP] for n, ways in enumerate(self.ways)
            if DROP in ways))  # fmt: skip
        self.model.minimize(self.begin + self._time(columns.backward_s) + delay)

    def hint(self, choices: Choices) -> None:
        for ways, choice in zip(self.ways, choices):
            for way, variable in ways.items():
                self.model.add_hint(variable, way == choice)

    def read(self, value: Any) -> Choices:
        return tuple(next(way for way, v in ways.items() if value(v)) for ways in self.ways)

    def _time(self, seconds: float) -> int:
        # A little less than nothing is nothing; floors of sums are no less than sums of floors.
        return math.floor(seconds / self.second)

    def _alone(self, seconds: float) -> int:
        """The least that a transfer takes: while the step waits."""
        return self._time(seconds / self.columns.waiting_speed)

    def _taken(self, drag: float, seconds: Sequence[tuple[float, ...]]) -> Any:
        """What computing loses to transfers, moved beside it or waited for."""
        return sum(
            self._time(drag * seconds[n][way]) * variable for n, ways in enumerate(self.ways)
            for way, variable in ways.items() if way in (WRITE, PACK)
        )  # fmt: skip

    def _bytes(self, n: int) -> int:
        return self.columns.size[n] // self.byte

    def _fits(self, resident: list[int], busy: set[int]) -> None:
        """Kept ones of `resident`, and all that are in use, are in memory together."""
        everything = {*resident, *busy}
        room = self.columns.room // self.byte
        if sum(self._bytes(n) for n in everything) > room:
            fixed = sum(self._bytes(n) for n in busy)
            kept = [self._bytes(n) * self.ways[n][KEEP] for n in everything - busy]
            self.model.add(sum(kept) + fixed <= room)

    def _fits_forward(self) -> None:
        made: list[int] = []
        busy: set[int] = set()
        for _, kind, n in self.columns.forward:
            if kind:
                busy.discard(n)
                continue
            made.append(n)
            busy.add(n)
            self._fits(made, busy)
        self._fits(made, set())

    def _fits_backward(self) -> None:
        alive = dict.fromkeys(range(len(self.columns.size)))
        busy: set[int] = set()
        for _, kind, n in self.columns.backward:
            if kind:
                busy.discard(n)
                del alive[n]
                continue
            busy.add(n)
            self._fits(list(alive), busy)
            self._fits_made(n, [m for m in alive if m != n])

    def _fits_made(self, n: int, alive: list[int]) -> None:
        """What is made again fits with what that takes beside it, and all that is kept.

        Where others ask for it, it is made sooner, and then still more that is kept is there.
        """
        drop = self.ways[n].get(DROP)
        room, own = self.columns.room // self.byte, self._bytes(n)
        own += self.columns.again_bytes[n] // self.byte
        if drop is not None and own + sum(map(self._bytes, alive)) > room:
            kept = [self._bytes(m) * self.ways[m][KEEP] for m in alive]
            self.model.add(sum(kept) + own * drop <= room)

    def _fits_disk(self) -> None:
        columns = self.columns
        if columns.disk is not None:
            written = [columns.moved[n][way] * variable for n, ways in enumerate(self.ways)
                       for way, variable in ways.items() if way in (WRITE, PACK)]  # fmt: skip
            self.model.add(sum(written) <= columns.disk)

    def _writes(self, horizon: int) -> Any:
        """The backward's begin: no sooner than the forward's end and the last write's."""
        columns, model = self.columns, self.model
        waiting = set(_grid(len(self.ways)))
        end: Any = 0
        stall: Any = 0
        ends: list[Any] = []  # of the writes up to and with each tensor
        left: list[Any] = []  # bytes that leave by writing, rounded up
        for n, ways in enumerate(self.ways):
            if n in waiting:
                later = model.new_int_var(0, horizon, f"stall {n}")
                model.add(later >= stall)
                self._waits(n, later, ends, left)
                stall = later
            moves = [way for way in ways if way in (WRITE, PACK)]
            if moves:
                after = model.new_int_var(0, horizon, f"written {n}")
                lasts = sum(self._alone(columns.write_s[n][way]) * ways[way] for way in moves)
                model.add(after >= end + lasts)
                stays = [variable for way, variable in ways.items() if way not in moves]
                made = self._time(columns.made_s[n])
                model.add(after >= made + stall + lasts).only_enforce_if([~v for v in stays])
                end = after
            ends.append(end)
            gone = -(-columns.size[n] // self.byte) * sum(ways[way] for way in moves)
            left.append((left[-1] if left else 0) + gone)
        begin = model.new_int_var(self._time(columns.forward_s), horizon, "begin")
        model.add(begin >= end)
        model.add(begin >= self._time(columns.forward_s) + stall)
        return begin

    def _waits(self, n: int, stall: Any, ends: list[Any], left: list[Any]) -> None:
        """A tensor's predecessor is followed by a wait until writes have left room for it.

        Writes end in order: if those before `m` do not free enough, `m` has been written as well.
        """
        columns = self.columns
        excess = (sum(columns.size[: n + 1]) - columns.room) // self.byte
        if excess <= 0:
            return
        again = [k for k in range(n) if DROP in self.ways[k]
                 and columns.last_s[k] < columns.made_s[n]]  # fmt: skip
        dropped = sum(-(-columns.size[k] // self.byte) * self.ways[k][DROP] for k in again)
        # When the one before is made; rounded up: it is taken away.
        made = math.ceil(columns.made_s[max(0, n - 1)] / self.second)
        for m in _grid(n):
            enough = self.model.new_bool_var(f"enough {m} {n}")
            before = left[m - 1] if m else 0
            self.model.add(before + dropped >= excess).only_enforce_if(enough)
            self.model.add(stall + made >= ends[m]).only_enforce_if(~enough)

    def _delay(self, horizon: int) -> Any:
        """By how much the backward is longer."""
        columns, model = self.columns, self.model
        read: Any = 0
        delays: list[Any] = []
        early = self._early()
        for place, n in enumerate(columns.needs):
            ways, asked = self.ways[n], early.get(n, [])
            moves = [way for way in ways if way in (WRITE, PACK)]
            later = model.new_int_var(0, horizon, f"delay {n}")
            before = delays[-1] if delays else 0
            model.add(later >= before)
            again = self._time(columns.again_s[n]) * ways[DROP] if DROP in ways else 0
            model.add(later >= before + again).only_enforce_if([~drop for drop in asked])
            # Rounded up, because it is taken away.
            need = math.ceil(columns.need_s[n] / self.second)
            sooner = self._sooner(n, early)
            if moves or sooner:
                done = model.new_int_var(0, horizon, f"read {n}")
                model.add(done >= read)
                lasts = sum(self._alone(columns.read_s[n][way]) * ways[way] for way in moves)
                model.add(done >= read + lasts).only_enforce_if([~drop for drop in asked])
                if moves:
                    self._waits_for_room(place, done, lasts, delays, asked)
                if sooner:
                    seconds, remade = self._for_it(sooner)
                    model.add(done >= read + seconds).only_enforce_if(ways[DROP])
                    made = before + again + remade
                    model.add(later >= made).only_enforce_if([ways[DROP], *(~d for d in asked)])
                model.add(later >= done - need)
                model.add(later >= done - need + again).only_enforce_if([~d for d in asked])
                read = done
            delays.append(later)
        return delays[-1] if delays else 0

    def _early(self) -> dict[int, list[Any]]:
        """What is needed sooner than by itself, and which of others' choices make it so."""
        columns = self.columns
        place = {n: at for at, n in enumerate(columns.needs)}
        found: dict[int, list[Any]] = {}
        for n, ways in enumerate(self.ways):
            for m in columns.again_from[n] if DROP in ways else ():
                if place[n] < place[m]:
                    found.setdefault(m, []).append(ways[DROP])
        return found

    def _sooner(self, n: int, early: dict[int, list[Any]]) -> list[int]:
        """What is needed with `n`, if that is made again, and surely then for the first time."""
        if n in early or DROP not in self.ways[n]:
            return []
        own = self.ways[n][DROP]
        return [m for m in self.columns.again_from[n]
                if len(early.get(m, [])) == 1 and early[m][0] is own]  # fmt: skip

    def _for_it(self, tensors: list[int]) -> tuple[Any, Any]:
        """Time to read tensors, and to make them again, as their choices say."""
        columns = self.columns
        seconds = sum(
            self._alone(columns.read_s[m][way]) * variable
            for m in tensors for way, variable in self.ways[m].items() if way in (WRITE, PACK)
        )  # fmt: skip
        remade = sum(self._time(columns.again_s[m]) * self.ways[m][DROP] for m in tensors
                     if DROP in self.ways[m])  # fmt: skip
        return seconds, remade

    def _waits_for_room(
        self, place: int, done: Any, lasts: Any, delays: list[Any], asked: list[Any]
    ) -> None:
        """A read begins no sooner than tensors needed before it have made room.

        What is needed from the earlier tensor up to this one is in memory together if this one
        comes before the earlier one is let go, whether kept or moved; later ones only if kept.
        """
        columns, needs = self.columns, self.columns.needs
        n = needs[place]
        moved = [~variable for way, variable in self.ways[n].items() if way not in (WRITE, PACK)]
        moved += [~drop for drop in asked]  # else it is needed sooner
        for back in range(place - 1, max(-1, place - 1 - _BACK), -1):
            gone = columns.gone_s[needs[back]]
            if gone >= columns.need_s[n]:
                continue
            between = sum(self._bytes(m) for m in needs[back : place + 1]
                          if columns.gone_s[m] >= gone)  # fmt: skip
            kept = [self._bytes(m) * self.ways[m][KEEP] for m in needs[place + 1 :]]
            room = self.columns.room // self.byte
            last = max(k for k in range(place) if columns.need_s[needs[k]] <= gone)
            free = self._time(gone) + delays[last]
            if between > room:
                self.model.add(done >= free + lasts).only_enforce_if(moved)
                return  # what was needed sooner was let go sooner, or is of no more use here
            early = self.model.new_bool_var(f"early {n} {back}")
            self.model.add(between + sum(kept) <= room).only_enforce_if([early, *moved])
            self.model.add(done >= free + lasts).only_enforce_if([~early, *moved])


def _grid(count: int) -> list[int]:
    """At most so many of the first numbers, evenly, the last one among them."""
    if count <= _GRID:
        return list(range(count))
    return sorted({(k + 1) * count // _GRID - 1 for k in range(_GRID)})
