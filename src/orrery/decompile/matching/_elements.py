"""Memory put together element by element: padding and copies, however a compiler cut them up.

Every element of a stretch is a number that stands in the code or the file, or one element of one
tensor, and has a code of 64 bits that says which. Copying is copying codes; what a stretch of them
is as a whole is read off their steps.

Models:  constants; a tensor seen through a box, rearranged, with one number around it; rows of
         several of these beside each other; elements divided by numbers, one for each.
Ignores: stretches that several numbers surround.
Judge:   stores cut up at random against NumPy's own padding (tests/decompile/matching).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..tensors import Tensor, Tensors
from ._integers import lattice
from ._statement import Refusal
from ._views import box_of

Codes = NDArray[np.int64]
Numbers = NDArray[np.float32]
_Kind = TypeVar("_Kind", bound=np.generic)

#: The code of what nobody wrote.
HOLE = np.iinfo(np.int64).min
#: A tensor's number stands above its element's; numbers of floating point are below 0.
_SHIFT = 36
_MOST_ROWS = 1 << 12

#: of a box: turns, step in the stretch, step in the tensor
_Walk = tuple[int, int, int]


def number_code(bits: int) -> int:
    """Return the code of a number of 32 bits."""
    return -1 - (bits & 0xFFFFFFFF)


def _code_of(number: float) -> int:
    return number_code(int(np.float32(number).view(np.uint32)))


class Elements:
    """Tensors as codes of their elements, and back."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._leaves: dict[int, Tensor] = {}
        self._sources: dict[str, None] = {}

    def of(self, t: Tensor) -> Codes:
        """Return the code of every element, shaped as the tensor."""
        if t.value is not None and t.value.itemsize == 4:
            self._sources |= dict.fromkeys(t.sources)
            return -1 - t.value.view(np.uint32).astype(np.int64)
        if t.op == "Rearrange":
            return _rearranged(self.of(t.inputs[0]), t)
        if t.op == "Pad":
            around = list(zip(t.attribute("before"), t.attribute("after"), strict=True))
            fill = _code_of(t.attribute("fill"))
            return np.pad(self.of(t.inputs[0]), around, constant_values=fill)
        if t.op == "Spread":
            whole = np.full(t.shape, _code_of(t.attribute("fill")), np.int64)
            at = tuple(
                slice(b, b + (n - 1) * s + 1, s) for b, n, s in
                zip(t.attribute("before"), t.inputs[0].shape, t.attribute("steps"), strict=True)
            )  # fmt: skip
            whole[at] = self.of(t.inputs[0])
            return whole
        if t.op == "Slice":
            cut = zip(t.attribute("starts"), t.attribute("stops"), strict=True)
            return self.of(t.inputs[0])[tuple(slice(a, b) for a, b in cut)]
        if t.op == "Concat":
            return np.concatenate([self.of(x) for x in t.inputs], t.attribute("axis"))
        if t.op == "Expand":
            return np.broadcast_to(self.of(t.inputs[0]), t.shape)
        self._leaves[t.number] = t
        return (np.arange(t.size, dtype=np.int64) | (t.number << _SHIFT)).reshape(t.shape)

    def divided(self, t: Tensor) -> tuple[Codes, Numbers] | None:
        """Return codes of elements and what each is divided by; None where `t` is no quotient.

        A product with a power of two is one: its inverse is a number as well.
        """
        if t.op == "Rearrange":
            inner = self.divided(t.inputs[0])
            return None if inner is None else (_rearranged(inner[0], t), _rearranged(inner[1], t))
        if t.op not in ("Mul", "Div"):
            return None
        x, numbers = t.inputs if t.op == "Div" or t.inputs[1].is_constant else t.inputs[::-1]
        if x.is_constant or numbers.value is None or not numbers.value.all():
            return None
        by = np.asarray(numbers.value, np.float32)
        if t.op == "Mul":
            if (np.abs(np.frexp(by)[0]) != 0.5).any():
                return None
            by = np.float32(1) / by
        return np.broadcast_to(self.of(x), t.shape), np.broadcast_to(by, t.shape)

    def tensor(self, codes: Codes) -> Tensor | None:
        """Return what a stretch is as one tensor; None where it is nothing that has a name."""
        if not codes.size or (codes == HOLE).any():
            return None
        fixed = codes < 0
        if fixed.all():
            return self._constant(codes)
        numbers = codes[fixed]
        leaves = np.unique(codes[~fixed] >> _SHIFT)
        if leaves.size == 1 and (not numbers.size or (numbers == numbers[0]).all()):
            fill = float(_bits(numbers[:1]).view(np.float32)[0]) if numbers.size else 0.0
            made = self._padded(codes, np.flatnonzero(~fixed), self._leaves[int(leaves[0])], fill)
            if made is not None:
                return made
        return self._rows(codes)

    def _constant(self, codes: Codes) -> Tensor:
        made = self._tensors.constant(_bits(codes).view(np.float32))
        made.sources.extend(s for s in self._sources if s not in made.sources)
        return made

    def _padded(self, codes: Codes, places: Codes, leaf: Tensor, fill: float) -> Tensor | None:
        """Return a stretch as one tensor with a number around it."""
        elements = codes[places] & ((1 << _SHIFT) - 1)
        steps = lattice(np.stack([places, elements], 1))
        if steps is None:
            return None
        walks = [(count, int(place), int(element)) for count, (place, element) in steps]
        fine = _along_axes(walks, self._tensors.axes_in_memory(leaf))
        if walks and walks[-1][1] > 1 and len(places) < codes.size:
            made = self._spread(codes.size, int(places[0]), int(elements[0]), fine, leaf, fill)
            if made is not None:
                return made
        for tried in (fine, walks) if fine != walks else (walks,):
            made = self._boxed(codes.size, int(places[0]), int(elements[0]), tried, leaf, fill)
            if made is not None:
                return made
        return None

    def _boxed(
        self, size: int, place: int, element: int, walks: Sequence[_Walk], leaf: Tensor, fill: float
    ) -> Tensor | None:
        sizes, before, counts = [], [], []
        above = size
        for count, step, _ in walks:
            if step <= 0 or above % step:
                return None
            sizes.append(above // step)
            before.append(place // step)
            counts.append(count)
            place, above = place % step, step
        if above > 1 or not walks:
            sizes.append(above)
            before.append(place)
            counts.append(1)
        after = [s - b - n for s, b, n in zip(sizes, before, counts, strict=True)]
        if min(after) < 0:
            return None
        order = sorted(range(len(walks)), key=lambda k: -walks[k][2])
        try:
            box = [(walks[k][0], walks[k][2]) for k in order]
            core = box_of(self._tensors, leaf, element, box)
        except Refusal:
            return None
        back = [order.index(k) for k in range(len(walks))]
        seen = self._tensors.rearrange(core, [walks[k][0] for k in order], back, counts)
        return self._tensors.pad(seen, before, after, fill)

    def _spread(
        self, size: int, place: int, element: int, walks: Sequence[_Walk], leaf: Tensor, fill: float
    ) -> Tensor | None:
        """Return a stretch as a tensor with a number between its elements and around them."""
        box = [(count, step) for count, _, step in walks]
        ways = list(_spacings(size, place, walks))
        if not ways or any(b <= a for (_, b), (_, a) in pairwise(box)):
            return None
        # Two axes of an image are spread alike, if they are.
        shape, before, steps = min(ways, key=lambda way: (len(set(way[2][-2:])), sum(way[0])))
        try:
            core = box_of(self._tensors, leaf, element, box)
        except Refusal:
            return None
        inner = self._tensors.reshape(core, [count for count, _ in box])
        lead = max(0, 4 - len(shape)) if len(shape) == 3 else 0
        made = self._tensors.node(
            "Spread", (self._tensors.reshape(inner, (1,) * lead + inner.shape),),
            (1,) * lead + shape, steps=(1,) * lead + steps, before=(0,) * lead + before, fill=fill,
        )  # fmt: skip
        return self._tensors.reshape(made, shape)

    def _rows(self, codes: Codes) -> Tensor | None:
        """Return a stretch as rows, each of which holds parts of the same widths."""
        owner = np.where(codes < 0, -1, codes >> _SHIFT)
        begins = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1])
        widths = np.diff(np.concatenate([begins, [codes.size]]))
        if not 1 < begins.size <= _MOST_ROWS:
            return None
        runs = list(zip(owner[begins].tolist(), widths.tolist(), strict=True))
        period = next(
            (p for p in range(2, len(runs) + 1) if len(runs) % p == 0
             and all(runs[k] == runs[k % p] for k in range(p, len(runs)))), 0,
        )  # fmt: skip
        if not period:
            return None
        rows = codes.reshape(len(runs) // period, -1)
        ends = [0, *np.cumsum(widths[:period]).tolist()]
        parts: list[Tensor] = []
        for a, b in pairwise(ends):
            part = self.tensor(rows[:, a:b].reshape(-1))
            if part is None:
                return None
            parts.append(self._tensors.reshape(part, (rows.shape[0], b - a)))
        return self._tensors.concat(parts, 1)


def _spacings(
    size: int, place: int, walks: Sequence[_Walk], below: int = 1
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Yield sizes, begins and steps of axes along which walks go with steps of several elements.

    Parameters
    ----------
    below : elements of the stretch in one step of the innermost axis
    """
    if not walks:
        if size == below and not place:
            yield (), (), ()
        return
    count, stride, _ = walks[-1]
    if stride % below:
        return
    step = stride // below
    reach = (count - 1) * step + 1
    outer = walks[-2][1] if len(walks) > 1 else size
    for spread in range(1, outer // below // reach + 1) if len(walks) > 1 else (1,):
        above = outer // spread
        if outer % spread or above % below or size % above:
            continue
        begin = place % above // below
        if begin + reach > above // below or place % below:
            continue
        for sizes, begins, steps in _spacings(size, place - begin * below, walks[:-1], above):
            yield (*sizes, above // below), (*begins, begin), (*steps, step)


def _rearranged(x: NDArray[_Kind], t: Tensor) -> NDArray[_Kind]:
    """Return elements of what a tensor rearranges as they lie in it."""
    return x.reshape(t.digits.sizes).transpose(t.digits.order).reshape(t.shape)


def _bits(codes: Codes) -> NDArray[np.uint32]:
    return (-1 - codes).astype(np.uint32)


def _along_axes(walks: Sequence[_Walk], axes: Sequence[int]) -> list[_Walk]:
    """Cut walks where they go from one row of the tensor to the next."""
    borders = [prod(axes[k + 1 :]) for k in range(len(axes))]
    found: list[_Walk] = []
    for count, place, element in walks:
        left, step = count, 1
        mine: list[_Walk] = []
        for border in sorted(set(borders)):
            if element <= 0 or border % element:
                continue
            turns = border // element
            if step < turns < count and turns % step == 0 and count % turns == 0:
                mine.append((turns // step, place * step, element * step))
                left, step = count // turns, turns
        mine.append((left, place * step, element * step))
        found += mine[::-1]
    return found
