"""A program as statements: stores with known memory, known numbers of turns, linear addresses.

Models:  calls of the program's own functions put in place, memset and memcpy as stores, pointers
         as a memory and an offset, counters split until addresses are linear.
Ignores: calls of anything else: what they may change is listed and not guessed.
Judge:   tests evaluate statements in the order of the program and compare memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..forms import (
    Call,
    Constant,
    Index,
    Linear,
    Load,
    Loop,
    Operation,
    Program,
    Reduction,
    Routine,
    Store,
    Symbol,
    Value,
    View,
    linear,
)
from ..values import symbols_of, walk
from ._integers import linear_over, split_at

#: The memory of addresses that are plain numbers: globals of the binary itself.
IMAGE = "image"

_DEEPEST_CALLS = 16
_MOST_SPLITS = 40


class Refusal(Exception):
    """Why a statement is not matched; caught where the statement is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """Code that is not in the recovered graph, where it is and why."""

    address: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A memory and an offset in bytes, linear over counters."""

    memory: str
    offset: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One store, alone: ``memory[place] = value`` for all turns where the guards hold.

    Attributes
    ----------
    extents : turns of every counter, those inside of the value included
    loops : counters around it, the outermost first
    values' addresses : linear, with one `Symbol` of kind ``memory`` for the memory
    refused : why it must not be matched, whatever it looks like
    """

    place: Place
    value: Value
    width: int
    guards: tuple[Value, ...]
    loops: tuple[Symbol, ...]
    extents: Mapping[Symbol, int]
    address: int
    refused: str = ""


Terms = Symbol | Operation | Load
Bindings = dict[Terms, Linear]


class Rewriter:
    """Replaces symbols all through values; shared parts are walked once."""

    def __init__(self, values: Mapping[Terms, Linear]) -> None:
        self._values = values
        self._done: dict[int, tuple[object, Value]] = {}

    def linear(self, form: Linear) -> Linear:
        result = Linear(form.constant)
        for term, factor in form.terms:
            known = self._values.get(term)
            if known is None and not isinstance(term, Symbol):
                inner = self.value(term)
                again = inner.value if isinstance(inner, Index) else None
                if again is None and isinstance(inner, Load | Operation):
                    again = self._values.get(inner, Linear(0, ((inner, 1),)))
                known = again
            result += Linear(0, ((term, factor),)) if known is None else known * factor
        return result

    def value(self, value: Value) -> Value:
        found = self._done.get(id(value))
        if found is not None:
            return found[1]
        made = self._value(value)
        self._done[id(value)] = (value, made)  # the value is kept, or its id might be used again
        return made

    def _value(self, value: Value) -> Value:
        if isinstance(value, Index):
            return replace(value, value=self.linear(value.value))
        if isinstance(value, Load):
            return replace(value, address=self.linear(value.address))
        if isinstance(value, Operation):
            return replace(value, inputs=tuple(self.value(part) for part in value.inputs))
        if isinstance(value, Reduction):
            known = self._values.get(value.counter)
            if known is not None and len(known.terms) == 2:
                return self._split_reduction(value, known)
            counter = _only(known) if known is not None else value.counter
            return replace(
                value, counter=counter, extent=self.linear(value.extent),
                body=self.value(value.body), start=self.value(value.start),
            )  # fmt: skip
        return value

    def _split_reduction(self, value: Reduction, parts: Linear) -> Reduction:
        """Write a loop whose counter was split in two as two loops."""
        (outer, step), (inner, _) = sorted(parts.terms, key=lambda pair: -pair[1])
        assert isinstance(outer, Symbol)
        assert isinstance(inner, Symbol)
        nested = replace(
            value, counter=inner, extent=Linear(step), body=self.value(value.body),
            start=neutral(value.operation, value.width),
        )  # fmt: skip
        return replace(
            value, counter=outer, extent=Linear(value.extent.constant // step), body=nested,
            start=self.value(value.start),
        )  # fmt: skip


def neutral(operation: str, width: int) -> Constant:
    """Return the constant that an operation ignores."""
    bits = {
        "fmul": {32: 0x3F800000, 64: 0x3FF << 52},
        "fmax": {32: 0xFF800000, 64: 0xFFF << 52},
        "fmin": {32: 0x7F800000, 64: 0x7FF << 52},
    }
    kind = {"max_x86": "fmax", "min_x86": "fmin"}.get(operation, operation)
    if kind == "imul":
        return Constant(1, width)
    return Constant(bits.get(kind, {}).get(width, 0), width)


def is_neutral(value: Value, kind: str) -> bool:
    """Return whether ``Add``, ``Max`` or ``Min`` ignores a value."""
    if not isinstance(value, Constant):
        return False
    number = float(number_of(value))
    largest = 3.4e38
    if kind == "Add":
        return number == 0
    return number <= -largest if kind == "Max" else number >= largest


def number_of(value: Constant) -> np.ndarray:
    """Return the number of floating point that bits stand for."""
    if value.width == 32:
        return np.asarray(value.bits & 0xFFFFFFFF, np.uint32).view(np.float32)
    if value.width == 64:
        return np.asarray(value.bits & (2**64 - 1), np.uint64).view(np.float64)
    raise Refusal(f"a number of {value.width} bits")


class _Flattening:
    def __init__(
        self, program: Program, routines: Mapping[int, Routine], unmatched: list[Unmatched]
    ) -> None:
        self.program, self.routines, self.unmatched = program, routines, unmatched
        self.fresh = 0
        self.splits: dict[Symbol, tuple[int, Symbol, Symbol]] = {}

    def run(self) -> Iterator[Statement]:
        for number, invocation in enumerate(self.program.invocations):
            bindings: Bindings = {}
            for symbol, bound in invocation.bindings.items():
                if isinstance(bound, View):
                    bindings[symbol] = linear(bound.offset, {memory_symbol(bound.buffer): 1})
                else:
                    bindings[symbol] = Linear(bound)
            yield from self.routine(invocation.routine, bindings, (), (), (), f"{number}", 0)

    def routine(
        self, routine: Routine, bindings: Bindings, loops: tuple[Loop, ...],
        guards: tuple[Value, ...], argument_values: Sequence[Value], label: str, depth: int,
    ) -> Iterator[Statement]:  # fmt: skip
        for unread in routine.unread:
            self.unmatched.append(Unmatched(address=unread.instruction, reason=unread.reason))
        floats = {
            s: v for s, v in zip(routine.arguments, argument_values, strict=False)
            if s not in bindings
        }  # fmt: skip
        if any(floats.keys() & symbols_of(step.value) for step in routine.steps
               if isinstance(step, Store)):  # fmt: skip
            self.unmatched.append(Unmatched(
                address=routine.address,
                reason="an argument that is no pointer and no whole number is used",
            ))  # fmt: skip
        # Counters and memory of this call are its own: another call of it has others.
        own: Bindings = dict(bindings)
        for step in routine.steps:
            for loop in step.loops:
                own.setdefault(loop.counter, Linear(0, ((self.renamed(loop.counter, label), 1),)))
        rewriter = _Renaming(own, label)
        met = _Met(routine, rewriter) if _may_alias(bindings) else None
        for step in routine.steps:
            around = tuple(
                Loop(counter=_only(own[loop.counter]), extent=rewriter.linear(loop.extent),
                     address=loop.address)
                for loop in step.loops
            )  # fmt: skip
            conditions = guards + tuple(rewriter.value(guard) for guard in step.guards)
            if isinstance(step, Store):
                yield from self.store(
                    rewriter.linear(step.address), rewriter.value(step.value), step.width,
                    loops + around, conditions, step.instruction,
                    None if met is None else partial(met.refusal, step),
                )  # fmt: skip
            else:
                yield from self.call(step, rewriter, loops + around, conditions, label, depth)

    def renamed(self, symbol: Symbol, label: str) -> Symbol:
        return replace(symbol, name=f"{label}/{symbol.name}")

    def call(
        self, step: Call, rewriter: Rewriter, loops: tuple[Loop, ...],
        guards: tuple[Value, ...], label: str, depth: int,
    ) -> Iterator[Statement]:  # fmt: skip
        arguments = [rewriter.value(argument) for argument in step.arguments]
        numbers = [integer_of(argument) for argument in arguments]
        name = step.target if isinstance(step.target, str) else ""
        routine = self.routines.get(step.target) if isinstance(step.target, int) else None
        if name.lstrip("_") in ("memset", "memcpy", "memmove") and len(numbers) >= 3:
            yield from self.copy(name, arguments, numbers, loops, guards, step.instruction)
        elif routine is not None and depth < _DEEPEST_CALLS:
            self.fresh += 1
            bound: Bindings = {
                symbol: number
                for symbol, number in zip(routine.arguments, numbers, strict=False)
                if number is not None
            }
            yield from self.routine(
                routine, bound, loops, guards, arguments, f"{label}.{self.fresh}", depth + 1
            )
        elif name.lstrip("_") not in ("free", "stack_chk_fail"):
            what = name or f"the function at {step.target:#x}"
            reason = f"calls {what}, which was not read"
            self.refuse(step.instruction, reason)
            for number in numbers:  # what stands there now is not known
                if number is not None and not self.stays(number):
                    yield from self.store(number, Constant(0, 32), 32, loops, guards,
                                          step.instruction, lambda _: reason)  # fmt: skip

    def stays(self, pointer: Linear) -> bool:
        """Whether a call leaves what a pointer leads to: constants, and inputs of the network."""
        place, buffers = place_of(Linear(pointer.constant, tuple(
            (t, f) for t, f in pointer.terms if isinstance(t, Symbol) and t.kind != "counter"
        )), {}), self.program.buffers  # fmt: skip
        if place is None:
            return True
        if place.memory != IMAGE:
            held = buffers.get(place.memory)
            given = place.memory in self.program.inputs
            return (given and place.memory not in self.program.outputs) or (
                held is not None and held.role == "constant"
            )
        at = place.offset.constant
        return any(
            name.startswith(f"{IMAGE}@") and held.role == "constant"
            and 0 <= at - int(name.split("@")[1], 16) < (held.size_bytes or 0)
            for name, held in buffers.items()
        )  # fmt: skip

    def copy(
        self, name: str, arguments: list[Value], numbers: list[Linear | None],
        loops: tuple[Loop, ...], guards: tuple[Value, ...], instruction: int,
    ) -> Iterator[Statement]:  # fmt: skip
        target, source, size = numbers[:3]
        if target is None or size is None or not size.is_constant or size.constant % 4:
            self.unmatched.append(Unmatched(
                address=instruction, reason=f"{name} of a size or place that is not known",
            ))  # fmt: skip
            return
        self.fresh += 1
        turn = Symbol(f"copy.{self.fresh}", "counter")
        loop = Loop(counter=turn, extent=Linear(size.constant // 4), address=instruction)
        step = linear(0, {turn: 4})
        if name.lstrip("_") == "memset":
            byte = source.constant & 255 if source is not None and source.is_constant else None
            if byte is None:
                self.unmatched.append(
                    Unmatched(address=instruction, reason="memset with a byte that is not known")
                )
                return
            value: Value = Constant(byte * 0x01010101, 32)
        elif source is None:
            self.unmatched.append(
                Unmatched(address=instruction, reason=f"{name} from a place that is not known")
            )
            return
        else:
            value = Load(source + step, 32)
        yield from self.store(target + step, value, 32, (*loops, loop), guards, instruction)

    def store(
        self, address: Linear, value: Value, width: int, loops: tuple[Loop, ...],
        guards: tuple[Value, ...], instruction: int,
        refusal: Callable[[Mapping[Symbol, int]], str] | None = None,
    ) -> Iterator[Statement]:  # fmt: skip
        if width > 32 and width % 32 == 0 and isinstance(value, Load | Constant):
            lane = Symbol(f"lane.{instruction:x}.{self.fresh}", "counter")
            self.fresh += 1
            address += linear(0, {lane: 4})
            loops = (*loops, Loop(counter=lane, extent=Linear(width // 32)))
            if isinstance(value, Load):
                value = Load(value.address + linear(0, {lane: 4}), 32)
            else:
                words = {(value.bits >> (32 * k)) & 0xFFFFFFFF for k in range(width // 32)}
                if len(words) > 1:
                    self.refuse(instruction, "a constant of several unequal words is stored")
                    return
                value = Constant(words.pop(), 32)
            width = 32
        extents: dict[Symbol, int] = {}
        for loop in loops:
            if not loop.extent.is_constant:
                self.refuse(instruction, f"the loop at {loop.address:#x} has no constant extent")
                return
            extents[loop.counter] = loop.extent.constant
        if any(extent <= 0 for extent in extents.values()):
            return
        if not _inner_extents((value, Index(address), *guards), extents):
            self.refuse(instruction, "a loop inside of a value has no constant extent")
            return
        made = self.linearised(Statement(
            place=Place(memory="", offset=address), value=value, width=width, guards=guards,
            loops=tuple(loop.counter for loop in loops), extents=extents, address=instruction,
            refused="" if refusal is None else refusal(extents),
        ))  # fmt: skip
        if made is None:
            return
        place = place_of(made.place.offset, made.extents)
        if place is None:
            self.refuse(instruction, f"stores to an address that is not linear: {_text(address)}")
            return
        yield replace(made, place=place)

    def refuse(self, instruction: int, reason: str) -> None:
        self.unmatched.append(Unmatched(address=instruction, reason=reason))

    def linearised(self, statement: Statement) -> Statement | None:
        """Split counters until all addresses are linear; those that stay as they are, stay."""
        for _ in range(_MOST_SPLITS):
            forms = [statement.place.offset, *addresses_of(statement.value)]
            odd = [
                term for form in forms for term, _ in form.terms
                if isinstance(term, Operation) and symbols_of(term) <= set(statement.extents)
            ]  # fmt: skip
            if not odd:
                return statement
            known: Bindings = {}
            for term in odd:
                fitted = linear_over(term, statement.extents)
                if fitted is not None:
                    known[term] = fitted
            if not known:
                extents = statement.extents
                found = next(filter(None, (split_at(term, extents) for term in odd)), None)
                if found is None:
                    return statement
                counter, size = found
                outer, inner = (replace(counter, name=f"{counter.name}.{size}{e}") for e in "qr")
                self.splits.setdefault(counter, (size, outer, inner))
                statement = _split(statement, counter, size, outer, inner)
                continue
            statement = _rewritten(statement, known)
        return statement

    def shared(self, statements: list[Statement]) -> list[Statement]:
        """Split a loop's counter in all statements around which it is, where it is in one.

        What one stores to memory that another reads in the same turn stays together so.
        """
        for counter, (size, outer, inner) in self.splits.items():
            touched = {
                memory for s in statements if outer in s.loops
                for memory, form in _touched(s) if not (form.factor(outer) or form.factor(inner))
            }  # fmt: skip
            statements = [
                _split(s, counter, size, outer, inner)
                if counter in s.loops and s.extents[counter] % size == 0
                and touched & {memory for memory, form in _touched(s) if not form.factor(counter)}
                else s
                for s in statements
            ]  # fmt: skip
        return statements


def _rewritten(statement: Statement, known: Bindings) -> Statement:
    rewriter = Rewriter(known)
    return replace(
        statement,
        place=replace(statement.place, offset=rewriter.linear(statement.place.offset)),
        value=rewriter.value(statement.value),
        guards=tuple(rewriter.value(guard) for guard in statement.guards),
    )


def _split(
    statement: Statement, counter: Symbol, size: int, outer: Symbol, inner: Symbol
) -> Statement:
    """Write a loop as two, the inner one of so many turns."""
    extents = dict(statement.extents)
    extents[outer], extents[inner] = extents.pop(counter) // size, size
    loops = tuple(
        part for c in statement.loops for part in ((outer, inner) if c == counter else (c,))
    )
    known: Bindings = {counter: linear(0, {outer: size, inner: 1})}
    return replace(_rewritten(statement, known), loops=loops, extents=extents)


def _touched(statement: Statement) -> Iterator[tuple[str, Linear]]:
    """Yield memory and offset of what a statement stores to and reads."""
    yield statement.place.memory, statement.place.offset
    for address in addresses_of(statement.value):
        place = place_of(address, statement.extents)
        if place is not None:
            yield place.memory, place.offset


class _Renaming(Rewriter):
    """Also gives counters inside of values and memory of a call names of their own."""

    def __init__(self, values: Bindings, label: str) -> None:
        super().__init__(values)
        self._known, self._label = values, label

    def linear(self, form: Linear) -> Linear:
        for term, _ in form.terms:
            self._own(term)
        return super().linear(form)

    def _value(self, value: Value) -> Value:
        if isinstance(value, Reduction):
            self._own(value.counter)
        return super()._value(value)

    def _own(self, term: Terms) -> None:
        inner = isinstance(term, Symbol) and term.kind in ("memory", "counter", "unknown")
        if inner and isinstance(term, Symbol) and term not in self._known:
            own = replace(term, name=f"{self._label}/{term.name}")
            self._known[term] = Linear(0, ((own, 1),))


def _may_alias(bindings: Bindings) -> bool:
    """Whether two pointers of a call may lead to the same memory: those into the binary may."""
    memories = [place.memory for form in bindings.values() if (place := place_of(form, {}))]
    return IMAGE in memories or len(set(memories)) < len(memories)


class _Met:
    """What the steps of one call have stored so far, and through which argument.

    A routine was read as if its arguments led to memory of their own. Where two of a call do not,
    nobody knows any more whether a load through one is older than a store through the other.
    """

    def __init__(self, routine: Routine, rewriter: Rewriter) -> None:
        self._arguments, self._rewriter = frozenset(routine.arguments), rewriter
        self._stored: list[tuple[Terms | None, str, int, int]] = []

    def refusal(self, step: Store, extents: Mapping[Symbol, int]) -> str:
        """Take notice of a step; return why it must not be matched, if so."""
        found = ""
        for part in walk(step.value):
            if isinstance(part, Load) and (read := self._span(part.address, part.width, extents)):
                root, memory, low, high = read
                if any(r != root and m == memory and a < high and low < b
                       for r, m, a, b in self._stored):  # fmt: skip
                    found = ("two arguments of a call lead to the same memory: whether it reads "
                             "before it stores there is not known")  # fmt: skip
        span = self._span(step.address, step.width, extents)
        if span is not None:
            root, memory, low, high = span
            for at, (r, m, a, b) in enumerate(self._stored):
                if (r, m) == (root, memory) and low <= b and a <= high:
                    self._stored[at] = root, memory, min(low, a), max(high, b)
                    break
            else:
                self._stored.append(span)
        return found

    def _span(
        self, address: Linear, width: int, extents: Mapping[Symbol, int]
    ) -> tuple[Terms | None, str, int, int] | None:
        place = place_of(self._rewriter.linear(address), extents)
        if place is None:
            return None
        root = next((t for t, _ in address.terms if t in self._arguments), None)
        reach = [f * (extents[t] - 1) for t, f in place.offset.terms if isinstance(t, Symbol)]
        at = place.offset.constant
        return (root, place.memory, at + sum(min(r, 0) for r in reach),
                at + sum(max(r, 0) for r in reach) + width // 8)  # fmt: skip


def statements_of(
    program: Program, routines: Mapping[int, Routine] | None = None
) -> tuple[list[Statement], list[Unmatched]]:
    """Return the stores of a program in order, and what could not be written as one."""
    unmatched: list[Unmatched] = []
    flattening = _Flattening(program, routines or {}, unmatched)
    return flattening.shared(list(flattening.run())), unmatched


def memory_symbol(name: str) -> Symbol:
    """Return the symbol that stands for where a buffer begins."""
    return Symbol(name, "memory")


def place_of(address: Linear, extents: Mapping[Symbol, int]) -> Place | None:
    """Return the memory and the offset of an address; None where it is not linear."""
    memory = IMAGE
    terms: dict[Symbol | Operation | Load, int] = {}
    bases = 0
    for term, factor in address.terms:
        if not isinstance(term, Symbol):
            return None
        if term.kind in ("memory", "argument") and term not in extents:
            if factor != 1:
                return None
            memory, bases = term.name, bases + 1
        elif term in extents:
            terms[term] = factor
        else:
            return None
    if bases > 1:
        return None
    return Place(memory=memory, offset=linear(address.constant, terms))


def integer_of(value: Value) -> Linear | None:
    """Return a value as a linear form where it is one."""
    if isinstance(value, Index):
        return value.value
    if isinstance(value, Constant):
        return Linear(value.bits)
    if isinstance(value, Load):
        return linear(0, {value: 1})
    return None


def _only(form: Linear) -> Symbol:
    (term, _) = form.terms[0]
    assert isinstance(term, Symbol)
    return term


def addresses_of(value: Value) -> list[Linear]:
    """Return the addresses of all loads of a value."""
    return [part.address for part in walk(value) if isinstance(part, Load)]


def _inner_extents(values: Sequence[Value], extents: dict[Symbol, int]) -> bool:
    """Note the turns of the loops inside of values; False where one is not known."""
    for part in walk(*values):
        if isinstance(part, Reduction):
            turns = part.extent.constant
            if not part.extent.is_constant or extents.setdefault(part.counter, turns) != turns:
                return False
    return True


def _text(form: Linear) -> str:
    parts = [str(form.constant)] if form.constant else []
    for term, factor in form.terms:
        name = term.name if isinstance(term, Symbol | Operation) else "memory"
        parts.append(f"{factor}*{name}")
    return " + ".join(parts) or "0"
