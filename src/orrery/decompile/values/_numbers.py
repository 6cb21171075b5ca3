"""Integers: linear forms, their ranges, and arithmetic on them.

Models:  integers as linear forms without wrap-around, as compilers assume of signed numbers and of
         addresses; division by constants in every way that compilers write it.
Ignores: integers that overflow on purpose (hashes, random numbers): a constant is folded exactly, a
         linear form is not reduced modulo 2^w.
Judge:   the same operations on numbers (tests/decompile/lifting).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import gcd

from orrery.decompile.forms import Constant, Index, Linear, Load, Operation, Symbol, Value, linear

from ._parts import contains, is_choice, is_named, is_small, signed

Range = tuple[int | None, int | None]


class Numbers(ABC):
    """Makes integers; knows how far each counter goes."""

    def __init__(self) -> None:
        self.ranges: dict[Symbol, Range] = {}
        self.pointers: set[Symbol] = set()
        self.undecided = False
        self.opposites: dict[Value, Value] = {}

    def number(self, bits: int, width: int) -> Index:
        """Return a known integer."""
        return Index(Linear(signed(bits, width) if width > 1 else bits & 1), width)

    def index(self, form: Linear, width: int) -> Value:
        """Return a linear form as a value."""
        if form.constant == 0 and len(form.terms) == 1:
            term, factor = form.terms[0]
            if factor == 1 and not isinstance(term, Symbol) and term.width == width:
                return term
        if form.is_constant:
            return self.number(form.constant, width)
        if width in (32, 64) and not -(1 << width - 1) <= form.constant < 1 << width - 1:
            form = Linear(signed(form.constant, width), form.terms)
        return Index(form, width)

    def linear(self, value: Value) -> Linear | None:
        """Return a value as a linear form, None where it cannot be one."""
        if isinstance(value, Index):
            return value.value
        if isinstance(value, Constant):
            return Linear(signed(value.bits, value.width))
        if isinstance(value, (Operation, Load)):
            return Linear(0, ((value, 1),))
        return None

    def constant(self, value: Value) -> int | None:
        """Return the number that a value is known to be."""
        if isinstance(value, Index) and value.value.is_constant:
            return value.value.constant
        if isinstance(value, Constant):
            return signed(value.bits, value.width)
        return None

    def place(self, form: Linear) -> int | None:
        """Return where the pointers of a form would lie; None if nothing can be said of it.

        Code that asks whether two arrays overlap, or how they are aligned, does the same whatever
        the answer. It is read for one answer: arrays far apart, in the order of the arguments, each
        at a multiple of a page.
        """
        total = form.constant
        for term, factor in form.terms:
            if isinstance(term, Symbol) and term in self.pointers:
                total += factor * self.position(term)
            elif isinstance(term, Load) or getattr(term, "kind", "") == "unknown":
                return None
        return total

    @staticmethod
    def position(pointer: Symbol) -> int:
        """Return a place for what a pointer points to."""
        digits = "".join(c for c in pointer.name if c.isdigit())
        return (ord(pointer.name[0]) << 16 | int(digits or 0) & 0xFFFF) << 40

    def range(self, form: Linear) -> Range:
        """Return the least and the greatest number a form can be; None where nothing says it."""
        low: int | None = form.constant
        high: int | None = form.constant
        for term, factor in form.terms:
            below, above = self._term_range(term)
            if factor < 0:
                below, above = above, below
            low = None if low is None or below is None else low + factor * below
            high = None if high is None or above is None else high + factor * above
        return low, high

    def _term_range(self, term: Symbol | Operation | Load) -> Range:
        if isinstance(term, Symbol):
            return self.ranges.get(term, (None, None))
        if isinstance(term, Operation):
            if term.name in ("imod", "umod"):
                by = self.constant(term.inputs[1])
                if by and (term.name == "umod" or self.never_negative(term.inputs[0])):
                    return 0, by - 1
            if term.name in ("idiv", "udiv"):
                by, form = self.constant(term.inputs[1]), self.linear(term.inputs[0])
                if by and by > 0 and form is not None:
                    low, high = self.range(form)
                    if low is not None and low >= 0:
                        return low // by, None if high is None else high // by
            if term.name == "uextend":
                inner = term.inputs[0]
                return 0, (1 << inner.width) - 1
            if term.name == "select":
                forms = [self.linear(v) for v in term.inputs[1:]]
                if None not in forms:
                    pairs = [self.range(f) for f in forms if f is not None]
                    lows, highs = [p[0] for p in pairs], [p[1] for p in pairs]
                    return (
                        None if None in lows else min(x for x in lows if x is not None),
                        None if None in highs else max(x for x in highs if x is not None),
                    )
        return None, None

    def never_negative(self, value: Value) -> bool:
        form = self.linear(value)
        low = self.range(form)[0] if form is not None else None
        return low is not None and low >= 0

    def add(self, a: Value, b: Value, width: int) -> Value:
        """Return a + b."""
        x, y = self.linear(a), self.linear(b)
        if x is None or y is None:
            return Operation("iadd", (a, b), width)
        return self.index(x + y, width)

    def subtract(self, a: Value, b: Value, width: int) -> Value:
        """Return a - b."""
        x, y = self.linear(a), self.linear(b)
        if x is None or y is None:
            return Operation("isub", (a, b), width)
        return self.index(x - y, width)

    def multiply(self, a: Value, b: Value, width: int) -> Value:
        """Return a · b; linear where one of them is known."""
        x, y = self.linear(a), self.linear(b)
        if x is not None and y is not None:
            if x.is_constant:
                x, y, a, b = y, x, b, a
            if y.is_constant:
                return self.index(x * y.constant, width)
            if x.constant == 0 and len(x.terms) == 1 and not y.constant and len(y.terms) == 1:
                (t, f), (u, g) = x.terms[0], y.terms[0]
                if f * g != 1:
                    inner = self.multiply(
                        self.index(Linear(0, ((t, 1),)), width),
                        self.index(Linear(0, ((u, 1),)), width), width,
                    )  # fmt: skip
                    product = self.linear(inner)
                    if product is not None:
                        return self.index(product * (f * g), width)
            elif len(x.terms) + len(y.terms) + bool(x.constant) + bool(y.constant) <= 6:
                return self._multiply_out(x, y, width)
        first, second = (
            sorted((a, b), key=lambda v: v.order) if is_small(a) and is_small(b) else (a, b)
        )
        return Operation("imul", (first, second), width)

    def _multiply_out(self, x: Linear, y: Linear, width: int) -> Value:
        total: Value = self.number(x.constant * y.constant, width)
        for t, f in (*x.terms, (None, x.constant)):
            for u, g in (*y.terms, (None, y.constant)):
                if t is None and u is None:
                    continue
                if t is None or u is None:
                    term = t or u
                    assert term is not None
                    part: Value = self.index(
                        Linear(0, ((term, f * g),)) if f * g else Linear(), width
                    )
                else:
                    part = self.multiply(
                        self.index(Linear(0, ((t, f),)), width),
                        self.index(Linear(0, ((u, g),)), width), width,
                    )  # fmt: skip
                total = self.add(total, part, width)
        return total

    def split_by(self, form: Linear, by: int) -> tuple[Linear, Linear]:
        """Return (quotient, rest): the part that ``by`` divides, over ``by``, and what remains."""
        quotient, rest = Linear(form.constant // by), Linear(form.constant % by)
        for term, factor in form.terms:
            whole, left = divmod(factor, by)
            if left:
                rest = rest + Linear(0, ((term, factor),))
            else:
                quotient = quotient + Linear(0, ((term, whole),))
        return quotient, rest

    def floor_divide(self, a: Value, by: int, width: int, *, truncating: bool = False) -> Value:
        """Return a / by rounded down (towards zero where asked), ``by`` > 0."""
        form = self.linear(a)
        if form is None:
            return Operation("idiv", (a, self.number(by, width)), width)
        if form.is_constant and not truncating:
            return self.number(form.constant // by, width)
        if by == 1:
            return a
        whole, rest = self.split_by(form, by)
        low, high = self.range(rest)
        if low is not None and high is not None and low >= 0 and high < by:
            return self.index(whole, width)
        if not truncating or self.never_negative(a):
            inner = self.index(rest, width)
            if low is None or low >= 0:
                quotient = Operation("idiv", (inner, self.number(by, width)), width)
                return self.add(self.index(whole, width), quotient, width)
            shift = by.bit_length() - 1
            if by == 1 << shift:
                return Operation("isar", (a, self.number(shift, 8)), width)
        return Operation("idiv", (a, self.number(by, width)), width)

    def modulo(self, a: Value, by: int, width: int) -> Value:
        """Return a modulo a power of two as a mask gives it."""
        form = self.linear(a)
        if form is None:
            return Operation("umod", (a, self.number(by, width)), width)
        if form.is_constant:
            return self.number(form.constant % by, width)
        _, rest = self.split_by(form, by)
        if by <= 4096:
            rest = linear(rest.constant, {t: f for t, f in rest.terms if t not in self.pointers})
            if rest.is_constant:
                return self.number(rest.constant % by, width)
        low, high = self.range(rest)
        if low is not None and high is not None and low >= 0 and high < by:
            return self.index(rest, width)
        return Operation("umod", (self.index(rest, width), self.number(by, width)), width)

    def shift_left(self, a: Value, by: Value, width: int) -> Value:
        """Return a · 2^by."""
        places = self.constant(by)
        if places is None:
            return Operation("ishl", (a, by), width)
        if not 0 <= places < width:
            return self.number(0, width)
        form = self.linear(a)
        return (
            Operation("ishl", (a, by), width)
            if form is None
            else self.index(form * (1 << places), width)
        )

    def shift_right(self, a: Value, by: Value, width: int, *, arithmetic: bool) -> Value:
        """Return a / 2^by, rounded down."""
        places = self.constant(by)
        name = "isar" if arithmetic else "ishr"
        if places is None:
            return Operation(name, (a, by), width)
        known = self.constant(a)
        if known is not None:
            number = known if arithmetic else known & ((1 << width) - 1)
            return self.number(number >> min(places, width), width)
        if places == 0:
            return a
        if not isinstance(a, Index):
            return self._shift_other(a, places, width, arithmetic=arithmetic)
        if contains(a, lambda v: is_named(v, "fcompare")):
            return Operation(name, (a, self.number(places, 8)), width)  # it may wrap on purpose
        if places == width - 1:
            low, high = self.range(a.value)
            if low is not None and low >= 0:
                if high is None or high < 1 << places:
                    return self.number(0, width)
                return Operation(name, (a, self.number(places, 8)), width)  # bits moved up there
            if high is not None and high < 0:
                return self.number(-1 if arithmetic else 1, width)
            if not arithmetic:
                below = self.compare("ilt", a, self.number(0, width))
                return self.extend(below, width, signed=False)
            return Operation(name, (a, self.number(places, 8)), width)
        magic = self._magic(a.value, places, width)
        if magic is not None:
            return magic
        low = self.range(a.value)[0]
        if not arithmetic and low is not None and low < 0:
            return Operation(name, (a, self.number(places, 8)), width)
        return self.floor_divide(a, 1 << places, width)

    def _shift_other(self, a: Value, places: int, width: int, *, arithmetic: bool) -> Value:
        if isinstance(a, Operation) and a.name == "iconcat" and not arithmetic:
            low = 0
            for position, piece in enumerate(a.inputs):
                if low == places:
                    return self.concat([*a.inputs[position:], self.number(0, places)])
                low += piece.width
        if is_choice(a) and isinstance(a, Operation):
            whole = [self.constant(v) is not None or is_named(v, "iclz") for v in a.inputs[1:]]
            if all(whole):
                by = self.number(places, 8)
                arms = [self.shift_right(v, by, width, arithmetic=arithmetic) for v in a.inputs[1:]]
                return self.select(a.inputs[0], arms[0], arms[1], width)
        if is_named(a, "iclz") and 1 << places == width:  # all bits are 0: how code asks for it
            zero = self.compare("ieq", a.inputs[0], self.number(0, width))
            return self.extend(zero, width, signed=False)
        if isinstance(a, Operation) and a.name == "uextend":
            inner = a.inputs[0]
            if places >= inner.width:
                return self.number(0, width)
            moved = self.shift_right(inner, self.number(places, 8), inner.width, arithmetic=False)
            return self.extend(moved, width, signed=False)
        if isinstance(a, Load) and not arithmetic and places % 8 == 0:
            rest = Load(a.address + places // 8, width - places)
            return self.extend(rest, width, signed=False)
        if is_named(a, "uhigh") and not arithmetic:
            factor = self.constant(a.inputs[1]) or 0
            divisor = _divisor(factor & ((1 << width) - 1), places + width)
            form = self.linear(a.inputs[0])
            if divisor is not None and form is not None and (self.range(form)[0] or 0) >= 0:
                return self.floor_divide(a.inputs[0], divisor, width)
        name = "isar" if arithmetic else "ishr"
        return Operation(name, (a, self.number(places, 8)), width)

    def _magic(self, form: Linear, places: int, width: int) -> Value | None:
        """Return a division that was written as a multiplication by a reciprocal."""
        common = gcd(form.constant, *(f for _, f in form.terms))
        by = _divisor(common, places)
        if by is None:
            return None
        inner = Linear(form.constant // common, tuple((t, f // common) for t, f in form.terms))
        return self.floor_divide(self.index(inner, width), by, width)

    # -- made further down the line of classes -----------------------------------------------------

    @abstractmethod
    def compare(self, name: str, a: Value, b: Value) -> Value:
        """Return a comparison of integers."""

    @abstractmethod
    def select(self, condition: Value, then: Value, other: Value, width: int) -> Value:
        """Return one of two values."""

    @abstractmethod
    def negate(self, condition: Value) -> Value:
        """Return the opposite condition."""

    @abstractmethod
    def both(self, a: Value, b: Value) -> Value:
        """Return the condition that both hold."""

    @abstractmethod
    def either(self, a: Value, b: Value) -> Value:
        """Return the condition that one of them holds."""

    @abstractmethod
    def unequal(self, a: Value, b: Value) -> Value:
        """Return the condition that just one of them holds."""

    @abstractmethod
    def extend(self, a: Value, to: int, *, signed: bool) -> Value:
        """Return a value in more bits."""

    @abstractmethod
    def concat(self, pieces: list[Value]) -> Value:
        """Return values side by side."""

    @abstractmethod
    def decide(self, value: Operation) -> Value:
        """Return a condition on a comparison's outcome as that comparison."""

    @abstractmethod
    def negative(self, a: Value, width: int) -> Value:
        """Return the number with its sign turned."""


def _divisor(factor: int, places: int) -> int | None:
    """Return what multiplying by a factor and shifting divides by; None where it does not."""
    if places < 32 or factor < 1 << 16:
        return None
    by = round((1 << places) / factor)
    left = factor * by - (1 << places)
    return by if by >= 2 and 0 < left <= by << max(0, places - 31) else None
