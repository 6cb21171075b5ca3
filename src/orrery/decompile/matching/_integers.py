"""Integers that counters make up: evaluated over all turns, and made linear where they are.

Compilers write one loop for two and take the counters apart again (``i / 7``, ``i % 7``, shifts,
masks, multiplications by a magic number). A counter is split here until its uses are linear.

Models:  whole numbers of 64 bits, wrapped at the width that an operation states.
Ignores: integers read from memory.
Judge:   every answer is checked on all turns of the loops that it speaks of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..forms import Constant, Index, Linear, Load, Operation, Reduction, Symbol, Value, linear
from ..values import symbols_of

#: More turns than this are not walked through to understand one integer.
MOST_TURNS = 1 << 21

Ints = NDArray[np.int64]


def _wrap(value: Ints, width: int, *, signed: bool) -> Ints:
    if width >= 64:
        return value
    mask = (1 << width) - 1
    low: Ints = value & mask
    if signed:
        low = np.where(low >> (width - 1), low - (1 << width), low)
    return low


def _divide(a: Ints, b: Ints) -> Ints:
    """Divide towards zero, as machines do."""
    quotient = np.abs(a) // np.maximum(np.abs(b), 1)
    return np.where((a < 0) ^ (b < 0), -quotient, quotient)


_BINARY: dict[str, Callable[[Ints, Ints], Any]] = {
    "iadd": lambda a, b: a + b,
    "isub": lambda a, b: a - b,
    "imul": lambda a, b: a * b,
    "idiv": _divide,
    "udiv": lambda a, b: a // np.maximum(b, 1),
    "imod": lambda a, b: a - _divide(a, b) * b,
    "umod": lambda a, b: a % np.maximum(b, 1),
    "iand": lambda a, b: a & b,
    "ior": lambda a, b: a | b,
    "ixor": lambda a, b: a ^ b,
    "ishl": lambda a, b: a << np.clip(b, 0, 62),
    "ishr": lambda a, b: a >> np.clip(b, 0, 63),
    "isar": lambda a, b: a >> np.clip(b, 0, 63),
    "ilt": lambda a, b: a < b,
    "ile": lambda a, b: a <= b,
    "ieq": lambda a, b: a == b,
    "ult": lambda a, b: a < b,
    "ule": lambda a, b: a <= b,
    "imax": np.maximum,
    "imin": np.minimum,
}
_UNSIGNED = frozenset({"udiv", "umod", "ishr", "ult", "ule"})


def evaluate_integers(value: Value, turns: Mapping[Symbol, Ints]) -> NDArray[Any] | None:
    """Return a value over arrays of counters (they broadcast); None where it needs memory.

    ``itof`` and ``utof`` give numbers of floating point; nothing else does.
    """
    if isinstance(value, Constant):
        bits = np.asarray(value.bits & (2**64 - 1), np.uint64)
        return _wrap(bits.astype(np.int64), value.width, signed=True)
    if isinstance(value, Index):
        return _evaluate_linear(value.value, turns)
    if isinstance(value, Reduction):
        return _evaluate_sum(value, turns)
    if not isinstance(value, Operation):
        return None
    inputs = [evaluate_integers(part, turns) for part in value.inputs]
    if any(part is None for part in inputs):
        return None
    known = [part for part in inputs if part is not None]
    if value.name in ("itof", "utof"):
        return np.asarray(known[0], np.float32 if value.width == 32 else np.float64)
    if value.name in ("fwiden", "fnarrow") and known[0].dtype.kind == "f":
        return np.asarray(known[0], np.float32 if value.width == 32 else np.float64)
    if any(part.dtype.kind == "f" for part in known):
        return None
    if value.name == "select":
        return np.where(known[0] != 0, known[1], known[2])
    if value.name == "iextend":
        width = getattr(value.inputs[0], "width", 64)
        return _wrap(known[0], width, signed=width > 1)
    if value.name in ("uextend", "itruncate"):
        width = min(value.width, getattr(value.inputs[0], "width", 64))
        return _wrap(known[0], width, signed=value.name == "itruncate")
    if value.name == "inot":
        flipped = ~known[0]
        return flipped & 1 if value.width == 1 else _wrap(flipped, value.width, signed=True)
    if value.name in ("uhigh", "ihigh") and len(known) == 2:
        return _upper_half(value, known)
    operation = _BINARY.get(value.name)
    if operation is None or len(known) < 2:
        return None
    if value.name in _UNSIGNED:
        widths = [getattr(part, "width", 64) for part in value.inputs]
        known = [
            _wrap(k, w, signed=False) if w < 64 else k
            for k, w in zip(known, widths, strict=True)
        ]  # fmt: skip
        if any(w >= 64 and (k < 0).any() for k, w in zip(known, widths, strict=True)):
            if value.name != "ult" and value.name != "ule":
                return None
            known = [k.astype(np.uint64) for k in known]
    result = np.asarray(operation(known[0], known[1]))
    for more in known[2:]:  # only of operators whose order says nothing
        result = np.asarray(operation(result, more))
    if result.dtype == np.bool_:
        return result.astype(np.int64)
    return _wrap(result.astype(np.int64), value.width, signed=value.name not in _UNSIGNED)


def _upper_half(value: Operation, known: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the upper half of a product, as divisions by a constant use it."""
    signed, width = value.name == "ihigh", value.width
    mask = (1 << width) - 1

    def exact(part: NDArray[Any]) -> NDArray[Any]:
        wide = part.astype(object)
        return wide if signed else wide & mask

    high = (exact(known[0]) * exact(known[1])) >> width
    return _wrap(np.asarray(high & ((1 << min(width, 63)) - 1)).astype(np.int64), width,
                 signed=True)  # fmt: skip


def _evaluate_sum(value: Reduction, turns: Mapping[Symbol, Ints]) -> NDArray[Any] | None:
    """Count over a loop: how many positions of a window lie inside an image, and the like."""
    if value.operation != "iadd" or not value.extent.is_constant:
        return None
    start = evaluate_integers(value.start, turns)
    inner = {counter: array[..., None] for counter, array in turns.items()}
    inner[value.counter] = np.arange(value.extent.constant, dtype=np.int64)
    body = evaluate_integers(value.body, inner)
    if start is None or body is None:
        return None
    shape = np.broadcast_shapes(body.shape, (value.extent.constant,))
    total = np.broadcast_to(body, shape).sum(-1)
    return np.asarray(start + total)


def _evaluate_linear(form: Linear, turns: Mapping[Symbol, Ints]) -> NDArray[Any] | None:
    total: NDArray[Any] = np.asarray(_int64(form.constant), np.int64)
    for term, factor in form.terms:
        if isinstance(term, Symbol):
            part = turns.get(term)
        elif isinstance(term, Load):
            part = None
        else:
            part = evaluate_integers(term, turns)
        if part is None or part.dtype.kind == "f":
            return None
        total = total + part * _int64(factor)
    return total


def _int64(number: int) -> int:
    """Return a number as 64 bits hold it: addresses and factors wrap around."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def lattice(points: Ints) -> list[tuple[int, tuple[int, ...]]] | None:
    """Return the loops, (turns, steps), the outermost first, that walk through points in order.

    Parameters
    ----------
    points : one row a point; None is returned where they are no full turns of loops
    """
    loops: list[tuple[int, tuple[int, ...]]] = []
    while len(points) > 1:
        step = points[1] - points[0]
        same = (np.diff(points, axis=0) == step).all(axis=1)
        run = len(points) if same.all() else int(np.argmin(same)) + 1
        if len(points) % run:
            return None
        rows = points.reshape(-1, run, points.shape[1])
        if not (np.diff(rows, axis=1) == step).all():
            return None
        loops.append((run, tuple(int(s) for s in step)))
        points = rows[:, 0]
    return loops[::-1]


def grid(counters: Sequence[Symbol], extents: Mapping[Symbol, int]) -> dict[Symbol, Ints]:
    """Return every turn of counters as arrays that broadcast, the first counter outermost."""
    rank = len(counters)
    return {
        c: np.arange(extents[c], dtype=np.int64).reshape((-1,) + (1,) * (rank - 1 - k))
        for k, c in enumerate(counters)
    }


def linear_over(value: Value | Linear, extents: Mapping[Symbol, int]) -> Linear | None:
    """Return an integer as a linear form over the counters it uses, None where it is not linear.

    It is computed for every turn and compared, so that an answer holds for all of them.
    """
    form = Index(value) if isinstance(value, Linear) else value
    counters = sorted(symbols_of(form), key=lambda s: s.name)
    if any(c not in extents for c in counters):
        return None
    if prod(extents[c] for c in counters) > MOST_TURNS:
        return None
    values = evaluate_integers(form, grid(counters, extents))
    if values is None or values.dtype.kind != "i":
        return None
    values = np.broadcast_to(values, tuple(extents[c] for c in counters))
    origin = int(values.flat[0]) if values.size else 0
    fitted = np.asarray(origin, np.int64)
    terms: dict[Symbol | Operation | Load, int] = {}
    for axis, counter in enumerate(counters):
        if extents[counter] < 2:
            continue
        place = tuple(1 if k == axis else 0 for k in range(len(counters)))
        slope = int(values[place]) - origin
        terms[counter] = slope
        steps = np.arange(extents[counter], dtype=np.int64) * slope
        fitted = fitted + steps.reshape((-1,) + (1,) * (len(counters) - 1 - axis))
    if not np.array_equal(np.broadcast_to(fitted, values.shape), values):
        return None
    return linear(origin, terms)


def split_at(value: Value | Linear, extents: Mapping[Symbol, int]) -> tuple[Symbol, int] | None:
    """Return a counter and how many turns of it make a part in which an integer is linear.

    ``i // 7`` and ``i % 7`` are linear once ``i`` is 7 turns inside of others.
    """
    form = Index(value) if isinstance(value, Linear) else value
    counters = sorted(symbols_of(form), key=lambda s: s.name)
    if any(c not in extents for c in counters):
        return None
    for counter in counters:
        turns = {c: np.asarray(0, np.int64) for c in counters}
        turns[counter] = np.arange(extents[counter], dtype=np.int64)
        values = evaluate_integers(form, turns)
        if values is None or values.shape != (extents[counter],):
            continue
        steps = np.diff(values)
        breaks = np.flatnonzero(steps != steps[0]) if steps.size else steps
        if not breaks.size:
            continue
        # The first step that differs: a quotient moves there, a remainder falls back there.
        for size in (int(breaks[0]) + 1, int(breaks[0])):
            if 1 < size < extents[counter] and extents[counter] % size == 0:
                return counter, size
    return None
