"""One loop: what changes from turn to turn, how many turns, what is left afterwards.

Models:  one turn carried out from symbols for everything that it changes, again and again until
         each is known: unchanged, growing by a constant, remade each turn, or accumulated;
         registers and places in memory alike. What accumulates in memory is stored once, after.
Ignores: what none of these describes: it is unknown, and whoever uses it is told.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orrery.decompile.forms import Index, Linear, Loop, Store, Symbol, Unread, Value
from orrery.decompile.values import Cells, symbols_of

from ._block import STACK
from ._evolution import Fold, first_turn, roll_up
from ._flow import LiftLimitError, NaturalLoop, mask
from ._learning import Learning
from ._state import State, join
from ._turns import Guess, LoopMemory, Place, wrapped

if TYPE_CHECKING:
    from ._walk import Outcome, Walker

__all__ = ["LoopMemory", "run_loop"]

_ATTEMPTS = 14


def run_loop(walker: Walker, loop: NaturalLoop, state: State) -> list[tuple[int, State]]:
    """Carry out a loop; return its way out with the state after it."""
    run = _Run(walker, loop, state)
    return run.out()


class _Run(Learning):
    """One loop from one state: turned until nothing new is learned, then put around its steps."""

    def out(self) -> list[tuple[int, State]]:
        """Find out about the loop and return its way out."""
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
        build = self.build
        build.ranges[counter] = build.ranges[self.counter]
        fold = Fold(
            guess.fold.operation,
            tuple(
                (build.replace(v, {self.counter: Index(Linear(0, ((counter, 1),)), 64)}), f)
                for v, f in guess.fold.addends
            ),
        )
        return roll_up(build, fold, counter, turns, guess.start)

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
        finals: dict[Place, Value] = {}
        for place, guess in self.guesses.items():
            value = self._end_value(after, place)
            if guess.kind == "same":
                finals[place] = guess.start
            elif guess.fold is not None and value == guess.end and guess.kind == "new":
                total = self._accumulated(guess, extent + 1)
                finals[place] = total if total is not None else self.build.replace(value, known)
            else:
                finals[place] = self.build.replace(value, known)
        self.known = known
        return finals

    def _after(self, target: int, after: State, finals: dict[Place, Value]) -> State:
        inner = {g.symbol for g in self.guesses.values()} | {self.counter}
        live = self.walker.live.get(target, -1)
        registers: dict[int, Value] = {}
        for at, value in after.registers.pieces.items():
            if self.before.registers.pieces.get(at) is value:
                registers[at] = value
            elif live & mask(at, value.width // 8):
                changes = bool(symbols_of(value) & inner)
                registers[at] = self.build.replace(value, self.known) if changes else value
        state = State(Cells(registers), {}, self.before.guards)
        for base, cells in after.memory.items():
            if not symbols_of(base) & inner:
                kept = Cells(
                    {at: v if not symbols_of(v) & inner else self.build.replace(v, self.known)
                     for at, v in cells.pieces.items()}
                )  # fmt: skip
                state.memory[base] = kept
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
            around = loops[0] if self.first + number < written else loops[1]
            own = tuple(g for g in step.guards if g not in stays)
            engine.steps.append(wrapped(build, replace(step, guards=own), inside, around, outer))
        for place, step in last.items():
            engine.steps.append(
                replace(step, value=build.as_bits(finals[place]), guards=outer, loops=())
            )
