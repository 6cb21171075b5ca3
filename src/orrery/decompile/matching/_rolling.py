"""Sums and maxima of many terms that differ only in where they read, as loops again.

Compilers unroll loops, peel first turns and split remainders off. A term reads at some places; two
terms that do the same at places one step apart are two turns of one loop.

Models:  terms of one sum, one maximum or one minimum, in any order.
Ignores: terms that differ in more than places.
Judge:   tests write one sum unrolled, peeled and split in many ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count, pairwise
from math import gcd, prod

import numpy as np

from ..forms import Linear, Load, Operation, Reduction, Symbol, Value, linear
from ..values import shape_apart, with_forms
from ._conditions import common_guard
from ._integers import lattice
from ._statement import Rewriter, Statement, is_neutral, neutral, place_of

#: More terms are left as they are: looking for loops takes time by the square of their number.
_MOST_TERMS = 4096

#: A run of so many turns is a loop even where others beside it are longer or shorter.
_LEAST_RUN = 4

Steps = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One term: what is added for every turn of its counters."""

    counters: tuple[Symbol, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class _Box:
    """A term as places: of the first turn, and how far each counter moves each of them."""

    base: Steps
    loops: tuple[tuple[int, Steps], ...]
    first: int


def terms_of(
    value: Value, same: Callable[[str], bool], neutral: Callable[[Value], bool]
) -> list[Term]:
    """Return the terms of nested operations and loops of one kind.

    Parameters
    ----------
    same : whether an operation's name is of the kind
    neutral : whether a value is one that the kind ignores
    """
    found: list[Term] = []

    def walk(part: Value, counters: tuple[Symbol, ...]) -> None:
        if isinstance(part, Reduction) and same(part.operation):
            # What it starts with is there once; inside of another loop, once for each turn.
            walk(part.start, counters)
            walk(part.body, (*counters, part.counter))
        elif isinstance(part, Operation) and same(part.name) and len(part.inputs) == 2:
            for inner in part.inputs:
                walk(inner, counters)
        elif isinstance(part, Operation) and part.name == "fma" and same("fadd"):
            a, b, c = part.inputs
            walk(c, counters)
            walk(Operation("fmul", (a, b), part.width), counters)
        elif not neutral(part):
            found.append(Term(counters, part))

    walk(value, ())
    return found


def rolled(
    terms: Sequence[Term],
    extents: dict[Symbol, int],
    names: count[int],
    *,
    once: bool,
    prefix: str = "rolled",
    region: Callable[[Load], object] = lambda _: None,
) -> list[Term]:
    """Return fewer terms with more counters, whose turns are noted in `extents`.

    Parameters
    ----------
    region : what a load reads from: terms that read different tensors are no turns of one loop
    once : whether a place that is read twice counts once (maxima do, sums do not)
    """
    if not 1 < len(terms) <= _MOST_TERMS:
        return list(terms)
    terms = _guarded(terms, extents, names, prefix, region)
    groups: dict[object, list[tuple[_Box, Term]]] = {}
    order: list[object] = []
    for place, term in enumerate(terms):
        forms: list[Linear] = []
        shape = shape_apart(term.value, forms, region)
        rest = tuple(
            tuple((t, f) for t, f in form.terms if t not in term.counters) for form in forms
        )
        key = (shape, rest)
        loops = tuple(sorted(
            (extents[c], tuple(form.factor(c) for form in forms)) for c in term.counters
        ))  # fmt: skip
        box = _Box(tuple(form.constant for form in forms), loops, place)
        if key not in groups:
            order.append(key)
        groups.setdefault(key, []).append((box, term))
    found: list[tuple[int, Term]] = []
    for group in order:
        members = groups[group]
        boxes = [box for box, _ in members]
        made = _merged(boxes, once=once)
        if len(made) == len(boxes):
            found += [(box.first, term) for box, term in members]
            continue
        example = members[0][1]
        for box in made:
            found.append((box.first, _term(box, example, extents, names, prefix)))
    return [term for _, term in sorted(found, key=lambda pair: pair[0])]


def _guarded(
    terms: Sequence[Term], extents: dict[Symbol, int], names: count[int], prefix: str,
    region: Callable[[Load], object],
) -> list[Term]:  # fmt: skip
    """Return terms with those under conditions of their own as one in loops, under one."""
    found: dict[int, Term] = dict(enumerate(terms))
    groups: dict[object, list[_Guarded]] = {}
    for number, term in enumerate(terms):
        condition, body, other = None, term.value, None
        if isinstance(body, Operation) and body.name == "select":
            condition, body, other = body.inputs
        forms: list[Linear] = []
        shape = shape_apart(body, forms, region)
        rest = tuple(Linear(0, form.terms) for form in forms)
        base = tuple(form.constant for form in forms)
        one = (base, number, condition, body, other)
        groups.setdefault((shape, rest, term.counters), []).append(one)
    for members in groups.values():
        members.sort(key=lambda m: m[0])
        bases = [m[0] for m in members]
        others = {m[4] for m in members if m[4] is not None}
        alike = len({m[2] for m in members}) == 1  # which the places of terms say as well
        if alike or len(set(bases)) < len(bases) or len(others) != 1:
            continue
        large = any(abs(x) >= 1 << 62 for base in bases for x in base)
        loops = None if large else lattice(np.array(bases, np.int64))
        number = min(m[1] for m in members)
        made = None
        if loops is not None:
            counters = [Symbol(f"{prefix}.{next(names)}", "counter") for _ in loops]
            own = found[number].counters
            made = _under_one(members, loops, others.pop(), own, counters, extents)
        if made is not None:
            for member in members:
                del found[member[1]]
            found[number] = made
    return [found[n] for n in sorted(found)]


#: A term as where it reads, its number, when it adds what, and what it adds else.
_Guarded = tuple[Steps, int, Value | None, Value, Value | None]


def _under_one(
    members: Sequence[_Guarded], loops: Sequence[tuple[int, Steps]], other: Value,
    own: tuple[Symbol, ...], counters: Sequence[Symbol], extents: dict[Symbol, int],
) -> Term | None:  # fmt: skip
    """Return terms, sorted as turns of loops, as one; None where no condition is all of theirs."""
    forms: list[Linear] = []
    shape_apart(members[0][3], forms, lambda _: None)

    def moves(form: Linear) -> Iterator[Linear]:
        """Yield a form as it may move with turns: as what is read there does, or not at all."""
        yield form
        for at, address in enumerate(forms):
            ratios = {divmod(address.factor(t), f) for t, f in form.terms}
            each, rest = ratios.pop() if len(ratios) == 1 else (0, 0)
            for counter, (_, steps) in zip(counters, loops, strict=True):
                if each > 0 and not rest and steps[at]:
                    unit = gcd(each, steps[at])
                    yield form * (each // unit) + linear(0, {counter: steps[at] // unit})

    own_extents = {c: size for c, (size, _) in zip(counters, loops, strict=True)}
    conditions = [m[2] for m in members]
    parts = common_guard(conditions, counters, moves, extents | own_extents)
    if parts is None:
        return None
    extents.update(own_extents)
    place = iter(range(len(forms)))

    def form(old: Linear) -> Linear:
        at = next(place)
        return old + linear(0, {c: s[at] for c, (_, s) in zip(counters, loops, strict=True)})

    value = with_forms(members[0][3], form)
    if parts:
        condition = parts[0] if len(parts) == 1 else Operation("iand", tuple(parts), 1)
        value = Operation("select", (condition, value, other), value.width)
    return Term((*own, *counters), value)


def flattened(term: Term, extents: dict[Symbol, int], names: count[int]) -> Term | None:
    """Return a term with loops of which one goes on where another's turn ends as one, if any."""
    forms: list[Linear] = []
    shape_apart(term.value, forms, lambda _: None)
    loops = ((extents[c], tuple(form.factor(c) for form in forms)) for c in term.counters)
    box = _flat(_Box(tuple(form.constant for form in forms), tuple(sorted(loops)), 0))
    if len(box.loops) == len(term.counters):
        return None
    return _term(box, term, extents, names, "flat")


def _merged(boxes: list[_Box], *, once: bool) -> list[_Box]:
    current = list(dict.fromkeys(boxes)) if once else boxes
    if once:
        current = [b for b in current if not any(_within(b, c) for c in current if c is not b)]
    while True:
        joined = _adjacent([_flat(box) for box in current])
        joined = _stacked(joined)
        if len(joined) == len(current):
            whole = _by_points(joined)
            return joined if whole is None else [whole]
        current = joined


def _by_points(boxes: list[_Box]) -> _Box | None:
    """Return boxes that lie between each other as one, where all their places are turns of loops.

    Vectors that a compiler chose in two ways by turns come as two loops over every other one.
    """
    if len(boxes) < 2 or sum(prod(n for n, _ in box.loops) for box in boxes) > _MOST_TERMS:
        return None
    points: list[Steps] = []
    for box in boxes:
        mine = [box.base]
        for turns, step in box.loops:
            mine = [tuple(b + k * s for b, s in zip(one, step, strict=True))
                    for one in mine for k in range(turns)]  # fmt: skip
        points += mine
    first = min(box.first for box in boxes)
    return _lattice([_Box(point, (), first) for point in sorted(points)], ())


def _within(one: _Box, other: _Box) -> bool:
    """Whether a single place is among those of one loop."""
    if one.loops or len(other.loops) != 1:
        return False
    ((turns, step),) = other.loops
    for k in range(turns):
        if tuple(b + k * s for b, s in zip(other.base, step, strict=True)) == one.base:
            return True
    return False


def _flat(box: _Box) -> _Box:
    """Write loops of which one goes on where the turn of another ends as one loop."""
    loops = list(box.loops)
    for turns, step in box.loops:
        if (turns, step) not in loops or turns == 1 or not any(step):
            continue
        while True:
            far = tuple(s * turns for s in step)
            again = next((n for n, other in loops if other == far), 0)
            if not again:
                break
            loops.remove((again, far))
            loops.remove((turns, step))
            turns *= again
            loops.append((turns, step))
    return box if len(loops) == len(box.loops) else _Box(box.base, _sorted(loops), box.first)


def _adjacent(boxes: list[_Box]) -> list[_Box]:
    """Join loops of which one goes on where the other ends."""
    known = dict(enumerate(boxes))
    at: dict[Steps, list[int]] = {}
    for number, box in known.items():
        at.setdefault(box.base, []).append(number)
    fresh = count(len(boxes))
    changed = True
    while changed:
        changed = False
        for number in list(known):
            while number in known:
                found = _after(number, known, at)
                if found is None:
                    break
                other, both = found
                for gone in (number, other):
                    at[known.pop(gone).base].remove(gone)
                number = next(fresh)
                known[number] = both
                at.setdefault(both.base, []).append(number)
                changed = True
    return list(known.values())


def _after(
    number: int, known: Mapping[int, _Box], at: Mapping[Steps, Sequence[int]]
) -> tuple[int, _Box] | None:
    """Return a box that continues a loop of another, and the one box that both are."""
    one = known[number]
    for place, (turns, step) in enumerate(one.loops):
        rest = one.loops[:place] + one.loops[place + 1 :]
        end = tuple(b + turns * s for b, s in zip(one.base, step, strict=True))
        for near in at.get(end, ()):
            other = known[near]
            first = min(one.first, other.first)
            if near == number:
                continue
            if other.loops == rest:
                return near, _Box(one.base, _sorted((*rest, (turns + 1, step))), first)
            for more, (again, same) in enumerate(other.loops):
                others = other.loops[:more] + other.loops[more + 1 :]
                if same == step and others == rest:
                    return near, _Box(one.base, _sorted((*rest, (turns + again, step))), first)
        before = tuple(b - s for b, s in zip(one.base, step, strict=True))
        for near in at.get(before, ()):
            other = known[near]
            if near != number and other.loops == rest:
                first = min(one.first, other.first)
                return near, _Box(other.base, _sorted((*rest, (turns + 1, step))), first)
    return None


def _sorted(loops: Sequence[tuple[int, Steps]]) -> tuple[tuple[int, Steps], ...]:
    return tuple(sorted(loops))


def _stacked(boxes: list[_Box]) -> list[_Box]:
    """Make a loop of equal boxes at equal distances."""
    groups: dict[tuple[tuple[int, Steps], ...], list[_Box]] = {}
    for box in boxes:
        groups.setdefault(box.loops, []).append(box)
    found: list[_Box] = []
    for loops, members in groups.items():
        if len(members) < 2:
            found += members
            continue
        members.sort(key=lambda b: b.base)
        whole = _lattice(members, loops)
        if whole is not None:
            found.append(whole)
            continue
        runs = _runs(members)
        lengths = {len(run) for run in runs}
        even = len(lengths) == 1 and len(runs[0]) > 1
        for run in runs:
            if even or len(run) >= _LEAST_RUN:
                step = tuple(b - a for a, b in zip(run[0].base, run[1].base, strict=True))
                found.append(_Box(
                    run[0].base, _sorted((*loops, (len(run), step))), min(b.first for b in run)
                ))  # fmt: skip
            else:
                found += run
    return found


def _lattice(members: list[_Box], loops: tuple[tuple[int, Steps], ...]) -> _Box | None:
    """Return all boxes, sorted, as one where they are all turns of loops around it."""
    bases = [b.base for b in members]
    if len(set(bases)) < len(bases) or any(abs(x) >= 1 << 62 for base in bases for x in base):
        return None
    found = lattice(np.array(bases, np.int64))
    if found is None:
        return None
    return _Box(bases[0], _sorted((*loops, *found)), min(b.first for b in members))


def _runs(members: list[_Box]) -> list[list[_Box]]:
    """Part sorted boxes into runs with the step that most neighbours have."""
    if len({b.base for b in members}) < len(members):
        return [[b] for b in members]
    steps = [
        tuple(b - a for a, b in zip(one.base, other.base, strict=True))
        for one, other in pairwise(members)
    ]
    step = Counter(steps).most_common(1)[0][0]
    left = {b.base: b for b in members}
    runs = []
    for box in members:
        if box.base not in left:
            continue
        run = [left.pop(box.base)]
        while True:
            at = tuple(b + s for b, s in zip(run[-1].base, step, strict=True))
            if at not in left:
                break
            run.append(left.pop(at))
        runs.append(run)
    return runs


def _term(
    box: _Box, example: Term, extents: dict[Symbol, int], names: count[int], prefix: str
) -> Term:
    """Write a box as a term, shaped as an example of its group."""
    counters = []
    for turns, _ in box.loops:
        symbol = Symbol(f"{prefix}.{next(names)}", "counter")
        extents[symbol] = turns
        counters.append(symbol)
    place = count()

    def form(old: Linear) -> Linear:
        at = next(place)
        terms = {t: f for t, f in old.terms if t not in example.counters}
        for c, (_, steps) in zip(counters, box.loops, strict=True):
            terms[c] = steps[at]
        return linear(box.base[at], terms)

    return Term(tuple(counters), with_forms(example.value, form))


class Renamed(Rewriter):
    """Gives loops inside of a value names by their place in it, so that equal ones are equal."""

    def __init__(self, extents: dict[Symbol, int], stem: str) -> None:
        self.own: dict[Symbol | Operation | Load, Linear] = {}
        super().__init__(self.own)
        self._extents, self._stem = extents, stem

    def _value(self, value: Value) -> Value:
        if isinstance(value, Reduction) and value.counter not in self.own:
            symbol = Symbol(f"{self._stem}.{len(self.own)}", "counter")
            self._extents[symbol] = self._extents[value.counter]
            self.own[value.counter] = linear(0, {symbol: 1})
        return super()._value(value)


_KINDS = {"fadd": "Add", "fma": "Add", "fmax": "Max", "max_x86": "Max", "fmin": "Min",
          "min_x86": "Min"}  # fmt: skip
_OPERATIONS = {"Add": "fadd", "Max": "fmax", "Min": "fmin"}


def gathered(statement: Statement, names: count[int]) -> Statement:
    """Write the terms of sums, maxima and minima as loops, the same way however they stood."""
    extents = dict(statement.extents)
    value = _Gathering(extents, names).value(statement.value)
    return replace(statement, value=value, extents=extents)


class _Gathering:
    def __init__(self, extents: dict[Symbol, int], names: count[int]) -> None:
        self._extents, self._names = extents, names
        self._done: dict[int, tuple[Value, Value]] = {}

    def value(self, value: Value) -> Value:
        found = self._done.get(id(value))
        if found is None:
            found = self._done[id(value)] = (value, self._value(value))
        return found[1]

    def _value(self, value: Value) -> Value:
        if isinstance(value, Operation | Reduction):
            name = value.operation if isinstance(value, Reduction) else value.name
            kind = _KINDS.get(name)
            if kind is not None and value.width == 32:
                return self._total(kind, value)
        if isinstance(value, Operation):
            inputs = tuple(self.value(part) for part in value.inputs)
            return value if inputs == value.inputs else replace(value, inputs=inputs)
        return value

    def _total(self, kind: str, value: Value) -> Value:
        def same(name: str) -> bool:
            return _KINDS.get(name) == kind

        terms = terms_of(value, same, lambda part: is_neutral(part, kind))
        terms = [Term(t.counters, self.value(t.value)) for t in terms]
        if not terms:
            return value
        # Two numbers that are added may be of two tensors, which places do not say.
        if kind != "Add" or len(terms) > 2 or any(t.counters for t in terms):
            terms = rolled(terms, self._extents, self._names, once=kind != "Add", prefix="term")
        operation = _OPERATIONS[kind]
        made = [self._loops(operation, term) for term in terms]
        # A sum over loops first, what it began with after it.
        order = sorted(range(len(terms)), key=lambda k: (not terms[k].counters, k))
        whole = made[order[0]]
        for k in order[1:]:
            whole = Operation(operation, (whole, made[k]), 32)
        return whole

    def _loops(self, operation: str, term: Term) -> Value:
        forms: list[Linear] = []
        shape_apart(term.value, forms, lambda _: None)
        value = term.value
        for counter in sorted(
            term.counters,
            key=lambda c: (self._extents[c], tuple(form.factor(c) for form in forms)),
        ):  # fmt: skip
            turns = Linear(self._extents[counter])
            value = Reduction(operation, counter, turns, value, neutral(operation, 32), 32)
        return value


def rolled_statements(statements: Sequence[Statement], breaks: Set[int]) -> list[Statement]:
    """Write neighbouring stores of one loop nest that differ in places only as one store.

    Parameters
    ----------
    breaks : numbers of statements that must not be put before those that precede them
    """
    names = count()
    found: list[Statement] = []
    run: list[Statement] = []
    for number, statement in enumerate(statements):
        same = run and (run[-1].loops, run[-1].width) == (statement.loops, statement.width)
        if run and (not same or number in breaks or statement.refused or run[-1].refused):
            found += rolled_run(run, names)
            run = []
        run.append(statement)
    return found + rolled_run(run, names)


def rolled_run(run: Sequence[Statement], names: count[int]) -> list[Statement]:
    """Write stores of one loop nest, in order, as fewer; as they are where none can be joined."""
    return _rolled(run, names, prefix="store", shared=len(run[0].loops) if run else 0)


def rolled_nests(run: Sequence[Statement], names: count[int]) -> list[Statement]:
    """Write loop nests, in order, each with one store, as fewer."""
    if len(run) < 2:
        return list(run)
    # One name may stand for loops of unequal length in two nests that were cut apart.
    own = [_with_own_loops(one, f"nest.{next(names)}") for one in run]
    made = _rolled(own, names, prefix="nest", shared=0)
    return made if len(made) < len(run) else list(run)


def _with_own_loops(statement: Statement, stem: str) -> Statement:
    known: dict[Symbol | Operation | Load, Linear] = {}
    extents = dict(statement.extents)
    loops = []
    for counter in statement.loops:
        own = Symbol(f"{stem}/{counter.name}", "counter")
        known[counter] = linear(0, {own: 1})
        extents[own] = extents.pop(counter)
        loops.append(own)
    rewriter = Rewriter(known)
    return replace(
        statement, place=replace(statement.place, offset=rewriter.linear(statement.place.offset)),
        value=rewriter.value(statement.value), extents=extents, loops=tuple(loops),
        guards=tuple(rewriter.value(guard) for guard in statement.guards),
    )  # fmt: skip


def _rolled(
    run: Sequence[Statement], names: count[int], *, prefix: str, shared: int
) -> list[Statement]:
    """Roll stores whose first `shared` loops are the same."""
    if not 1 < len(run) <= _MOST_TERMS:
        return list(run)
    extents: dict[Symbol, int] = {}
    terms = []
    stem = f"inner.{prefix}.{next(names)}"
    for statement in run:
        mine = dict(statement.extents)
        renamed = Renamed(mine, stem).value(whole_of(statement))
        terms.append(Term(statement.loops[shared:], renamed))
        if any(extents.get(s, turns) != turns for s, turns in mine.items()):
            return list(run)  # loops of one place that run for different turns
        extents.update(mine)
    made = rolled(terms, extents, names, once=False, prefix=prefix)
    if len(made) == len(run):
        return list(run)
    found = []
    for term in made:
        assert isinstance(term.value, Operation)
        target, value, *guards = term.value.inputs
        assert isinstance(target, Load)
        place = place_of(target.address, extents)
        if place is None:
            return list(run)
        found.append(Statement(
            place=place, value=value, width=run[0].width, guards=tuple(guards),
            loops=(*run[0].loops[:shared], *term.counters), extents=dict(extents),
            address=run[0].address,
        ))  # fmt: skip
    return found


def whole_of(statement: Statement) -> Operation:
    """Return all that a statement does as one value."""
    address = statement.place.offset + linear(0, {Symbol(statement.place.memory, "memory"): 1})
    parts = (Load(address, statement.width), statement.value, *statement.guards)
    return Operation("store", parts, statement.width)
