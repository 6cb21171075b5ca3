"""A program's stores, one after the other, as tensors.

Models:  each store with all its loops as one tensor computed from others; sums kept in memory as
         sums; what a loop stores into a part as a part.
Ignores: nothing silently: a store that is not understood is listed, and what reads its result is.
Judge:   tests/decompile/matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import gcd, prod

from ..forms import (
    Invocation,
    Linear,
    Load,
    Operation,
    Program,
    Reduction,
    Routine,
    Symbol,
    Value,
    View,
    linear,
)
from ..tensors import Tensor, Tensors
from ..values import Canonical, comparison_of, contains, symbols_of, walk
from ._conditions import merged_ranges, ranges_of
from ._copying import copied, with_tables
from ._memory import Memory, memory_of
from ._nest import Range
from ._order import apart, breaks, guarded_loads, loads_of, stored_span, together
from ._rolling import gathered, rolled_statements
from ._statement import (
    Refusal,
    Rewriter,
    Statement,
    Unmatched,
    addresses_of,
    neutral,
    place_of,
    statements_of,
)
from ._transposed import spread
from ._values import Raising, factors_of, in_elements
from ._views import hull

_STATE = ("stores where the network has read what stood there before: what it computes depends on "
          "its last run")  # fmt: skip
_SUMS = {"fadd": "fadd", "fmax": "fmax", "max_x86": "fmax", "fmin": "fmin", "min_x86": "fmin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Tensors that a program computes.

    Attributes
    ----------
    inputs, outputs : by the name of the buffer
    unmatched : stores and calls that are not in the tensors
    writable : stretches of the binary's own writable memory, in bytes, taken as they stand in it
    """

    tensors: Tensors
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    unmatched: tuple[Unmatched, ...]
    writable: tuple[tuple[int, int], ...] = ()


def match(program: Program, routines: Mapping[int, Routine] | None = None) -> Matched:
    """Return what a program computes as tensors, and what of it was not understood."""
    statements, unmatched = statements_of(program, routines)
    canonical = Canonical()
    names = count()
    statements = [
        gathered(replace(s, value=canonical.value(s.value)), names)
        for s in map(_upward, statements)
    ]
    statements, tables = with_tables(statements)
    statements, conflicts = apart(rolled_statements(statements, breaks(statements)))
    statements, conflicts = together(statements, conflicts)
    tensors = Tensors()
    written: dict[str, list[range]] = {}
    for statement in statements:
        low, high = stored_span(statement)
        written.setdefault(statement.place.memory, []).append(
            range(low, high + statement.width // 8)
        )
    memory = Memory(tensors, {**program.buffers, **tables}, written)
    inputs = _place_inputs(program, statements, tensors, memory)
    for number, statement in enumerate(statements):
        tensors.source = f"{statement.address:#x}"
        try:
            if number in conflicts or statement.refused:
                raise Refusal(conflicts.get(number) or statement.refused)
            _matched(tensors, memory, statement)
            if memory.stale:
                unmatched.append(Unmatched(address=statement.address, reason=_STATE))
                memory.stale = False
        except (Refusal, ArithmeticError, AssertionError, LookupError, TypeError, ValueError,
                RecursionError) as error:  # fmt: skip
            # Code that nobody foresaw loses itself, not what is around it.
            kind = (
                "" if isinstance(error, Refusal) else f"matching failed, {type(error).__name__}: "
            )
            unmatched.append(Unmatched(address=statement.address, reason=f"{kind}{error}"))
            _forget(tensors, memory, statement)
    tensors.source = ""
    outputs: dict[str, Tensor] = {}
    for name in program.outputs:
        tensor = _output(program, name, memory, written, unmatched)
        if tensor is not None:
            outputs[name] = tensor
    return Matched(tensors=tensors, inputs=inputs, outputs=outputs,
                   unmatched=tuple(dict.fromkeys(unmatched)),
                   writable=tuple(sorted(memory.writable)))  # fmt: skip


def arguments_used(
    entry: Routine, routines: Mapping[int, Routine]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the arguments behind which memory is read before it is stored to, and stored to."""
    bindings = {symbol: View(buffer=symbol.name) for symbol in entry.arguments}
    program = Program(
        buffers={}, invocations=(Invocation(routine=entry, bindings=dict(bindings)),),
        inputs=tuple(symbol.name for symbol in entry.arguments), outputs=(),
    )  # fmt: skip
    names = set(program.inputs)
    read: set[str] = set()
    written: set[str] = set()
    for statement in statements_of(program, routines)[0]:
        read |= {p.memory for p in loads_of(statement)} - written
        written.add(statement.place.memory)
    return frozenset(read & names), frozenset(written & names)


def _place_inputs(
    program: Program, statements: Sequence[Statement], tensors: Tensors, memory: Memory
) -> dict[str, Tensor]:
    found = {}
    for name in program.inputs:
        buffer = program.buffers.get(name)
        where, base = memory_of(name)
        shape: tuple[int, ...] | None = buffer.shape if buffer is not None else None
        if shape is None:
            size = buffer.size_bytes if buffer is not None else None
            if size is None:
                size = _reach(where, statements) - base
            if size <= 0:
                continue
            shape = (size // 4,)
        found[name] = tensors.input(name, shape)
        memory.place(where, base // 4, found[name])
    return found


def _reach(memory: str, statements: Sequence[Statement]) -> int:
    """Return how many bytes of a memory are read, guards taken into account."""
    most = 0
    for statement in statements:
        for place, ranges in guarded_loads(statement):
            if place.memory != memory:
                continue
            try:
                high = hull(place.offset, ranges, statement.extents)[1]
            except Refusal:
                continue
            most = max(most, high + statement.width // 8)
            # Windows may leave the end of the last plane unread; planes tell how long it is.
            guarded = {term for bound in ranges for term, _ in bound.form.terms}
            for term, factor in place.offset.terms:
                if isinstance(term, Symbol) and term not in guarded:
                    most = max(most, factor * statement.extents[term])
    return most


def _output(
    program: Program, name: str, memory: Memory, written: Mapping[str, list[range]],
    unmatched: list[Unmatched],
) -> Tensor | None:  # fmt: skip
    where, base = memory_of(name)
    buffer = program.buffers.get(name)
    size = buffer.size_bytes if buffer is not None else None
    if size is None and buffer is not None and buffer.shape is not None:
        size = prod(buffer.shape) * 4
    if size is None:
        size = max((r.stop for r in written.get(where, ())), default=base) - base
    if size <= 0:
        unmatched.append(Unmatched(address=0, reason=f"nothing is stored to the output {name}"))
        return None
    low, high = base // 4, (base + size) // 4
    try:
        tensor, begin = memory.read(where, low, high)
    except Refusal as refusal:
        unmatched.append(Unmatched(address=0, reason=f"the output {name}: {refusal}"))
        return None
    if begin != low or tensor.size != high - low:
        unmatched.append(Unmatched(
            address=0, reason=f"the output {name} is a part of a tensor of {tensor.size} elements"
        ))  # fmt: skip
        return None
    return tensor


def _upward(statement: Statement) -> Statement:
    """Let loops that store downwards store upwards: the order of turns is not their meaning."""
    known: dict[Symbol | Operation | Load, Linear] = {
        term: linear(statement.extents[term] - 1, {term: -1})
        for term, factor in statement.place.offset.terms
        if isinstance(term, Symbol) and factor < 0
    }
    # Loops inside of the value that only ever read downwards are turned round as well.
    signs: dict[Symbol, set[bool]] = {}
    for address in addresses_of(statement.value):
        for term, factor in address.terms:
            if isinstance(term, Symbol) and term in statement.extents:
                signs.setdefault(term, set()).add(factor < 0)
    for symbol, down in signs.items():
        if symbol not in statement.loops and down == {True}:
            known[symbol] = linear(statement.extents[symbol] - 1, {symbol: -1})
    if not known:
        return statement
    rewriter = Rewriter(known)
    return replace(
        statement,
        place=replace(statement.place, offset=rewriter.linear(statement.place.offset)),
        value=rewriter.value(statement.value),
        guards=tuple(rewriter.value(guard) for guard in statement.guards),
    )


def _matched(tensors: Tensors, memory: Memory, statement: Statement) -> None:
    """Compute one statement and note where its result lies."""
    if statement.width != 32:
        raise Refusal(f"stores numbers of {statement.width} bits")
    try:
        _computed(tensors, memory, statement)
    except Refusal:
        if not copied(tensors, memory, statement):
            raise


def _computed(tensors: Tensors, memory: Memory, statement: Statement) -> None:
    if _is_spread(statement):
        _scattered(tensors, memory, statement)
        return
    statement = _accumulated(_narrowed(statement))
    offset = statement.place.offset
    if offset.constant % 4 or any(f % 4 for _, f in offset.terms):
        raise Refusal("stores to addresses that are no multiple of an element")
    extents = statement.extents
    outer = [s for s in statement.loops if offset.factor(s) and extents[s] > 1]
    outer.sort(key=lambda s: -offset.factor(s))
    reach = 1
    for symbol in reversed(outer):
        step = offset.factor(symbol) // 4
        if step < reach:
            raise Refusal("two turns of its loops store to the same place")
        reach = step * (extents[symbol] - 1) + reach
    _check_own(statement)
    raising = Raising(tensors, memory, statement, outer)
    whole = raising.whole(raising.value(statement.value))
    box = [(extents[s], offset.factor(s) // 4) for s in outer]
    memory.store(statement.place.memory, offset.constant // 4, box, whole)


def _is_spread(statement: Statement) -> bool:
    """Whether several turns of loops that the address knows add to the same place."""
    offset, extents = statement.place.offset, statement.extents
    reach = statement.width // 8
    around = [s for s in statement.loops if offset.factor(s) and extents[s] > 1]
    for symbol in sorted(around, key=lambda s: abs(offset.factor(s))):
        if abs(offset.factor(symbol)) < reach:
            return _added(statement.value, statement) is not None
        reach += abs(offset.factor(symbol)) * (extents[symbol] - 1)
    return False


def _scattered(tensors: Tensors, memory: Memory, statement: Statement) -> None:
    """Add what a statement spreads over its result to what lay there."""
    found = _added(statement.value, statement)
    factors = factors_of(found[1]) if found is not None and found[0] == "fadd" else []
    loads = [f for f in factors if isinstance(f, Load)]
    if len(loads) != 2 or len(factors) != 2:
        raise Refusal("a sum spread over places that is no product of two tensors")
    ranges: list[Range] = []
    for guard in statement.guards:
        about = ranges_of(guard, statement.extents)
        if about is None:
            raise Refusal("stores only where a number that it reads says so")
        ranges = merged_ranges([*ranges, *about])
    raising = Raising(tensors, memory, statement, statement.loops)
    sides = [(*raising.source(load, ()), load) for load in loads]
    weights = [side for side in sides if side[0].inner.op in ("Constant", "Absent")]
    if not weights:
        raise Refusal("a sum spread over places, with no factor that is constant")
    weight = weights[0]
    data = sides[0] if sides[1] is weight else sides[1]
    x, w = (raising.seen(side[0], side[1], (), 0.0) for side in (data, weight))
    address = in_elements(statement.place.offset)
    low, high = hull(address, ranges, statement.extents)
    before, begin = memory.read(statement.place.memory, low, high + 1)
    made = spread(tensors, before, address - begin, ranges, x, w, statement.extents)
    memory.store(
        statement.place.memory, begin, ((before.size, 1),), tensors.apply("Add", before, made)
    )


def _narrowed(statement: Statement) -> Statement:
    """Turn guards of the store itself into fewer turns of its loops."""
    ranges: list[Range] = []
    for guard in statement.guards:
        about = ranges_of(guard, statement.extents)
        if about is None:
            raise Refusal("stores only where a number that it reads says so")
        ranges = merged_ranges([*ranges, *about])
    known: dict[Symbol | Operation | Load, Linear] = {}
    extents = dict(statement.extents)
    for bound in ranges:
        if len(bound.form.terms) != 1 or bound.form.terms[0][1] != 1:
            raise Refusal("stores only in turns that several loops decide together")
        (symbol, _) = bound.form.terms[0]
        assert isinstance(symbol, Symbol)
        low = max(0, bound.low or 0)
        high = extents[symbol] if bound.high is None else min(extents[symbol], bound.high)
        if low >= high:
            raise Refusal("a store that is never reached")
        known[symbol], extents[symbol] = linear(low, {symbol: 1}), high - low
    rewriter = Rewriter(known)
    return replace(
        statement,
        place=replace(statement.place, offset=rewriter.linear(statement.place.offset)),
        value=rewriter.value(statement.value), guards=(), extents=extents,
    )  # fmt: skip


def _accumulated(statement: Statement) -> Statement:
    """Write a sum that is kept in memory as a sum over the loops that the address does not know."""
    offset = statement.place.offset
    again = [s for s in statement.loops if not offset.factor(s) and statement.extents[s] > 1]
    if not again:
        return statement
    value = statement.value
    own = [
        part for part in walk(value)
        if isinstance(part, Load) and place_of(part.address, statement.extents) == statement.place
    ]  # fmt: skip
    if not own:
        if set(again) & symbols_of(value):
            raise Refusal("stores to one place again and again, and only the last turn counts")
        return replace(statement, loops=tuple(s for s in statement.loops if s not in again))
    found = _added(value, statement)
    if found is None:
        raise Refusal("a loop changes what it has stored in a way that is no sum and no maximum")
    operation, body, start = found
    for counter in reversed(again):
        first = counter == again[0]
        body = Reduction(
            operation, counter, Linear(statement.extents[counter]), body,
            start if first else neutral(operation, 32), 32,
        )  # fmt: skip
    return replace(statement, value=body, loops=tuple(s for s in statement.loops if s not in again))


def _added(value: Value, statement: Statement) -> tuple[str, Value, Value] | None:
    """Return operation, what a turn adds, and the place that it adds to."""

    def own(part: Value) -> bool:
        return isinstance(part, Load) and (
            place_of(part.address, statement.extents) == statement.place
        )

    if not isinstance(value, Operation):
        return None
    if value.name == "fma" and own(value.inputs[2]):
        a, b, c = value.inputs
        return "fadd", Operation("fmul", (a, b), value.width), c
    if value.name in _SUMS:
        one, two = value.inputs
        for mine, other in ((one, two), (two, one)):
            if own(mine) and not contains(other, own):
                return _SUMS[value.name], other, mine
        if value.name == "fadd":  # deeper in a sum
            for deep, other in ((one, two), (two, one)):
                inner = _added(deep, statement)
                if inner is not None and inner[0] == "fadd":
                    rest = Operation("fadd", (inner[1], other), value.width)
                    return "fadd", rest, inner[2]
    if value.name == "select":
        condition, then, otherwise = value.inputs
        # if (inside) sum = sum + term: what is left out adds nothing.
        if own(otherwise):
            inner = _added(then, statement)
            if inner is not None:
                operation, body, start = inner
                kept = Operation("select", (condition, body, neutral(operation, 32)), value.width)
                return operation, kept, start
        found = comparison_of(condition)
        if found is not None and found[0] != "feq":
            _, a, b = found
            if own(a) != own(b) and (own(then) != own(otherwise)):
                body = b if own(a) else a
                chosen = then if not own(then) else otherwise
                if body == chosen:
                    # a < b ? b : a is a maximum, a < b ? a : b a minimum.
                    larger = own(a) is own(otherwise)
                    return ("fmax" if larger else "fmin"), body, a if own(a) else b
    return None


def _check_own(statement: Statement) -> None:
    """Refuse a store that reads, at other places, what it stores itself: turns are in order."""
    low, high = stored_span(statement)
    for place, ranges in guarded_loads(statement):
        if place.memory != statement.place.memory or place == statement.place:
            continue
        least, most = hull(place.offset, ranges, statement.extents)
        if least <= high and low <= most:
            offset = statement.place.offset
            step = gcd(*(f for _, f in (*offset.terms, *place.offset.terms)))
            if step and (place.offset.constant - offset.constant) % step:
                continue  # between the places that are stored
            raise Refusal("reads at other places what it stores: a recurrence")


def _forget(tensors: Tensors, memory: Memory, statement: Statement) -> None:
    """Note that memory holds something unknown: who reads it is not matched either."""
    low, high = stored_span(statement)
    memory.spoil(statement.place.memory, low // 4, high // 4 + 1, f"{statement.address:#x}")
