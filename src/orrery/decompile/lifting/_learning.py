"""What a loop changes from turn to turn, learned by carrying one turn out again and again.

Models:  registers and places in memory alike: unchanged, growing by a constant, remade each turn,
         remade but for the first, or accumulated. What earlier times have shown of a loop is where
         the next time begins; it is believed only as far as a turn bears it out.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.decompile.forms import Index, Linear, Load, Operation, Store, Symbol, Value
from orrery.decompile.values import Cells, inner_of, is_named, symbols_of

from ._block import STACK
from ._evolution import find_fold
from ._flow import NaturalLoop, mask
from ._state import State, distance_is_safe, split_address, unsettled
from ._turns import Guess, LoopMemory, Place, is_double, loads_of, written_registers

if TYPE_CHECKING:
    from ._walk import Outcome, Walker


class Learning:
    """One loop from one state: what is believed of each place, and whether a turn bears it out."""

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
                key=lambda p: (p.base.order if p.base is not None else (), p.offset, p.size),
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
        kind = self.memory.kinds.get(place)
        if kind == "same" or (kind is None and self._is_kept_number(place, start)):
            guess.kind, guess.value = "same", start
        elif kind == "step":
            self._as_step(guess, self.memory.steps[place])
        return guess

    def _is_kept_number(self, place: Place, start: Value) -> bool:
        """Return whether a place looks like a float that the code keeps in a register."""
        low, high = self.engine.machine.vectors
        if place.base is not None or not low <= place.offset < high:
            return False
        return self.build.constant(start) is not None

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
        if width == 64 and (guess.half or self.build.wraps(form, width)):
            half = self.build.index(self.build.narrow(form, 32) + grown, 32)
            guess.value = self.build.extend(half, 64, signed=False)
        else:
            guess.value = self.build.index(form + grown, width)
        return True

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
                if place in self.memory.hoped:
                    self.memory.kinds[place] = "same"
                return False
            return self._revert(place, guess)
        if guess.kind == "step":
            form, start = self.build.linear(end), self.build.linear(guess.value)
            if form is not None and start is not None and form - start == guess.step:
                return False
            if end == self._earlier(guess.value, Linear(1, ((self.counter, 1),))):
                return False
            return self._goes_below(guess, end) or self._revert(place, guess)
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

    def _goes_below(self, guess: Guess, end: Value) -> bool:
        """Believe of a place that counts down that it is a number of 32 bits below 0, too."""
        form, before = self.build.linear(guess.value), guess.value
        if form is None or not is_named(end, "uextend") or inner_of(end).width != 32:
            return False
        after = self.build.linear(inner_of(end))
        if after is None or after - self.build.narrow(form, 32) != guess.step:
            return False
        guess.half = True
        return self._as_step(guess, guess.step) and guess.value != before

    def _revert(self, place: Place, guess: Guess) -> bool:
        guess.kind = "new"
        guess.value = Index(Linear(0, ((guess.symbol, 1),)), place.size * 8)
        self.memory.kinds[place] = "new"
        return True

    def _discover(self, place: Place, guess: Guess, end: Value, *, last: bool) -> bool:
        begin = Index(Linear(0, ((guess.symbol, 1),)), place.size * 8)
        if last:
            guess.fold = find_fold(self.build, end, guess.symbol)
            return False
        if end == begin:
            guess.kind, guess.value = "same", guess.start
            if _lasting(place):
                self.memory.kinds.setdefault(place, "same")
            return True
        form = self.build.linear(end)
        if form is not None:
            grown = form - Linear(0, ((guess.symbol, 1),))
            if self._is_fixed(grown) and self._as_step(guess, grown):
                if _lasting(place) and all(s.kind == "argument" for s in grown.symbols):
                    self.memory.steps[place] = grown
                    self.memory.kinds.setdefault(place, "step")
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
        if settled and guess.start in self._begun(self._earlier(end, Linear(-1))):
            guess.kind = "remade"
            guess.value = self._earlier(end, Linear(-1, ((self.counter, 1),)))
            return True
        return False

    def _begun(self, value: Value) -> tuple[Value, ...]:
        """Return a value as it is written, and as what is known to lie there before the loop."""
        if not isinstance(value, Load):
            return (value,)
        base, offset = split_address(value.address)
        piece = self.before.memory.get(base, Cells()).pieces.get(offset)
        return (value,) if piece is None or piece.width != value.width else (value, piece)

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

    def _hope(self) -> bool:
        """Believe of places that nothing is known of that a turn leaves them as they were.

        A place that an inner loop leaves so only if this one does cannot be seen to be the same
        from a symbol. What is believed here in vain is taken back after one turn, and is not
        believed again.
        """
        changed = False
        for place, guess in self.guesses.items():
            if guess.kind != "new" or guess.fold is not None or not _lasting(place):
                continue
            if place not in self.memory.hoped:
                self.memory.hoped.add(place)
                guess.kind, guess.value = "same", guess.start
                changed = True
        return changed

    def _is_first(self) -> Value:
        """Return the condition that this is the first turn, the same whatever is known of it."""
        counter = Index(Linear(0, ((self.counter, 1),)), 64)
        return Operation("ieq", (counter, self.build.number(0, 64)), 1)

    def _earlier(self, value: Value, turn: Linear) -> Value:
        return self.build.replace(value, {self.counter: Index(turn, 64)})


def _lasting(place: Place) -> bool:
    """Return whether a place is called the same each time that its loop is come to."""
    return place.base is None or place.base.terms == ((STACK, 1),)
