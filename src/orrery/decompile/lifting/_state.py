"""What registers and memory hold at one point of a function, and joining two such points.

Models:  memory as cells beside a base (the part of an address that is not constant). Two addresses
         that grow from different roots (arguments, the stack, memory asked for, fixed addresses)
         are taken to be apart, as every kernel's writer takes them.
Ignores: tensors that overlap on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd

from orrery.decompile.forms import Linear, Load, Operation, Symbol, Value
from orrery.decompile.values import Builder, Cells

_STACK = Symbol("stack", "memory")


@dataclass(slots=True)
class State:
    """Registers, known memory by base, and the conditions under which this point is reached.

    Attributes
    ----------
    vague : bases beside which something was stored that is not known any more, None for all; what
        is not known beside others is as a turn (or the function) found it
    """

    registers: Cells
    memory: dict[Linear, Cells] = field(default_factory=dict)
    guards: tuple[Value, ...] = ()
    vague: set[Linear | None] = field(default_factory=set)

    def copy(self) -> State:
        """Return the same, to be changed apart."""
        return State(
            self.registers.copy(), {b: c.copy() for b, c in self.memory.items()}, self.guards,
            set(self.vague),
        )  # fmt: skip


def split_address(form: Linear) -> tuple[Linear, int]:
    """Return an address as (base, constant)."""
    return Linear(0, form.terms), form.constant


@lru_cache(maxsize=1 << 14)
def roots(form: Linear) -> frozenset[Symbol | Operation | Load]:
    """Return what an address grows from."""
    return frozenset(
        term
        for term, factor in form.terms
        if factor == 1
        and (isinstance(term, Load) or (isinstance(term, Symbol) and term.kind != "counter"))
    )


def distance_is_safe(
    build: Builder, first: Linear, size: int, second: Linear, other_size: int
) -> bool:
    """Return whether two stretches of memory surely share no byte."""
    a, b = roots(first), roots(second)
    if a != b and not (a & b):
        return True
    apart = first - second
    low, high = build.range(apart)
    if (low is not None and low >= other_size) or (high is not None and high <= -size):
        return True
    if not apart.terms:
        return False
    step = gcd(*(f for _, f in apart.terms))
    rest = apart.constant % step
    return rest >= other_size and rest - step <= -size


def unsettled(build: Builder, base: Linear) -> bool:
    """Return whether an address still moves with something whose way is not known."""
    for term, _ in base.terms:
        if isinstance(term, Load) and term.address.factor(Symbol("stack", "memory")):
            return True
        if isinstance(term, Symbol):
            if term.kind == "unknown":
                return True
            if term.kind == "counter" and build.range(Linear(0, ((term, 1),)))[1] is None:
                return True
    return False


def forget_overlaps(build: Builder, state: State, address: Linear, size: int) -> None:
    """Forget cells at other bases that a store may have changed."""
    base, _ = split_address(address)
    own = roots(base)
    if any(s.name == "stack" for s in own if isinstance(s, Symbol)) and unsettled(build, base):
        return  # while it is not known where it goes; a loop settles that before it is done
    for other in list(state.memory):
        if other == base:
            continue
        theirs = roots(other)
        if own != theirs and not (own & theirs):
            continue
        cells = state.memory[other]
        for at, piece in list(cells.pieces.items()):
            if not distance_is_safe(build, address, size, other + at, piece.width // 8):
                del cells.pieces[at]
                state.vague.add(other)
        if not cells.pieces:
            del state.memory[other]


def join(build: Builder, states: list[State]) -> State:
    """Return one state for a point that several paths reach.

    What differs becomes a choice by the conditions in which the paths differ; what only some of
    the paths know is forgotten (memory) or unknown (registers).
    """
    if len(states) == 1:
        return states[0]
    shared = 0
    shortest = min(len(s.guards) for s in states)
    while shared < shortest and all(
        s.guards[shared] == states[0].guards[shared] for s in states[1:]
    ):
        shared += 1
    prefix = states[0].guards[:shared]
    result, left = _tree(build, [(s.guards[shared:], s) for s in states])
    result.guards = prefix if build.constant(left) == 1 else (*prefix, left)
    return result


Part = tuple[tuple[Value, ...], State]


def _tree(build: Builder, parts: list[Part]) -> tuple[State, Value]:
    """Return (state, condition under which any of the paths is taken)."""
    done = [p for p in parts if not p[0]]
    if done or len(parts) == 1:
        rests, state = done[0] if done else parts[0]
        condition: Value = build.number(1, 1)
        for guard in rests:
            condition = build.both(condition, guard)
        return state, condition
    test = parts[0][0][0]
    opposite = build.negate(test)
    yes = [(g[1:], s) for g, s in parts if g[0] == test]
    no = [(g[1:], s) for g, s in parts if g[0] == opposite]
    if len(yes) + len(no) == len(parts):
        if not no:
            state, left = _tree(build, yes)
            return state, build.both(test, left)
        a, left_a = _tree(build, yes)
        b, left_b = _tree(build, no)
        if left_a == left_b:
            return _choose(build, test, a, b), left_a
        whole = build.either(build.both(test, left_a), build.both(opposite, left_b))
        return _choose(build, test, a, b), whole
    first: Value = build.number(1, 1)
    for guard in parts[0][0]:
        first = build.both(first, guard)
    state, left = _tree(build, parts[1:])
    return _choose(build, first, parts[0][1], state), build.either(first, left)


def _choose(build: Builder, condition: Value, a: State, b: State) -> State:
    """Return a's values where the condition holds, else b's."""
    registers = _choose_cells(build, condition, a.registers, b.registers)
    memory = {}
    vague = a.vague | b.vague
    for base in {**a.memory, **b.memory}:
        first, second = (s.memory.get(base, Cells()).copy() for s in (a, b))
        for state, own, other in ((a, first, second), (b, second, first)):
            if not {base, None} & state.vague and not base.factor(_STACK):
                for at, piece in other.pieces.items():
                    if not any(own.overlapping(at, piece.width // 8)):
                        own.pieces[at] = Load(base + at, piece.width)
        kept = _choose_cells(build, condition, first, second)
        if kept.pieces:
            memory[base] = kept
        if kept.pieces.keys() != first.pieces.keys() | second.pieces.keys():
            vague.add(base)
    return State(registers, memory, (), vague)


def _choose_cells(build: Builder, condition: Value, a: Cells, b: Cells) -> Cells:
    result: dict[int, Value] = {}
    other = b.pieces
    for at, piece in a.pieces.items():
        same = other.get(at)
        if same is piece:
            result[at] = piece
        elif same is not None and same.width == piece.width:
            result[at] = build.select(condition, piece, same, piece.width)
        else:
            _choose_uneven(build, condition, at, piece, b, result)
    for at, piece in other.items():
        if at not in a.pieces:
            _choose_uneven(build, build.negate(condition), at, piece, a, result)
    return Cells(result)


def _choose_uneven(
    build: Builder, condition: Value, at: int, piece: Value, other: Cells, result: dict[int, Value]
) -> None:
    """Put together pieces that the two sides have cut differently, where both know all of it."""
    size = piece.width // 8
    covered = sum(
        min(at + size, o + p.width // 8) - max(at, o) for o, p in other.overlapping(at, size)
    )
    if covered < size:
        return
    if any(
        at <= o + p.width // 8 - 1 and o <= at + size - 1
        for o, p in Cells(result).overlapping(at, size)
    ):
        return
    parts = other.get(build, at, size, lambda _o, _s: piece)
    result[at] = build.select(condition, piece, build.concat(parts), piece.width)
