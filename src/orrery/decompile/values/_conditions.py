"""Conditions on flags: what was compared, from what a processor kept of it.

Models:  flags left by comparing, subtracting, adding, logic, counting and by floating-point
         comparisons, for x86-64, AArch64 and ARM, with the codes of VEX's helper functions.
Ignores: flags of overflow and parity, except where a floating-point comparison sets them.
Judge:   native runs of compiled kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from orrery.decompile.forms import Index, Operation, Value

from ._build import Builder
from ._operators import UnknownOperatorError

_X86_NAMES = ("O", "B", "Z", "BE", "S", "P", "L", "LE")
_X86_KINDS = ("add", "sub", "adc", "sbb", "logic", "inc", "dec", "shl", "shr", "rol", "ror", "umul",
              "smul")  # fmt: skip
#: VEX numbers each of those kinds in four widths; what comes after them has two.
_X86_ANDN = {53: 32, 54: 64}
_ARM_NAMES = ("Z", "AE", "S", "O", "A", "GE", "G")
_ARM64_KINDS = {1: ("add", 32), 2: ("add", 64), 3: ("sub", 32), 4: ("sub", 64), 9: ("logic", 32),
                10: ("logic", 64)}  # fmt: skip
_ARM_KINDS = {1: ("add", 32), 2: ("sub", 32), 5: ("logic", 32)}


def condition_call(build: Builder, name: str, arguments: list[Value], width: int) -> Value:
    """Return what a helper function for flags gives back, as a value of ``width`` bits."""
    chosen = _choice_of(arguments)
    if chosen is not None:
        arms = [
            condition_call(build, name, [_arm_of(v, chosen, arm) for v in arguments], width)
            for arm in (1, 2)
        ]
        return build.select(chosen, arms[0], arms[1], width)
    if name == "amd64g_calculate_condition":
        code, op = _number(build, arguments[0]), _number(build, arguments[1])
        found = _x86(build, _X86_NAMES[code >> 1], op, arguments[2], arguments[3], arguments[4])
        return _widened(build, found, bool(code & 1), width)
    if name == "amd64g_calculate_rflags_c":
        op = _number(build, arguments[0])
        found = _x86(build, "B", op, arguments[1], arguments[2], arguments[3])
        return _widened(build, found, False, width)
    if name in ("arm64g_calculate_condition", "armg_calculate_condition"):
        both = _number(build, arguments[0])
        code, op = both >> 4, both & 15
        if code >= 14:
            return build.number(1, width)
        known = _ARM64_KINDS if name[3] == "6" else _ARM_KINDS
        found = _arm(build, _ARM_NAMES[code >> 1], op, known, arguments[1], arguments[2])
        return _widened(build, found, bool(code & 1), width)
    if name in ("arm64g_calculate_flag_c", "armg_calculate_flag_c"):
        op = _number(build, arguments[0])
        known = _ARM64_KINDS if name[3] == "6" else _ARM_KINDS
        if op in known and known[op][0] == "logic":
            return arguments[2]
        found = _arm(build, "AE", op, known, arguments[1], arguments[2])
        return _widened(build, found, False, width)
    raise UnknownOperatorError(f"helper {name}")


def _choice_of(arguments: list[Value]) -> Value | None:
    """Return the condition on which the origin of flags depends, where it does."""
    for value in arguments[:2]:
        if isinstance(value, Operation) and value.name == "select":
            constants = [isinstance(v, Index) and v.value.is_constant for v in value.inputs[1:]]
            if any(constants):
                return value.inputs[0]
    return None


def _arm_of(value: Value, condition: Value, arm: int) -> Value:
    """Return what a value is where a condition holds (1) or does not (2)."""
    if isinstance(value, Operation) and value.name == "select" and value.inputs[0] == condition:
        return value.inputs[arm]
    return value


def _number(build: Builder, value: Value) -> int:
    number = build.constant(value)
    if number is None:
        raise UnknownOperatorError("flags whose origin differs from path to path")
    return number


def _widened(build: Builder, condition: Value, opposite: bool, width: int) -> Value:
    return build.extend(build.negate(condition) if opposite else condition, width, signed=False)


def _x86(build: Builder, test: str, op: int, first: Value, second: Value, kept: Value) -> Value:
    if op == 0:
        return _x86_bits(build, test, first)
    if op in _X86_ANDN:
        kind, width = "logic", _X86_ANDN[op]
    elif op <= 4 * len(_X86_KINDS):
        kind, width = _X86_KINDS[(op - 1) // 4], 8 << ((op - 1) % 4)
    else:
        raise UnknownOperatorError(f"flag {test} after operation {op}")
    a, b = build.truncate(first, width), build.truncate(second, width)
    zero = build.number(0, width)
    if kind == "sub":
        return _subtracted(build, test, a, b)
    if kind == "logic":
        if test in ("B", "O"):
            return build.number(0, 1)
        return _against_zero(build, "Z" if test == "BE" else test, a, zero)
    if kind == "add":
        total = build.add(a, b, width)
        if test == "B":
            return build.compare("ult", total, a)
        return _against_zero(build, test, total, zero)
    if kind in ("inc", "dec"):
        if test == "B":
            return build.truncate(kept, 1)
        return _against_zero(build, test, a, zero)
    if kind in ("shl", "shr"):
        return _against_zero(build, test, a, zero)
    raise UnknownOperatorError(f"flag {test} after {kind}")


def _x86_bits(build: Builder, test: str, flags: Value) -> Value:
    def bit(place: int) -> Value:
        return build.shift_right(flags, build.number(place, 8), flags.width, arithmetic=False)

    def low(value: Value) -> Value:
        return build.truncate(value, 1)

    width = flags.width
    if test == "BE":
        return low(build.bit_or(bit(0), bit(6), width))
    if test in ("L", "LE"):
        differ = build.bit_xor(bit(7), bit(11), width)
        return low(differ if test == "L" else build.bit_or(differ, bit(6), width))
    return low(bit({"O": 11, "B": 0, "Z": 6, "S": 7, "P": 2}[test]))


def _subtracted(build: Builder, test: str, a: Value, b: Value) -> Value:
    kinds = {"B": "ult", "BE": "ule", "Z": "ieq", "L": "ilt", "LE": "ile"}
    if test in kinds:
        return build.compare(kinds[test], a, b)
    if test == "S":
        return build.compare("ilt", build.subtract(a, b, a.width), build.number(0, a.width))
    raise UnknownOperatorError(f"flag {test} after sub")


def _against_zero(build: Builder, test: str, value: Value, zero: Value) -> Value:
    kinds = {"Z": "ieq", "S": "ilt", "L": "ilt", "LE": "ile"}
    if test in kinds:
        return build.compare(kinds[test], value, zero)
    raise UnknownOperatorError(f"flag {test}")


def _arm(
    build: Builder,
    test: str,
    op: int,
    known: dict[int, tuple[str, int]],
    first: Value,
    second: Value,
) -> Value:
    if op == 0:
        return _arm_bits(build, test, first)
    if op not in known:
        raise UnknownOperatorError(f"flags of operation {op}")
    kind, width = known[op]
    a, b = build.truncate(first, width), build.truncate(second, width)
    zero = build.number(0, width)
    if kind == "sub":
        table = {"Z": ("ieq", a, b), "AE": ("ule", b, a), "A": ("ult", b, a), "GE": ("ile", b, a),
                 "G": ("ilt", b, a)}  # fmt: skip
        if test in table:
            return build.compare(*table[test])
        return _subtracted(build, test, a, b)
    value = build.add(a, b, width) if kind == "add" else a
    if test == "AE" and kind == "add":
        return build.compare("ult", value, a)
    if test == "GE":
        return build.compare("ile", zero, value)
    if test == "G":
        return build.compare("ilt", zero, value)
    return _against_zero(build, test, value, zero)


def _arm_bits(build: Builder, test: str, flags: Value) -> Value:
    def bit(place: int) -> Value:
        moved = build.shift_right(flags, build.number(place, 8), flags.width, arithmetic=False)
        return build.truncate(moved, 1)

    n, z, c, v = (bit(p) for p in (31, 30, 29, 28))
    if test in ("Z", "AE", "S", "O"):
        return {"Z": z, "AE": c, "S": n, "O": v}[test]
    if test == "A":
        return build.decide_all(build.both(c, build.negate(z)))
    same = build.negate(build.select(n, build.negate(v), v, 1))
    if test == "GE":
        return build.decide_all(same)
    return build.decide_all(build.both(build.negate(z), same))
