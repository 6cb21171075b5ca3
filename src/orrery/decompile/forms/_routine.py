"""A function of a binary as loops and stores, and a whole program of such functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._expressions import Linear, Symbol, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A loop that runs ``extent`` times; its counter goes 0, 1, 2, … whatever the code counts."""

    counter: Symbol
    extent: Linear
    address: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """``memory[address] = value`` for every turn of the loops around it where all guards hold.

    Attributes
    ----------
    width : bits written
    guards : conditions (1 bit) that must all be 1
    loops : around it, the outermost first
    instruction : its address in the binary
    """

    address: Linear
    value: Value
    width: int
    guards: tuple[Value, ...] = ()
    loops: tuple[Loop, ...] = ()
    instruction: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that was not lifted into its caller: another function of the binary, or an import.

    Attributes
    ----------
    target : address in the binary, or the name by which it is linked
    result : the symbol that stands for what it returned
    """

    target: int | str
    arguments: tuple[Value, ...]
    result: Symbol | None = None
    guards: tuple[Value, ...] = ()
    loops: tuple[Loop, ...] = ()
    instruction: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Code that could not be lifted, and why; never left out silently."""

    instruction: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routine:
    """One function: its steps in the order of the program.

    Attributes
    ----------
    address : of its first instruction
    name : as linked, or empty; a hint and no evidence
    arguments : what it was given, in the order of the calling convention
    steps : stores and calls; steps of one loop nest that share loops share the `Loop` objects
    notes : what a reader should know, e.g. that a sum stands in another order than in the code
    """

    address: int
    name: str = ""
    arguments: tuple[Symbol, ...] = ()
    steps: tuple[Store | Call, ...] = ()
    result: Value | None = None
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Memory that invocations share.

    Attributes
    ----------
    size_bytes : None where nothing says it
    data : bytes as they stand in the file, of a constant; None where they are not in the file
    role : ``input``, ``output``, ``constant`` or ``temporary``
    origin : where the bytes stand, e.g. ``.rodata+0x1d40``, for people
    """

    name: str
    role: str
    size_bytes: int | None = None
    data: bytes | None = None
    origin: str = ""
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where an argument points: so many bytes into a buffer."""

    buffer: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a routine with all its pointers known; numbers are bound as numbers."""

    routine: Routine
    bindings: Mapping[Symbol, View | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Routines in the order they run, and the memory between them: all that matching needs."""

    buffers: Mapping[str, Buffer]
    invocations: tuple[Invocation, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
