"""A function of a binary written down as loops and stores.

Models:  everything that the modules of this folder carry out.
Ignores: what they ignore; what could not be read is listed with its address and never left out.
Judge:   the routine run on memory (forms) against the native function, bit by bit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from orrery.decompile.forms import (
    Call,
    Index,
    Linear,
    Loop,
    Routine,
    Store,
    Symbol,
    Unread,
    Value,
)
from orrery.decompile.images import Image
from orrery.decompile.values import Builder, is_named, symbols_of

from ._block import STACK, Interpreter
from ._flow import LiftLimitError, read_flow
from ._overwritten import settled
from ._rolling import Roller, halves
from ._source import Code, ImageCode, Machine, machine_of
from ._state import distance_is_safe
from ._turns import loads_of, values_of
from ._walk import Walker

_RECURSION = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifting:
    """How far lifting goes.

    Attributes
    ----------
    statements : statements of the intermediate language carried out at most for one function
    rolled : whether what a compiler unrolled is rolled up again
    """

    statements: int = 3_000_000
    rolled: bool = True


def lift(
    code: Code | Image,
    address: int,
    *,
    arguments: Mapping[int, int] | None = None,
    numbers: Mapping[int, tuple[Symbol, int]] | None = None,
    settings: Lifting | None = None,
) -> Routine:
    """Return the function at an address as a routine.

    Parameters
    ----------
    address : of its first instruction; odd for Thumb
    arguments : numbers that integer arguments are known to be, by position, so that a general
        function (``conv(in, w, out, channels, …)``) is read as the one that a call means
    numbers : addresses at which whole numbers are handed over that a loop around the function
        counts: the counter, and how many turns it has

    Returns
    -------
    What could not be read stands in its ``unread``; no binary makes this raise, apart from an
    architecture that nobody knows.

    Raises
    ------
    SpecError
        If the architecture is not one of `ARCHITECTURES`.
    """
    if isinstance(code, Image):
        address = address | 1 if code.is_thumb(address) else address
        code = ImageCode(code)
    settings = settings or Lifting()
    if arguments or numbers:
        routine, build = _read(code, address, arguments or {}, settings.statements, numbers)
    else:
        routine, build = _known(code, address, settings.statements)
    if not settings.rolled or not routine.steps:
        return routine
    with _deep():
        roller = Roller(build)
        try:
            steps = tuple(roller.steps(list(routine.steps)))
        except (RecursionError, MemoryError, *_BROKEN) as error:
            unread = Unread(instruction=address, reason=f"not rolled up: {type(error).__name__}")
            return replace(routine, unread=(*routine.unread, unread))
    notes = ("a sum is written in another order than the one in which it was added",)
    return replace(routine, steps=steps, notes=notes if roller.reordered else ())


_BROKEN = (AssertionError, KeyError, ValueError, IndexError, AttributeError, TypeError)
#: What functions of a binary were read as, and what knows the ranges of their counters: who calls
#: a function reads it to see what it takes.
_READ: WeakKeyDictionary[Any, dict[tuple[int, int], tuple[Routine, Builder]]] = WeakKeyDictionary()


@contextmanager
def _deep() -> Iterator[None]:
    """Let expressions be as deep as code makes them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _known(code: Code, address: int, statements: int) -> tuple[Routine, Builder]:
    read, key = _READ.setdefault(code, {}), (address, statements)
    if key not in read:
        reason = Unread(instruction=address, reason="it calls itself")
        read[key] = Routine(address=address, unread=(reason,)), Builder()
        read[key] = _read(code, address, {}, statements)
    return read[key]


def _read(
    code: Code, address: int, arguments: Mapping[int, int], statements: int,
    numbers: Mapping[int, tuple[Symbol, int]] | None = None,
) -> tuple[Routine, Builder]:  # fmt: skip
    """Return a function not rolled up, and what its values were built with."""
    engine = Interpreter(code, machine_of(code.architecture), statements=statements)
    for place, (counter, turns) in (numbers or {}).items():
        engine.numbers[place] = counter
        engine.build.ranges[counter] = (0, turns - 1)
    engine.describe = lambda target: _signature(_known(code, target, statements)[0])
    with _deep():
        try:
            return _lift(engine, address, arguments), engine.build
        except LiftLimitError as error:
            reason = f"not read: {error}"
        except (RecursionError, MemoryError) as error:
            reason = f"too large an expression ({type(error).__name__})"
        except _BROKEN as error:
            reason = f"the lifter failed: {type(error).__name__}: {error}"
    return _failed(engine, address, reason), engine.build


def _failed(engine: Interpreter, address: int, reason: str) -> Routine:
    place = engine.here or address
    return Routine(
        address=address, name=engine.code.name(address),
        unread=(*engine.unread, Unread(instruction=place, reason=reason)),
    )  # fmt: skip


def _lift(engine: Interpreter, address: int, arguments: Mapping[int, int]) -> Routine:
    flow = read_flow(engine.code, address)
    engine.flows[address] = flow
    state = engine.entry_state()
    word = engine.machine.word * 8
    for number, value in arguments.items():
        if number < len(engine.machine.integers):
            offset = engine.machine.integers[number]
            state.registers.pieces[offset] = engine.build.number(value, word)
    after = Walker(engine, flow).run(state.copy())
    if engine.build.undecided and engine.build.pointers:
        # Now it is known which arguments are pointers: what asks whether they overlap is decided.
        engine.steps.clear()
        engine.unread.clear()
        after = Walker(engine, flow).run(state)
    result: Value | None = None
    if after is not None:
        result = _result(engine, after.registers.pieces)
    steps = _without_dead(engine.build, [_flat_guards(s) for s in engine.steps])
    steps = _without_stack(engine.build, [s for s in steps if not _is_put_by(engine.machine, s)])
    steps = [half for step in steps for half in halves(engine.build, step)]
    steps, older = settled(engine, _one_of_two(engine.build, steps))
    steps = _without_kept(engine, steps, result)
    unread = [*engine.unread, *_unknown(engine, steps), *older]
    return Routine(
        address=address, name=engine.code.name(address), arguments=_arguments(steps, result),
        steps=tuple(steps), result=result, unread=tuple(dict.fromkeys(unread)),
    )  # fmt: skip


def _result(engine: Interpreter, pieces: Mapping[int, Value]) -> Value | None:
    """Return what a function gives back, of the two registers it may stand in."""
    machine = engine.machine
    for offset in (machine.float_result, machine.result):
        value = pieces.get(offset)
        if value is None or any(s.kind == "unknown" for s in symbols_of(value)):
            continue
        start = Symbol("f0" if offset == machine.float_result else "a0", "argument")
        if not (isinstance(value, Index) and value.value == Linear(0, ((start, 1),))):
            return value
    return None


def _flat_guards(step: Store | Call) -> Store | Call:
    guards: list[Value] = []
    for guard in step.guards:
        parts = guard.inputs if is_named(guard, "iand") and guard.width == 1 else (guard,)
        guards.extend(p for p in parts if p not in guards)
    return replace(step, guards=tuple(guards))


def _one_of_two(build: Builder, steps: list[Store | Call]) -> list[Store | Call]:
    """Return steps with two that store the same, one where a condition holds and one elsewhere,
    as one."""
    result: list[Store | Call] = []
    for step in steps:
        last = result[-1] if result else None
        if isinstance(step, Store) and isinstance(last, Store):
            alike = replace(last, guards=step.guards, instruction=step.instruction) == step
            one, two = set(last.guards) - set(step.guards), set(step.guards) - set(last.guards)
            if alike and len(one) == len(two) == 1 and build.negate(next(iter(one))) in two:
                result[-1] = replace(last, guards=tuple(g for g in last.guards if g not in one))
                continue
        result.append(step)
    return result


def _without_stack(build: Builder, steps: list[Store | Call]) -> list[Store | Call]:
    """Return steps without stores to the stack that nothing reads."""
    kept = list(steps)
    while True:
        reads = [r for s in kept for r in loads_of(s) if r[0].factor(STACK)]
        passed = [
            form for s in kept if isinstance(s, Call) for a in s.arguments
            if (form := build.linear(a)) is not None and form.factor(STACK)
        ]  # fmt: skip
        new = [s for s in kept if not _is_private(s) or _is_read(build, s, reads, passed)]
        if len(new) == len(kept):
            return kept
        kept = new


def _without_kept(
    engine: Interpreter, steps: list[Store | Call], result: Value | None
) -> list[Store | Call]:
    """Return steps without what was put by and never read."""
    read = set() if result is None else set(result.symbols)
    for step in steps:
        read |= {symbol for address, _ in loads_of(step) for symbol in address.symbols}
    idle = engine.keeping - read
    return [s for s in steps if not isinstance(s, Store) or idle.isdisjoint(s.address.symbols)]


def _without_dead(build: Builder, steps: list[Store | Call]) -> list[Store | Call]:
    """Return steps without stores that another overwrites before anything reads them.

    What a function reads where it stored before is the value it stored, so a load that is still in
    an expression is older than both stores.
    """
    last: dict[tuple[Linear, int, tuple[Loop, ...], tuple[Value, ...]], int] = {}
    dead: set[int] = set()
    reads: list[tuple[tuple[Loop, ...], set[tuple[Linear, int]]]] = []
    for number, step in enumerate(steps):
        reads.append((step.loops, loads_of(step)))
        if not isinstance(step, Store):
            last.clear()
            continue
        key = (step.address, step.width, step.loops, step.guards)
        before = last.get(key)
        if before is not None and not any(
            # In a loop between the two, the first of them is read.
            (address != step.address or loops != step.loops)
            and not distance_is_safe(build, step.address, step.width // 8, address, size)
            for loops, later in reads[before + 1 :]
            for address, size in later
        ):
            dead.add(before)
        last[key] = number
    return [s for n, s in enumerate(steps) if n not in dead]


def _is_private(step: Store | Call) -> bool:
    return isinstance(step, Store) and step.address.factor(STACK) == 1


def _is_put_by(machine: Machine, step: Store | Call) -> bool:
    """Return whether a step keeps a register on the stack that a function gives back unchanged."""
    if not isinstance(step, Store) or not _is_private(step) or not isinstance(step.value, Index):
        return False
    form = step.value.value
    if form.constant or len(form.terms) != 1:
        return False
    ((term, factor),) = form.terms
    if factor != 1 or not isinstance(term, Symbol) or term.kind != "unknown" or term.name[0] != "r":
        return False
    at = int(term.name[1:])
    return at == machine.link or any(o <= at < o + size for o, size in machine.kept)


def _is_read(
    build: Builder, step: Store | Call, reads: list[tuple[Linear, int]], passed: list[Linear]
) -> bool:
    assert isinstance(step, Store)
    if any(step.address.constant >= form.constant for form in passed):
        return True
    return any(
        not distance_is_safe(build, step.address, step.width // 8, address, size)
        for address, size in reads
    )


def _unknown(engine: Interpreter, steps: list[Store | Call]) -> list[Unread]:
    """Return why something that a step uses is not known."""
    found: list[Unread] = []
    for step in steps:
        for item in values_of(step):
            symbols = {item} if isinstance(item, Symbol) else symbols_of(item)
            for symbol in sorted(symbols, key=lambda s: s.name):
                if symbol.kind != "unknown" or symbol.name[0] in "cn":
                    continue
                reason = engine.reasons.get(symbol)
                if reason is None:
                    what = "a register" if symbol.name[0] == "r" else "a value of a loop"
                    reason = Unread(
                        instruction=step.instruction, reason=f"{what} ({symbol.name}) is not known"
                    )
                found.append(reason)
    return found


def _arguments(steps: list[Store | Call], result: Value | None) -> tuple[Symbol, ...]:
    used: set[Symbol] = set()
    for step in steps:
        for item in values_of(step):
            used |= {item} if isinstance(item, Symbol) else symbols_of(item)
    if result is not None:
        used |= symbols_of(result)
    given = [s for s in used if s.kind == "argument"]
    found: list[Symbol] = []
    for letter in "afs":
        numbers = [int(s.name[1:]) for s in given if s.name[0] == letter]
        found.extend(
            Symbol(f"{letter}{i}", "argument") for i in range(max(numbers, default=-1) + 1)
        )
    return tuple(found)


def _signature(routine: Routine) -> tuple[int, int, int]:
    letters = [s.name[0] for s in routine.arguments]
    return letters.count("a"), letters.count("f"), letters.count("s")
