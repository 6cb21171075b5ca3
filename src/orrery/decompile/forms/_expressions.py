"""Expressions that a kernel computes, the same for every instruction set and compiler.

Models:  integers that address memory as linear forms over counters and arguments; everything else,
         floating-point arithmetic above all, as operators without meaning of their own: what a
         lifter saw, in the order it saw it. Vectors do not exist here: a lifter writes one
         expression a lane.
         Two expressions that are written alike are one object, however they came about: comparing
         them compares addresses, and what is asked of each (its symbols, its place in an order) is
         found once.
Ignores: rounding modes and exception flags.
Judge:   programs compiled and run, their memory compared bit by bit with that of the expressions
         evaluated (tests/decompile).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, Literal
from weakref import WeakValueDictionary

Order = tuple[int, str, int]
Kind = Literal["argument", "counter", "memory", "unknown"]

_KNOWN: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_set = object.__setattr__


class _Shared:
    """One object for all that is written alike, while any of them lives.

    Attributes
    ----------
    order : sorts terms the same way on every run
    symbols : every symbol in it; the counter of a reduction too, where its body has it
    """

    __slots__ = ("__weakref__", "_hash", "order", "symbols")
    _hash: int
    order: Order
    symbols: frozenset[Symbol]

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in type(self).__slots__)


def _made(
    key: tuple[Any, ...], parts: tuple[Any, ...], place: tuple[int, str],
    symbols: frozenset[Symbol] = frozenset(),
) -> Any:  # fmt: skip
    """Return what no other is like, of a key (its class and its fields) and what it hashes by."""
    made, number = object.__new__(key[0]), hash(parts)
    for name, item in zip(key[0].__slots__, key[1:], strict=True):
        _set(made, name, item)
    _set(made, "_hash", number)
    _set(made, "order", (*place, number))
    _set(made, "symbols", symbols)
    _KNOWN[key] = made
    return made


@cache
def _number(text: str) -> int:
    """Return a number for a name, the same on every run (`hash` of a text is not)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")


def _signless(number: int) -> int:
    """Return a number without sign for each number: to `hash`, -1 and -2 are the same."""
    return 2 * number if number >= 0 else -2 * number - 1


def _union(parts: Iterable[frozenset[Symbol]]) -> frozenset[Symbol]:
    whole: frozenset[Symbol] = frozenset()
    for part in parts:
        if part is whole or part <= whole:
            continue
        whole = whole | part if whole else part
    return whole


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Symbol(_Shared):
    """A number that is not known when a kernel is read.

    Attributes
    ----------
    kind : ``argument`` (what the kernel was given), ``counter`` (of a loop, 0 up to its extent),
        ``memory`` (where a buffer that the kernel asked for begins; the stack counts) or
        ``unknown``
    """

    name: str
    kind: Kind

    def __new__(cls, name: str, kind: Kind) -> Symbol:
        key = (cls, name, kind)
        made: Symbol | None = _KNOWN.get(key)
        if made is None:
            made = _made(key, (_number(name), _number(kind)), (2, f"{name} {kind}"))
            _set(made, "order", (2, f"{name} {kind}", 0))
            _set(made, "symbols", frozenset((made,)))
        return made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Linear(_Shared):
    """``constant + sum(factor * term)``: an integer, exact (no wrap-around).

    Attributes
    ----------
    terms : sorted by `order`; no factor is 0. A term that is no symbol is an integer operation
        (`Operation` on `Index` values: ``idiv``, ``imod``, ``select``, …) or a `Load` of a pointer
        or an integer
    """

    constant: int = 0
    terms: tuple[tuple[Symbol | Operation | Load, int], ...] = ()

    def __new__(
        cls, constant: int = 0, terms: tuple[tuple[Symbol | Operation | Load, int], ...] = ()
    ) -> Linear:
        key = (cls, constant, terms)
        made: Linear | None = _KNOWN.get(key)
        if made is None:
            # Numbers of NumPy are equal to Python's and hash alike, but they overflow.
            constant, terms = int(constant), tuple((t, int(f)) for t, f in terms)
            parts = (3, _signless(constant), *((t._hash, _signless(f)) for t, f in terms))
            symbols = _union(t.symbols for t, _ in terms)
            made = _made((cls, constant, terms), parts, (3, ""), symbols)
        return made

    @property
    def is_constant(self) -> bool:
        """Whether it is one known number."""
        return not self.terms

    def __add__(self, other: Linear | int) -> Linear:
        if isinstance(other, int):
            return Linear(self.constant + other, self.terms) if other else self
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
        if factor == 1:
            return self
        if not factor:
            return Linear()
        return Linear(self.constant * factor, tuple((t, f * factor) for t, f in self.terms))

    def factor(self, term: Symbol | Operation | Load) -> int:
        """Return what a term is multiplied by, 0 where it does not occur."""
        return next((f for t, f in self.terms if t is term), 0)

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
        kept.sort(key=lambda pair: pair[0].order)
    return Linear(constant, tuple(kept))


ZERO = Linear()


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Constant(_Shared):
    """Bits as they stand in the code or in memory that nobody writes; ``width`` in bits."""

    bits: int
    width: int

    def __new__(cls, bits: int, width: int) -> Constant:
        key = (cls, bits, width)
        made: Constant = _KNOWN.get(key) or _made(key, (4, _signless(bits), width), (4, ""))
        return made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Index(_Shared):
    """An integer that counters and arguments make up, where it is used as a value."""

    value: Linear
    width: int = 64

    def __new__(cls, value: Linear, width: int = 64) -> Index:
        key = (cls, value, width)
        made: Index = _KNOWN.get(key) or _made(key, (5, value._hash, width), (5, ""), value.symbols)
        return made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Load(_Shared):
    """What memory holds at an address, ``width`` bits of it, when the step is reached.

    Steps of a routine are in order, so that what an earlier store left is what this reads.
    """

    address: Linear
    width: int

    def __new__(cls, address: Linear, width: int) -> Load:
        key = (cls, address, width)
        made: Load = _KNOWN.get(key) or _made(
            key, (6, address._hash, width), (0, ""), address.symbols
        )
        return made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Operation(_Shared):
    """An operator applied to values.

    Attributes
    ----------
    name : floating point: ``fadd fsub fmul fdiv fma`` (a·b + c, rounded once) ``fneg fabs fsqrt
        fmax fmin`` (IEEE maximumNumber) ``fmaximum fminimum`` (IEEE maximum: no number if either
        is none, 0 above -0) ``fround ffloor fceil ftrunc``; ``flt fle feq funordered``
        (1 bit); conversions ``itof utof ftoi ftou fwiden fnarrow``; integers ``iadd isub imul idiv
        udiv imod umod iand ior ixor inot ishl ishr isar ilt ile ieq ult ule iextend uextend
        itruncate``, ``uhigh ihigh`` (the upper half of a product), ``iclz`` (how many upper bits
        are 0), ``iconcat`` (pieces side by side, the lowest first); conditions are values of 1 bit,
        joined by ``inot iand ior``;
        ``select`` (condition, then, else); ``max_x86``, ``min_x86`` (the second where unordered or
        equal); ``call:NAME`` for a mathematical function of one or two numbers; ``result`` for the
        float that a `Call` gave back
    width : of the result, in bits; 1 for a condition
    """

    name: str
    inputs: tuple[Value, ...]
    width: int

    def __new__(cls, name: str, inputs: tuple[Value, ...], width: int) -> Operation:
        key = (cls, name, inputs, width)
        made: Operation | None = _KNOWN.get(key)
        if made is None:
            parts = (7, _number(name), width, *(v._hash for v in inputs))
            made = _made(key, parts, (1, name), _union(v.symbols for v in inputs))
        return made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Reduction(_Shared):
    """What is left in an accumulator after a loop: ``start op body(0) op body(1) …``, in order.

    Attributes
    ----------
    operation : ``fadd fmul fmax fmin fmaximum max_x86 iadd imul …``
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

    def __new__(
        cls, operation: str, counter: Symbol, extent: Linear, body: Value, start: Value,
        width: int, fused: bool = False,
    ) -> Reduction:  # fmt: skip
        key = (cls, operation, counter, extent, body, start, width, fused)
        made: Reduction | None = _KNOWN.get(key)
        if made is None:
            inner = (extent, body, start)
            parts = (8, _number(operation), width, fused, counter._hash, *(p._hash for p in inner))
            made = _made(key, parts, (6, operation), _union(p.symbols for p in inner))
        return made


Value = Constant | Index | Load | Operation | Reduction
