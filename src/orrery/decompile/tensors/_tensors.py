"""Tensors that statements compute, as a graph without copies: equal ones are one.

Models:  ONNX's operators on tensors of known shape, with rearrangements of the memory between
         them pushed behind elementwise operators and reductions, where they meet and cancel.
Ignores: rounding where constants are folded in another order than they were computed.
Judge:   `evaluate` against the network that a routine was written from (tests/decompile/matching).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._digits import Digits, compose, groups_of, identity, normal, refine

Array = NDArray[Any]

#: Operators that work on each element alone, with as many inputs.
ELEMENTWISE = {
    "Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "Max": 2, "Min": 2, "Pow": 2, "Neg": 1, "Abs": 1,
    "Sqrt": 1, "Exp": 1, "Log": 1, "Tanh": 1, "Erf": 1, "Relu": 1, "Clip": 3, "LeakyRelu": 1,
    "Sigmoid": 1, "Gelu": 1, "Floor": 1, "Ceil": 1, "Round": 1, "Sin": 1, "Cos": 1,
    "Reciprocal": 1, "Where": 3, "Less": 2, "LessOrEqual": 2, "Equal": 2, "HardSigmoid": 1,
    "HardSwish": 1, "Elu": 1, "Softplus": 1, "PRelu": 2,
}  # fmt: skip


_COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min"})


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor; made by `Tensors` only, so that equal ones are the same object.

    Attributes
    ----------
    op : ONNX operator, or ``Input``, ``Constant``, ``Absent`` (a constant whose bytes are not
        there), ``Rearrange`` (attribute ``digits``), ``WindowSum``, ``WindowMax`` (attribute
        ``windows``)
    value : of a constant
    sources : where it is computed (addresses of instructions) or stands (a constant's)
    evidence : what it was concluded from
    """

    op: str
    inputs: tuple[Tensor, ...]
    attributes: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    number: int
    value: Array | None = None
    sources: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def is_constant(self) -> bool:
        return self.value is not None

    def attribute(self, name: str) -> Any:
        return dict(self.attributes)[name]

    @property
    def digits(self) -> Digits:
        """How its elements lie, against the tensor that it rearranges."""
        return self.attribute("digits") if self.op == "Rearrange" else identity(self.size)

    @property
    def inner(self) -> Tensor:
        """The tensor that it rearranges, or itself."""
        return self.inputs[0] if self.op == "Rearrange" else self

    def scalar(self) -> float | None:
        """Return the one number that a constant holds everywhere, None where there is none."""
        if self.value is None or not self.value.size:
            return None
        first = self.value.flat[0]
        if self.value.size > 1 and not np.array_equal(
            self.value, np.broadcast_to(first, self.value.shape)
        ):  # fmt: skip
            return None
        return float(first)


class Tensors:
    """Makes tensors, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Tensor] = {}
        self._next = 0
        #: written on every tensor made while it stands: addresses of instructions
        self.source = ""

    def _make(
        self, op: str, inputs: Sequence[Tensor], shape: Sequence[int], value: Array | None = None,
        key: object = None, **attributes: Any,
    ) -> Tensor:  # fmt: skip
        pairs = tuple(sorted(attributes.items()))
        full = (op, tuple(t.number for t in inputs), pairs, tuple(shape), key)
        found = self._known.get(full)
        if found is None:
            found = Tensor(op, tuple(inputs), pairs, tuple(shape), self._next, value)
            self._next += 1
            self._known[full] = found
        if self.source and self.source not in found.sources and value is None:
            found.sources.append(self.source)
        return found

    def all(self) -> Iterator[Tensor]:
        """Yield every tensor made, the older first."""
        yield from self._known.values()

    # -- leaves ------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._make("Input", (), shape, name=name)

    def absent(self, name: str, shape: Sequence[int]) -> Tensor:
        return self._make("Absent", (), shape, name=name)

    def constant(self, value: Any, source: str = "") -> Tensor:
        array = np.array(value, order="C")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        array.flags.writeable = False
        digest = hashlib.blake2b(array.tobytes(), digest_size=20).digest()
        made = self._make("Constant", (), array.shape, array, (array.dtype.str, digest))
        if source and source not in made.sources:
            made.sources.append(source)
        return made

    def scalar(self, number: float) -> Tensor:
        return self.constant(np.asarray(number, np.float32))

    # -- rearrangements ----------------------------------------------------------------------

    def rearrange(
        self, x: Tensor, sizes: Sequence[int], order: Sequence[int], shape: Sequence[int]
    ) -> Tensor:
        """Return `x` read as `sizes`, transposed to `order`, read as `shape`."""
        return self._rearranged(x, Digits(tuple(sizes), tuple(order)), tuple(shape))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return self._rearranged(x, identity(x.size), tuple(shape))

    def _rearranged(self, x: Tensor, digits: Digits, shape: tuple[int, ...]) -> Tensor:
        if x.value is not None:
            array = x.value.reshape(digits.sizes).transpose(digits.order).reshape(shape)
            made = self.constant(array)
            _add(made.sources, x.sources)
            return made
        digits = normal(digits)
        if x.op == "Rearrange":
            both = compose(x.digits, digits)
            if both is not None:
                return self._rearranged(x.inputs[0], both, shape)
        if digits.is_identity and x.shape == shape:
            return x
        return self._make("Rearrange", (x,), shape, digits=digits)

    def axes_in_memory(self, x: Tensor) -> tuple[int, ...]:
        """Return axes of `x` as it lies in memory, as fine as what it is made of says."""
        if x.op != "Rearrange":
            return x.shape
        fine = refine(x.digits, read=x.inputs[0].shape)
        return fine.written if fine is not None else x.shape

    # -- elementwise -------------------------------------------------------------------------

    def apply(self, op: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Return an elementwise operator of tensors that broadcast against each other."""
        shape = np.broadcast_shapes(*(t.shape for t in inputs))
        if all(t.op == "Constant" and t.size == 1 for t in inputs):
            return self._fold(op, inputs, attributes)
        inputs = tuple(
            self.reshape(t, (1,) * len(shape)) if t.size == 1 and t.value is None else t
            for t in inputs
        )
        main = self._main(inputs, shape)
        if main is None:
            return self._make(op, inputs, shape, **attributes)
        pulled = [self._pull(t, main) for t in inputs]
        if any(t is None for t in pulled):
            return self._make(op, inputs, shape, **attributes)
        if not main.digits.is_identity and _turned(pulled, main.size) >= _turned(inputs, main.size):
            return self._make(op, inputs, shape, **attributes)  # the others would be turned instead
        # Broadcasting may be over an axis that only the rearranged one has: sizes are the same.
        inner = self.apply(op, *(t for t in pulled if t is not None), **attributes)
        return self._rearranged(inner, main.digits, shape)

    def _main(self, inputs: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor | None:
        """Return the input whose rearrangement goes behind the operator."""
        size = prod(shape)
        whole = [
            t for t in inputs
            if t.size == size and t.op == "Rearrange"
            # Of an input of which only the size is known the loops say more.
            and not (t.inputs[0].op == "Input" and len(t.inputs[0].shape) == 1)
        ]  # fmt: skip
        if not whole:
            return None
        plain = [
            t for t in inputs
            if t.size == size and t.op not in ("Rearrange", "Constant", "Input", "Absent")
        ]  # fmt: skip
        best = max(whole, key=lambda t: (t.inputs[0].op != "Input", len(t.inputs[0].shape)))
        if plain and best.digits.is_identity and len(plain[0].shape) >= len(best.inputs[0].shape):
            return None
        return best

    def _pull(self, x: Tensor, main: Tensor) -> Tensor | None:
        """Return what `x` is before the rearrangement of `main`, broadcasting as before."""
        inner = main.inputs[0]
        if x is main:
            return inner
        if x.size == 1:
            return self.reshape(x, (1,) * len(inner.shape) if x.shape else ())
        rank = len(main.shape)
        have = (1,) * (rank - len(x.shape)) + x.shape
        if have == main.shape:
            back = self._rearranged(x, main.digits.inverse, inner.shape)
            return self._compressed(back) if back.is_constant else back
        fine = refine(main.digits, read=inner.shape, written=main.shape)
        if fine is None:
            return self._expanded(x, main)
        written_axes = groups_of(fine.written, main.shape)
        read_axes = groups_of(fine.sizes, inner.shape)
        if written_axes is None or read_axes is None:
            return self._expanded(x, main)
        present = {
            fine.order[place]
            for axis, group in enumerate(written_axes)
            for place in group
            if have[axis] != 1
        }
        mixed = [g for g in read_axes if g and 0 < len(present & set(g)) < len(g)]
        if mixed:
            return self._expanded(x, main)
        mine = [digit for digit in fine.order if digit in present]  # as they lie in x
        wanted = sorted(mine)
        shape = tuple(
            prod(fine.sizes[d] for d in group) if group and group[0] in present else 1
            for group in read_axes
        )
        return self.rearrange(
            x, [fine.sizes[d] for d in mine], [mine.index(d) for d in wanted], shape
        )

    def _expanded(self, x: Tensor, main: Tensor) -> Tensor | None:
        """Pull a constant element by element."""
        if x.value is None:
            return None
        whole = self.constant(np.broadcast_to(x.value, main.shape))
        _add(whole.sources, x.sources)
        return self._compressed(self._rearranged(whole, main.digits.inverse, main.inputs[0].shape))

    def _compressed(self, x: Tensor) -> Tensor:
        """Return a constant with axes of size 1 where it does not change along them."""
        array = x.value
        assert array is not None
        for axis in range(array.ndim):
            if array.shape[axis] > 1:
                first = array.take([0], axis)
                if first.tobytes() == array.take([-1], axis).tobytes() and np.array_equal(
                    array, np.broadcast_to(first, array.shape)
                ):  # fmt: skip
                    array = first
        if array is x.value:
            return x
        made = self.constant(array)
        _add(made.sources, x.sources)
        return made

    def _fold(self, op: str, inputs: Sequence[Tensor], attributes: dict[str, Any]) -> Tensor:
        """Compute with numbers, as the machine would: in float32."""
        values = [t.value for t in inputs]
        compute: dict[str, Any] = {
            "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
            "Max": np.maximum, "Min": np.minimum, "Neg": np.negative, "Sqrt": np.sqrt,
            "Abs": np.abs, "Exp": np.exp, "Pow": np.power, "Log": np.log,
        }  # fmt: skip
        if op not in compute or attributes:
            shape = np.broadcast_shapes(*(t.shape for t in inputs))
            return self._make(op, inputs, shape, **attributes)
        with np.errstate(all="ignore"):
            made = self.constant(np.asarray(compute[op](*values), np.float32))
        for t in inputs:
            _add(made.sources, t.sources)
        return made

    # -- reductions --------------------------------------------------------------------------

    def reduce(self, op: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return ``ReduceSum``, ``ReduceMax``, … over axes, which stay with size 1."""
        axes = tuple(sorted(axes))
        shape = tuple(1 if k in axes else s for k, s in enumerate(x.shape))
        axes = tuple(k for k in axes if x.shape[k] != 1)
        if not axes:
            return x
        pushed = self._pushed_reduction(op, x, axes, shape)
        return pushed if pushed is not None else self._make(op, (x,), shape, axes=axes)

    def _pushed_reduction(
        self, op: str, x: Tensor, axes: tuple[int, ...], shape: tuple[int, ...]
    ) -> Tensor | None:
        if x.op != "Rearrange":
            return None
        inner = x.inputs[0]
        fine = refine(x.digits, read=inner.shape, written=x.shape)
        if fine is None:
            return None
        written_axes = groups_of(fine.written, x.shape)
        read_axes = groups_of(fine.sizes, inner.shape)
        if written_axes is None or read_axes is None:
            return None
        gone = {fine.order[place] for axis in axes for place in written_axes[axis]}
        if any(g and 0 < len(gone & set(g)) < len(g) for g in read_axes):
            return None
        inner_axes = [k for k, g in enumerate(read_axes) if g and g[0] in gone]
        reduced = self.reduce(op, inner, inner_axes)
        left = [d for d in range(len(fine.sizes)) if d not in gone]
        order = [left.index(d) for d in fine.order if d not in gone]
        return self.rearrange(reduced, [fine.sizes[d] for d in left], order, shape)

    # -- padding, joining --------------------------------------------------------------------

    def pad(self, x: Tensor, before: Sequence[int], after: Sequence[int], fill: float) -> Tensor:
        """Return `x` with so many elements of one value around each axis."""
        shape = tuple(s + b + a for s, b, a in zip(x.shape, before, after, strict=True))
        if shape == x.shape:
            return x
        padded = [k for k in range(len(shape)) if before[k] or after[k]]
        if x.op == "Rearrange":
            inner = x.inputs[0]
            fine = refine(x.digits, read=inner.shape, written=x.shape)
            found = self._whole_axes(fine, inner.shape, x.shape, padded) if fine else None
            if fine is not None and found is not None:
                low, high = [0] * len(inner.shape), [0] * len(inner.shape)
                sizes = list(fine.sizes)
                for k, (digit, axis) in zip(padded, found, strict=True):
                    low[axis], high[axis] = before[k], after[k]
                    sizes[digit] += before[k] + after[k]
                made = self.pad(inner, low, high, fill)
                return self.rearrange(made, sizes, fine.order, shape)
        return self._make("Pad", (x,), shape, before=tuple(before), after=tuple(after), fill=fill)

    @staticmethod
    def _whole_axes(
        fine: Digits, read: Sequence[int], written: Sequence[int], axes: Sequence[int]
    ) -> list[tuple[int, int]] | None:
        """Return the digit and the axis as read of each axis as written; None if it is in two."""
        written_axes, read_axes = groups_of(fine.written, written), groups_of(fine.sizes, read)
        if written_axes is None or read_axes is None:
            return None
        found = []
        for axis in axes:
            group = written_axes[axis]
            if len(group) != 1:
                return None
            digit = fine.order[group[0]]
            place = next((k for k, g in enumerate(read_axes) if g == [digit]), None)
            if place is None:
                return None
            found.append((digit, place))
        return found

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Return tensors beside each other along an axis."""
        total = sum(t.shape[axis] for t in parts)
        shape = tuple(total if k == axis else s for k, s in enumerate(parts[0].shape))
        if len(parts) == 1:
            return parts[0]
        again = self._unsplit(parts, axis, shape)
        if again is not None:
            return again
        if all(t.value is not None for t in parts):
            return self.constant(
                np.concatenate([t.value for t in parts if t.value is not None], axis)
            )
        pushed = self._pushed_concat(parts, axis, shape)
        if pushed is None:
            pushed = self._natural_concat(parts, axis, shape)
        return pushed if pushed is not None else self._make("Concat", parts, shape, axis=axis)

    def _natural_concat(
        self, parts: Sequence[Tensor], axis: int, shape: tuple[int, ...]
    ) -> Tensor | None:
        """Join along an axis that the parts have as they lie in memory."""
        seen = [self.reshape(t, self.axes_in_memory(t)) for t in parts]
        place = _common_axis(seen, prod(shape[:axis]))
        if place is None or all(a.shape == b.shape for a, b in zip(seen, parts, strict=True)):
            return None
        total = sum(t.shape[place] for t in seen)
        wide = tuple(total if k == place else s for k, s in enumerate(seen[0].shape))
        return self.reshape(self._make("Concat", seen, wide, axis=place), shape)

    def _unsplit(self, parts: Sequence[Tensor], axis: int, shape: tuple[int, ...]) -> Tensor | None:
        """Put together what was computed from neighbouring parts of one tensor."""
        joined: list[Tensor] = []
        for part in parts:
            both = self._neighbours(joined[-1], part, axis) if joined else None
            if both is None:
                joined.append(part)
            else:
                joined[-1] = both
        if len(joined) == len(parts):
            return None
        return joined[0] if len(joined) == 1 else self.concat(joined, axis)

    def _neighbours(self, a: Tensor, b: Tensor, axis: int) -> Tensor | None:
        """Return one tensor for two computed from neighbouring parts of one, else None."""
        if a.op != b.op or a.value is not None or len(a.shape) != len(b.shape):
            return None
        if a.op == "Rearrange" and a.digits.is_identity and b.digits.is_identity:
            one, two = a.inputs[0], b.inputs[0]
            if len(one.shape) != len(two.shape):
                return None
            outer = prod(a.shape[:axis])
            for place in reversed(range(len(one.shape))):
                if prod(one.shape[:place]) != outer or prod(one.shape[place + 1 :]) * (
                    one.shape[place]
                ) * outer != a.size:  # fmt: skip
                    continue
                if one.shape[:place] + one.shape[place + 1 :] == (
                    two.shape[:place] + two.shape[place + 1 :]
                ):  # fmt: skip
                    both = self._neighbours(one, two, place)
                    if both is not None:
                        total = a.shape[axis] + b.shape[axis]
                        wide = tuple(total if k == axis else s for k, s in enumerate(a.shape))
                        return self.reshape(both, wide)
            return None
        if a.op == "Slice" and a.inputs == b.inputs and len(a.inputs) == 1:
            starts, stops = a.attribute("starts"), a.attribute("stops")
            same = all(
                starts[k] == b.attribute("starts")[k] and stops[k] == b.attribute("stops")[k]
                for k in range(len(starts)) if k != axis
            )  # fmt: skip
            if not same or stops[axis] != b.attribute("starts")[axis]:
                return None
            ends = tuple(b.attribute("stops")[k] if k == axis else s for k, s in enumerate(stops))
            if not any(starts) and ends == a.inputs[0].shape:
                return a.inputs[0]
            shape = [s - r for r, s in zip(starts, ends, strict=True)]
            return self._make("Slice", a.inputs, shape, starts=starts, stops=ends)
        if a.op in ELEMENTWISE and a.attributes == b.attributes:
            made = self._neighbouring(a, b.inputs, b, axis)
            if made is None and a.op in _COMMUTATIVE:
                made = self._neighbouring(a, b.inputs[::-1], b, axis)
            return made
        return None

    def _neighbouring(
        self, a: Tensor, others: Sequence[Tensor], b: Tensor, axis: int
    ) -> Tensor | None:
        """Return an operator of joined inputs for two operators of parts of them."""
        inputs, found = [], False
        for x, y in zip(a.inputs, others, strict=True):
            place = axis - (len(a.shape) - len(x.shape))
            if len(x.shape) != len(y.shape):
                return None
            thin = place < 0 or any(
                t.shape[place] == 1 != whole.shape[axis] for t, whole in ((x, a), (y, b))
            )
            if x is y and (place < 0 or x.shape[place] == 1):
                inputs.append(x)
            elif x.value is not None and y.value is not None and not thin:
                inputs.append(self.constant(np.concatenate([x.value, y.value], place)))
                _add(inputs[-1].sources, [*x.sources, *y.sources])
            else:
                both = self._neighbours(x, y, place) if place >= 0 else None
                if both is None:
                    return None
                inputs.append(both)
                found = True
        return self.apply(a.op, *inputs, **dict(a.attributes)) if found else None

    def _pushed_concat(
        self, parts: Sequence[Tensor], axis: int, shape: tuple[int, ...]
    ) -> Tensor | None:
        if any(t.op != "Rearrange" for t in parts):
            return None
        inner = [t.inputs[0] for t in parts]
        if len({len(t.shape) for t in inner}) != 1:
            return None
        if all(t.digits.is_identity for t in parts):
            place = _common_axis(inner, prod(shape[:axis]))
            return None if place is None else self.reshape(self.concat(inner, place), shape)
        refined = [refine(t.digits, read=t.inputs[0].shape, written=t.shape) for t in parts]
        first = refined[0]
        if first is None:
            return None
        found = self._whole_axes(first, inner[0].shape, parts[0].shape, [axis])
        if found is None:
            return None
        ((digit, place),) = found
        for fine, t in zip(refined, parts, strict=True):
            if fine is None or fine.order != first.order or [
                s for k, s in enumerate(fine.sizes) if k != digit
            ] != [s for k, s in enumerate(first.sizes) if k != digit]:  # fmt: skip
                return None
            if self._whole_axes(fine, t.inputs[0].shape, t.shape, [axis]) != found:
                return None
        made = self.concat(inner, place)
        sizes = [made.shape[place] if k == digit else s for k, s in enumerate(first.sizes)]
        return self.rearrange(made, sizes, first.order, shape)

    # -- everything else ---------------------------------------------------------------------

    def again(self, old: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """Return the operator of a tensor on other inputs of the same shapes."""
        attributes = dict(old.attributes)
        if all(a is b for a, b in zip(old.inputs, inputs, strict=True)):
            return old
        if old.op == "Rearrange":
            return self._rearranged(inputs[0], old.digits, old.shape)
        if old.op in ELEMENTWISE:
            return self.apply(old.op, *inputs, **attributes)
        if old.op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean"):
            return self.reduce(old.op, inputs[0], attributes["axes"])
        if old.op == "Pad":
            return self.pad(inputs[0], **attributes)
        if old.op == "Concat":
            return self.concat(inputs, attributes["axis"])
        return self._make(old.op, inputs, old.shape, **attributes)

    def node(
        self, op: str, inputs: Sequence[Tensor], shape: Sequence[int], **attributes: Any
    ) -> Tensor:
        """Return an operator as it stands."""
        return self._make(op, inputs, shape, **attributes)


def _turned(inputs: Sequence[Tensor | None], size: int) -> int:
    """Return how many whole inputs lie in another order than what they are read from."""
    return sum(
        t is not None and t.op == "Rearrange" and t.size == size and not t.digits.is_identity
        for t in inputs
    )


def _common_axis(parts: Sequence[Tensor], outer: int) -> int | None:
    """Return the axis along which parts may be joined with so many rows outside of it."""
    for place in reversed(range(len(parts[0].shape))):
        rest = {t.shape[:place] + t.shape[place + 1 :] for t in parts}
        if len(rest) == 1 and prod(parts[0].shape[:place]) == outer:
            return place
    return None


def _add(target: list[str], more: Sequence[str]) -> None:
    target.extend(text for text in more if text not in target)
