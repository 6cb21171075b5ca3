"""Conditions and choices, and floating point as operators without meaning.

Models:  comparisons decided where ranges decide them, outcomes of comparing floats as processors
         keep them, a choice by comparison as a maximum. Nothing in floating point is computed.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

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

from ._bits import Bits
from ._concrete import known_bits
from ._parts import children, contains, inner_of, is_choice, is_named

_MIRROR = {"ilt": "ile", "ile": "ilt", "ult": "ule", "ule": "ult"}
_ORDER = {0x45: "unordered", 0x01: "less", 0x00: "greater", 0x40: "equal"}
_LESS = {"flt": "l", "fle": "le", "feq": "e", "funordered": "u"}
_DEEP = 4
_JOINED = ("inot", "iand", "ior", "ixor", "select")
_TURNED = {"l": "g", "g": "l", "e": "e", "u": "u"}


_LOWEST = {32: 0xFF7FFFFF, 64: 0xFFEF_FFFF_FFFF_FFFF}
_HIGHEST = {32: 0x7F7FFFFF, 64: 0x7FEF_FFFF_FFFF_FFFF}
_MINUS_INFINITY = {32: 0xFF800000, 64: 0xFFF0 << 48}
_INFINITY = {width: bits ^ 1 << (width - 1) for width, bits in _MINUS_INFINITY.items()}
#: What a sum or an extreme does not notice, by operation and width.
_NOTHING = {"fadd": {32: 1 << 31, 64: 1 << 63}, "max_x86": _MINUS_INFINITY,
            "fmax": _MINUS_INFINITY, "min_x86": _INFINITY, "fmin": _INFINITY}  # fmt: skip
_MOST_LINKS = 64
_MOST_BOUNDS = 16


class Choices(Bits):
    """Makes conditions, choices and operators of floating point."""

    def negate(self, condition: Value) -> Value:
        """Return the opposite condition."""
        found = self.opposites.get(condition)
        if found is None:
            found = self.opposites[condition] = self._negated(condition)
        return found

    def _negated(self, condition: Value) -> Value:
        known = self.constant(condition)
        if known is not None:
            return self.number(1 - (known & 1), 1)
        if isinstance(condition, Operation):
            if condition.name == "inot":
                return condition.inputs[0]
            if condition.name in _MIRROR:
                a, b = condition.inputs
                return Operation(_MIRROR[condition.name], (b, a), 1)
            if condition.name in ("iand", "ior"):
                parts = [self.negate(v) for v in condition.inputs]
                return Operation("ior" if condition.name == "iand" else "iand", tuple(parts), 1)
        return Operation("inot", (condition,), 1)

    def both(self, a: Value, b: Value) -> Value:
        """Return the condition that both hold."""
        for first, second in ((a, b), (b, a)):
            known = self.constant(first)
            if known is not None:
                return second if known & 1 else self.number(0, 1)
        if a == b:
            return a
        parts = _flatten("iand", a) + [
            p for p in _flatten("iand", b) if p not in _flatten("iand", a)
        ]
        if any(self.negate(p) in parts for p in parts):
            return self.number(0, 1)
        bounds = self._bounds(parts)
        if bounds is None:
            return self.number(0, 1)
        if len(bounds) == 1:
            return bounds[0]
        parts = bounds
        plain = Operation("iand", tuple(parts), 1)
        return self.decide_all(plain) if all(_compared(p) for p in parts) else plain

    def _bounds(self, parts: list[Value]) -> list[Value] | None:
        """Return conditions without bounds that follow from others; None where two exclude it."""
        gaps = [(p, self._gap(p)) for p in parts] if len(parts) <= _MOST_BOUNDS else []
        known = [(p, g) for p, g in gaps if g is not None]
        gone: set[Value] = set()
        for number, (part, gap) in enumerate(known):
            for other, wider in known[:number]:
                high = self.range(gap + wider)[1]
                if high is not None and high < 0:
                    return None
                if other in gone or part in gone:
                    continue
                more = gap - wider
                if more.is_constant:
                    gone.add(part if more.constant >= 0 else other)
        return [p for p in parts if p not in gone]

    def _gap(self, part: Value) -> Linear | None:
        """Return what a bound says is not below 0."""
        if not isinstance(part, Operation) or part.name not in ("ilt", "ile"):
            return None
        a, b = (self.linear(v) for v in part.inputs)
        return None if a is None or b is None else b - a - (part.name == "ilt")

    def either(self, a: Value, b: Value) -> Value:
        """Return the condition that one of them holds."""
        return self.negate(self.both(self.negate(a), self.negate(b)))

    def compare(self, name: str, a: Value, b: Value) -> Value:
        """Return ``a name b`` for ``ieq ilt ile ult ule``, decided where ranges decide it."""
        width = a.width
        x, y = self.constant(a), self.constant(b)
        if x is not None and y is not None:
            if name[0] == "u":
                x, y = x & ((1 << width) - 1), y & ((1 << width) - 1)
            return self.number(
                int(x == y if name == "ieq" else x < y if name.endswith("lt") else x <= y), 1
            )
        if y is not None and is_choice(a):
            assert isinstance(a, Operation)
            if all(self.constant(v) is not None for v in a.inputs[1:]):
                arms = [self.compare(name, v, b) for v in a.inputs[1:]]
                return self.select(a.inputs[0], arms[0], arms[1], 1)
        if name in ("ilt", "ile"):
            for one, rest in self._smaller_of(b):
                found = self.constant(self.compare(name, a, one))
                if found is not None:
                    return self.compare(name, a, rest) if found & 1 else self.number(0, 1)
        if name == "ieq":
            bit = self.single_bit(a) if y in (0, 1) and width > 1 else None
            if bit is not None:
                return bit if y else self.negate(bit)
            for first, other in ((a, y), (b, x)):
                if other in (0, 1) and isinstance(first, Operation) and first.name == "uextend":
                    inner = first.inputs[0]
                    return self.compare("ieq", inner, self.number(other, inner.width))
            if width == 1 and y is not None:
                return a if y & 1 else self.negate(a)
        plain = Operation(name, (a, b), 1)
        decided = self.decide(plain)
        if decided is not plain:
            return decided
        form, other_form = self.linear(a), self.linear(b)
        if form is None or other_form is None or not (isinstance(a, Index) or isinstance(b, Index)):
            return plain
        apart = self._apart(name, form, other_form, width)
        if apart is not None:
            return self.number(int(apart), 1)
        if name[0] == "u":
            return self._unsigned(name, a, b, form, other_form)
        low, high = self.range(form - other_form)
        if name == "ieq":
            if form == other_form:
                return self.number(1, 1)
            if (low is not None and low > 0) or (high is not None and high < 0):
                return self.number(0, 1)
            if (
                low == 0 or high == 0
            ):  # equal only at an end of its range: a bound, as code means it
                return self.compare("ile", a, b) if low == 0 else self.compare("ile", b, a)
            return plain
        edge = 0 if name == "ile" else -1
        if high is not None and high <= edge:
            return self.number(1, 1)
        if low is not None and low > edge:
            return self.number(0, 1)
        return plain

    def _smaller_of(self, value: Value) -> list[tuple[Value, Value]]:
        """Return the two integers of which a value is the smaller, either way round; else none."""
        if not is_choice(value):
            return []
        assert isinstance(value, Operation)
        condition, *arms = value.inputs
        if not isinstance(condition, Operation) or condition.name not in _MIRROR:
            return []
        forms = [self.linear(v) for v in (*condition.inputs, *arms)]
        if None in forms or forms[:2] != forms[2:]:
            return []
        if condition.name[0] == "u" and not all(map(self.never_negative, arms)):
            return []
        return [(arms[0], arms[1]), (arms[1], arms[0])]

    def _apart(self, name: str, x: Linear, y: Linear, width: int) -> bool | None:
        """Return how two addresses of different arrays compare."""
        between = x - y
        if name == "ieq" and len(between.terms) == 1 and abs(between.constant) < 1 << 12:
            term, factor = between.terms[0]
            if isinstance(term, Symbol) and term.kind == "memory" and abs(factor) == 1:
                return False  # memory that was handed out is never at 0
        pointing = [t for t, _ in between.terms if isinstance(t, Symbol) and t.kind != "counter"]
        if width < 32 or not pointing:
            return None
        if not any(t in self.pointers for t in pointing):
            self.undecided = self.undecided or name[0] == "u"
            return None
        first, second = self.place(x), self.place(y)
        if first is None or second is None or abs(first - second) < 1 << 36:
            return None
        if name[0] == "u":
            first, second = first % (1 << 64), second % (1 << 64)
        if name == "ieq":
            return False
        return first < second

    def _unsigned(self, name: str, a: Value, b: Value, x: Linear, y: Linear) -> Value:
        (low, high), (other, above) = self.range(x), self.range(y)
        as_signed = "ilt" if name == "ult" else "ile"
        if high is not None and above is not None and high < 0 and above < 0:
            least = -(1 << a.width - 1)
            if low is not None and other is not None and low >= least and other >= least:
                return self.compare(as_signed, a, b)
        if low is not None and other is not None:
            if low >= 0 and other >= 0:
                return self.compare(as_signed, a, b)
            if other >= 0:
                zero = self.number(0, a.width)
                return self.both(self.compare("ile", zero, a), self.compare(as_signed, a, b))
            if low >= 0:
                zero = self.number(0, a.width)
                return self.either(self.compare("ilt", b, zero), self.compare(as_signed, a, b))
        return Operation(name, (a, b), 1)

    def float_compare(self, name: str, a: Value, b: Value) -> Value:
        """Return ``flt fle feq funordered`` of two numbers."""
        a, b = self.as_bits(a), self.as_bits(b)
        if is_named(a, "fwiden") and is_named(b, "fwiden"):
            return self.float_compare(name, inner_of(a), inner_of(b))
        if is_named(a, "fwiden") and isinstance(b, Constant):
            narrow = _narrowed(b)
            if narrow is not None:
                return self.float_compare(name, inner_of(a), narrow)
        if is_named(b, "fwiden") and isinstance(a, Constant):
            narrow = _narrowed(a)
            if narrow is not None:
                return self.float_compare(name, narrow, inner_of(b))
        if name == "fle" and isinstance(a, Constant) and a.bits == _LOWEST.get(a.width):
            return Operation("flt", (Constant(_MINUS_INFINITY[a.width], a.width), b), 1)
        if name == "fle" and isinstance(b, Constant) and b.bits == _HIGHEST.get(b.width):
            infinity = Constant(_MINUS_INFINITY[b.width] ^ 1 << (b.width - 1), b.width)
            return Operation("flt", (a, infinity), 1)
        return Operation(name, (a, b), 1)

    def decide(self, value: Operation) -> Value:
        """Return a condition on a comparison's outcome as that comparison.

        Processors put the outcome of comparing two floats into bits and test these; whatever the
        arithmetic between, it has four cases.
        """
        leaf = _one_comparison(value)
        if leaf is None:
            return value
        answers = {}
        for bits, case in _ORDER.items():
            answer = known_bits(value, leaf, bits)
            if answer is None:
                return value
            answers[case] = bool(answer & 1)
        a, b = leaf.inputs
        return self._of_cases(a, b, answers)

    def decide_all(self, value: Value) -> Value:
        """Return a condition made of several comparisons of the same two floats as one."""
        pair = _compared(value)
        if pair is None:
            return value
        cases = _cases(value, pair)
        return value if cases is None else self._of_cases(*pair, cases)

    def _of_cases(self, a: Value, b: Value, holds: Mapping[str, bool]) -> Value:
        key = "".join(c[0] for c in ("less", "equal", "greater", "unordered") if holds[c])
        less, less_equal = ("flt", a, b), ("fle", a, b)
        more, more_equal = ("flt", b, a), ("fle", b, a)
        table: dict[str, tuple[tuple[str, Value, Value], bool]] = {
            "l": (less, True), "le": (less_equal, True), "g": (more, True),
            "eg": (more_equal, True), "e": (("feq", a, b), True),
            "u": (("funordered", a, b), True), "leg": (("funordered", a, b), False),
            "egu": (less, False), "gu": (less_equal, False), "leu": (more, False),
            "lu": (more_equal, False), "lgu": (("feq", a, b), False),
        }  # fmt: skip
        if key in table:
            (name, x, y), straight = table[key]
            condition = self.float_compare(name, x, y)
            return condition if straight else self.negate(condition)
        if key in ("", "legu"):
            return self.number(int(bool(key)), 1)
        parts = [
            self.float_compare(*table[c][0]) for c in key
        ]  # "lg", "eu": two cases that no single comparison has
        return Operation("ior", tuple(parts), 1)

    def select(self, condition: Value, then: Value, other: Value, width: int) -> Value:
        """Return ``then`` where the condition holds, else ``other``."""
        known = self.constant(condition)
        if known is not None:
            return then if known & 1 else other
        if then == other:
            return then
        if isinstance(condition, Operation) and condition.name == "inot":
            return self.select(condition.inputs[0], other, then, width)
        extreme = self._numbers_only(condition, then, other)
        if extreme is not None:
            return extreme
        if width == 1:
            if self.constant(then) is not None and self.constant(other) is not None:
                return condition if self.constant(then) else self.negate(condition)
            if self.constant(other) == 0:
                return self.both(condition, then)
            if self.constant(then) is not None and self.constant(then) != 0:
                return self.either(condition, other)
        longer = self._longer(condition, then, other) or self._longer(
            condition, other, then, opposite=True
        )
        if longer is not None:
            return longer
        arms = (self._under(then, condition), self._under(other, self.negate(condition)))
        if arms != (then, other):
            return self.select(condition, *arms, width)
        if isinstance(then, Operation) and then.name == "select" and then.inputs[2] == other:
            return self.select(self.both(condition, then.inputs[0]), then.inputs[1], other, width)
        if isinstance(other, Operation) and other.name == "select" and other.inputs[1] == then:
            return self.select(
                self.either(condition, other.inputs[0]), then, other.inputs[2], width
            )
        if isinstance(other, Operation) and other.name == "select" and other.inputs[2] == then:
            both = self.both(self.negate(condition), other.inputs[0])
            return self.select(both, other.inputs[1], then, width)
        if isinstance(then, Operation) and then.name == "select" and then.inputs[1] == other:
            both = self.both(condition, self.negate(then.inputs[0]))
            return self.select(both, then.inputs[2], other, width)
        if isinstance(condition, Operation) and condition.name == "flt":
            a, b = condition.inputs
            then_bits, other_bits = self.as_bits(then), self.as_bits(other)
            if (a, b) == (then_bits, other_bits):
                return Operation("min_x86", (a, b), width)
            if (b, a) == (then_bits, other_bits):
                return Operation("max_x86", (b, a), width)
        return Operation("select", (condition, then, other), width)

    def _longer(
        self, condition: Value, then: Value, other: Value, *, opposite: bool = False
    ) -> Value | None:
        """Return a choice between a sum and the same with more added as one sum.

        Each of what is more is added where the condition of counters holds; elsewhere what takes
        its place changes nothing. None where neither is so.
        """
        nothing = _NOTHING.get(then.name, {}) if isinstance(then, Operation) else {}
        bits = nothing.get(then.width)
        if bits is None or not isinstance(then, Operation):
            return None
        begin = self.as_bits(other)
        if isinstance(begin, Constant) and then.name != "fadd" and begin.bits != bits:
            return None  # a number that is cut off, as it is padded: the cut is meant first
        links = _links(then, begin)
        if links is None or contains(condition, _of_floats):
            return None
        holds = self.negate(condition) if opposite else condition
        for link, first in links:
            part = self.select(holds, link, Constant(bits, then.width), then.width)
            inputs = [part, begin] if first else [begin, part]
            begin = self.float_operation(then.name, inputs, then.width)
        return begin

    def _numbers_only(self, condition: Value, then: Value, other: Value) -> Value | None:
        """Return a maximum or a minimum with what looks after numbers that are none, as one.

        ``y != y ? x : max_x86(x, y)`` is the number of the two; ``x != x ? x : max_x86(x, y)``,
        the sign taken off where `x` has none, is none if either is none.
        """
        if not is_named(condition, "funordered") or condition.inputs[0] != condition.inputs[1]:
            return None
        asked, then = condition.inputs[0], self.as_bits(then)
        if not isinstance(other, Operation):
            return None
        if other.name in ("max_x86", "min_x86"):
            if other.inputs != (then, asked):
                return None
            return self.float_operation("f" + other.name[:3], [then, asked], other.width)
        if other.name not in ("iand", "ior") or asked != then:
            return None
        sign = 1 << other.width - 1
        inner, name = ("ior", "max") if other.name == "iand" else ("iand", "min")
        for masked, extreme in (other.inputs, other.inputs[::-1]):
            if not (is_named(extreme, f"{name}_x86") and extreme.inputs[0] == asked):
                continue
            mask = self.constant(masked.inputs[1]) if is_named(masked, inner) else None
            if mask is None or inner_of(masked) != asked:
                continue
            if mask & (2 * sign - 1) == (sign - 1 if name == "max" else sign):
                return Operation(f"f{name}imum", extreme.inputs, other.width)
        return None

    def _under(self, value: Value, condition: Value) -> Value:
        """Return what a value is where a condition holds that says which of its choices."""
        return self._where(value, _flatten("iand", condition), _DEEP)

    def _where(self, value: Value, facts: list[Value], depth: int) -> Value:
        while is_named(value, "select"):
            known = self._follows(value.inputs[0], facts)
            if known is None:
                break
            value = value.inputs[1] if known else value.inputs[2]
        if is_named(value, "uextend") and inner_of(value).width == 1:
            known = self._follows(inner_of(value), facts)
            return value if known is None else self.number(int(known), value.width)
        arithmetic = isinstance(value, Operation) and value.name[0] in "fm" and value.width > 1
        if depth and arithmetic and isinstance(value, Operation):
            inputs = [self._where(v, facts, depth - 1) for v in value.inputs]
            if tuple(inputs) != value.inputs:
                return self.float_operation(value.name, inputs, value.width)
        return value

    def _follows(self, condition: Value, facts: list[Value]) -> bool | None:
        """Return whether a condition surely holds, or surely does not, where others do."""
        if condition in facts:
            return True
        if isinstance(condition, Operation) and condition.name in ("iand", "ior"):
            parts = [self._follows(part, facts) for part in condition.inputs]
            decisive = condition.name == "ior"
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        return False if self.negate(condition) in facts else None

    def unequal(self, a: Value, b: Value) -> Value:
        """Return the condition that just one of them holds."""
        for first, second in ((a, b), (b, a)):
            known = self.constant(first)
            if known is not None:
                return self.negate(second) if known & 1 else second
        plain = Operation("ixor", (a, b), 1)
        return self.decide_all(plain) if _compared(a) and _compared(b) else plain

    def as_bits(self, value: Value) -> Value:
        """Return a known number as the bits it is, for floating point."""
        known = self.constant(value)
        if known is not None and not isinstance(value, Constant):
            return Constant(known & ((1 << value.width) - 1), value.width)
        return value

    def float_operation(self, name: str, inputs: list[Value], width: int) -> Value:
        """Return an operator of floating point on its inputs; nothing is computed."""
        bits = [self.as_bits(v) for v in inputs]
        if name == "fneg":
            return self.negative(bits[0], width)
        if name == "fadd":
            for one, nothing in (bits, bits[::-1]):
                if isinstance(nothing, Constant) and nothing.bits == 1 << (width - 1):
                    return one  # x + -0.0 is x, whatever x is
        if name in ("fmax", "fmin"):
            for one, nothing in (bits, bits[::-1]):
                if is_no_number(nothing):
                    return one
        if name == "fnarrow" and is_named(bits[0], "fwiden") and inner_of(bits[0]).width == width:
            return inner_of(bits[0])
        return Operation(name, tuple(bits), width)

    def negative(self, a: Value, width: int) -> Value:
        """Return -a, the sign bit turned."""
        a = self.as_bits(a)
        if isinstance(a, Constant):
            return Constant(a.bits ^ (1 << (width - 1)), width)
        return inner_of(a) if is_named(a, "fneg") else Operation("fneg", (a,), width)


def is_no_number(value: Value) -> bool:
    """Return whether a constant is no number (NaN)."""
    if not isinstance(value, Constant) or value.width not in _MINUS_INFINITY:
        return False
    return value.bits & (1 << value.width - 1) - 1 > _MINUS_INFINITY[value.width] & ~(
        1 << value.width - 1
    )


def _links(whole: Operation, begin: Value) -> list[tuple[Value, bool]] | None:
    """Return what a chain of one operation adds to its beginning, the first first.

    Each as (value, whether it is the first of the two inputs); None where the chain does not begin
    so.
    """
    waiting: list[tuple[Value, list[tuple[Value, bool]]]] = [(whole, [])]
    for value, links in waiting:
        if value is begin:
            return links
        if not isinstance(value, Operation) or value.name != whole.name:
            continue
        if len(waiting) > _MOST_LINKS:
            return None
        one, two = value.inputs
        waiting += [(one, [(two, False), *links]), (two, [(one, True), *links])]
    return None


def _of_floats(value: Value) -> bool:
    return isinstance(value, (Load, Reduction)) or (
        isinstance(value, Operation) and value.name[0] == "f"
    )


def _flatten(name: str, value: Value) -> list[Value]:
    if isinstance(value, Operation) and value.name == name and value.width == 1:
        return list(value.inputs)
    return [value]


def _narrowed(value: Constant) -> Constant | None:
    """Return a 64-bit constant in 32 bits where that loses nothing."""
    number = struct.unpack("<d", value.bits.to_bytes(8, "little"))[0]
    try:
        short = struct.pack("<f", number)
    except OverflowError:
        return None
    exact = struct.unpack("<f", short)[0] == number
    return Constant(int.from_bytes(short, "little"), 32) if exact else None


def _compared(value: Value) -> tuple[Value, Value] | None:
    """Return the two floats that the first comparison in a condition is about."""
    while isinstance(value, Operation) and value.name in _JOINED:
        value = value.inputs[0]
    if isinstance(value, Operation) and value.name in _LESS:
        return value.inputs[0], value.inputs[1]
    return None


def _cases(value: Value, pair: tuple[Value, Value]) -> dict[str, bool] | None:
    """Return in which of the four cases a condition on two floats holds, None if on others."""
    if not isinstance(value, Operation):
        return None
    if value.name in _LESS:
        letters = _LESS[value.name]
        if value.inputs == (pair[1], pair[0]):
            letters = "".join(_TURNED[c] for c in letters)
        elif value.inputs != pair:
            return None
        return {c: c[0] in letters for c in ("less", "equal", "greater", "unordered")}
    if value.name not in _JOINED:
        return None
    parts = [_cases(v, pair) for v in value.inputs]
    known = [p for p in parts if p is not None]
    if len(known) != len(parts):
        return None
    if value.name == "select":
        return {c: known[1][c] if holds else known[2][c] for c, holds in known[0].items()}
    if value.name == "inot":
        return {c: not holds for c, holds in known[0].items()}
    if value.name == "ixor":
        return {c: known[0][c] != known[1][c] for c in known[0]}
    join = all if value.name == "iand" else any
    return {c: join(p[c] for p in known) for c in known[0]}


def _one_comparison(value: Value) -> Operation | None:
    """Return the comparison of floats that a value tests, where it is exactly one."""
    found: list[Operation] = []
    stack: list[Value | Symbol] = [value]
    visited = 0
    while stack:
        item = stack.pop()
        visited += 1
        if visited > 200 or isinstance(item, (Symbol, Load, Reduction)):
            return None
        if isinstance(item, Operation) and item.name == "fcompare":
            if found and found[0] != item:
                return None
            found = found or [item]
            continue
        if isinstance(item, Operation) and item.name[0] in "fcm" and item.name != "fcompare":
            return None
        stack.extend(children(item))
    return found[0] if found else None
