"""One loop: what changes from turn to turn, how many turns, what is left afterwards.

Models:  one turn carried out from symbols for everything that it changes, again and again until
         each is known: unchanged, growing by a constant, remade each turn, or accumulated;
         registers and places in memory alike. What accumulates in memory is stored once, after.
Ignores: what none of these describes: it is unknown, and whoever uses it is told.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from orrery.decompile.forms import (
    Call,
    Constant,
    Index,
    Linear,
    Load,
    Loop,
    Store,
    Symbol,
    Unread,
    Value,
)
from orrery.decompile.values import Cells, inner_of, is_named, symbols_of

from ._block import STACK
from ._evolution import Fold, first_turn, roll_up
from ._flow import LiftLimitError, NaturalLoop, mask
from ._learning import Learning
from ._overwritten import swapped
from ._state import State, distance_is_safe, join, roots, split_address
from ._turns import Guess, Place, loads_of, values_of, wrapped

if TYPE_CHECKING:
    from ._walk import Outcome, Walker

_ATTEMPTS = 14
#: A loop of which not all is learned is carried out turn by turn up to so many, where its end is
#: sure; so many steps may come of it; after so many times that way is tried first.
_FEW, _MOST_STEPS, _OFTEN = 16, 1000, 3
_MOST_KNOWN = 64


def run_loop(walker: Walker, loop: NaturalLoop, state: State) -> list[tuple[int, State]]:
    """Carry out a loop; return its way out with the state after it."""

    def overwritten(form: Linear, size: int) -> bool:
        # A number is known to lie there: what a value reads there, it has read before.
        base, offset = split_address(form)
        cells = state.memory.get(base, Cells())
        return any(
            piece != Load(base + at, piece.width) for at, piece in cells.overlapping(offset, size)
        )

    walker.engine.put_by(state, loop.head, overwritten)
    return _Run(walker, loop, state).out()


class _Run(Learning):
    """One loop from one state: turned until nothing new is learned, then put around its steps."""

    def out(self) -> list[tuple[int, State]]:
        """Find out about the loop and return its way out."""
        ways = self._turn_by_turn() if self.memory.turned >= _OFTEN else None
        if ways is not None:
            return ways
        # Where the loop's own numbers lie in memory, its extent is not to be believed before them.
        self.extent = extent = None if self.memory.stack else self.memory.extent
        outcome: Outcome | None = None
        for attempt in range(_ATTEMPTS):
            del self.engine.steps[self.first :]
            del self.engine.unread[self.unread :]
            self._limit(extent, before_test=True)
            outcome = self.walker.region(self.loop, self._begin(), after_head=self._after_head)
            self._limit(extent, before_test=False)
            if not outcome.back:
                return self._no_loop(outcome)
            outcome.leaving = self._one_way(outcome)
            end = join(self.build, outcome.back)
            self.last = attempt >= _ATTEMPTS - 3
            changed = self._learn(end, outcome, last=self.last)
            new = self._extent(outcome)
            if new != extent:
                self.extent = extent = new
                changed = True
            if not changed and extent is None and not self.last:
                changed = self._first_differs(outcome)
            if not changed and not self.last:
                changed = self._hope()
            if not changed:
                break
        assert outcome is not None
        if self._doubtful(outcome, extent):
            ways = self._turn_by_turn()
            if ways is not None:
                return ways
        if self._puts_by():
            return run_loop(self.walker, self.loop, self.before)
        self.memory.extent = extent if extent is not None and extent.is_constant else None
        return self._finish(outcome, extent)

    def _one_way(self, outcome: Outcome) -> list[tuple[int, State, int]]:
        """Return the ways out with those to one place as one."""
        targets = dict.fromkeys(t for t, _, _ in outcome.leaving)
        if len(targets) != 1 or len(outcome.leaving) < 2:
            return outcome.leaving
        states = [s for _, s, _ in outcome.leaving]
        written = max(w for _, _, w in outcome.leaving)
        return [(outcome.leaving[0][0], join(self.build, states), written)]

    def _no_loop(self, outcome: Outcome) -> list[tuple[int, State]]:
        """Return the ways out of what turned out to be carried out at most once."""
        del self.engine.steps[self.first :]
        del self.engine.unread[self.unread :]
        again = self.walker.region(self.loop, self.before)
        if again.back:
            self.engine.unread.append(
                Unread(instruction=self.loop.head, reason="a loop that ends and does not end")
            )
        del outcome
        return [(target, state) for target, state, _ in again.leaving]

    def _doubtful(self, outcome: Outcome, extent: Linear | None) -> bool:
        """Return whether something matters of which it was not learned how it changes.

        That is what steps and ways out are made of, where turns read what they add up, and lanes
        of which each turn fills one.
        """
        if extent is not None and not (extent.is_constant and extent.constant < _FEW):
            return False
        new = {g.symbol for g in self.guesses.values() if g.kind == "new" and g.fold is None}
        needed = [v for s in self.engine.steps[self.first :] for v in values_of(s)]
        for _, state, _ in outcome.leaving:
            needed += state.guards
        for guess in self.guesses.values():
            if guess.kind == "new" and guess.end is not None:
                needed += self.engine.reads(guess.end)
                if is_named(guess.end, "select") and is_named(inner_of(guess.end), "ieq"):
                    needed.append(guess.end)
        return extent is None or any(not new.isdisjoint(v.symbols) for v in needed)

    def _turn_by_turn(self) -> list[tuple[int, State]] | None:
        """Return the ways out of a loop as if its turns were written out; None if no end is sure.

        Nothing is believed: each turn is carried out on what the one before has left.
        """
        if self.walker.lost & self.loop.body:
            return None
        steps, unread = self.engine.steps[self.first :], self.engine.unread[self.unread :]
        del self.engine.steps[self.first :]
        del self.engine.unread[self.unread :]
        state = self.before.copy()
        for _ in range(_FEW):
            outcome = self.walker.region(self.loop, state)
            if len(self.engine.unread) > self.unread:
                break
            if not outcome.back:
                self.memory.turned += 1
                return [(target, after) for target, after, _ in outcome.leaving]
            if outcome.leaving or len(self.engine.steps) > self.first + _MOST_STEPS:
                break
            state = join(self.build, outcome.back)
            state.guards = self.before.guards
        self.engine.steps[self.first :] = steps
        self.engine.unread[self.unread :] = unread
        return None

    def _puts_by(self) -> bool:
        """Put by what was read before the loop and is overwritten in it; return whether any was.

        What one turn reads, the next one uses and either overwrites is said to be unread.
        """
        body, unread = self.engine.steps[self.first :], self.engine.unread[self.unread :]
        own = {(p.base + p.offset, p.size) for p in self.guesses if p.base is not None}
        stores = [  # what adds up in memory is stored after the loop
            s for s in body if isinstance(s, Store)
            and (s.loops or (s.address, s.width // 8) not in own)
        ]  # fmt: skip
        calls = any(isinstance(s, Call) for s in body)
        grown: dict[frozenset[object], set[tuple[Linear, int]]] = {}
        for step in stores:
            grown.setdefault(frozenset(roots(step.address)), set()).add(
                (step.address, step.width // 8)
            )

        @cache
        def touched(form: Linear, size: int) -> bool:
            return (calls and not form.factor(STACK)) or any(
                not distance_is_safe(self.build, at, length, form, size)
                for root, places in grown.items() if root == roots(form) or root & roots(form)
                for at, length in places
            )  # fmt: skip

        self.touched = touched
        self.newer = {
            s.value: Load(s.address, s.width) for s in stores
            if not s.loops and not s.guards and self._changed(s.value)
        }  # fmt: skip
        del self.engine.steps[self.first :]
        del self.engine.unread[self.unread :]
        if self.engine.put_by(self.before, self.loop.head, touched):
            return True
        self.engine.steps.extend(body)
        self.engine.unread.extend(unread)
        before = {self.counter: Index(Linear(-1, ((self.counter, 1),)), 64)}
        now = {(s.address, s.width // 8) for s in stores}
        # What is stored where it was read, and not in an inner loop, is told apart by its order.
        plain = now - {(s.address, s.width // 8) for s in stores if s.loops}
        earlier = {(self.build.replace_linear(at, before), length) for at, length in now}
        carried = {
            (load.address, load.width // 8) for guess in self.guesses.values()
            if guess.kind in ("remade", "first") for load in self.engine.reads(guess.value)
        }  # fmt: skip
        carried &= {read for step in body for read in loads_of(step)}
        if any(
            not distance_is_safe(self.build, at, length, *read)
            for read in carried for at, length in earlier | (now - ({read} & plain))
        ):  # fmt: skip
            reason = "a turn uses what an earlier one has read and overwritten"
            self.engine.unread.append(Unread(instruction=self.loop.head, reason=reason))
        if any(self._changed(guard) for guard in self.before.guards):
            reason = "a loop overwrites what decides whether it is carried out"
            self.engine.unread.append(Unread(instruction=self.loop.head, reason=reason))
        return False

    def _changed(self, value: Value) -> bool:
        """Return whether a value reads what the loop overwrites."""
        return any(self.touched(x.address, x.width // 8) for x in self.engine.reads(value))

    def _left(self, made: Callable[[Callable[[Value], Value]], Value]) -> Callable[[Value], Value]:
        """Return how a turn's values are to be written so that they can be read after the loop.

        What was stored is read from there; what else the loop has overwritten is not known.

        Parameters
        ----------
        made : makes what is read afterwards of a turn's values
        """
        if not self._changed(made(lambda value: value)):
            return lambda value: value
        if not self._changed(made(swapped({v: Constant(0, v.width) for v in self.newer}))):
            return swapped(self.newer)
        reason = f"what a loop at 0x{self.loop.head:x} has read and overwritten"
        return lambda value: self.engine.unknown(value.width, reason)

    # -- turns -----------------------------------------------------------------------------------

    def _extent(self, outcome: Outcome) -> Linear | None:
        """Return the turn in which the loop is left, from 0; None where it is not known."""
        if not outcome.leaving:
            return None
        self.top = outcome.head_leaves and all(w == self.first for _, _, w in outcome.leaving)
        condition: Value = self.build.number(1, 1)
        for guard in self._leaves(outcome):
            condition = self.build.both(condition, guard)
        found = first_turn(self.build, condition, self.counter)
        if found is None or not self._outside(found):
            return None
        return found

    def _leaves(self, outcome: Outcome) -> tuple[Value, ...]:
        """Return the conditions that must hold together for a turn to be the last."""
        return join(
            self.build, [State(Cells(), {}, state.guards) for _, state, _ in outcome.leaving]
        ).guards

    def _limit(self, extent: Linear | None, *, before_test: bool) -> None:
        high = None if extent is None else self.build.range(extent)[1]
        if high is not None and self.top and not before_test:
            high -= 1
        self.build.ranges[self.counter] = (0, high)

    def _after_head(self) -> None:
        """Bound the counter where a loop tests before each turn: the turn itself has one less."""
        self._limit(self.extent, before_test=False)

    def _finish(self, outcome: Outcome, extent: Linear | None) -> list[tuple[int, State]]:
        """Put the loop around its steps and return the way out with what is left after it."""
        build = self.build
        if not outcome.leaving:
            self.engine.unread.append(
                Unread(instruction=self.loop.head, reason="a loop without end")
            )
            return []
        if extent is None:
            reason = (
                "a loop left at several places" if len(outcome.leaving) > 1
                else "a loop whose number of turns is not known"
            )  # fmt: skip
            self.engine.unread.append(Unread(instruction=self.loop.head, reason=reason))
            extent = Linear(0, ((self.engine.fresh("n"), 1),))
        if len(build.ranges) > 100_000:
            raise LiftLimitError("too many loops")
        # All ways out are taken in the last turn; which one, their conditions say.
        ends = [self._finals(after, extent) for _, after, _ in outcome.leaving]
        differing = any(
            end[place] != ends[0][place]
            for end in ends
            for place in end
            if place.base is not None and not place.base.factor(STACK)
        )
        if differing:
            reason = "memory in which a loop that is left at several places adds up"
            self.engine.unread.append(Unread(instruction=self.loop.head, reason=reason))
        self._wrap(max(w for _, _, w in outcome.leaving), extent, ends[0], self._leaves(outcome))
        ways = []
        for (target, after, _), finals in zip(outcome.leaving, ends, strict=True):
            state = self._after(target, after, finals)
            if len(ends) > 1:
                guards = [build.replace(g, self.known) for g in after.guards]
                state.guards += tuple(g for g in guards if build.constant(g) is None)
            ways.append((target, state))
        return ways

    def _accumulated(self, guess: Guess, turns: Linear) -> Value | None:
        if guess.fold is None:
            return None
        others = {g.symbol for g in self.guesses.values() if g.kind == "new"}
        for addend, _ in guess.fold.addends:
            if symbols_of(addend) & others:
                return None
        counter = self.walker.counter()
        build, fold = self.build, guess.fold
        build.ranges[counter] = (0, build.range(turns - 1)[1])
        self.engine.summing.add(counter)
        known: dict[Symbol, Value] = {self.counter: Index(Linear(0, ((counter, 1),)), 64)}

        def made(swap: Callable[[Value], Value]) -> Value:
            addends = tuple((build.replace(swap(v), known), f) for v, f in fold.addends)
            return roll_up(build, Fold(fold.operation, addends), counter, turns, guess.start)

        return made(self._left(made))

    def _finals(self, after: State, extent: Linear) -> dict[Place, Value]:
        """Return what each place that changes holds after the loop."""
        known: dict[Symbol, Value] = {self.counter: Index(extent, 64)}
        for place, guess in self.guesses.items():
            if guess.kind != "new":
                continue
            found = self._accumulated(guess, extent)
            known[guess.symbol] = found if found is not None else self.engine.unknown(
                place.size * 8, f"what a loop at 0x{self.loop.head:x} makes of it turn by turn"
            )  # fmt: skip
        self.known = known
        finals: dict[Place, Value] = {}
        for place, guess in self.guesses.items():
            value = self._end_value(after, place)
            if guess.kind == "same":
                finals[place] = guess.start
            elif guess.fold is not None and value == guess.end and guess.kind == "new":
                total = self._accumulated(guess, extent + 1)
                finals[place] = total if total is not None else self.build.replace(value, known)
            else:
                finals[place] = self._last(value)
        return finals

    def _last(self, value: Value) -> Value:
        """Return what a value of a turn is after the last one."""
        turn = {self.counter: self.known[self.counter]}
        swap = self._left(lambda swap: self.build.replace(swap(value), turn))
        return self.build.replace(swap(value), self.known)

    def _after(self, target: int, after: State, finals: dict[Place, Value]) -> State:
        inner = {g.symbol for g in self.guesses.values()} | {self.counter}
        live = self.walker.live.get(target, -1)
        registers: dict[int, Value] = {}
        for at, value in after.registers.pieces.items():
            if self.before.registers.pieces.get(at) is value:
                registers[at] = value
            elif live & mask(at, value.width // 8):
                changes = bool(symbols_of(value) & inner)
                registers[at] = self._last(value) if changes else value
        state = State(Cells(registers), {}, self.before.guards, {None})
        for base, cells in after.memory.items():
            if not symbols_of(base) & inner:
                kept = Cells(
                    {at: v if not symbols_of(v) & inner else self._last(v)
                     for at, v in cells.pieces.items()}
                )  # fmt: skip
                state.memory[base] = kept
        for base, cells in self.before.memory.items():  # what no turn changes is still known
            if base.factor(STACK) or len(cells.pieces) > _MOST_KNOWN:
                continue
            own = state.memory.setdefault(base, Cells())
            for at, piece in cells.pieces.items():
                size = piece.width // 8
                if not any(own.overlapping(at, size)) and not self.touched(base + at, size):
                    own.pieces[at] = piece
        for place, value in finals.items():
            if place.base is None:
                state.registers.put(self.build, place.offset, value)
            else:
                state.memory.setdefault(place.base, Cells()).put(self.build, place.offset, value)
        return state

    def _wrap(
        self,
        written: int,
        extent: Linear,
        finals: dict[Place, Value],
        leaves: tuple[Value, ...],
    ) -> None:
        """Put the loop around the steps of one turn; places it accumulates in are stored after."""
        build, engine = self.build, self.engine
        body = engine.steps[self.first :]
        del engine.steps[self.first :]
        places = {
            (p.base + p.offset, p.size): p for p in self.guesses if p.base is not None
        }  # fmt: skip
        outer = self.before.guards
        inside: dict[Symbol, Value] = {}
        for guess in self.guesses.values():
            if guess.kind == "new":
                running = self._accumulated(guess, Linear(0, ((self.counter, 1),)))
                inside[guess.symbol] = running if running is not None else self.known[guess.symbol]
        loops = [
            Loop(counter=self.counter, extent=turns, address=self.loop.head)
            for turns in (extent + 1, extent)
        ]
        stays = [build.negate(leaves[0])] if len(leaves) == 1 else []
        last: dict[Place, Store] = {}
        for number, step in enumerate(body):
            if isinstance(step, Store) and not step.loops:
                place = places.get((step.address, step.width // 8))
                if place is not None:
                    last[place] = step
                    continue
            late = self.first + number >= written
            around = loops[1] if late else loops[0]
            own = tuple(g for g in step.guards if not late or g not in stays)
            engine.steps.append(wrapped(build, replace(step, guards=own), inside, around, outer))
        for place, step in last.items():
            engine.steps.append(
                replace(step, value=build.as_bits(finals[place]), guards=outer, loops=())
            )
