"""Steps that use what memory held before an earlier step wrote there.

Models:  code that keeps in a register what it read or computed, stores to where that came from and
         goes on with the register. What was just stored is read from there; what was read before
         and overwritten is put by first, in memory of its own.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from orrery.decompile.forms import (
    Call,
    Index,
    Linear,
    Load,
    Loop,
    Operation,
    Reduction,
    Store,
    Symbol,
    Unread,
    Value,
    linear,
)
from orrery.decompile.values import Builder

from ._block import Interpreter
from ._state import distance_is_safe, roots, split_address
from ._turns import loads_of

Root = Symbol | Operation | Load

#: base and loops -> offset -> bytes, guards and number of each step that stores there
Written = dict[tuple[Linear, tuple[Loop, ...]], dict[int, list[tuple[int, tuple[Value, ...], int]]]]
_WIDEST = 8


def settled(
    engine: Interpreter, steps: list[Store | Call]
) -> tuple[list[Store | Call], list[Unread]]:
    """Return steps whose loads are meant when a step is reached, and those that cannot be.

    Before, a load is older than every store of its turn: what was stored since is written out.
    """
    build = engine.build
    result: list[Store | Call] = []
    unread: list[Unread] = []
    written: Written = {}
    held = _Held(build)
    copies = _Copies(engine)
    for number, step in enumerate(steps):
        made = step
        if _older(build, step, written):
            if isinstance(step, Store):
                made = _reading_anew(build, step, held, copies, written)
            else:
                reason = "it uses memory that was overwritten"
                unread.append(Unread(instruction=step.instruction, reason=reason))
        result.append(made)
        held.note(step)
        if isinstance(step, Store) and engine.keeping.isdisjoint(step.address.symbols):
            base, offset = split_address(step.address)
            _forget_changed(build, step, written)
            there = written.setdefault((base, step.loops), {}).setdefault(offset, [])
            there.append((step.width // 8, step.guards, number))
        elif isinstance(step, Call):
            written.clear()
    return [s for n, step in enumerate(result) for s in (*copies.before(n, step), step)], unread


def _older(build: Builder, step: Store | Call, written: Written) -> dict[tuple[Linear, int], int]:
    """Return what a step reads that an earlier one has overwritten: (address, bytes) and which."""
    opposite = {build.negate(g) for g in step.guards}
    found = {}
    for address, size in loads_of(step):
        base, offset = split_address(address)
        places = written.get((base, step.loops))
        numbers = [
            number
            for at in (range(offset - _WIDEST + 1, offset + size) if places else ())
            for length, guards, number in (places or {}).get(at, ())
            if at + length > offset and not opposite.intersection(guards)
        ]
        if numbers:
            found[(address, size)] = min(numbers)
    return found


def _forget_changed(build: Builder, step: Store, written: Written) -> None:
    """Forget stores to what a loop after them may write: what is read from there on is newer.

    What is older and used after it was put by before the loop.
    """
    for (base, loops), places in written.items():
        if len(loops) >= len(step.loops) or step.loops[: len(loops)] != loops:
            continue
        if roots(base) != roots(step.address) and roots(base).isdisjoint(roots(step.address)):
            continue
        for at in list(places):
            size = max(length for length, _, _ in places[at])
            if not distance_is_safe(build, base + at, size, step.address, step.width // 8):
                del places[at]


def _reading_anew(
    build: Builder, step: Store, held: _Held, copies: _Copies, written: Written
) -> Store:
    """Return a step that reads what was stored from there, and older things from copies."""
    holding = set(step.guards)
    marks: dict[Value, tuple[Value, Value]] = {}

    def marked(value: Value) -> Value | None:
        place = held.place(value, holding)
        if place is not None and value not in marks:
            symbol = Symbol(f"mark {len(marks)}", "unknown")
            marks[value] = (Index(Linear(0, ((symbol, 1),)), value.width), place)
        return None if place is None else marks[value][0]

    made = replace(step, value=_Swap(marked).value(step.value))
    older = _older(build, made, written)
    known: dict[Value, Value] = {
        Load(address, 8 * size): copies.of(address, size, step, number)
        for (address, size), number in sorted(older.items(), key=lambda item: item[0][0].order)
    }
    guards = tuple(_Swap(known.get).value(g) for g in made.guards)
    known.update(marks.values())
    return replace(made, value=_Swap(known.get).value(made.value), guards=guards)


class _Held:
    """What the stores of one turn have left in memory, and where."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.loops: tuple[Loop, ...] = ()
        self.cells: dict[Linear, dict[int, Store]] = {}
        self.stores: dict[Value, Store] = {}

    def note(self, step: Store | Call) -> None:
        """Take notice of a step."""
        if not isinstance(step, Store) or step.loops != self.loops:
            self.cells, self.stores, self.loops = {}, {}, step.loops
        if not isinstance(step, Store):
            return
        base, offset = split_address(step.address)
        end = offset + step.width // 8
        for other, cells in self.cells.items():
            if other is base:
                near = range(offset - 7, end)
                gone = [a for a in near if a in cells and a + cells[a].width // 8 > offset]
            elif roots(other).isdisjoint(roots(base)) and roots(other) != roots(base):
                continue
            else:
                gone = [a for a, s in cells.items() if not self._apart(step, s)]
            for at in gone:
                del cells[at]
        self.cells.setdefault(base, {})[offset] = step
        if isinstance(step.value, (Operation, Reduction)):
            self.stores[step.value] = step

    def _apart(self, one: Store, two: Store) -> bool:
        sizes = one.width // 8, two.width // 8
        return distance_is_safe(self.build, one.address, sizes[0], two.address, sizes[1])

    def place(self, value: Value, guards: set[Value]) -> Load | None:
        """Return where a value lies that was stored wherever these guards hold."""
        step = self.stores.get(value)
        if step is None or not guards.issuperset(step.guards):
            return None
        base, offset = split_address(step.address)
        if self.cells.get(base, {}).get(offset) is not step:
            return None
        return Load(step.address, step.width)


class _Copies:
    """What was put by before it was overwritten, in memory of its own."""

    def __init__(self, engine: Interpreter) -> None:
        self.engine = engine
        self.places: dict[tuple[frozenset[Root], tuple[Loop, ...]], Symbol] = {}
        self.loads: dict[tuple[Linear, int, tuple[Loop, ...]], Load] = {}
        self.ahead: dict[int, list[tuple[Linear, Load]]] = {}

    def of(self, address: Linear, size: int, step: Store, number: int) -> Load:
        """Return where an old value is put by, before the step of that number."""
        key = (address, size, step.loops)
        if key not in self.loads:
            place = (roots(address), step.loops)
            if place not in self.places:
                self.places[place] = self.engine.fresh("m", "memory")
            terms: dict[Root, int] = {
                t: f for t, f in address.terms if isinstance(t, Symbol) and t.kind == "counter"
            }
            there = linear(address.constant, {**terms, self.places[place]: 1})
            self.loads[key] = Load(there, size * 8)
            self.ahead.setdefault(number, []).append((there, Load(address, size * 8)))
        return self.loads[key]

    def before(self, number: int, step: Store | Call) -> list[Store]:
        """Return the stores that put things by right before a step."""
        return [
            Store(address=there, value=old, width=old.width, loops=step.loops,
                  instruction=step.instruction)
            for there, old in self.ahead.get(number, ())
        ]  # fmt: skip


def swapped(known: Mapping[Value, Value]) -> Callable[[Value], Value]:
    """Return what puts values in the place of others."""
    return _Swap(known.get).value


class _Swap:
    """Puts values in the place of others."""

    def __init__(self, known: Callable[[Value], Value | None]) -> None:
        self.known = known
        self.done: dict[Value, Value] = {}

    def value(self, value: Value) -> Value:
        """Return a value with what is known in it replaced."""
        found = self.done.get(value)
        if found is None:
            found = self.known(value)
            self.done[value] = found = self._value(value) if found is None else found
        return found

    def _value(self, value: Value) -> Value:
        if isinstance(value, Operation):
            return Operation(value.name, tuple(self.value(v) for v in value.inputs), value.width)
        if isinstance(value, Reduction):
            return replace(value, body=self.value(value.body), start=self.value(value.start))
        return value
