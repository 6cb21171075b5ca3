"""Stores that only move numbers, carried out turn by turn; numbers in code, as tables.

What a compiler makes of a padded copy (rows outside of the image apart from those inside, borders
by themselves, lanes of vectors) need not be understood to be carried out: which element goes where
is computed for every turn, guards and choices included. Stores that are written out, each with
numbers of its own (a bias in the code), are the turns of a loop that reads them from a table.

Models:  stores of constants, of what is read, of a choice between such by conditions on counters;
         of these divided by a number that counters alone decide; stores that do the same with
         other numbers.
Ignores: loops with more turns than `_MOST_TURNS`.
Judge:   stores cut up at random against NumPy's own padding (tests/decompile/matching).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..forms import (
    Buffer,
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
    linear,
)
from ..tensors import Tensors
from ..values import has_numbers, is_named, shape_apart, walk
from ._elements import HOLE, Numbers, number_code
from ._integers import Ints, evaluate_integers, grid
from ._memory import Memory
from ._rolling import Renamed, whole_of
from ._statement import Refusal, Statement, memory_symbol, number_of, place_of
from ._views import constant_view

_MOST_TURNS = 1 << 22


def copied(tensors: Tensors, memory: Memory, statement: Statement) -> bool:
    """Carry out a store that computes nothing; return False where it is none, or is too long.

    Raises
    ------
    Refusal : it reads what is not known
    """
    value, by = _quotient(statement.value)
    if not _moves(value):
        return False
    if prod(statement.extents[s] for s in statement.loops) > _MOST_TURNS:
        return False
    if any(s not in statement.loops for s, _ in statement.place.offset.terms):
        return False
    carrying = _Carrying(tensors, memory, statement)
    holds = np.ones(carrying.shape, bool)
    for guard in statement.guards:
        known = carrying.number(guard)
        if known is None:
            return False
        holds &= known != 0
    places = carrying.number(Index(statement.place.offset))
    if places is None or (places % 4).any():
        return False
    codes = carrying.codes(value, holds)
    divisors = None if by is None else carrying.divisors(by)
    if codes is None or (by is not None and divisors is None):
        return False
    memory.scatter(statement.place.memory, places[holds] // 4, codes[holds],
                   None if divisors is None else divisors[holds])  # fmt: skip
    return True


def _quotient(value: Value) -> tuple[Value, Value | None]:
    """Return a value and the number that it is divided by; None where it is not divided."""
    if is_named(value, "fmul"):
        for one, other in (value.inputs, value.inputs[::-1]):
            if not isinstance(other, Constant) or other.width != 32:
                continue
            times = np.float32(number_of(other))
            if abs(np.frexp(times)[0]) == 0.5:  # a power of two
                return one, Constant(int((np.float32(1) / times).view(np.uint32)), 32)
    if is_named(value, "fdiv"):
        one, other = value.inputs
        number = other.inputs[0] if is_named(other, "fnarrow") else other
        if isinstance(other, Constant) or is_named(number, "itof") or is_named(number, "utof"):
            return one, other
    return value, None


def _moves(value: Value) -> bool:
    if isinstance(value, Constant | Load):
        return value.width == 32
    if isinstance(value, Index):
        return value.value.is_constant and value.width == 32
    if is_named(value, "select"):
        return _moves(value.inputs[1]) and _moves(value.inputs[2])
    return is_named(value, "bitcast") and _moves(value.inputs[0])


class _Carrying:
    def __init__(self, tensors: Tensors, memory: Memory, statement: Statement) -> None:
        self.tensors, self.memory, self.statement = tensors, memory, statement
        self.turns = grid(statement.loops, statement.extents)
        self.shape = tuple(statement.extents[s] for s in statement.loops)

    def number(self, value: Value) -> Ints | None:
        """Return an integer in every turn; None where memory decides it."""
        if any(isinstance(part, Symbol) and part not in self.turns for part in walk(value)):
            return None
        found = evaluate_integers(value, self.turns)
        if found is None or found.dtype.kind != "i":
            return None
        return np.broadcast_to(found, self.shape)

    def divisors(self, value: Value) -> Numbers | None:
        """Return a number of floating point in every turn; None where it is 0 or memory decides."""
        if isinstance(value, Constant):
            found = np.asarray(number_of(value), np.float32)
        elif any(isinstance(part, Symbol) and part not in self.turns for part in walk(value)):
            return None
        else:
            made = evaluate_integers(value, self.turns)
            if made is None or made.dtype != np.float32:
                return None
            found = made
        return np.broadcast_to(found, self.shape) if found.all() else None

    def codes(self, value: Value, holds: NDArray[np.bool_]) -> Ints | None:
        """Return the code of what is stored in every turn in which it is."""
        if isinstance(value, Constant):
            return np.full(self.shape, number_code(value.bits), np.int64)
        if isinstance(value, Index):
            return np.full(self.shape, number_code(value.value.constant), np.int64)
        if isinstance(value, Load):
            return self.read(value, holds)
        if is_named(value, "select"):
            condition = self.number(value.inputs[0])
            if condition is None:
                return None
            first = condition != 0
            then = self.codes(value.inputs[1], holds & first)
            otherwise = self.codes(value.inputs[2], holds & ~first)
            if then is None or otherwise is None:
                return None
            return np.where(first, then, otherwise)
        assert is_named(value, "bitcast")
        return self.codes(value.inputs[0], holds)

    def read(self, load: Load, holds: NDArray[np.bool_]) -> Ints | None:
        found = np.full(self.shape, HOLE, np.int64)
        place = place_of(load.address, self.statement.extents)
        at = self.number(Index(place.offset)) if place is not None else None
        if place is None or at is None or (at % 4).any():
            return None
        if not holds.any():
            return found
        wanted = at[holds] // 4
        low, high = int(wanted.min()), int(wanted.max()) + 1
        own = self.statement.place.memory
        if place.memory == own and not self.apart(low, high):
            raise Refusal("copies from where it stores")
        known = self.memory.constant_bytes(place.memory, low * 4, high * 4)
        if known is not None:
            buffer, base = known
            tensor, begin = constant_view(self.tensors, buffer, base, low, high - 1), low
        else:
            tensor, begin = self.memory.read(place.memory, low, high)
        found[holds] = self.memory.elements.of(tensor).reshape(-1)[wanted - begin]
        return found

    def apart(self, low: int, high: int) -> bool:
        """Whether the statement stores nowhere between two places."""
        stored = self.number(Index(self.statement.place.offset))
        return stored is not None and not ((stored >= low * 4) & (stored < high * 4)).any()


def with_tables(statements: Sequence[Statement]) -> tuple[list[Statement], dict[str, Buffer]]:
    """Let neighbouring stores that differ in numbers read these from tables.

    before:   y[0] = x[0] + 0.25    y[1] = x[1] + 0.5
    after:    y[0] = x[0] + t[0]    y[1] = x[1] + t[1]    where t is 0.25, 0.5
    """
    found, tables = list(statements), dict[str, Buffer]()
    begin = 0
    for end in range(1, len(found) + 1):
        one, other = found[end - 1], found[end] if end < len(found) else None
        if other is not None and (one.loops, one.width) == (other.loops, other.width):
            continue
        alike: dict[object, list[tuple[int, list[Constant]]]] = {}
        for number in range(begin, end) if end - begin > 1 else ():
            numbers: list[Constant] = []
            key = _holed(found[number], numbers)
            if numbers and not found[number].refused:
                alike.setdefault(key, []).append((number, numbers))
        for members in alike.values():
            _tabulate(found, members, tables)
        begin = end
    return found, tables


def _holed(statement: Statement, numbers: list[Constant]) -> object:
    """Return what a statement does whatever the numbers in its value are; these go to a list."""
    forms: list[Linear] = []
    whole = Renamed(dict(statement.extents), "holed").value(whole_of(statement))
    assert isinstance(whole, Operation)
    target, value, *guards = whole.inputs
    if isinstance(value, Constant):
        return None
    shape = (shape_apart(target, forms, lambda _: None),
             shape_apart(value, forms, lambda _: None, numbers), tuple(guards))  # fmt: skip
    return shape, tuple(form.terms for form in forms)


def _tabulate(
    statements: list[Statement], members: list[tuple[int, list[Constant]]],
    tables: dict[str, Buffer],
) -> None:  # fmt: skip
    members = sorted(members, key=lambda member: statements[member[0]].place.offset.constant)
    offsets = {statements[number].place.offset.constant for number, _ in members}
    columns = list(zip(*(numbers for _, numbers in members), strict=True))
    unequal = [at for at, column in enumerate(columns) if len(set(column)) > 1]
    if len(offsets) < len(members) or not unequal:
        return
    names = {at: f"numbers {len(tables) + k}" for k, at in enumerate(unequal)}
    for at, name in names.items():
        data = b"".join((one.bits & 0xFFFFFFFF).to_bytes(4, "little") for one in columns[at])
        origin = f"numbers in the code at {statements[members[0][0]].address:#x}"
        tables[name] = Buffer(name=name, role="constant", size_bytes=len(data), data=data,
                              origin=origin)  # fmt: skip
    for turn, (number, numbers) in enumerate(members):
        parts: list[Value] = [
            Load(linear(4 * turn, {memory_symbol(names[at]): 1}), 32) if at in names else one
            for at, one in enumerate(numbers)
        ]
        value = _filled(statements[number].value, iter(parts))
        statements[number] = replace(statements[number], value=value)


def _filled(value: Value, numbers: Iterator[Value]) -> Value:
    """Return a value with others for its constants, in the order in which `shape_apart` goes."""
    if isinstance(value, Constant):
        return next(numbers) if value.width == 32 else value
    if isinstance(value, Operation):
        inputs = (
            _filled(part, numbers) if has_numbers(value, at) else part
            for at, part in enumerate(value.inputs)
        )
        return replace(value, inputs=tuple(inputs))
    if isinstance(value, Reduction):
        body = _filled(value.body, numbers)
        return replace(value, body=body, start=_filled(value.start, numbers))
    return value
