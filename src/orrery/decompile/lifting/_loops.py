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

from orrery.decompile.forms import (
    Index,
    Linear,
    Load,
    Loop,
    Operation,
    Store,
    Symbol,
    Unread,
    Value,
)
from orrery.decompile.values import Cells, symbols_of

from ._block import STACK
from ._evolution import Fold, find_fold, first_turn, roll_up
from ._flow import LiftLimitError, NaturalLoop
from ._live import mask
from ._state import State, distance_is_safe, join, split_address, unsettled
from ._turns import Guess, LoopMemory, Place, is_double, loads_of, wrapped, written_registers

if TYPE_CHECKING:
    from ._walk import Outcome, Walker

__all__ = ["LoopMemory", "run_loop"]

_ATTEMPTS = 14


def run_loop(walker: Walker, loop: NaturalLoop, state: State) -> list[tuple[int, State]]:
    """Carry out a loop; return its way out with the state after it."""
    run = _Run(walker, loop, state)
    return run.out()


class _Run:
    """One loop from one state."""

    def __init__(self, walker: Walker, loop: NaturalLoop, state: State) -> None:
        self.walker, self.loop, self.before = walker, loop, state
        self.engine, self.build = walker.engine, walker.engine.build
        self.memory = walker.memories.setdefault(loop.head, LoopMemory())
        self.counter = walker.counter()
        self.build.ranges[self.counter] = (0, None)
        self.guesses: dict[Place, Guess] = {}
        self.dropped: set[tuple[Linear, int]] = set()
        self.extent: Linear | None = None
        self.top = False
        self.places: set[Place] = set()
        self.refused: set[Place] = set()
        self.first = len(self.engine.steps)
        self.unread = len(self.engine.unread)
        self.last = False
        if not self.memory.registers:
            self.memory.registers = self._written()

    # -- which places ----------------------------------------------------------------------------

    def _written(self) -> set[tuple[int, int]]:
        """Return the registers that the loop's blocks write and a turn may begin by reading."""
        blocks = [self.walker.flow.blocks[a] for a in self.loop.body]
        found = written_registers(self.engine.machine, blocks)
        return {(o, size) for o, size in found if self._matters(o, size)}

    def _matters(self, offset: int, size: int) -> bool:
        """Return whether anything reads registers that a turn begins with."""
        return bool(self.walker.live[self.loop.head] & mask(offset, size))

    def _places(self) -> list[Place]:
        wide = self.memory.wide
        places = []
        for offset, size in sorted(self.memory.registers):
            if size == 4 and offset - 4 in wide:
                continue
            places.append(Place(None, offset, 8 if offset in wide else size))
        places.extend(
            sorted(
                (self.memory.stack | self.places) - self.refused,
                key=lambda p: (repr(p.base), p.offset),
            )
        )
        return places

    def _start(self, place: Place) -> Value:
        """Return what a place holds before the loop."""
        if place.base is None:
            found = self.engine.get(self.before, place.offset, place.size)
            assert not isinstance(found, tuple)
            return found
        return self._memory_value(self.before, place)

    def _memory_value(self, state: State, place: Place) -> Value:
        assert place.base is not None
        base = place.base
        cells = state.memory.get(base, Cells())
        return self.build.concat(
            cells.get(
                self.build, place.offset, place.size, lambda at, size: Load(base + at, size * 8)
            )
        )

    # -- one turn --------------------------------------------------------------------------------

    def _begin(self) -> State:
        """Return the state at the head of a turn, with what is believed of each place."""
        state = State(self.before.registers.copy(), {}, ())
        for base, cells in self.before.memory.items():
            if base.factor(STACK):
                state.memory[base] = cells.copy()
        for base, offset in self.dropped:
            if base in state.memory:
                state.memory[base].pieces.pop(offset, None)
        places = self._places()
        for place in places:
            guess = self.guesses.get(place)
            if guess is None:
                guess = self.guesses[place] = self._first_guess(place)
            if place.base is None:
                state.registers.put(self.build, place.offset, guess.value)
            else:
                cells = state.memory.setdefault(place.base, Cells())
                cells.put(self.build, place.offset, guess.value)
        for place in list(self.guesses):
            if place not in places:
                del self.guesses[place]
        return state

    def _first_guess(self, place: Place) -> Guess:
        symbol = self.engine.fresh("p")
        start = self._start(place)
        value = Index(Linear(0, ((symbol, 1),)), place.size * 8)
        guess = Guess("new", symbol, start, value)
        if place.base is None:
            kind = self.memory.kinds.get((place.offset, place.size))
            if kind == "same" or (kind is None and self._is_kept_number(place, start)):
                guess.kind, guess.value = "same", start
            elif kind == "step":
                self._as_step(guess, self.memory.steps[(place.offset, place.size)])
        return guess

    def _is_kept_number(self, place: Place, start: Value) -> bool:
        """Return whether a place looks like a float that the code keeps in a register."""
        low, high = self.engine.machine.vectors
        return low <= place.offset < high and self.build.constant(start) is not None

    def _as_step(self, guess: Guess, step: Linear) -> bool:
        """Believe that a place grows by the same in each turn."""
        form, width = self.build.linear(guess.start), guess.start.width
        if form is None:
            return False
        counter = Index(Linear(0, ((self.counter, 1),)), 64)
        grown = self.build.linear(self.build.multiply(counter, self.build.index(step, 64), 64))
        if grown is None:
            return False
        guess.kind, guess.step = "step", step
        if width == 64 and self.build.wraps(form, width):
            half = self.build.index(self.build.narrow(form, 32) + grown, 32)
            guess.value = self.build.extend(half, 64, signed=False)
        else:
            guess.value = self.build.index(form + grown, width)
        return True

    def out(self) -> list[tuple[int, State]]:
        """Find out about the loop and return its way out."""
        extent: Linear | None = None
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
            if not changed:
                break
        assert outcome is not None
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

    # -- learning --------------------------------------------------------------------------------

    def _end_value(self, end: State, place: Place) -> Value:
        if place.base is None:
            found = self.engine.get(end, place.offset, place.size)
            assert not isinstance(found, tuple)
            return found
        return self._memory_value(end, place)

    def _learn(self, end: State, outcome: Outcome, *, last: bool) -> bool:
        """Compare a turn's end with its beginning; return whether anything new was seen."""
        changed = self._new_places(end) | self._aliases()
        for place, guess in list(self.guesses.items()):
            value = self._end_value(end, place)
            guess.end = value
            changed = self._judge(place, guess, value, last=last) or changed
        return changed

    def _new_places(self, end: State) -> bool:
        """Note places that the turn changed without being known to; return whether there are."""
        changed = False
        low, high = self.engine.machine.vectors
        known = {(p.base, p.offset + i) for p in self.guesses for i in range(p.size)}
        ignored = {o for o, _, _ in self.engine.machine.fixed}
        for at, piece in end.registers.pieces.items():
            double = low <= at < high and is_double(piece) and at not in self.memory.wide
            if double and (at, 4) in self.memory.registers:
                self.memory.wide.add(at)
                self.memory.registers.add((at + 4, 4))
                changed = True
            if (
                (None, at) in known
                or at in ignored
                or self.before.registers.pieces.get(at) is piece
            ):
                continue
            if self.before.registers.pieces.get(at) == piece:
                continue
            if not self._matters(at, piece.width // 8):
                continue
            if low <= at < high:
                self.memory.registers.update(
                    (a, 4) for a in range(at & ~3, at + piece.width // 8, 4)
                )
            else:
                word = self.engine.machine.word
                self.memory.registers.add((at - at % word, word))
            changed = True
        for step in self.engine.steps[self.first :]:
            if not isinstance(step, Store) or step.width % 8:
                continue
            base, offset = split_address(step.address)
            place = Place(base, offset, step.width // 8)
            if place in self.guesses or place in self.refused:
                continue
            if step.loops or not self._outside(step.address):
                continue
            overlapping = [
                p for p in self.guesses
                if p.base == base and p.offset < offset + place.size and offset < p.offset + p.size
            ]  # fmt: skip
            if overlapping:
                self.refused.update([place, *overlapping])
            elif base.terms == ((STACK, 1),):
                self.memory.stack.add(place)
            self.places.add(place)
            changed = True
        return changed

    def _outside(self, form: Linear) -> bool:
        """Return whether a form has nothing in it that this loop changes."""
        inner = {g.symbol for g in self.guesses.values()} | {self.counter}
        return not (symbols_of(form) & inner)

    def _unsettled(self, form: Linear) -> bool:
        """Return whether too little is known yet of where an address goes."""
        if self.last:
            return False
        inside = symbols_of(form)
        if self.counter in inside and self.extent is None:
            return True
        if form.factor(STACK) and unsettled(self.build, form):
            return True  # an outer loop does not know yet either
        return any(g.symbol in inside for g in self.guesses.values() if g.kind == "new")

    def _aliases(self) -> bool:
        """Refuse places that other stores or loads of the loop may touch; drop doubtful cells."""
        changed = False
        stores = [s for s in self.engine.steps[self.first :] if isinstance(s, Store)]
        forms = {(s.address, s.width // 8) for s in stores}
        places = [p for p in self.guesses if p.base is not None]
        loads: set[tuple[Linear, int]] = set()
        for step in self.engine.steps[self.first :]:
            loads |= loads_of(step)
        for place in places:
            assert place.base is not None
            at = place.base + place.offset
            for address, size in forms | loads:
                if (address == at and size == place.size) or self._unsettled(address):
                    continue
                if not distance_is_safe(self.build, at, place.size, address, size):
                    self.refused.add(place)
                    changed = True
                    break
        dropped: set[tuple[Linear, int]] = set()
        for base, cells in self.before.memory.items():
            for offset, piece in cells.pieces.items():
                place = Place(base, offset, piece.width // 8)
                if place in self.guesses:
                    continue
                at = base + offset
                if any(
                    not self._unsettled(address)
                    and not distance_is_safe(self.build, at, piece.width // 8, address, size)
                    for address, size in forms
                ):
                    dropped.add((base, offset))
        if dropped != self.dropped:
            self.dropped = dropped
            changed = True
        return changed

    def _judge(self, place: Place, guess: Guess, end: Value, *, last: bool) -> bool:
        """Settle or revise what is believed of one place; return whether that changed it."""
        if guess.kind == "same":
            if end == guess.start:
                return False
            return self._revert(place, guess)
        if guess.kind == "step":
            form, start = self.build.linear(end), self.build.linear(guess.value)
            if form is not None and start is not None and form - start == guess.step:
                return False
            if end == self._earlier(guess.value, Linear(1, ((self.counter, 1),))):
                return False
            return self._revert(place, guess)
        if guess.kind == "remade":
            again = self._earlier(end, Linear(-1, ((self.counter, 1),)))
            if again == guess.value:
                return False
            return self._revert(place, guess)
        if guess.kind == "first":
            counter = Linear(0, ((self.counter, 1),))
            first = self._is_first()
            again = self._earlier(end, counter + -1)
            if self.build.select(first, guess.start, again, end.width) == guess.value:
                return False
            return self._revert(place, guess)
        return self._discover(place, guess, end, last=last)

    def _revert(self, place: Place, guess: Guess) -> bool:
        guess.kind = "new"
        guess.value = Index(Linear(0, ((guess.symbol, 1),)), place.size * 8)
        if place.base is None:
            self.memory.kinds[(place.offset, place.size)] = "new"
        return True

    def _discover(self, place: Place, guess: Guess, end: Value, *, last: bool) -> bool:
        key = (place.offset, place.size)
        begin = Index(Linear(0, ((guess.symbol, 1),)), place.size * 8)
        if last:
            guess.fold = find_fold(self.build, end, guess.symbol)
            return False
        if end == begin:
            guess.kind, guess.value = "same", guess.start
            if place.base is None and self.memory.kinds.get(key) is None:
                self.memory.kinds[key] = "same"
            return True
        form = self.build.linear(end)
        if form is not None:
            grown = form - Linear(0, ((guess.symbol, 1),))
            if self._is_fixed(grown) and self._as_step(guess, grown):
                if place.base is None and grown.is_constant and key not in self.memory.kinds:
                    self.memory.kinds[key], self.memory.steps[key] = "step", grown
                return True
        guess.fold = None
        inside = symbols_of(end)
        if guess.symbol in inside:
            if self.build.replace(end, {guess.symbol: guess.start}) == guess.start:
                guess.kind, guess.value = "same", guess.start
                return True
            guess.fold = find_fold(self.build, end, guess.symbol)
            return False
        settled = not inside & {g.symbol for g in self.guesses.values() if g.kind == "new"}
        if settled and self._earlier(end, Linear(-1)) == guess.start:
            guess.kind = "remade"
            guess.value = self._earlier(end, Linear(-1, ((self.counter, 1),)))
            return True
        return False

    def _is_fixed(self, form: Linear) -> bool:
        """Return whether a form is the same in each turn, and no memory is read for it."""
        if form.is_constant:
            return True
        return self._outside(form) and all(isinstance(t, Symbol) for t, _ in form.terms)

    def _first_differs(self, outcome: Outcome) -> bool:
        """Believe of places that the condition of leaving needs that only their start differs.

        A value remade each turn from nothing that changes by itself is, at the head of turn k, what
        turn k - 1 made of it, and the start at turn 0.
        """
        needed: set[Symbol] = set()
        for _, state, _ in outcome.leaving:
            for guard in state.guards:
                needed |= symbols_of(guard)
        new = {g.symbol for g in self.guesses.values() if g.kind == "new"}
        changed = False
        for guess in self.guesses.values():
            if guess.symbol not in needed or guess.kind != "new" or guess.end is None:
                continue
            if symbols_of(guess.end) & new:
                continue
            counter = Linear(0, ((self.counter, 1),))
            first = self._is_first()
            before = self._earlier(guess.end, counter + -1)
            guess.value = self.build.select(first, guess.start, before, guess.start.width)
            guess.kind = "first"
            changed = True
        return changed

    def _is_first(self) -> Value:
        """Return the condition that this is the first turn, the same whatever is known of it."""
        counter = Index(Linear(0, ((self.counter, 1),)), 64)
        return Operation("ieq", (counter, self.build.number(0, 64)), 1)

    def _earlier(self, value: Value, turn: Linear) -> Value:
        return self.build.replace(value, {self.counter: Index(turn, 64)})

    # -- turns -----------------------------------------------------------------------------------

    def _extent(self, outcome: Outcome) -> Linear | None:
        """Return the turn in which the loop is left, from 0; None where it is not known."""
        if len(outcome.leaving) != 1 or outcome.returned:
            return None
        _, state, written = outcome.leaving[0]
        self.top = written == self.first and outcome.head_leaves
        condition: Value = self.build.number(1, 1)
        for guard in state.guards:
            condition = self.build.both(condition, guard)
        found = first_turn(self.build, condition, self.counter)
        if found is None or not self._outside(found):
            return None
        return found

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
        target, after, written = outcome.leaving[0]
        self.left = after
        finals = self._finals(after, extent)
        self._wrap(written, extent, finals)
        if len(build.ranges) > 100_000:
            raise LiftLimitError("too many loops")
        return [(target, self._after(target, after, finals))]

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

    def _wrap(self, written: int, extent: Linear, finals: dict[Place, Value]) -> None:
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
        stays = [build.negate(g) for g in self.left.guards] if len(self.left.guards) == 1 else []
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
