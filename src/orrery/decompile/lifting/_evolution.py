"""How values change from one turn of a loop to the next, and how many turns there are.

Models:  numbers that grow by a constant (scalar evolution), accumulators, the number of turns from
         the condition that ends them by linear algebra; a closed answer is tried on the condition
         itself before it is believed.
Ignores: counters that wrap around on purpose.
Judge:   brute force over random conditions; native runs of lifted kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orrery.decompile.forms import Constant, Index, Linear, Operation, Reduction, Symbol, Value
from orrery.decompile.values import Builder, contains, known_bits, symbols_of

NEUTRAL = {
    ("fadd", 32): 0x80000000, ("fadd", 64): 1 << 63, ("fmul", 32): 0x3F800000,
    ("fmul", 64): 0x3FF0 << 48, ("iadd", 32): 0, ("iadd", 64): 0,
    ("max_x86", 32): 0xFF800000, ("fmax", 32): 0xFF800000, ("min_x86", 32): 0x7F800000,
    ("fmin", 32): 0x7F800000, ("max_x86", 64): 0xFFF0 << 48, ("fmax", 64): 0xFFF0 << 48,
    ("min_x86", 64): 0x7FF0 << 48, ("fmin", 64): 0x7FF0 << 48,
    ("fmaximum", 32): 0xFF800000, ("fmaximum", 64): 0xFFF0 << 48,
    ("fminimum", 32): 0x7F800000, ("fminimum", 64): 0x7FF0 << 48,
}  # fmt: skip
EXTREMES = ("max_x86", "min_x86", "fmax", "fmin", "fmaximum", "fminimum")
_TRIED = 1 << 16


def neutral(operation: str, width: int) -> Constant | None:
    """Return the number that an accumulator does not notice; -0.0 for a sum, exactly."""
    bits = NEUTRAL.get((operation, width))
    return None if bits is None else Constant(bits, width)


@dataclass(frozen=True, slots=True)
class Fold:
    """What one turn does to an accumulator: the addends in order, each fused or not."""

    operation: str
    addends: tuple[tuple[Value, bool], ...]


def find_fold(build: Builder, end: Value, old: Symbol) -> Fold | None:
    """Return how ``end`` is the old value and something more, None where it is not that."""

    def has(value: Value) -> bool:
        return old in symbols_of(value)

    def is_old(value: Value) -> bool:
        return isinstance(value, Index) and value.value == Linear(0, ((old, 1),))

    def kind(value: Value) -> str | None:
        if isinstance(value, Reduction):
            return value.operation
        if isinstance(value, Index):
            return "iadd"
        if not isinstance(value, Operation):
            return None
        if value.name in ("fadd", "fsub", "fma"):
            return "fadd"
        if value.name == "fmul" or value.name in EXTREMES:
            return value.name
        if value.name == "select":
            for arm in value.inputs[1:]:
                if not is_old(arm) and has(arm):
                    return kind(arm)
            return _extreme_of_choice(value)
        return None

    operation = kind(end)
    if operation is None:
        return None

    def peel(value: Value) -> list[tuple[Value, bool]] | None:
        if is_old(value):
            return []
        if isinstance(value, Reduction):
            if value.operation != operation or has(value.body):
                return None
            before = peel(value.start)
            start = neutral(value.operation, value.width)
            if before is None or start is None:
                return None
            return [*before, (replace(value, start=start), False)]
        if isinstance(value, Index):
            rest = value.value - Linear(0, ((old, 1),))
            if value.value.factor(old) != 1 or old in symbols_of(rest):
                return None
            return [(build.index(rest, value.width), False)]
        if not isinstance(value, Operation):
            return None
        return peel_operation(value)

    def peel_operation(value: Operation) -> list[tuple[Value, bool]] | None:
        inputs = value.inputs
        if value.name == "select":
            return peel_choice(value)
        if value.name == "fma" and operation == "fadd":
            if has(inputs[0]) or has(inputs[1]):
                return None
            before = peel(inputs[2])
            product = build.float_operation("fmul", [inputs[0], inputs[1]], value.width)
            return None if before is None else [*before, (product, True)]
        if value.name == "fsub" and operation == "fadd":
            if has(inputs[1]):
                return None
            before = peel(inputs[0])
            negative = build.negative(inputs[1], value.width)
            return None if before is None else [*before, (negative, False)]
        if value.name != operation or len(inputs) != 2:
            return None
        inside = [has(v) for v in inputs]
        if all(inside):
            return None
        chain, addend = inputs if inside[0] else inputs[::-1]
        before = peel(chain)
        return None if before is None else [*before, (addend, False)]

    def peel_choice(value: Operation) -> list[tuple[Value, bool]] | None:
        condition, then, other = value.inputs
        if has(condition):
            if _extreme_of_choice(value) is None:
                return None
            return [(other if is_old(then) else then, False)]
        nothing = neutral(operation or "", value.width)
        first, second = peel(then), peel(other)
        if first is None or second is None or nothing is None:
            return None
        opposite = build.negate(condition)
        if operation == "iadd":
            nothing_value: Value = build.number(0, value.width)
        else:
            nothing_value = nothing
        return [
            *((build.select(condition, v, nothing_value, value.width), f) for v, f in first),
            *((build.select(opposite, v, nothing_value, value.width), f) for v, f in second),
        ]

    addends = peel(end)
    return Fold(operation, tuple(addends)) if addends else None


def _extreme_of_choice(value: Operation) -> str | None:
    """Return ``max_x86`` or ``min_x86`` where a choice by ``<=`` takes the greater or less."""
    condition, then, other = value.inputs
    if not isinstance(condition, Operation) or condition.name not in ("flt", "fle"):
        return None
    less, more = condition.inputs
    if (then, other) == (more, less):
        return "max_x86"
    if (then, other) == (less, more):
        return "min_x86"
    return None


def roll_up(
    build: Builder, fold: Fold, counter: Symbol, extent: Linear, start: Value
) -> Reduction | Value:
    """Return what an accumulator holds after ``extent`` turns of a fold."""
    width = start.width
    addends = fold.addends
    if fold.operation in EXTREMES or fold.operation == "fmul":
        body = addends[0][0]
        for more, _ in addends[1:]:
            body = build.float_operation(fold.operation, [body, more], width)
        return Reduction(fold.operation, counter, extent, body, build.as_bits(start), width)
    if fold.operation == "iadd":
        total: Value = addends[0][0]
        for more, _ in addends[1:]:
            total = build.add(total, more, width)
        return Reduction("iadd", counter, extent, total, start, width)
    fused = all(f for _, f in addends)
    body = addends[0][0]
    for more, _ in addends[1:]:
        body = build.float_operation("fadd", [body, more], width)
    fused = fused and len(addends) == 1
    return Reduction(fold.operation, counter, extent, body, build.as_bits(start), width, fused)


# -- the number of turns -------------------------------------------------------------------------


def first_turn(build: Builder, leaves: Value, counter: Symbol) -> Linear | None:
    """Return the first turn, from 0, in which a condition holds; None where nothing says it."""
    known = build.constant(leaves)
    if known is not None:
        return Linear(0) if known & 1 else None
    unknown = symbols_of(leaves)
    if counter not in unknown:
        return None
    guess = _solve(build, leaves, counter)
    if unknown == {counter} and not contains(leaves, lambda v: type(v).__name__ == "Load"):
        if (
            guess is not None
            and guess.is_constant
            and _holds_first(leaves, counter, guess.constant)
        ):
            return guess
        for turn in range(_TRIED):
            found = known_bits(leaves, counter, turn)
            if found is None:
                return None
            if found & 1:
                return Linear(turn)
        return None
    return guess


def _holds_first(leaves: Value, counter: Symbol, turn: int) -> bool:
    if turn < 0:
        return False
    now = known_bits(leaves, counter, turn)
    before = known_bits(leaves, counter, turn - 1) if turn else 0
    middle = known_bits(leaves, counter, turn // 2) if turn > 1 else 0
    return now is not None and before == 0 and bool(now & 1) and middle == 0


def _solve(build: Builder, leaves: Value, counter: Symbol) -> Linear | None:
    if not isinstance(leaves, Operation):
        return None
    if leaves.name == "ior":
        found = [_solve(build, v, counter) for v in leaves.inputs if counter in symbols_of(v)]
        return found[0] if len(found) == 1 else None
    if leaves.name not in ("ieq", "ilt", "ile", "ult", "ule"):
        return None
    a, b = (build.linear(v) for v in leaves.inputs)
    if a is None or b is None:
        return None
    gap = b - a
    step = gap.factor(counter)
    rest = gap - Linear(0, ((counter, step),))
    if counter in symbols_of(rest) or step == 0:
        return None
    if leaves.name == "ieq":
        if step > 0:
            rest, step = rest * -1, -step
        return _over(build, rest, -step, exact=True)
    if step < 0:
        return None
    # The gap grows: it leaves once b - a > 0 (for <) or >= 0 (for <=).
    needed = rest * -1 + (1 if leaves.name in ("ilt", "ult") else 0)
    if needed.is_constant:
        return Linear(max(0, -(-needed.constant // step)))
    return _over(build, needed + (step - 1), step, exact=False)


def _over(build: Builder, form: Linear, by: int, *, exact: bool) -> Linear | None:
    """Return form / by."""
    if exact and form.is_constant:
        return Linear(form.constant // by) if form.constant % by == 0 else None
    if exact and all(f % by == 0 for _, f in form.terms) and form.constant % by == 0:
        return Linear(form.constant // by, tuple((t, f // by) for t, f in form.terms))
    return build.linear(build.floor_divide(build.index(form, 64), by, 64))
