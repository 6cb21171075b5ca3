"""Expressions that a kernel computes, the same for every instruction set and compiler.

Models:  integers that address memory as linear forms over counters and arguments; everything else,
         floating-point arithmetic above all, as operators without meaning of their own: what a
         lifter saw, in the order it saw it. Vectors do not exist here: a lifter writes one
         expression a lane.
Ignores: rounding modes and exception flags.
Judge:   programs compiled and run, their memory compared bit by bit with that of the expressions
         evaluated (tests/decompile).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = [
    "ZERO",
    "Constant",
    "Index",
    "Linear",
    "Load",
    "Operation",
    "Reduction",
    "Symbol",
    "Value",
    "linear",
]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A number that is not known when a kernel is read.

    Attributes
    ----------
    kind : ``argument`` (what the kernel was given), ``counter`` (of a loop, 0 up to its extent),
        ``memory`` (where a buffer that the kernel asked for begins; the stack counts) or
        ``unknown``
    """

    name: str
    kind: Literal["argument", "counter", "memory", "unknown"]


@dataclass(frozen=True, slots=True)
class Linear:
    """``constant + sum(factor * term)``: an integer, exact (no wrap-around).

    Attributes
    ----------
    terms : sorted by the term's text; no factor is 0. A term that is no symbol is an integer
        operation (`Operation` on `Index` values: ``idiv``, ``imod``, ``select``, …) or a `Load`
        of a pointer or an integer
    """

    constant: int = 0
    terms: tuple[tuple[Symbol | Operation | Load, int], ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether it is one known number."""
        return not self.terms

    def __add__(self, other: Linear | int) -> Linear:
        if isinstance(other, int):
            return Linear(self.constant + other, self.terms)
        if not other.terms:
            return Linear(self.constant + other.constant, self.terms)
        if not self.terms:
            return Linear(self.constant + other.constant, other.terms)
        total = dict(self.terms)
        for term, factor in other.terms:
            total[term] = total.get(term, 0) + factor
        return linear(self.constant + other.constant, total)

    def __sub__(self, other: Linear | int) -> Linear:
        return self + (-other if isinstance(other, int) else other * -1)

    def __mul__(self, factor: int) -> Linear:
        if not factor:
            return Linear()
        return Linear(self.constant * factor, tuple((t, f * factor) for t, f in self.terms))

    def factor(self, term: Symbol | Operation | Load) -> int:
        """Return what a term is multiplied by, 0 where it does not occur."""
        return next((f for t, f in self.terms if t == term), 0)

    def replace(self, values: Mapping[Symbol, Linear]) -> Linear:
        """Return it with symbols replaced; those inside of operations stay."""
        result = Linear(self.constant)
        for term, factor in self.terms:
            known = values.get(term) if isinstance(term, Symbol) else None
            result += Linear(0, ((term, factor),)) if known is None else known * factor
        return result


def linear(
    constant: int = 0, terms: Mapping[Symbol | Operation | Load, int] | None = None
) -> Linear:
    """Return a linear form in its one normal shape."""
    kept = [(t, f) for t, f in (terms or {}).items() if f]
    if len(kept) > 1:
        kept.sort(key=lambda pair: _text(pair[0]))
    return Linear(constant, tuple(kept))


@lru_cache(maxsize=1 << 16)
def _text(term: Symbol | Operation | Load) -> str:
    return repr(term)


ZERO = Linear()


@dataclass(frozen=True, slots=True)
class Constant:
    """Bits as they stand in the code or in memory that nobody writes; ``width`` in bits."""

    bits: int
    width: int


@dataclass(frozen=True, slots=True)
class Index:
    """An integer that counters and arguments make up, where it is used as a value."""

    value: Linear
    width: int = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What memory holds at an address, ``width`` bits of it, when the step is reached.

    Steps of a routine are in order, so that what an earlier store left is what this reads.
    """

    address: Linear
    width: int


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator applied to values.

    Attributes
    ----------
    name : floating point: ``fadd fsub fmul fdiv fma`` (a·b + c, rounded once) ``fneg fabs fsqrt
        fmax fmin`` (IEEE maximumNumber) ``fround ffloor fceil ftrunc``; ``flt fle feq funordered``
        (1 bit); conversions ``itof utof ftoi ftou fwiden fnarrow``; integers ``iadd isub imul idiv
        udiv imod umod iand ior ixor inot ishl ishr isar ilt ile ieq ult ule iextend uextend
        itruncate``, ``uhigh ihigh`` (the upper half of a product), ``iconcat`` (pieces side by
        side, the lowest first); conditions are values of 1 bit, joined by ``inot iand ior``;
        ``select`` (condition, then, else); ``max_x86``, ``min_x86`` (the second where unordered or
        equal); ``call:NAME`` for a mathematical function of one or two numbers; ``result`` for the
        float that a `Call` gave back
    width : of the result, in bits; 1 for a condition
    """

    name: str
    inputs: tuple[Value, ...]
    width: int


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is left in an accumulator after a loop: ``start op body(0) op body(1) …``, in order.

    Attributes
    ----------
    operation : ``fadd fmul fmax fmin max_x86 min_x86 iadd imul …``
    counter, extent : of the loop that it runs over
    body : what one turn adds; a Reduction again where loops are nested
    fused : whether each product of the body enters by ``fma``, unrounded

    Notes
    -----
    A turn that adds only under a condition has ``select(condition, addend, nothing)`` for its body,
    where ``nothing`` is what the operation does not notice: -0.0 for a sum, 1.0, an infinity. An
    inner reduction of a nest starts at that number too: it goes on in the same accumulator.
    """

    operation: str
    counter: Symbol
    extent: Linear
    body: Value
    start: Value
    width: int
    fused: bool = False


Value = Constant | Index | Load | Operation | Reduction
