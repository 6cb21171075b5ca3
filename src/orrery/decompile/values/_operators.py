"""What each operator of the intermediate language VEX does to values.

Models:  integers, scalar and vector floating point, lanes moved between vectors. A vector is taken
         apart into its lanes at once, so that one operator on four lanes is four operators.
Ignores: rounding modes other than to nearest, except where a number is made an integer; exception
         flags; decimal and 80-bit numbers; what is missing here is said, never guessed.
Judge:   native runs of compiled kernels (tests/decompile/lifting).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from orrery.decompile.forms import Operation, Value

from ._build import Builder
from ._cells import Vector
from ._parts import is_named

Any_ = Value | Vector


class UnknownOperatorError(Exception):
    """An operator that has no meaning here."""


def as_value(item: Any_) -> Value:
    """Return what must be at most 64 bits."""
    if isinstance(item, tuple):
        raise UnknownOperatorError("a vector where a number was wanted")
    return item


def as_vector(item: Any_) -> Vector:
    """Return the pieces of a value."""
    return item if isinstance(item, tuple) else (item,)


def lanes(build: Builder, item: Any_, width: int) -> list[Value]:
    """Return a value cut into lanes of a width, the lowest first."""
    pieces = as_vector(item)
    if all(p.width == width for p in pieces):
        return list(pieces)
    result: list[Value] = []
    waiting: list[Value] = []
    have = 0
    for piece in pieces:
        at = 0
        while at < piece.width:
            take = min(width - have, piece.width - at)
            waiting.append(build.extract(piece, at, take))
            have, at = have + take, at + take
            if have == width:
                result.append(build.concat(waiting))
                waiting, have = [], 0
    if waiting:
        result.append(build.concat(waiting))
    return result


def _join(build: Builder, parts: list[Value]) -> Any_:
    total = sum(p.width for p in parts)
    return build.concat(parts) if total <= 64 else tuple(parts)


def _bits(item: Any_) -> int:
    return sum(p.width for p in as_vector(item))


def operate(build: Builder, name: str, inputs: list[Any_], *, x86: bool) -> Any_:
    """Return what an operator makes of its inputs; ``name`` without its prefix."""
    for pattern, act in _TABLE:
        match = pattern.fullmatch(name)
        if match is not None:
            return act(build, match, inputs, x86)
    raise UnknownOperatorError(f"operator {name}")


Act = Callable[[Builder, "re.Match[str]", list[Any_], bool], Any_]


# -- scalar integers -----------------------------------------------------------------------------


def _integer(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, b, width = as_value(inputs[0]), as_value(inputs[1]), int(m[2])
    act = {
        "Add": build.add, "Sub": build.subtract, "Mul": build.multiply, "And": build.bit_and,
        "Or": build.bit_or, "Xor": build.bit_xor, "Shl": build.shift_left,
    }  # fmt: skip
    if m[1] == "Shr" or m[1] == "Sar":
        return build.shift_right(a, b, width, arithmetic=m[1] == "Sar")
    return act[m[1]](a, b, width)


def _not(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return build.bit_not(as_value(inputs[0]), int(m[1]))


def _leading_zeros(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, width = as_value(inputs[0]), int(m[1])
    known = build.constant(a)
    if known is not None:
        return build.number(width - (known & ((1 << width) - 1)).bit_length(), width)
    return Operation("iclz", (a,), width)


def _compare(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return _comparison(build, m[1], m[3], as_value(inputs[0]), as_value(inputs[1]))


def _comparison(build: Builder, name: str, sign: str | None, a: Value, b: Value) -> Value:
    if name == "EQ":
        return build.compare("ieq", a, b)
    if name == "NE":
        return build.negate(build.compare("ieq", a, b))
    if name in ("GT", "GE"):
        a, b = b, a
    kind = "lt" if name in ("LT", "GT") else "le"
    return build.compare(("u" if sign == "U" else "i") + kind, a, b)


def _not_zero(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a = as_value(inputs[0])
    return build.negate(build.compare("ieq", a, build.number(0, a.width)))


def _long_multiply(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width, sign = int(m[2]), m[1] == "S"
    if width == 64:
        a, b = as_value(inputs[0]), as_value(inputs[1])
        return (build.multiply(a, b, 64), _high_product(build, a, b, sign))
    parts = [build.extend(as_value(v), 2 * width, signed=sign) for v in inputs]
    return build.multiply(parts[0], parts[1], 2 * width)


def _high_product(build: Builder, a: Value, b: Value, sign: bool) -> Value:
    if build.constant(a) is not None:
        a, b = b, a
    factor, form = build.constant(b), build.linear(a)
    if factor is not None and form is not None:
        factor = factor if sign else factor & ((1 << 64) - 1)
        low = build.range(form)[0]
        if low is None or low >= 0:
            found = build.shift_right(build.index(form * factor, 128), build.number(64, 8), 128,
                                      arithmetic=True)  # fmt: skip
            # Where a shift follows the product, nothing is divided yet: by 2^64 alone.
            by = build.constant(found.inputs[1]) if is_named(found, "idiv") else None
            if isinstance(found, Operation) and by is not None and by < 1 << 63:
                return Operation("idiv", (build.truncate(found.inputs[0], 64),
                                          build.number(by, 64)), 64)  # fmt: skip
    return Operation("ihigh" if sign else "uhigh", (a, b), 64)


def _divide(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, b, width = as_value(inputs[0]), as_value(inputs[1]), int(m[2])
    return _quotient(build, a, b, width, m[1] == "S")


def _quotient(build: Builder, a: Value, b: Value, width: int, sign: bool) -> Value:
    by = build.constant(b)
    if by is not None and by > 0:
        return build.floor_divide(a, by, width, truncating=True)
    return Operation("idiv" if sign else "udiv", (a, b), width)


def _divide_modulo(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    wide, width = int(m[2]), int(m[3])
    if wide == 128:
        a = lanes(build, inputs[0], 64)[0]
    else:
        a = as_value(inputs[0])
        if isinstance(a, Operation) and a.name == "iconcat":
            a = build.extend(a.inputs[0], wide, signed=True)
    b = build.extend(as_value(inputs[1]), a.width, signed=m[1] == "S")
    quotient = _quotient(build, a, b, a.width, m[1] == "S")
    rest = build.subtract(a, build.multiply(quotient, b, a.width), a.width)
    return _join(build, [build.truncate(quotient, width), build.truncate(rest, width)])


def _resize(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    sign, to = m[2], int(m[3])
    if isinstance(inputs[0], tuple):
        return lanes(build, inputs[0], to)[0]
    if to > 64:
        low = build.extend(inputs[0], 64, signed=sign == "S")
        high = build.shift_right(low, build.number(63, 8), 64, arithmetic=True)
        return (low, high if sign == "S" else build.number(0, 64))
    if sign is None:
        return build.truncate(inputs[0], to)
    return build.extend(inputs[0], to, signed=sign == "S")


def _high_half(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width = int(m[2])
    item = inputs[0]
    if isinstance(item, tuple):
        return lanes(build, item, width)[1]
    return build.extract(item, width, width)


def _two_halves(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    high, low = inputs
    pieces = [*as_vector(low), *as_vector(high)]
    if len(pieces) == 2 and _bits(low) <= 32:
        spread = build.shift_right(pieces[0], build.number(pieces[0].width - 1, 8),
                                   pieces[0].width, arithmetic=True)  # fmt: skip
        if pieces[1] == spread and build.constant(spread) is None:
            return build.extend(pieces[0], 2 * pieces[0].width, signed=True)
    return _join(build, pieces)


# -- scalar floating point -----------------------------------------------------------------------

_FLOAT = {"Add": "fadd", "Sub": "fsub", "Mul": "fmul", "Div": "fdiv", "Sqrt": "fsqrt",
          "Abs": "fabs", "Neg": "fneg"}  # fmt: skip


def _float(build: Builder, m: re.Match[str], inputs: list[Any_], x86: bool) -> Any_:
    width = int(m[2])
    count = 1 if m[1] in ("Sqrt", "Abs", "Neg") else 2
    return build.float_operation(_FLOAT[m[1]], [as_value(v) for v in inputs[-count:]], width)


def _fused(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, b, c = (as_value(v) for v in inputs[-3:])
    width = int(m[2])
    if m[1] == "Sub":
        c = build.negative(c, width)
    return build.float_operation("fma", [a, b, c], width)


def _greater(build: Builder, m: re.Match[str], inputs: list[Any_], x86: bool) -> Any_:
    return _extreme(build, m[1], as_value(inputs[-2]), as_value(inputs[-1]), False)


def _extreme(build: Builder, name: str, a: Value, b: Value, x86: bool) -> Value:
    kind = name.lower() + "_x86" if x86 else "f" + name.lower()
    return build.float_operation(kind, [a, b], a.width)


def _order(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, b = (build.as_bits(as_value(v)) for v in inputs)
    return Operation("fcompare", (a, b), 32)


def _convert(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, to = as_value(inputs[-1]), int(m[2])
    name = "fwiden" if to > int(m[1]) else "fnarrow"
    return build.float_operation(name, [a], to)


def _to_float(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    name = "itof" if m[2] == "S" else "utof"
    return Operation(name, (as_value(inputs[-1]),), int(m[3]))


_ROUND = {0: "fround", 1: "ffloor", 2: "fceil", 3: "ftrunc"}


def _to_integer(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    mode, a, to = build.constant(as_value(inputs[0])), as_value(inputs[1]), int(m[2])
    mode = 0 if mode is None else mode
    if mode not in _ROUND:
        raise UnknownOperatorError(f"rounding mode {mode}")
    if mode != 3:
        a = build.float_operation(_ROUND[mode], [a], a.width)
    return Operation("ftoi" if m[3] == "S" else "ftou", (a,), to)


def _to_whole(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    mode = build.constant(as_value(inputs[0]))
    if mode is not None and mode not in _ROUND:
        raise UnknownOperatorError(f"rounding mode {mode}")
    return build.float_operation(_ROUND[mode or 0], [as_value(inputs[1])], int(m[1]))


def _same(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return inputs[0]


# -- vectors -------------------------------------------------------------------------------------


def _each(
    build: Builder, width: int, items: list[Any_], act: Callable[..., Value], lowest: bool = False
) -> Any_:
    columns = [lanes(build, v, width) for v in items]
    if lowest:
        return _join(build, [act(*(c[0] for c in columns)), *columns[0][1:]])
    return _join(build, [act(*row) for row in zip(*columns, strict=True)])


def _mask(build: Builder, condition: Value, width: int) -> Value:
    return build.select(condition, build.number(-1, width), build.number(0, width), width)


def _vector_float(build: Builder, m: re.Match[str], inputs: list[Any_], x86: bool) -> Any_:
    name, width, lowest = m[1], int(m[2]), m[3] == "0x"
    count = 1 if name in ("Sqrt", "Abs", "Neg") else 2
    items = inputs[-count:]
    if name.startswith("Cmp"):
        kind = name[3:]

        def compared(a: Value, b: Value) -> Value:
            if kind == "UN":
                condition = build.float_compare("funordered", a, b)
            elif kind == "EQ":
                condition = build.float_compare("feq", a, b)
            elif kind in ("GT", "GE"):
                condition = build.float_compare("flt" if kind == "GT" else "fle", b, a)
            else:
                condition = build.float_compare("f" + kind.lower(), a, b)
            return _mask(build, condition, width)

        return _each(build, width, items, compared, lowest)
    if name in ("Max", "Min"):
        return _each(build, width, items, lambda a, b: _extreme(build, name, a, b, x86), lowest)
    if name not in _FLOAT:
        raise UnknownOperatorError(f"operator {m[0]}")
    return _each(
        build,
        width,
        items,
        lambda *row: build.float_operation(_FLOAT[name], list(row), width),
        lowest,
    )


def _vector_fused(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width = int(m[1])
    return _each(build, width, inputs[-3:],
                 lambda a, b, c: build.float_operation("fma", [a, b, c], width))  # fmt: skip


def _vector_integer(build: Builder, m: re.Match[str], inputs: list[Any_], x86: bool) -> Any_:
    name, width, sign = m[1], int(m[2]), m[3]
    if name in ("ShlN", "ShrN", "SarN"):
        by = as_value(inputs[1])
        if name == "ShlN":
            return _each(build, width, inputs[:1], lambda a: build.shift_left(a, by, width))
        arithmetic = name == "SarN"
        return _each(
            build,
            width,
            inputs[:1],
            lambda a: build.shift_right(a, by, width, arithmetic=arithmetic),
        )
    if name.startswith("Cmp") and name != "CmpNEZ":

        def compared(a: Value, b: Value) -> Value:
            return _mask(build, _comparison(build, name[3:], sign, a, b), width)

        return _each(build, width, inputs, compared)
    if name == "CmpNEZ":
        zero = build.number(0, width)

        def not_zero(a: Value) -> Value:
            return _mask(build, build.negate(build.compare("ieq", a, zero)), width)

        return _each(build, width, inputs, not_zero)
    if name in ("Max", "Min"):

        def extreme(a: Value, b: Value) -> Value:
            less = build.compare("ult" if sign == "U" else "ilt", a, b)
            return (
                build.select(less, b, a, width)
                if name == "Max"
                else build.select(less, a, b, width)
            )

        return _each(build, width, inputs, extreme)
    act = {"Add": build.add, "Sub": build.subtract, "Mul": build.multiply}
    return _each(build, width, inputs, lambda a, b: act[name](a, b, width))


def _bitwise(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    act = {"And": build.bit_and, "Or": build.bit_or, "Xor": build.bit_xor}[m[1]]
    width = min(p.width for item in inputs for p in as_vector(item))
    return _each(build, width, inputs, lambda a, b: act(a, b, width))


def _bitwise_not(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return tuple(build.bit_not(p, p.width) for p in as_vector(inputs[0]))


def _interleave(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width = int(m[2])
    a, b = (lanes(build, v, width) for v in inputs)
    half = len(a) // 2
    if m[1] in ("LO", "HI"):
        picked = range(half) if m[1] == "LO" else range(half, len(a))
    else:
        picked = range(0 if m[1] == "EvenLanes" else 1, len(a), 2)
    return _join(build, [lane for i in picked for lane in (b[i], a[i])])


def _cat_lanes(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    a, b = (lanes(build, v, int(m[2])) for v in inputs)
    first = 1 if m[1] == "Odd" else 0
    return _join(build, b[first::2] + a[first::2])


def _pairwise(build: Builder, m: re.Match[str], inputs: list[Any_], x86: bool) -> Any_:
    width = int(m[2])
    a, b = (lanes(build, v, width) for v in inputs[-2:])
    name = _FLOAT.get(m[1])

    def act(x: Value, y: Value) -> Value:
        if not m[3]:
            return build.add(x, y, width)
        if name is None:
            return _extreme(build, m[1], x, y, False)
        return build.float_operation(name, [x, y], width)

    row = a + b
    return _join(build, [act(row[i], row[i + 1]) for i in range(0, len(row), 2)])


def _duplicate(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return _join(build, [as_value(inputs[0])] * int(m[2]))


def _get_lane(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return lanes(build, inputs[0], int(m[1]))[_known(build, inputs[1])]


def _set_lane(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    row = lanes(build, inputs[0], int(m[1]))
    row[_known(build, inputs[1])] = as_value(inputs[2])
    return _join(build, row)


def _known(build: Builder, item: Any_) -> int:
    number = build.constant(as_value(item))
    if number is None:
        raise UnknownOperatorError("a lane whose number is not known")
    return number


def _slice(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    first = _known(build, inputs[2]) * 8
    total = _bits(inputs[1])
    return _window(build, [*as_vector(inputs[1]), *as_vector(inputs[0])], first, total)


def _window(build: Builder, pieces: list[Value], first: int, total: int) -> Any_:
    found, at = [], 0
    for piece in pieces:
        low, high = max(first, at), min(first + total, at + piece.width)
        if low < high:
            found.append(build.extract(piece, low - at, high - low))
        at += piece.width
    return _join(build, found)


def _shift_bytes(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    by, total = _known(build, inputs[1]), _bits(inputs[0])
    zeros: list[Value] = [build.number(0, 32) for _ in range(total // 32)]
    pieces = list(as_vector(inputs[0]))
    if m[1] == "Shr":
        return _window(build, pieces + zeros, by, total)
    return _window(build, zeros + pieces, total - by, total)


def _permute(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width = int(m[2])
    table, picks = (lanes(build, v, width) for v in inputs)
    result: list[Value] = []
    for pick in picks:
        number = _known(build, pick)
        if m[1] == "PermOrZero" and number < 0:
            result.append(build.number(0, width))
        else:
            result.append(table[number & (len(table) - 1)])
    if width < 32:
        return _join(build, [build.concat(result[i : i + 32 // width])
                             for i in range(0, len(result), 32 // width)])  # fmt: skip
    return _join(build, result)


def _set_low(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    row = lanes(build, inputs[0], int(m[1]))
    return _join(build, [as_value(inputs[1]), *row[1:]])


def _from_low(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width = int(m[1])
    rest = [build.number(0, 32) for _ in range((128 - width) // 32)]
    return (as_value(inputs[0]), *rest)


def _zero_high(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    kept = 128 - int(m[1])
    row = lanes(build, inputs[0], 32)
    return (*row[: kept // 32], *(build.number(0, 32) for _ in range((128 - kept) // 32)))


def _part(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width, number = int(m[2]), int(m[3] or 0)
    return _window(build, list(as_vector(inputs[0])), width * number, width)


def _high_part(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return _window(build, list(as_vector(inputs[0])), 64, 64)


def _four_parts(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    return tuple(p for item in reversed(inputs) for p in as_vector(item))


def _widen(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width, to = int(m[1]), int(m[3])
    row = lanes(build, inputs[0], width)
    count = int(m[4])
    return _join(build, [build.extend(v, to, signed=m[2] == "S") for v in row[:count]])


def _vector_convert(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    name = "itof" if m[1] == "S" else "utof"
    return _each(build, 32, inputs[-1:], lambda a: Operation(name, (a,), 32))


def _vector_to_integer(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    truncates = m[2] == "_RZ" or (len(inputs) == 2 and build.constant(as_value(inputs[0])) == 3)

    def act(a: Value) -> Value:
        whole = a if truncates else build.float_operation("fround", [a], 32)
        return Operation("ftoi" if m[1] == "S" else "ftou", (whole,), 32)

    return _each(build, 32, inputs[-1:], act)


def _turned(build: Builder, m: re.Match[str], inputs: list[Any_], _: bool) -> Any_:
    width, within = int(m[1]), int(m[2])
    row = lanes(build, inputs[0], width)
    count = within // width
    return _join(
        build, [v for i in range(0, len(row), count) for v in reversed(row[i : i + count])]
    )


def _rule(pattern: str, act: Act) -> tuple[re.Pattern[str], Act]:
    return re.compile(pattern), act


_TABLE: list[tuple[re.Pattern[str], Act]] = [
    _rule(r"(Add|Sub|Mul|And|Or|Xor|Shl|Shr|Sar)(8|16|32|64|1)", _integer),
    _rule(r"Not(1|8|16|32|64)", _not),
    _rule(r"(?:Exp|Cas)?Cmp(EQ|NE|LT|LE)(8|16|32|64)(S|U)?", _compare),
    _rule(r"CmpNEZ(8|16|32|64)", _not_zero),
    _rule(r"Clz(?:Nat)?(32|64)", _leading_zeros),
    _rule(r"Mull(S|U)(8|16|32|64)", _long_multiply),
    _rule(r"Div(S|U)(32|64)", _divide),
    _rule(r"DivMod(S|U)(64|128)to(32|64)", _divide_modulo),
    _rule(r"(\d+)(S|U)?to(\d+)", _resize),
    _rule(r"(\d+)HIto(\d+)", _high_half),
    _rule(r"(\d+)HLto(?:V)?(\d+)", _two_halves),
    _rule(r"V128HLto(V)(256)", _two_halves),
    _rule(r"(Add|Sub|Mul|Div|Sqrt|Abs|Neg)F(32|64)", _float),
    _rule(r"M(Add|Sub)F(32|64)", _fused),
    _rule(r"(Max|Min)NumF(32|64)", _greater),
    _rule(r"CmpF(32|64)", _order),
    _rule(r"F(\d+)toF(\d+)", _convert),
    _rule(r"I(32|64)(S|U)toF(32|64)", _to_float),
    _rule(r"F(32|64)toI(32|64)(S|U)", _to_integer),
    _rule(r"RoundF(32|64)toInt", _to_whole),
    _rule(r"Reinterp.*", _same),
    _rule(r"(\w+?)(32|64)F(0x|x)(\d)", _vector_float),
    _rule(r"Fma(32|64)Fx(\d)", _vector_fused),
    _rule(r"(Add|Sub|Mul|ShlN|ShrN|SarN|CmpEQ|CmpGT|CmpNEZ|Max|Min)(8|16|32|64)(S|U)?x(\d+)",
          _vector_integer),
    _rule(r"(And|Or|Xor)V(128|256)", _bitwise),
    _rule(r"NotV(128|256)", _bitwise_not),
    _rule(r"Interleave(LO|HI|EvenLanes|OddLanes)(8|16|32|64)x(\d+)", _interleave),
    _rule(r"Cat(Odd|Even)Lanes(8|16|32|64)x(\d+)", _cat_lanes),
    _rule(r"Pw(Add|Max|Min)(8|16|32)(F?)x(\d+)", _pairwise),
    _rule(r"Dup(8|16|32)x(\d+)", _duplicate),
    _rule(r"GetElem(8|16|32|64)x(\d+)", _get_lane),
    _rule(r"SetElem(8|16|32|64)x(\d+)", _set_lane),
    _rule(r"Slice(V128|64)", _slice),
    _rule(r"(Shl|Shr)V(128)", _shift_bytes),
    _rule(r"(Perm|PermOrZero)(8|32)x(\d+)", _permute),
    _rule(r"SetV128lo(32|64)", _set_low),
    _rule(r"(32|64)UtoV128", _from_low),
    _rule(r"ZeroHI(64|96|112|120)ofV128", _zero_high),
    _rule(r"V(128|256)to(32|64)(?:_(\d))?", _part),
    _rule(r"V(256)toV(128)_(\d)", _part),
    _rule(r"V128HIto64", _high_part),
    _rule(r"64x4toV256", _four_parts),
    _rule(r"Widen(8|16|32)(S|U)to(16|32|64)x(\d)", _widen),
    _rule(r"I32(S|U)to(?:F32x4|Fx4|F32x2|Fx2|F32x8)(?:_DEP)?", _vector_convert),
    _rule(r"F(?:32)?toI32(S|U)x\d(_RZ|_RN)?(?:_DEP)?", _vector_to_integer),
    _rule(r"Reverse(8|16|32)sIn(16|32|64)_x(\d)", _turned),
]  # fmt: skip
