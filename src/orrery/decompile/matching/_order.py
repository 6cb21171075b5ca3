"""Loops that hold several stores, taken apart so that each store runs whole before the next.

That changes nothing where each turn reads what the same turn wrote; scratch memory that every turn
uses anew is given one place for each turn first. Where order matters it is said, and nothing that
depends on it is matched.

Models:  dependences between stores that share loops, by ranges of addresses.
Ignores: dependences that guards would rule out; they count as if they were there.
Judge:   tests with loops whose order matters, which must not be matched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from ..forms import Linear, Load, Operation, Reduction, Symbol, Value, linear
from ..values import shape_apart
from ._conditions import bounds, merged_ranges, ranges_of
from ._nest import Range
from ._rolling import Renamed, rolled_nests, whole_of
from ._statement import Place, Refusal, Rewriter, Statement, addresses_of, place_of
from ._views import hull

_ELEMENT_BYTES = 4
#: So many places are compared one by one to see whether two statements meet.
_MOST_PLACES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Touch:
    number: int
    place: Place
    writes: bool
    low: int
    high: int
    extents: Mapping[Symbol, int]

    def places(self) -> NDArray[np.int64] | None:
        """Return every place in bytes, guards left aside; None where there are too many."""
        terms = [(s, f) for s, f in self.place.offset.terms if isinstance(s, Symbol)]
        if prod(self.extents[s] for s, _ in terms) > _MOST_PLACES:
            return None
        found = np.full(1, self.place.offset.constant, np.int64)
        for symbol, factor in terms:
            turns = np.arange(self.extents[symbol], dtype=np.int64) * factor
            found = np.unique(found[:, None] + turns)
        return found


def loads_of(statement: Statement) -> list[Place]:
    """Return the places that a statement reads, those that are linear."""
    found = []
    for address in addresses_of(statement.value):
        place = place_of(address, statement.extents)
        if place is not None:
            found.append(place)
    return found


def guarded_loads(statement: Statement) -> list[tuple[Place, list[Range]]]:
    """Return places that a statement reads and the ranges in which it does."""
    found = []
    always: list[Range] = []
    for guard in statement.guards:
        with contextlib.suppress(Refusal):
            always = merged_ranges([*always, *(ranges_of(guard, statement.extents) or ())])
    stack: list[tuple[Value, tuple[Range, ...]]] = [(statement.value, tuple(always))]
    seen: set[tuple[int, tuple[Range, ...]]] = set()
    while stack:
        value, ranges = stack.pop()
        if (id(value), ranges) in seen:
            continue
        seen.add((id(value), ranges))
        if isinstance(value, Load):
            place = place_of(value.address, statement.extents)
            if place is not None:
                found.append((place, list(ranges)))
        elif isinstance(value, Reduction):
            stack += [(value.body, ranges), (value.start, ranges)]
        elif isinstance(value, Operation):
            inside = _inside(value, statement)
            if inside is not None:
                stack.append((value.inputs[1], tuple(merged_ranges([*ranges, *inside]))))
                stack.append((value.inputs[2], ranges))
            else:
                stack += [(part, ranges) for part in value.inputs]
    return found


def _inside(value: Operation, statement: Statement) -> list[Range] | None:
    """Return the ranges in which a choice by position takes its first side."""
    if value.name != "select":
        return None
    try:
        return ranges_of(value.inputs[0], statement.extents)
    except Refusal:
        return None


def _touches(statements: Sequence[Statement]) -> list[_Touch]:
    found = []
    for number, statement in enumerate(statements):
        width = statement.width // 8
        for place, ranges in guarded_loads(statement):
            try:
                low, high = hull(place.offset, ranges, statement.extents)
            except Refusal:
                continue  # read in no turn at all
            found.append(_Touch(
                number=number, place=place, writes=False, low=low, high=high + width,
                extents=statement.extents,
            ))  # fmt: skip
        low, high = stored_span(statement)
        found.append(_Touch(
            number=number, place=statement.place, writes=True, low=low, high=high + width,
            extents=statement.extents,
        ))  # fmt: skip
    return found


def stored_span(statement: Statement) -> tuple[int, int]:
    """Return the first and the last place in bytes that a statement stores to."""
    ranges: list[Range] = []
    try:
        for guard in statement.guards:
            ranges = merged_ranges([*ranges, *(ranges_of(guard, statement.extents) or ())])
        return hull(statement.place.offset, ranges, statement.extents)
    except Refusal:
        return bounds(statement.place.offset, statement.extents)


def apart(statements: Sequence[Statement]) -> tuple[list[Statement], dict[int, str]]:
    """Return statements that may run one after the other, and why some may not (by number)."""
    current = list(statements)
    counters: dict[Symbol, list[int]] = {}
    for number, statement in enumerate(current):
        for counter in statement.loops:
            counters.setdefault(counter, []).append(number)
    for counter, members in counters.items():
        if len(members) > 1:
            current = _expanded(current, counter, members)
    return current, _conflicts(current)


def breaks(statements: Sequence[Statement]) -> set[int]:
    """Return statements that must not be put beside the first of their like in their loop nest.

    What stands between stores where they read or store, or reads where they store.
    """
    found: set[int] = set()
    begin = 0
    for number, (one, other) in enumerate(pairwise((*statements, None)), 1):
        if other is None or one is None or (one.loops, one.width) != (other.loops, other.width):
            found |= {begin + k for k in _held_back(statements[begin:number])}
            begin = number
    return found


def _held_back(run: Sequence[Statement]) -> Iterator[int]:
    kinds: dict[object, int] = {}
    kind = np.array([kinds.setdefault(alike(one), len(kinds)) for one in run])
    if len(kinds) in (1, len(run)):
        return
    about: dict[tuple[str, bool], list[_Touch]] = {}
    mine: list[list[_Touch]] = [[] for _ in run]
    for touch in _touches(run):
        about.setdefault((touch.place.memory, touch.writes), []).append(touch)
        mine[touch.number].append(touch)
    rows = {key: np.array([(t.low, t.high, t.number) for t in each]).T
            for key, each in about.items()}  # fmt: skip
    first: dict[int, int] = {}

    def held(touch: _Touch, writes: bool, since: int) -> bool:
        key = touch.place.memory, writes
        if key not in rows:
            return False
        low, high, at = rows[key]
        near = (low < touch.high) & (touch.low < high) & (since < at) & (at < touch.number)
        near &= kind[at] != kind[touch.number]
        return any(_meet(touch, about[key][k]) for k in np.flatnonzero(near))

    for number, touches in enumerate(mine):
        since = first.setdefault(int(kind[number]), number)
        if since < number and any(
            held(t, True, since) or (t.writes and held(t, False, since)) for t in touches
        ):
            yield number
            first = {int(kind[number]): number}


def together(
    statements: Sequence[Statement], conflicts: Mapping[int, str]
) -> tuple[list[Statement], dict[int, str]]:
    """Bring loop nests that were written out one after the other together as one nest.

    A compiler that writes out the turns of an outer loop leaves a sequence of nests for each, one
    that peels a loop leaves two; those that do the same are put where the first of them stands, if
    nothing between touches what they touch.
    """
    touches: dict[int, list[_Touch]] = {}
    for touch in _touches(statements):
        touches.setdefault(touch.number, []).append(touch)
    groups: list[list[int]] = []
    known: dict[object, int] = {}
    for number, statement in enumerate(statements):
        key = number if number in conflicts or statement.refused else alike(statement)
        at = known.get(key)
        if at is not None and all(
            _commute(touches[number], touches[other]) for group in groups[at:] for other in group
        ):
            groups[at].append(number)
        else:
            known[key] = len(groups)
            groups.append([number])
    names = count()
    found: list[Statement] = []
    odd: dict[int, str] = {}
    for group in groups:
        if group[0] in conflicts:
            odd[len(found)] = conflicts[group[0]]
        found += rolled_nests([statements[number] for number in group], names)
    return found, odd


def _commute(one: Sequence[_Touch], other: Sequence[_Touch]) -> bool:
    """Whether two statements may change places: neither stores where the other reads or stores."""
    return not any((a.writes or b.writes) and _meet(a, b) for a in one for b in other)


def _meet(a: _Touch, b: _Touch) -> bool:
    if a.place.memory != b.place.memory or a.low >= b.high or b.low >= a.high:
        return False
    step = gcd(*(f for _, f in (*a.place.offset.terms, *b.place.offset.terms)))
    if not step:
        return True
    apart = (a.place.offset.constant - b.place.offset.constant) % step
    if _ELEMENT_BYTES <= apart <= step - _ELEMENT_BYTES:
        return False
    if apart or step % _ELEMENT_BYTES:
        return True
    one, other = a.places(), b.places()
    return one is None or other is None or bool(np.isin(one, other, assume_unique=True).any())


def _spans(touches: Sequence[_Touch]) -> list[tuple[int, int]]:
    return [(touch.low, touch.high) for touch in touches]


def _expanded(
    statements: list[Statement], counter: Symbol, members: Sequence[int]
) -> list[Statement]:
    """Give scratch memory of a loop one place for each turn."""
    inside = set(members)
    touches = _touches(statements)
    spans = _spans(touches)
    wanted: dict[str, list[tuple[int, int]]] = {}
    for touch, span in zip(touches, spans, strict=True):
        if touch.number in inside and touch.writes and not touch.place.offset.factor(counter):
            wanted.setdefault(touch.place.memory, []).append(span)
    for memory, stretches in wanted.items():
        for low, high in _united(stretches):
            about = [
                t for t, (a, b) in zip(touches, spans, strict=True)
                if t.place.memory == memory and a < high and low < b
            ]  # fmt: skip
            fits = all(
                t.number in inside and not t.place.offset.factor(counter)
                and low <= a and b <= high
                for t, (a, b) in zip(touches, spans, strict=True) if t in about
            )  # fmt: skip
            first = min((t.number for t in about), default=-1)
            reads = any(t.number == first and not t.writes for t in about)
            if fits and about and not reads and len({t.number for t in about}) > 1:
                fresh = f"{memory}/{counter.name}+{low:x}"
                statements = [
                    _moved(s, memory, low, high, counter, fresh) if k in inside else s
                    for k, s in enumerate(statements)
                ]
    return statements


def _united(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for low, high in sorted(stretches):
        if found and low < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _moved(
    statement: Statement, memory: str, low: int, high: int, counter: Symbol, fresh: str
) -> Statement:
    """Write addresses of one stretch of memory as addresses of a memory of its own."""
    step = high - low
    base = Symbol(fresh, "memory")

    def address(form: Linear) -> Linear | None:
        place = place_of(form, statement.extents)
        if place is None or place.memory != memory:
            return None
        least, _ = bounds(place.offset, statement.extents)
        if not low <= least < high:
            return None
        return place.offset - low + linear(0, {base: 1, counter: step})

    rewriter = _Moving(address)
    place = statement.place
    least, _ = bounds(place.offset, statement.extents)
    if place.memory == memory and low <= least < high:
        place = Place(memory=fresh, offset=place.offset - low + linear(0, {counter: step}))
    return replace(statement, place=place, value=rewriter.value(statement.value))


class _Moving(Rewriter):
    def __init__(self, address: object) -> None:
        super().__init__({})
        self._address = address

    def _value(self, value: Value) -> Value:
        if isinstance(value, Load) and callable(self._address):
            moved = self._address(value.address)
            return value if moved is None else replace(value, address=moved)
        return super()._value(value)


def _conflicts(statements: Sequence[Statement]) -> dict[int, str]:
    """Return statements that read what another turn of a shared loop writes."""
    found: dict[int, str] = {}
    touches = _touches(statements)
    spans = _spans(touches)
    for write, (low, high) in zip(touches, spans, strict=True):
        if not write.writes or not statements[write.number].loops:
            continue
        for read, (a, b) in zip(touches, spans, strict=True):
            if read.number == write.number or read.place.memory != write.place.memory:
                continue
            if not (a < high and low < b):
                continue
            shared = [
                c for c in statements[write.number].loops
                if c in statements[read.number].loops and statements[read.number].extents[c] > 1
            ]  # fmt: skip
            if read.writes:  # of two that store, the last turn's stay
                shared = [c for c in shared if write.place.offset.factor(c)
                          or read.place.offset.factor(c)]  # fmt: skip
                if read.number < write.number:
                    continue
            if (
                shared and not _same_turn(statements, write, read, shared)
                and (not read.writes or _meet(write, read))
            ):  # fmt: skip
                what = "stores where" if read.writes else "reads what"
                found[read.number] = f"a turn of a loop {what} another turn of it writes"
    return found


def _same_turn(
    statements: Sequence[Statement], write: _Touch, read: _Touch, shared: Sequence[Symbol]
) -> bool:
    """Whether what a turn of the shared loops reads is written, if at all, by the same turn."""
    one, two = write.place.offset, read.place.offset
    if any(one.factor(c) != two.factor(c) for c in shared):
        return False
    extents_w = {**statements[write.number].extents, **dict.fromkeys(shared, 1)}
    extents_r = {**statements[read.number].extents, **dict.fromkeys(shared, 1)}
    low_w, high_w = bounds(one, extents_w)
    low_r, high_r = bounds(two, extents_r)
    width = statements[write.number].width // 8
    if any(not one.factor(c) for c in shared):
        # The same place in every turn: right only where both add to it, in whatever order.
        return (
            one == two == statements[read.number].place.offset
            and _adds(statements[write.number])
            and _adds(statements[read.number])
        )
    reach = max(high_w, high_r) - min(low_w, low_r) + width
    # Turns of the shared loops must not meet each other's stretch, the innermost step first.
    for counter in sorted(shared, key=lambda c: abs(one.factor(c))):
        step = abs(one.factor(counter))
        if step < reach:
            return _walk(statements, write, shared) == _walk(statements, read, shared)
        reach += step * (statements[write.number].extents[counter] - 1)
    return True


def _adds(statement: Statement) -> bool:
    """Whether a statement adds to what stands where it stores."""
    value = statement.value
    return (
        isinstance(value, Operation)
        and value.name in ("fadd", "fma")
        and any(
            isinstance(part, Load) and place_of(part.address, statement.extents) == statement.place
            for part in value.inputs
        )
    )


def _walk(
    statements: Sequence[Statement], touch: _Touch, shared: Sequence[Symbol]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return which positions one turn of the shared loops touches."""
    extents = statements[touch.number].extents
    steps = sorted(
        (factor, extents[term]) for term, factor in touch.place.offset.terms
        if isinstance(term, Symbol) and term not in shared and extents[term] > 1
    )  # fmt: skip
    return touch.place.offset.constant, tuple(steps)


def alike(statement: Statement) -> object:
    """Return what is equal for statements that do the same at places that loops may tell apart."""
    mine = dict(statement.extents)
    forms: list[Linear] = []
    shape = shape_apart(Renamed(mine, "alike").value(whole_of(statement)), forms, lambda _: None)
    inner = tuple(sorted((s.name, n) for s, n in mine.items() if s.name.startswith("alike.")))
    rest = tuple(tuple((t, f) for t, f in form.terms if t not in statement.loops) for form in forms)
    return shape, rest, inner
