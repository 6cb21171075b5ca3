"""Steps that use what memory held before an earlier step wrote there.

Models:  code that keeps in a register what it read or computed, stores to where that came from and
         goes on with the register. What was just stored is read from there; what was read before
         and overwritten is put by first, in memory of its own.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

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
from ._state import distance_is_safe, roots
from ._turns import loads_of

__all__ = ["settled"]

Root = Symbol | Operation | Load

Written = dict[tuple[Linear, tuple[Loop, ...]], list[tuple[Value, ...]]]


def _note(step: Store | Call, written: Written) -> None:
    if isinstance(step, Store):
        written.setdefault((step.address, step.loops), []).append(step.guards)


def _older(build: Builder, step: Store | Call, written: Written) -> list[tuple[Linear, int]]:
    """Return what a step reads, as (address, bytes), that an earlier step has overwritten."""
    opposite = {build.negate(g) for g in step.guards}
    return [
        (address, size)
        for address, size in sorted(loads_of(step), key=lambda item: (item[0].order, item[1]))
        if any(
            not opposite.intersection(guards) for guards in written.get((address, step.loops), [])
        )
    ]


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
    copies: dict[tuple[frozenset[Root], tuple[Loop, ...]], Symbol] = {}
    for step in steps:
        older = _older(build, step, written)
        made = step
        if isinstance(step, Store) and older:
            stored = _stored(build, step, result)
            marks: dict[Value, Value] = {
                v: Index(Linear(0, ((Symbol(f"mark {n}", "unknown"), 1),)), v.width)
                for n, v in enumerate(stored)
            }
            made = replace(step, value=_Swap(marks).value(step.value))
            for address, size in _older(build, made, written):
                made = _put_by(engine, made, result, (address, size), copies)
            back: dict[Value, Value] = {mark: stored[v] for v, mark in marks.items()}
            made = replace(made, value=_Swap(back).value(made.value))
        elif older:
            reason = "it uses memory that was overwritten"
            unread.append(Unread(instruction=step.instruction, reason=reason))
        result.append(made)
        _note(step, written)
    return result, unread


def _stored(build: Builder, step: Store, before: list[Store | Call]) -> dict[Value, Value]:
    """Return where values lie that earlier steps of the same turn stored and nobody changed."""
    found: dict[Value, Value] = {}
    later: list[Store] = []
    for earlier in reversed(before):
        if not isinstance(earlier, Store) or earlier.loops != step.loops:
            break
        size = earlier.width // 8
        kept = all(
            distance_is_safe(build, earlier.address, size, other.address, other.width // 8)
            for other in later
        )
        computed = isinstance(earlier.value, (Operation, Reduction))
        if kept and computed and set(earlier.guards) <= set(step.guards):
            found.setdefault(earlier.value, Load(earlier.address, earlier.width))
        later.append(earlier)
    return found


def _put_by(
    engine: Interpreter,
    step: Store,
    before: list[Store | Call],
    place: tuple[Linear, int],
    copies: dict[tuple[frozenset[Root], tuple[Loop, ...]], Symbol],
) -> Store:
    """Return a step that reads an old value from where it was put by; put it there first."""
    address, size = place
    opposite = {engine.build.negate(g) for g in step.guards}
    number = next(
        n for n, s in enumerate(before)
        if isinstance(s, Store) and s.address == address and s.loops == step.loops
        and not opposite.intersection(s.guards)
    )  # fmt: skip
    key = (roots(address), step.loops)
    if key not in copies:
        copies[key] = engine.fresh("m", "memory")
    own = {t: f for t, f in address.terms if isinstance(t, Symbol) and t.kind == "counter"}
    there = linear(address.constant, {**own, copies[key]: 1})
    old = Load(address, size * 8)
    before.insert(
        number,
        Store(address=there, value=old, width=size * 8, loops=step.loops,
              instruction=before[number].instruction),
    )  # fmt: skip
    return replace(step, value=_Swap({old: Load(there, size * 8)}).value(step.value))


class _Swap:
    """Puts values in the place of others."""

    def __init__(self, known: dict[Value, Value]) -> None:
        self.done = dict(known)

    def value(self, value: Value) -> Value:
        found = self.done.get(value)
        if found is None:
            found = self.done[value] = self._value(value)
        return found

    def _value(self, value: Value) -> Value:
        if isinstance(value, Operation):
            return Operation(value.name, tuple(self.value(v) for v in value.inputs), value.width)
        if isinstance(value, Reduction):
            return replace(value, body=self.value(value.body), start=self.value(value.start))
        return value
