"""Conditions on counters as ranges of linear forms.

Models:  conjunctions of comparisons of linear forms, as compilers write bounds of an image: two
         signed comparisons, one unsigned, any of them negated.
Ignores: disjunctions that are no conjunction in other words; they are refused.
Judge:   every conclusion is checked for all turns where these are few, else by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..forms import Constant, Index, Linear, Load, Operation, Symbol, Value, linear
from ..values import symbols_of, walk
from ._integers import MOST_TURNS, evaluate_integers, grid, linear_over
from ._nest import Range
from ._statement import Refusal, Rewriter


def bounds(form: Linear, extents: Mapping[Symbol, int]) -> tuple[int, int]:
    """Return the least and the greatest value of a form over all turns."""
    low = high = form.constant
    for term, factor in form.terms:
        assert isinstance(term, Symbol)
        reach = factor * (extents[term] - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high


def ranges_of(condition: Value, extents: Mapping[Symbol, int]) -> list[Range] | None:
    """Return what a condition on counters says; None where it is about something else.

    Raises
    ------
    Refusal : it is about counters, but no conjunction of ranges
    """
    try:
        found = list(_least(condition, extents, truth=True))
    except _Foreign:
        return None
    except Refusal:
        counters = sorted(symbols_of(condition), key=lambda s: s.name)
        holds = _held(condition, counters, extents)
        fitted = (
            None
            if holds is None
            else _fitted(holds, grid(counters, extents), _compared(condition, extents))
        )
        if fitted is None:
            raise
        return fitted
    return _merged(found, extents)


def common_guard(
    conditions: Sequence[Value | None], counters: Sequence[Symbol],
    moves: Callable[[Linear], Iterable[Linear]], extents: Mapping[Symbol, int],
) -> list[Value] | None:  # fmt: skip
    """Return the one condition, in parts, that is each term's own in its turn; None if none is.

    Where a compiler writes out the turns of a window, each has those bounds only that do not hold
    anyway. One that does is left out of a term, and may be put back.

    Parameters
    ----------
    conditions : of each term, in the order of the turns of `counters`; None where there is none
    moves : for a form, what may be bounded instead: it may move with turns
    """
    known = [c for c in conditions if c is not None]
    inner = sorted({s for c in known for s in symbols_of(c)}, key=lambda s: s.name)
    every = [*counters, *inner]
    if any(s not in extents for s in inner) or prod(extents[s] for s in every) > MOST_TURNS:
        return None
    each = [_held(Constant(1, 1) if c is None else c, inner, extents) for c in conditions]
    found = [one for one in each if one is not None]
    if len(found) < len(each):
        return None
    forms = [made for c in known for form in _compared(c, extents) for made in moves(form)]
    holds = np.stack(found).reshape([extents[s] for s in every])
    ranges = _fitted(holds, grid(every, extents), list(dict.fromkeys(forms)))
    if ranges is None:
        return None
    parts: list[Value] = []
    for bound in ranges:
        form = Index(bound.form)
        if bound.low is not None:
            parts.append(Operation("ile", (Index(Linear(bound.low)), form), 1))
        if bound.high is not None:
            parts.append(Operation("ilt", (form, Index(Linear(bound.high))), 1))
    return parts


def _held(
    condition: Value, counters: Sequence[Symbol], extents: Mapping[Symbol, int]
) -> NDArray[np.bool_] | None:
    """Return in which turns a condition holds; None where counters alone do not say it."""
    sizes = tuple(extents.get(c, 0) for c in counters)
    if not 0 < prod(sizes) <= MOST_TURNS:
        return None
    known = evaluate_integers(condition, grid(counters, extents))
    if known is None or known.dtype.kind != "i":
        return None
    return np.broadcast_to(known & 1 != 0, sizes)


def _fitted(
    holds: NDArray[np.bool_], turns: Mapping[Symbol, NDArray[np.int64]], forms: Sequence[Linear]
) -> list[Range] | None:
    """Return ranges of forms, as few as can be, in which just these turns are; None if none are.

    However a compiler joins what it asks, it asks whether positions are inside of an image.
    """
    if not holds.any():
        return [Range(form=Linear(), low=1, high=None)]
    inside: list[tuple[Range, NDArray[np.bool_]]] = []
    for form in forms:
        known = evaluate_integers(Index(form), turns)
        assert known is not None
        values = np.broadcast_to(known, holds.shape)
        low, high = int(values[holds].min()), int(values[holds].max()) + 1
        where = (values >= low) & (values < high)
        if not where.all():
            bound = Range(form=form, low=low if low > values.min() else None,
                          high=high if high <= values.max() else None)  # fmt: skip
            inside.append((bound, where))
    whole = np.ones_like(holds)
    for _, where in inside:
        whole = whole & where
    if not np.array_equal(whole, holds):
        return None
    for number in reversed(range(len(inside))):
        rest = np.ones_like(holds)
        for _, where in (*inside[:number], *inside[number + 1 :]):
            rest = rest & where
        if np.array_equal(rest, holds):
            del inside[number]
    return [bound for bound, _ in inside]


def _compared(condition: Value, extents: Mapping[Symbol, int]) -> list[Linear]:
    """Return the forms that a condition compares, each once, without their constants."""
    found: dict[Linear, None] = {}
    for part in walk(condition):
        if not isinstance(part, Operation) or part.name not in _COMPARISONS:
            continue
        try:
            a, b = (_form(side, extents) for side in part.inputs)
        except _Foreign:
            continue
        for form in (a - b, a, b):
            if form.terms:
                sign = 1 if form.terms[0][1] > 0 else -1
                found.setdefault(Linear(0, form.terms) * sign)
    return list(found)


def merged_ranges(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges of which those of one form are one."""
    found: dict[object, Range] = {}
    for bound in ranges:
        known = found.get(bound.form.terms)
        if known is None:
            found[bound.form.terms] = bound
            continue
        shift = known.form.constant - bound.form.constant
        low = None if bound.low is None else bound.low + shift
        high = None if bound.high is None else bound.high + shift
        lows = [x for x in (low, known.low) if x is not None]
        highs = [x for x in (high, known.high) if x is not None]
        found[bound.form.terms] = Range(
            form=known.form, low=max(lows, default=None), high=min(highs, default=None)
        )
    return list(found.values())


_COMPARISONS = ("ieq", "ilt", "ile", "ult", "ule")


def counted_within(
    counters: list[Symbol], body: Value, ranges: Sequence[Range], extents: dict[Symbol, int],
    names: count[int],
) -> tuple[list[Symbol], Value]:  # fmt: skip
    """Return counters, and a value that they count through, without turns that ranges leave out.

    Counters that a range and all of the value count through as one (lanes inside of turns) become
    one; what is new is noted in `extents`.

    Raises
    ------
    Refusal : several loops decide together which turns these are
    """
    parts = list(walk(body))
    forms = [p.value for p in parts if isinstance(p, Index)]
    forms += [p.address for p in parts if isinstance(p, Load)]
    known: dict[Symbol | Operation | Load, Linear] = {}
    for bound in ranges:
        terms = sorted(bound.form.terms, key=lambda pair: pair[1])
        turns, inner = 1, terms[0][0]
        for symbol, factor in terms:
            if (
                symbol not in counters or factor != turns or bound.form.constant
                or any(form.factor(symbol) != factor * form.factor(inner) for form in forms)
            ):  # fmt: skip
                raise Refusal("a guard in a sum that several loops decide together")
            assert isinstance(symbol, Symbol)
            turns *= extents[symbol]
            known[symbol] = Linear()
        low = max(0, bound.low or 0)
        fresh = Symbol(f"within.{next(names)}", "counter")
        extents[fresh] = (turns if bound.high is None else min(turns, bound.high)) - low
        if extents[fresh] <= 0:
            raise Refusal("a sum without turns")
        known[inner] = linear(low, {fresh: 1})
        counters = [*(c for c in counters if c not in known), fresh]
    return counters, Rewriter(known).value(body)


class _Foreign(Exception):
    """The condition reads memory or floating point."""


def _least(value: Value, extents: Mapping[Symbol, int], *, truth: bool) -> Iterator[Linear]:
    """Yield forms that must be zero or more."""
    if isinstance(value, Constant):
        if bool(value.bits & 1) != truth:
            yield Linear(-1)
        return
    if not isinstance(value, Operation):
        raise _Foreign
    name, inputs = value.name, value.inputs
    if name in ("uextend", "iextend", "itruncate"):
        yield from _least(inputs[0], extents, truth=truth)
    elif name == "inot":
        yield from _least(inputs[0], extents, truth=not truth)
    elif name in ("iand", "ior"):
        if (name == "iand") is truth:
            for part in inputs:
                yield from _least(part, extents, truth=truth)
        else:
            for part in inputs:  # which raises where it is foreign
                list(_least(part, extents, truth=truth))
            raise Refusal("a guard with alternatives")
    elif name == "select" and isinstance(inputs[2], Constant) and not inputs[2].bits & 1 and truth:
        yield from _least(inputs[0], extents, truth=True)
        yield from _least(inputs[1], extents, truth=True)
    elif (known := _of_pointer(value)) is not None:
        if known != truth:
            yield Linear(-1)
    elif name in ("ilt", "ile"):
        a, b = (_form(part, extents) for part in inputs)
        gap = 1 if name == "ilt" else 0
        yield b - a - gap if truth else a - b - (1 - gap)
    elif name == "ieq":
        a, b = (_form(part, extents) for part in inputs)
        if not truth:
            low, high = bounds(a - b, extents)
            if low > 0 or high < 0:
                return
            if low == 0:  # not the least one: all others
                yield a - b - 1
                return
            if high == 0:
                yield b - a - 1
                return
            raise Refusal("a guard that leaves one turn out")
        yield a - b
        yield b - a
    elif name in ("ult", "ule"):
        yield from _unsigned(value, extents, truth=truth)
    else:
        raise _Foreign


def _of_pointer(value: Operation) -> bool | None:
    """Return what a comparison of memory's address with 0 says: nothing lies there."""
    if value.name not in ("ieq", "ult", "ule") or len(value.inputs) != 2:
        return None
    one, two = value.inputs
    if value.name == "ieq" and isinstance(one, Constant):
        one, two = two, one
    elif value.name != "ieq" and not (isinstance(one, Constant) and one.bits == 0):
        return None
    pointer, number = (one, two) if value.name == "ieq" else (two, one)
    if not (isinstance(number, Constant) and number.bits == 0 and isinstance(pointer, Index)):
        return None
    known = [t for t, f in pointer.value.terms if f == 1 and isinstance(t, Symbol)
             and t.kind == "memory"]  # fmt: skip
    return value.name != "ieq" if len(known) == 1 else None


def _unsigned(value: Operation, extents: Mapping[Symbol, int], *, truth: bool) -> Iterator[Linear]:
    """Read ``(unsigned)a < b``: a negative `a` counts as huge."""
    a, b = (_form(part, extents) for part in value.inputs)
    gap = 1 if value.name == "ult" else 0
    a_low, b_low = bounds(a, extents)[0], bounds(b, extents)[0]
    if a_low >= 0 and b_low >= 0:
        yield b - a - gap if truth else a - b - (1 - gap)
    elif truth and b_low >= 0:
        yield a
        yield b - a - gap
    elif not truth and a_low >= 0:
        yield b
        yield a - b - (1 - gap)
    else:
        raise Refusal("an unsigned guard with alternatives")


def _form(value: Value, extents: Mapping[Symbol, int]) -> Linear:
    if isinstance(value, Index) and all(
        isinstance(term, Symbol) and term in extents for term, _ in value.value.terms
    ):  # fmt: skip
        return value.value
    if isinstance(value, Constant):
        sign = 1 << (value.width - 1)
        return Linear((value.bits & (2 * sign - 1) ^ sign) - sign)
    if isinstance(value, Load):
        raise _Foreign
    found = linear_over(value, extents)
    if found is None:
        raise _Foreign
    return found


def _merged(least: list[Linear], extents: Mapping[Symbol, int]) -> list[Range] | None:
    """Put lower and upper bounds of the same form together; drop those that always hold."""
    lows: dict[tuple[tuple[Symbol | Operation | Load, int], ...], int] = {}
    highs: dict[tuple[tuple[Symbol | Operation | Load, int], ...], int] = {}
    for form in least:
        low, _ = bounds(form, extents)
        if low >= 0:
            continue
        leading = form.terms[0][1] if form.terms else 1
        if leading > 0:
            lows[form.terms] = max(lows.get(form.terms, -(1 << 62)), -form.constant)
        else:
            turned = form * -1
            # form >= 0 is -form <= 0: terms <= form.constant
            highs[turned.terms] = min(highs.get(turned.terms, 1 << 62), form.constant + 1)
    found = []
    for terms in dict.fromkeys((*lows, *highs)):
        found.append(Range(form=Linear(0, terms), low=lows.get(terms), high=highs.get(terms)))
    return found
