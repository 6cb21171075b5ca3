"""Bits of values: widths, pieces, masks."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from orrery.decompile.forms import Constant, Index, Linear, Load, Operation, Symbol, Value

from ._numbers import Numbers
from ._parts import inner_of, is_choice, is_named
from ._parts import signed as as_signed

#: Where pointers are taken to lead to: multiples of so many bytes.
_PAGE = 4096


class Bits(Numbers):
    """Makes values of other widths and of pieces of others."""

    def bit_and(self, a: Value, b: Value, width: int) -> Value:
        """Return the bits that both have."""
        if self.constant(a) is not None:
            a, b = b, a
        mask = self.constant(b)
        known = self.constant(a)
        if mask is not None and known is not None:
            return self.number(mask & known, width)
        spread = self._over_choice(self.bit_and, a, b, width)
        if spread is not None:
            return spread
        if a == b:
            return a
        ones = (1 << width) - 1
        if mask is not None:
            mask &= ones
            if mask == 0:
                return self.number(0, width)
            if mask == ones:
                return a
            if width in (32, 64) and mask == ones >> 1 and not isinstance(a, Index):
                return Operation("fabs", (a,), width)
            if isinstance(a, Operation) and a.name == "uextend":
                inner = a.inputs[0]
                if mask & ((1 << inner.width) - 1) == (1 << inner.width) - 1:
                    return a
            if isinstance(a, Index):
                if mask & (mask + 1) == 0:
                    return self.modulo(a, mask + 1, width)
                low_bits = (~mask & ones) + 1
                if low_bits & (low_bits - 1) == 0:
                    return self.subtract(a, self.modulo(a, low_bits, width), width)
        for first, second in ((a, b), (b, a)):
            choice = self.mask_of(first)
            if choice is not None:
                condition, when = choice
                zero = self.number(0, width)
                return (
                    self.select(condition, second, zero, width)
                    if when
                    else self.select(condition, zero, second, width)
                )
        if width == 1:
            return self.both(a, b)
        pair = self._two_bits(a, b)
        if pair is not None:
            return self.extend(self.both(*pair), width, signed=False)
        return Operation("iand", (a, b), width)

    def _over_choice(
        self, act: Callable[[Value, Value, int], Value], a: Value, b: Value, width: int
    ) -> Value | None:
        """Return an operation with a constant on a choice between constants, arm by arm."""
        if not is_choice(a) or self.constant(b) is None or self.mask_of(a) is not None:
            return None
        assert isinstance(a, Operation)
        condition, then, other = a.inputs
        if self.constant(then) is None or self.constant(other) is None:
            return None
        return self.select(condition, act(then, b, width), act(other, b, width), width)

    def mask_of(self, value: Value) -> tuple[Value, bool] | None:
        """Return (condition, whether it gives ones) of a choice between all ones and zeros."""
        if isinstance(value, Operation) and value.name == "select":
            then, other = self.constant(value.inputs[1]), self.constant(value.inputs[2])
            if (then, other) == (-1, 0):
                return value.inputs[0], True
            if (then, other) == (0, -1):
                return value.inputs[0], False
        return None

    def single_bit(self, value: Value) -> Value | None:
        """Return the lowest bit of a value that surely has no others set."""
        if is_named(value, "uextend") and inner_of(value).width == 1:
            return inner_of(value)
        if is_choice(value) and isinstance(value, Operation):
            arms = [self.constant(v) for v in value.inputs[1:]]
            if arms in ([1, 0], [0, 1]):
                return value.inputs[0] if arms[0] else self.negate(value.inputs[0])
        if is_named(value, "iand") and self.constant(value.inputs[1]) == 1:
            return self.extract(value.inputs[0], 0, 1)
        if is_named(value, "ixor") and self.constant(value.inputs[1]) == 1:
            bit = self.single_bit(value.inputs[0])
            return None if bit is None else self.negate(bit)
        return None

    def _two_bits(self, a: Value, b: Value) -> tuple[Value, Value] | None:
        """Return the bits of two values that have but one each."""
        first, second = self.single_bit(a), self.single_bit(b)
        return None if first is None or second is None else (first, second)

    def bit_or(self, a: Value, b: Value, width: int) -> Value:
        """Return the bits that one of them has."""
        if self.constant(a) is not None:
            a, b = b, a
        x, y = self.constant(a), self.constant(b)
        if y is not None:
            if x is not None:
                return self.number(x | y, width)
            if y == 0:
                return a
            if y & ((1 << width) - 1) == (1 << width) - 1:
                return self.number(-1, width)
        spread = self._over_choice(self.bit_or, a, b, width)
        if spread is not None:
            return spread
        if a == b:
            return a
        if width == 1:
            return self.either(a, b)
        pair = self._two_bits(a, b)
        if pair is not None:
            return self.extend(self.either(*pair), width, signed=False)
        for lower, upper in ((a, b), (b, a)):
            half = width // 2
            if not (is_named(lower, "uextend") and inner_of(lower).width == half == 32):
                continue
            if isinstance(upper, Index) and self._is_multiple(upper.value, 1 << half):
                return self.concat([inner_of(lower), self.extract(upper, half, half)])
        if is_choice(a) and is_choice(b):
            assert isinstance(a, Operation) and isinstance(b, Operation)
            (c, p, q), (d, r, s) = a.inputs, b.inputs
            if d == self.negate(c):
                d, r, s = c, s, r
            if c == d:
                return self.select(
                    c, self.bit_or(p, r, width), self.bit_or(q, s, width), width
                )  # fmt: skip
        if isinstance(a, Index) or isinstance(b, Index):
            for first, second in ((a, b), (b, a)):
                step = self._alignment(first.value) if isinstance(first, Index) else 1
                form = self.linear(second)
                low, high = self.range(form) if form is not None else (None, None)
                if low is not None and high is not None and low >= 0 and high < step:
                    return self.add(a, b, width)
        return Operation("ior", (a, b), width)

    def _alignment(self, form: Linear) -> int:
        """Return the greatest power of two that divides a form whatever its terms are.

        Pointers lead to where a page begins, as `place` has them: a part of an array is addressed
        by setting bits where a compiler knows how it is aligned.
        """
        common = gcd(form.constant, *(f * _PAGE if t in self.pointers else f
                                      for t, f in form.terms))  # fmt: skip
        return common & -common if common else 1 << 62

    def bit_xor(self, a: Value, b: Value, width: int) -> Value:
        """Return the bits in which they differ."""
        if self.constant(a) is not None:
            a, b = b, a
        x, y = self.constant(a), self.constant(b)
        if x is not None and y is not None:
            return self.number(x ^ y, width)
        spread = self._over_choice(self.bit_xor, a, b, width)
        if spread is not None:
            return spread
        if a == b:
            return self.number(0, width)
        if y == 0:
            return a
        if y is not None and y & ((1 << width) - 1) == (1 << width) - 1:
            return self.bit_not(a, width)
        sign = y is not None and y & ((1 << width) - 1) == 1 << (width - 1)
        if sign and width in (32, 64) and not isinstance(a, Index):
            return self.negative(a, width)
        if y == 1 and isinstance(a, Operation) and a.name == "uextend" and a.inputs[0].width == 1:
            return self.extend(self.negate(a.inputs[0]), width, signed=False)
        if width == 1:
            return self.unequal(a, b)
        for one, other in ((a, b), (b, a)):
            again = self._turned_back(one, other, width)
            if again is not None:
                return again
        return Operation("ixor", (a, b), width)

    def _turned_back(self, changed: Value, old: Value, width: int) -> Value | None:
        """Return `x` of ``(x ^ old) ^ old``, and of the same only where a condition holds."""
        if is_named(changed, "ixor") and len(changed.inputs) == 2 and old in changed.inputs:
            return changed.inputs[changed.inputs[0] == old]
        if not is_choice(changed):
            return None
        assert isinstance(changed, Operation)
        condition, *arms = changed.inputs
        for number, arm in enumerate(arms):
            if self.constant(arms[1 - number]) == 0 and is_named(arm, "ixor"):
                new = self._turned_back(arm, old, width)
                if new is not None:
                    sides = (new, old) if number == 0 else (old, new)
                    return self.select(condition, *sides, width)
        return None

    def bit_not(self, a: Value, width: int) -> Value:
        """Return every bit turned."""
        if width == 1:
            return self.negate(a)
        known = self.constant(a)
        if known is not None:
            return self.number(~known, width)
        choice = self.mask_of(a)
        if choice is not None:
            ones, zeros = self.number(-1, width), self.number(0, width)
            then, other = (zeros, ones) if choice[1] else (ones, zeros)
            return self.select(choice[0], then, other, width)
        if isinstance(a, Index):
            return self.index(a.value * -1 + -1, width)
        if isinstance(a, Operation) and a.name == "inot":
            return a.inputs[0]
        return Operation("inot", (a,), width)

    def extend(self, a: Value, to: int, *, signed: bool) -> Value:
        """Return a value in more bits."""
        width = a.width
        if width >= to:
            return a
        known = self.constant(a)
        if known is not None:
            return self.number(known if signed else known & ((1 << width) - 1), to)
        if isinstance(a, Index) and width >= 32:
            low = self.range(a.value)[0]
            if signed or low is None or low >= 0:
                return self.index(a.value, to)
        if isinstance(a, Index):
            low, high = self.range(a.value)
            if low is not None and high is not None and low >= 0 and high < 1 << (width - 1):
                return self.index(a.value, to)
        if is_choice(a):
            assert isinstance(a, Operation)
            arms = [self.extend(v, to, signed=signed) for v in a.inputs[1:]]
            if all(self.constant(v) is not None or isinstance(v, Index) for v in arms):
                return self.select(a.inputs[0], arms[0], arms[1], to)
        whole = isinstance(a, Operation) and a.name in ("idiv", "imod", "umod", "imul")
        if whole and isinstance(a, Operation) and width >= 32:
            alone = Linear(0, ((a, 1),))
            if signed or self.range(alone)[0] is not None:
                return self.index(alone, to)
        return Operation("iextend" if signed else "uextend", (a,), to)

    def truncate(self, a: Value, to: int) -> Value:
        """Return the low bits of a value."""
        return self.extract(a, 0, to)

    def extract(self, a: Value, low: int, width: int) -> Value:
        """Return bits ``low`` up to ``low + width`` of a value."""
        if low == 0 and width == a.width:
            return a
        if isinstance(a, Constant):
            return Constant((a.bits >> low) & ((1 << width) - 1), width)
        known = self.constant(a)
        if known is not None:
            return self.number(known >> low, width)
        if isinstance(a, Load) and low % 8 == 0 and width % 8 == 0:
            return Load(a.address + low // 8, width)
        if isinstance(a, Operation):
            inner = self._extract_operation(a, low, width)
            if inner is not None:
                return inner
        if low and isinstance(a, Index) and self._is_multiple(a.value, 1 << low):
            return self.extract(self.index(self.split_by(a.value, 1 << low)[0], a.width), 0, width)
        if low == 0 and isinstance(a, Index) and width >= 32:
            return self.index(self.narrow(a.value, width), width)
        if low == 0 and isinstance(a, Index):
            least, most = self.range(a.value)
            if least is not None and most is not None and least >= 0 and most < 1 << (width - 1):
                return self.index(a.value, width)
        moved = a if low == 0 else Operation("ishr", (a, self.number(low, 8)), a.width)
        if width == 1:
            return self.decide(Operation("itruncate", (moved,), 1))
        return Operation("itruncate", (moved,), width)

    @staticmethod
    def _is_multiple(form: Linear, by: int) -> bool:
        return form.constant % by == 0 and all(f % by == 0 for _, f in form.terms)

    def narrow(self, form: Linear, width: int) -> Linear:
        """Return a form in fewer bits: widened terms as they were, the constant in range."""
        result = Linear(as_signed(form.constant, width))
        for term, factor in form.terms:
            inner: Linear | None = None
            widened = isinstance(term, Operation) and term.name in ("uextend", "iextend")
            if widened and isinstance(term, Operation) and term.inputs[0].width == width:
                inner = self.linear(term.inputs[0])
            result += Linear(0, ((term, factor),)) if inner is None else inner * factor
        return result

    def wraps(self, form: Linear, width: int) -> bool:
        """Return whether a form is a number of half the width that was widened without sign."""
        half = width // 2
        if not form.terms:
            return 1 << (half - 1) <= form.constant < 1 << half
        (term, factor), *more = form.terms
        if more or factor != 1 or form.constant or not is_named(term, "uextend"):
            return False
        return term.inputs[0].width == half and isinstance(term.inputs[0], Index)

    def _extract_operation(self, a: Operation, low: int, width: int) -> Value | None:
        if a.name == "iconcat":
            at, parts = 0, []
            for piece in a.inputs:
                start, end = max(low, at), min(low + width, at + piece.width)
                if start < end:
                    parts.append(self.extract(piece, start - at, end - start))
                at += piece.width
            return self.concat(parts)
        if a.name in ("uextend", "iextend"):
            inner = a.inputs[0]
            if low + width <= inner.width:
                return self.extract(inner, low, width)
            if low == 0:
                return self.extend(inner, width, signed=a.name == "iextend")
            if low >= inner.width and a.name == "uextend":
                return self.number(0, width)
        if a.name == "ishr":
            places = self.constant(a.inputs[1])
            if places is not None and places >= 0 and low + places + width <= a.width:
                return self.extract(a.inputs[0], low + places, width)
        if a.name == "umod":
            by = self.constant(a.inputs[1])
            if by is not None and by > 0 and by & (by - 1) == 0:
                known = by.bit_length() - 1
                if low >= known:
                    return self.number(0, width)
                if low + width <= known and low:
                    return self.extract(a.inputs[0], low, width)
        if a.name == "select":
            arms = [self.extract(v, low, width) for v in a.inputs[1:]]
            return self.select(a.inputs[0], arms[0], arms[1], width)
        if a.name in ("iand", "ior", "ixor") and (low or width < a.width):
            parts = [self.extract(v, low, width) for v in a.inputs]
            act = {"iand": self.bit_and, "ior": self.bit_or, "ixor": self.bit_xor}[a.name]
            return act(parts[0], parts[1], width)
        if a.name in ("idiv", "imod", "umod", "imul") and low == 0 and width >= 32:
            return self.index(Linear(0, ((a, 1),)), width)
        return None

    def concat(self, pieces: list[Value]) -> Value:
        """Return values side by side in one, the lowest bits first."""
        if len(pieces) == 1:
            return pieces[0]
        total = sum(p.width for p in pieces)
        known = [self.constant(p) for p in pieces]
        if all(k is not None for k in known):
            bits, at = 0, 0
            for piece, number in zip(pieces, known, strict=True):
                assert number is not None
                bits |= (number & ((1 << piece.width) - 1)) << at
                at += piece.width
            return (
                Constant(bits, total)
                if isinstance(pieces[0], Constant)
                else self.number(bits, total)
            )
        if all(isinstance(p, Load) for p in pieces):
            first = pieces[0]
            assert isinstance(first, Load)
            if all(
                isinstance(p, Load) and p.address - first.address == Linear(at // 8)
                for p, at in zip(pieces, _starts(pieces), strict=True)
            ):
                return Load(first.address, total)
        whole = _halves(pieces)
        if whole is not None:
            return whole
        if all(k == 0 for k in known[1:]) and not _is_register(pieces[0]):
            return self.extend(pieces[0], total, signed=False)
        flat: list[Value] = []
        for piece in pieces:
            if isinstance(piece, Operation) and piece.name == "iconcat":
                flat.extend(piece.inputs)
            else:
                flat.append(piece)
        return Operation("iconcat", tuple(flat), total)


def _is_register(value: Value) -> bool:
    """Return whether a value is what a register of floats held at entry: no number to widen."""
    if not isinstance(value, Index) or value.value.constant or len(value.value.terms) != 1:
        return False
    ((term, factor),) = value.value.terms
    return factor == 1 and isinstance(term, Symbol) and (
        (term.kind == "argument" and term.name[0] == "f")
        or (term.kind == "unknown" and term.name[0] == "r")
    )  # fmt: skip


def _starts(pieces: list[Value]) -> list[int]:
    at, starts = 0, []
    for piece in pieces:
        starts.append(at)
        at += piece.width
    return starts


def _halves(pieces: list[Value]) -> Value | None:
    """Return the value that was cut into exactly these pieces."""
    first = pieces[0]
    if not (is_named(first, "itruncate")):
        return None
    whole = inner_of(first)
    if whole.width != sum(p.width for p in pieces):
        return None
    for piece, at in zip(pieces[1:], _starts(pieces)[1:], strict=True):
        if not (is_named(piece, "itruncate") and is_named(inner_of(piece), "ishr")):
            return None
        moved = inner_of(piece)
        assert isinstance(moved, Operation)
        if moved.inputs[0] != whole or moved.inputs[1] != Index(Linear(at), 8):
            return None
    return whole
