"""Expressions of one shape whose numbers count: the turns of a loop that a compiler unrolled.

Models:  a value as a shape (everything but the constants of its linear forms) and those constants;
         values of one shape whose constants make an arithmetic sequence, nested ones too.
Judge:   sequences made from known loops (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from orrery.decompile.forms import (
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
)

Offsets = tuple[int, ...]
Term = Symbol | Operation | Load


@dataclass(frozen=True, slots=True)
class Shape:
    """A value without the constants of its linear forms, and these in the order met.

    Attributes
    ----------
    key : each part with 0 for those constants, and counters bound inside named by how deep
    """

    key: tuple[Value | Linear, ...]
    offsets: Offsets

    @property
    def order(self) -> tuple[tuple[int, str, int], ...]:
        """Sorts shapes the same way on every run."""
        return tuple(part.order for part in self.key)


@dataclass(frozen=True, slots=True)
class Block:
    """Items that make one lattice.

    Attributes
    ----------
    first : number of the item at its origin
    members : numbers of all its items
    turns : (how many, what each constant grows by a turn), the outermost first
    """

    first: int
    members: tuple[int, ...]
    turns: tuple[tuple[int, Offsets], ...]


def shape_of(*parts: Value | Linear) -> Shape:
    """Return the shape of several values taken together."""
    walk = _Walk()
    keys = tuple(walk.form(p) if isinstance(p, Linear) else walk.value(p) for p in parts)
    return Shape(keys, tuple(walk.offsets))


_SEEN: dict[Value, tuple[Value, Offsets]] = {}
_MOST, _LONG = 1 << 16, 32


class _Walk:
    """Goes through values; counters bound inside are named by how deep they are."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.bound: dict[Symbol, int] = {}

    def value(self, value: Value) -> Value:
        """Return a value's shape; what it has no bound counter in is looked up."""
        if not value.symbols.isdisjoint(self.bound):
            return self._value(value)
        kept = _SEEN.get(value)
        if kept is not None:
            self.offsets.extend(kept[1])
            return kept[0]
        first, outer = len(self.offsets), self.bound
        self.bound = {}
        shape = self._value(value)
        self.bound = outer
        if len(self.offsets) - first <= _LONG:
            if len(_SEEN) >= _MOST:
                _SEEN.clear()
            _SEEN[value] = (shape, tuple(self.offsets[first:]))
        return shape

    def _value(self, value: Value) -> Value:
        if isinstance(value, Constant):
            return value
        if isinstance(value, Index):
            return Index(self.form(value.value), value.width)
        if isinstance(value, Load):
            return Load(self.form(value.address), value.width)
        if isinstance(value, Reduction):
            extent, start = self.form(value.extent), self.value(value.start)
            before, depth = self.enter(value.counter), len(self.bound) - 1
            body = self.value(value.body)
            self.leave(value.counter, before)
            return Reduction(
                value.operation, _inner(depth), extent, body, start, value.width, value.fused
            )
        return Operation(value.name, tuple(self.value(v) for v in value.inputs), value.width)

    def enter(self, counter: Symbol) -> int | None:
        """Bind a counter; return what it was bound to before."""
        before = self.bound.pop(counter, None)
        self.bound[counter] = len(self.bound)
        return before

    def leave(self, counter: Symbol, before: int | None) -> None:
        """Undo `enter`."""
        if before is None:
            del self.bound[counter]
        else:
            self.bound[counter] = before

    def form(self, form: Linear) -> Linear:
        self.offsets.append(form.constant)
        parts = self.terms(form)
        for _, _, _, offsets in parts:
            self.offsets.extend(offsets)
        return Linear(0, tuple((shape, factor) for _, factor, shape, _ in parts))

    def terms(self, form: Linear) -> list[tuple[Term, int, Term, Offsets]]:
        """Return each (term, factor, shape, constants inside), in the order of the shapes."""
        parts: list[tuple[Term, int, Term, Offsets]] = []
        for term, factor in form.terms:
            if isinstance(term, Symbol):
                depth = self.bound.get(term)
                parts.append((term, factor, term if depth is None else _inner(depth), ()))
                continue
            first = len(self.offsets)
            shape = self.value(term)
            offsets = tuple(self.offsets[first:])
            del self.offsets[first:]
            assert isinstance(shape, (Load, Operation))
            parts.append((term, factor, shape, offsets))
        if len(parts) > 1:
            parts.sort(key=lambda part: (part[2].order, part[1], part[3]))
        return parts


def _inner(depth: int) -> Symbol:
    return Symbol(f"bound {depth}", "counter")


def moved(
    parts: Sequence[Value | Linear], turns: Sequence[tuple[Symbol, Offsets]]
) -> list[Value | Linear]:
    """Return values whose constants grow with new counters."""
    walk = _Move(turns)
    return [walk.form(p) if isinstance(p, Linear) else walk.value(p) for p in parts]


class _Move:
    """Goes through values in the order of `_Walk` and adds counters to their forms."""

    def __init__(self, turns: Sequence[tuple[Symbol, Offsets]]) -> None:
        self.turns, self.number = turns, 0
        self.walk = _Walk()

    def value(self, value: Value) -> Value:
        walk, outer = self.walk, self.walk.bound
        if value.symbols.isdisjoint(outer):
            walk.bound = {}
        result = self._value(value)
        walk.bound = outer
        return result

    def _value(self, value: Value) -> Value:
        if isinstance(value, Constant):
            return value
        if isinstance(value, Index):
            return Index(self.form(value.value), value.width)
        if isinstance(value, Load):
            return Load(self.form(value.address), value.width)
        if isinstance(value, Reduction):
            extent, start = self.form(value.extent), self.value(value.start)
            before = self.walk.enter(value.counter)
            body = self.value(value.body)
            self.walk.leave(value.counter, before)
            return Reduction(
                value.operation, value.counter, extent, body, start, value.width, value.fused
            )
        return Operation(value.name, tuple(self.value(v) for v in value.inputs), value.width)

    def form(self, form: Linear) -> Linear:
        number = self.number
        self.number += 1
        result = Linear(form.constant)
        for term, factor, _, _ in self.walk.terms(form):
            inner = term if isinstance(term, Symbol) else self.value(term)
            assert not isinstance(inner, (Constant, Index, Reduction))
            result += Linear(0, ((inner, factor),))
        for counter, growth in self.turns:
            if growth[number]:
                result += Linear(0, ((counter, growth[number]),))
        return result


def _less(a: Offsets, b: Offsets) -> Offsets:
    return tuple(x - y for x, y in zip(b, a, strict=True))


def in_order(items: Sequence[Offsets]) -> tuple[tuple[int, Offsets], ...] | None:
    """Return the nested turns that give items in just this order; None where none do."""
    count = len(items)
    if count == 1:
        return ()
    steps = [_less(a, b) for a, b in pairwise(items)]
    if all(s == steps[0] for s in steps):
        return ((count, steps[0]),)
    inner = next((i for i, s in enumerate(steps) if s != steps[0]), 0) + 1
    if inner < 2 or count % inner:
        return None
    for start in range(0, count, inner):
        if any(s != steps[0] for s in steps[start : start + inner - 1]):
            return None
    outer = in_order(items[::inner])
    return None if outer is None else (*outer, (inner, steps[0]))


def blocks_of(items: Sequence[Offsets]) -> list[Block]:
    """Return items put together into lattices, as few as a greedy search finds."""
    order = sorted(range(len(items)), key=lambda i: items[i])
    level = [Block(i, (i,), ()) for i in order]
    while True:
        merged = _merge(level, items)
        if len(merged) == len(level):
            return merged
        level = merged


def _merge(level: list[Block], items: Sequence[Offsets]) -> list[Block]:
    """Return blocks with runs of equal ones as one more turn around them."""
    groups: dict[tuple[tuple[int, Offsets], ...], list[Block]] = {}
    for block in level:
        groups.setdefault(block.turns, []).append(block)
    result: list[Block] = []
    for turns, blocks in groups.items():
        position = 0
        while position < len(blocks):
            end = position + 1
            step: Offsets | None = None
            while end < len(blocks):
                next_step = _less(items[blocks[end - 1].first], items[blocks[end].first])
                if step is not None and next_step != step:
                    break
                step, end = next_step, end + 1
            run = blocks[position:end]
            if len(run) == 2 and len(blocks) > 2 and end < len(blocks) and not turns:
                # Two with what follows may be the start of another run: take the shorter step.
                after = _less(items[blocks[end - 1].first], items[blocks[end].first])
                if step is not None and after < step:
                    run, end, step = run[:1], position + 1, None
            if step is None or not any(step):
                result.extend(run)
            else:
                members = tuple(m for b in run for m in b.members)
                result.append(Block(run[0].first, members, ((len(run), step), *turns)))
            position = end
    return result
