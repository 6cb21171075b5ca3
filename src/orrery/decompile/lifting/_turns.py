"""Places that a loop changes, what is believed of them, and steps with a loop put around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from orrery.decompile.forms import ZERO, Call, Linear, Load, Loop, Operation, Store, Symbol, Value
from orrery.decompile.values import Builder, walk

from ._evolution import Fold
from ._flow import Block, LiftLimitError
from ._source import Machine

DEEPEST = 14


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes that a loop may change: of registers (no base) or of memory beside a base."""

    base: Linear | None
    offset: int
    size: int


@dataclass(slots=True)
class Guess:
    """What is believed of a place.

    Attributes
    ----------
    kind : ``new`` (a symbol, nothing known), ``same``, ``step``, ``remade`` or
        ``first`` (remade, but for the first turn)
    value : what it holds when a turn begins
    half : whether what steps is a number of 32 bits that wraps around, above it 0
    """

    kind: Literal["new", "same", "step", "remade", "first"]
    symbol: Symbol
    start: Value
    value: Value
    step: Linear = ZERO
    half: bool = False
    fold: Fold | None = None
    end: Value | None = None


@dataclass(slots=True)
class LoopMemory:
    """What earlier times of carrying a loop out have shown of it.

    Attributes
    ----------
    turned : how often it was carried out turn by turn
    """

    wide: set[int] = field(default_factory=set)
    registers: set[tuple[int, int]] = field(default_factory=set)
    kinds: dict[Place, str] = field(default_factory=dict)
    steps: dict[Place, Linear] = field(default_factory=dict)
    stack: set[Place] = field(default_factory=set)
    extent: Linear | None = None
    hoped: set[Place] = field(default_factory=set)
    turned: int = 0


def wrapped(
    build: Builder,
    step: Store | Call,
    known: dict[Symbol, Value],
    loop: Loop,
    outer: tuple[Value, ...],
) -> Store | Call:
    """Return a step with a loop around it."""
    loops = (loop, *(_bounded(build, inner, known) for inner in step.loops))
    if len(loops) > DEEPEST:
        raise LiftLimitError("loops nested too deep")
    guards = (*outer, *(build.replace(g, known) for g in step.guards))
    if isinstance(step, Store):
        return replace(
            step, loops=loops, guards=guards, address=build.replace_linear(step.address, known),
            value=build.replace(step.value, known),
        )  # fmt: skip
    return replace(
        step, loops=loops, guards=guards,
        arguments=tuple(build.replace(a, known) for a in step.arguments),
    )  # fmt: skip


def is_double(piece: Value) -> bool:
    """Return whether a piece is a number of 64 bits rather than two of 32 side by side."""
    return piece.width == 64 and isinstance(piece, Operation) and piece.name[0] in "fmc"


def _bounded(build: Builder, loop: Loop, known: dict[Symbol, Value]) -> Loop:
    """Return an inner loop with its extent rewritten."""
    extent = build.replace_linear(loop.extent, known)
    return loop if extent == loop.extent else replace(loop, extent=extent)


def values_of(step: Store | Call) -> list[Value | Symbol]:
    """Return what a step is made of: guards, turns of its loops, what is stored or handed over."""
    found: list[Value | Symbol] = [*step.guards]
    for loop in step.loops:
        found.extend(t for t, _ in loop.extent.terms)
    if isinstance(step, Store):
        found.append(step.value)
        found.extend(t for t, _ in step.address.terms)
    else:
        found.extend(step.arguments)
    return found


def loads_of(step: Store | Call) -> set[tuple[Linear, int]]:
    """Return every place that a step reads, and how many bytes there."""
    return {
        (part.address, part.width // 8) for part in walk(*values_of(step)) if isinstance(part, Load)
    }


def written_registers(machine: Machine, blocks: Sequence[Block]) -> set[tuple[int, int]]:
    """Return the registers that blocks write, as (offset, size)."""
    low, high = machine.vectors
    never = {o for o, _, _ in machine.fixed} | set(machine.ignored) | {machine.stack}
    found: set[tuple[int, int]] = set()
    calls = False
    for block in blocks:
        calls = calls or block.ends == "call"
        if block.code is None:
            continue
        for statement in block.code.statements:
            if statement.tag != "Ist_Put":
                continue
            size = statement.data.result_size(block.code.tyenv) // 8
            offset = statement.offset
            if low <= offset < high:
                found.update((at, 4) for at in range(offset & ~3, offset + size, 4))
            elif offset - offset % machine.word not in never:
                found.add((offset - offset % machine.word, machine.word))
    if calls:
        kept = {o for o, _ in machine.kept}
        found |= {(o, machine.word) for o in machine.integers if o not in kept}
        found.add((machine.result, machine.word))
        found |= {(o, 4) for o in machine.floats}
    return found
