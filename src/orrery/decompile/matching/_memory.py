"""What memory holds at a point of the program: which tensor lies where.

Models:  versions of memory in the order of the stores: a buffer that is used again holds another
         tensor; parts stored one by one are put together (Concat), a part inside of a filled
         whole becomes padding, a part that is read alone a Slice; where parts fit no boxes, the
         elements themselves say what they are.
Ignores: parts that leave holes nobody wrote; who reads those is refused.
Judge:   tests compare with the network that the program was written from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..forms import Buffer
from ..tensors import Tensor, Tensors, noted
from ._elements import HOLE, Elements, Numbers
from ._statement import IMAGE, Refusal

#: (turns, step in elements), the largest step first
Dimension = tuple[int, int]

#: No stretch with more elements is put together element by element.
_MOST_ELEMENTS = 1 << 26


@dataclass(slots=True)
class Piece:
    """A box of memory and the tensor that it holds, in elements from the start of the memory."""

    low: int
    box: tuple[Dimension, ...]
    tensor: Tensor

    @property
    def high(self) -> int:
        return self.low + sum((n - 1) * step for n, step in self.box) + 1

    @property
    def dense(self) -> bool:
        return self.high - self.low == prod(n for n, _ in self.box)

    @property
    def places(self) -> NDArray[np.int64]:
        """Where its elements lie, in the order of the tensor."""
        places = np.full((1,) * len(self.box), self.low, np.int64)
        for axis, (count, step) in enumerate(self.box):
            shape = [-1 if k == axis else 1 for k in range(len(self.box))]
            places = places + (np.arange(count, dtype=np.int64) * step).reshape(shape)
        return places.reshape(-1)


@dataclass(slots=True)
class Scattered:
    """Elements that were copied to places that make no box: codes of `Elements`.

    Where there are divisors, each was divided by its own on the way.
    """

    places: NDArray[np.int64]
    codes: NDArray[np.int64]
    low: int
    high: int
    divisors: Numbers | None = None


Part = Piece | Scattered


class Memory:
    """Memories by name, each with what was stored into it, the newest last."""

    def __init__(
        self, tensors: Tensors, buffers: Mapping[str, Buffer], written: Mapping[str, list[range]]
    ) -> None:
        self._tensors = tensors
        self._pieces: dict[str, list[Part]] = {}
        self.elements = Elements(tensors)
        self._constants: dict[str, list[tuple[int, Buffer]]] = {}
        self._initial: dict[str, list[tuple[int, Buffer]]] = {}
        self._written = written
        self._kept: dict[str, list[NDArray[np.int64]]] = {}
        #: whether a store has gone where the next run of the program reads what stood there before
        self.stale = False
        #: stretches of the binary's own writable memory, in bytes, that were read as they stand
        self.writable: set[tuple[int, int]] = set()
        for name, buffer in buffers.items():
            memory, base = memory_of(name)
            if buffer.data is not None or buffer.role == "constant":
                self._constants.setdefault(memory, []).append((base, buffer))
            if buffer.data is not None and buffer.role == "temporary":
                self._initial.setdefault(memory, []).append((base, buffer))

    # -- constants ---------------------------------------------------------------------------

    def constant_bytes(self, memory: str, low: int, high: int) -> tuple[Buffer, int] | None:
        """Return the buffer with the bytes ``low … high - 1``, and where it begins.

        None where somebody writes there, or nothing says what stands there.
        """
        for base, buffer in self._constants.get(memory, ()):
            size = buffer.size_bytes
            if size is None and buffer.data is not None:
                size = len(buffer.data)
            inside = base <= low and (size is None or high <= base + size)
            if inside and not any(
                stretch.start < high and low < stretch.stop
                for stretch in self._written.get(memory, ())
            ):  # fmt: skip
                if memory == IMAGE and buffer.role != "constant":
                    self.writable.add((low, high))
                return buffer, base
        return None

    # -- tensors -----------------------------------------------------------------------------

    def place(self, memory: str, low: int, tensor: Tensor, shape: Sequence[int] = ()) -> None:
        """Note that a tensor lies densely in memory from an element on."""
        size = tensor.size
        self._pieces.setdefault(memory, []).append(Piece(low, ((size, 1),), tensor))

    def store(self, memory: str, low: int, box: Sequence[Dimension], tensor: Tensor) -> None:
        """Note that a tensor of the box's shape was stored."""
        made = Piece(low, tuple(box), tensor)
        self._overwrites(memory, made)
        self._put(memory, made)

    def _overwrites(self, memory: str, made: Part) -> None:
        kept = self._kept.get(memory, ())
        self.stale |= any(bool(np.isin(one, made.places).any()) for one in kept)

    def _put(self, memory: str, made: Piece) -> None:
        pieces = self._pieces.setdefault(memory, [])
        tensor = made.tensor
        if made.dense:
            made.box = ((tensor.size, 1),)
        kept = [p for p in pieces if not _covers(made, p)]
        self._pieces[memory] = [*kept, made]

    def scatter(
        self, memory: str, places: NDArray[np.int64], codes: NDArray[np.int64],
        divisors: Numbers | None = None,
    ) -> None:  # fmt: skip
        """Note that elements were copied, the older first where a place comes twice.

        Parameters
        ----------
        divisors : what each was divided by on the way, if anything

        Raises
        ------
        Refusal : too many elements
        """
        if not places.size:
            return
        low, high = int(places.min()), int(places.max()) + 1
        if high - low > _MOST_ELEMENTS:
            raise Refusal("copies over too long a stretch")
        whole = np.full(high - low, HOLE, np.int64)
        whole[places - low] = codes
        kept = np.flatnonzero(whole != HOLE)
        made = Scattered(kept + low, whole[kept], low, high)
        if divisors is not None:
            by = np.ones(high - low, np.float32)
            by[places - low] = divisors
            made.divisors = by[kept]
        self._overwrites(memory, made)
        self._pieces.setdefault(memory, []).append(made)

    def spoil(self, memory: str, low: int, high: int, address: str) -> None:
        """Note that a stretch of memory holds something that was not understood."""
        unknown = self._tensors.node("Unknown", (), (high - low,), address=address)
        self._put(memory, Piece(low, ((high - low, 1),), unknown))

    def read(self, memory: str, low: int, high: int) -> tuple[Tensor, int]:
        """Return the tensor that lies over elements ``low … high - 1``, and where it begins.

        Raises
        ------
        Refusal : nobody wrote there, or parts that do not fit together
        """
        pieces = self._pieces.get(memory, [])
        touching = [p for p in pieces if p.low < high and low < p.high]
        if not touching:
            raise Refusal(f"reads memory that nothing wrote ({memory}+{low * 4:#x})")
        if (address := next(filter(None, map(_lost, touching)), "")) != "":
            raise Refusal(f"reads what the code at {address} stores, which is not matched")
        for start in range(len(touching) - 1, -1, -1):
            whole = self._put_together(touching[start:])
            if whole is not None and whole.low <= low and high <= whole.high:
                if len(touching) - start > 1:
                    self._put(memory, whole)
                return whole.tensor, whole.low
        family = self._family(pieces, touching)
        before = self._at_start(memory, min(low, *(p.low for p in family)),
                                max(high, *(p.high for p in family)))  # fmt: skip
        whole = self._put_together([before, *family]) if before is not None else None
        if whole is None or whole.low > low or whole.high < high:
            first = [before] if before is not None else []
            whole = self._by_elements([*first, *family], low, high)
        if whole is None:
            raise Refusal(f"reads memory written in parts that leave holes ({memory}+{low * 4:#x})")
        if before is not None:
            old = np.arange(max(before.low, whole.low), min(before.high, whole.high))
            for part in family:
                old = old[~np.isin(old, part.places)]
            self._kept.setdefault(memory, []).append(old)
            if old.size:
                self.writable.add((int(old[0]) * 4, int(old[-1]) * 4 + 4))
        self._put(memory, whole)
        return whole.tensor, whole.low

    def _at_start(self, memory: str, low: int, high: int) -> Piece | None:
        """Return what stood in writable memory of the binary before the program ran."""
        for base, buffer in self._initial.get(memory, ()):
            size = buffer.size_bytes or 0
            if base <= low * 4 and high * 4 <= base + size and buffer.data is not None:
                begin = low * 4 - base
                raw = buffer.data[begin : begin + (high - low) * 4].ljust((high - low) * 4, b"\0")
                tensor = self._tensors.constant(np.frombuffer(raw, np.dtype("<f4")))
                return Piece(low, ((high - low, 1),), tensor)
        return None

    def _put_together(self, found: Sequence[Part]) -> Piece | None:
        """Return parts, the oldest first, as one dense piece; None where they leave holes."""
        parts = [p for p in found if isinstance(p, Piece)]
        if len(parts) < len(found):
            return None
        if len(parts) == 1:
            return parts[0] if parts[0].dense else None
        if parts[0].dense and all(
            parts[0].low <= p.low and p.high <= parts[0].high for p in parts[1:]
        ):  # fmt: skip
            return self._overlaid(parts[0], parts[1:])
        return self._joined(parts)

    def _by_elements(self, parts: Sequence[Part], low: int, high: int) -> Piece | None:
        """Return what parts, the oldest first, hold around ``low … high - 1``, element by element.

        As far as nothing is missing; None where that is not known for all that was asked.
        """
        begin, end = min(p.low for p in parts), max(p.high for p in parts)
        if low < begin or end < high or end - begin > _MOST_ELEMENTS:
            return None
        joined: Piece | None = None
        for quotients in (False, True):  # parts that were divided are one quotient, if they can be
            codes, by = np.full(end - begin, HOLE, np.int64), np.ones(end - begin, np.float32)
            if not all(self._lay(part, codes, by, begin, quotients) for part in parts):
                continue
            holes = np.flatnonzero(codes == HOLE) + begin
            left = int(max(holes[holes < high], default=begin - 1)) + 1
            right = int(min(holes[holes >= low], default=end))
            if left > low or right < high:
                return None
            for a, b in dict.fromkeys(((left, right), (low, high))):
                made = self.elements.tensor(codes[a - begin : b - begin])
                if made is None or (quotients and made.inner.op == "Concat"):
                    continue
                if quotients:
                    divisors = self._tensors.constant(by[a - begin : b - begin].reshape(made.shape))
                    made = self._tensors.apply("Div", made, divisors)
                    noted(made, *(p.tensor.inner for p in parts if isinstance(p, Piece)))
                piece = Piece(a, ((b - a, 1),), made)
                if made.inner.op != "Concat":
                    return piece
                joined = joined or piece
                break
        return joined

    def _lay(
        self, part: Part, codes: NDArray[np.int64], by: Numbers, begin: int, quotients: bool
    ) -> bool:
        """Put a part among codes; return False where it is no quotient though all must be, or the
        other way round."""
        at = part.places - begin
        if isinstance(part, Scattered):
            if quotients != (part.divisors is not None):
                return False
            codes[at], by[at] = part.codes, 1 if part.divisors is None else part.divisors
        elif _lost(part):
            codes[at] = HOLE
        elif quotients:
            found = self.elements.divided(part.tensor)
            if found is None:
                return False
            codes[at], by[at] = found[0].reshape(-1), found[1].reshape(-1)
        else:
            codes[at] = self.elements.of(part.tensor).reshape(-1)
        return True

    @staticmethod
    def _family(pieces: Sequence[Part], touching: Sequence[Part]) -> list[Part]:
        """Return the pieces that overlap in extent, however far that leads."""
        mine = {id(p) for p in touching}
        low, high = min(p.low for p in touching), max(p.high for p in touching)
        while True:
            more = [p for p in pieces if id(p) not in mine and p.low < high and low < p.high]
            if not more:
                return [p for p in pieces if id(p) in mine]
            mine |= {id(p) for p in more}
            low, high = min(low, *(p.low for p in more)), max(high, *(p.high for p in more))

    def _overlaid(self, base: Piece, parts: list[Piece]) -> Piece | None:
        """Put parts into a filled whole: padding, where the whole holds one number."""
        fill = base.tensor.scalar()
        if fill is None or not parts:
            return None
        part = parts[0] if len(parts) == 1 else self._joined(parts)
        if part is None or part.low < base.low or part.high > base.high:
            return None
        # The whole as axes: each step of the part's box is the size of what lies below it.
        box = [(n, step) for n, step in part.box if n > 1 or step > 1]
        sizes: list[int] = []
        above = base.tensor.size
        for _, step in box:
            if not step or above % step:
                return None
            sizes.append(above // step)
            above = step
        sizes.append(above)
        counts = [1, *(n for n, _ in box)]
        steps = [0, *(step for _, step in box)]
        starts, left = [], part.low - base.low
        # sizes[k] is the size of axis k, whose step is steps[k + 1] (1 at the end).
        axis_steps = [*steps[1:], 1]
        for step in axis_steps:
            starts.append(left // step)
            left %= step
        axis_counts = counts[1:]
        if box and box[-1][1] == 1:
            sizes, axis_steps, starts = sizes[:-1], axis_steps[:-1], starts[:-1]
        else:
            axis_counts = [*axis_counts, 1]
        before = tuple(starts)
        after = tuple(s - b - n for s, b, n in zip(sizes, starts, axis_counts, strict=True))
        if min(after, default=0) < 0:
            return None
        x = self._tensors.reshape(part.tensor, axis_counts)
        padded = self._tensors.pad(x, before, after, fill)
        return Piece(base.low, ((base.tensor.size, 1),), padded)

    def _joined(self, parts: list[Piece]) -> Piece | None:
        """Put parts beside each other: Concat."""
        order = sorted(parts, key=lambda p: p.low)
        if any(p.tensor.scalar() is not None for p in parts):
            # One number in rows beside something else is padding.
            whole = self._by_elements(parts, order[0].low, max(p.high for p in parts))
            if whole is not None:
                return whole
        if all(p.dense for p in order) and all(
            a.high == b.low for a, b in pairwise(order)
        ):  # fmt: skip
            return self._concatenated(order[0].low, order, 1, [p.tensor.size for p in order])
        rows = _rows(order)
        if rows is None:
            return None
        outer, widths = rows
        return self._concatenated(order[0].low, order, outer, widths)

    def _concatenated(self, low: int, parts: list[Piece], outer: int, widths: list[int]) -> Piece:
        made = [
            self._tensors.reshape(p.tensor, (outer, width))
            for p, width in zip(parts, widths, strict=True)
        ]
        joined = self._tensors.concat(made, 1)
        return Piece(low, ((outer * sum(widths), 1),), joined)


def _rows(parts: list[Piece]) -> tuple[int, list[int]] | None:
    """Return how many rows the parts share and how wide each is within a row."""
    pitches = {p.box[0][1] for p in parts}
    counts = {p.box[0][0] for p in parts}
    if len(pitches) != 1 or len(counts) != 1:
        return None
    pitch, count = pitches.pop(), counts.pop()
    widths, at = [], parts[0].low
    for part in parts:
        inner = part.box[1:]
        width = sum((n - 1) * step for n, step in inner) + 1
        if width != prod(n for n, _ in inner) or part.low != at:
            return None
        widths.append(width)
        at += width
    return (count, widths) if sum(widths) == pitch else None


def _covers(new: Piece, old: Part) -> bool:
    if new.dense and new.low <= old.low and old.high <= new.high:
        return True
    return isinstance(old, Piece) and new.low == old.low and new.box == old.box


def _lost(part: Part) -> str:
    """Return the address of code that was not matched and stored a part; empty otherwise."""
    if isinstance(part, Piece) and part.tensor.op == "Unknown":
        return str(part.tensor.attribute("address"))
    return ""


def memory_of(name: str) -> tuple[str, int]:
    """Return the memory and the address of a buffer: ``image@0x2000`` lies in the binary."""
    if name.startswith(f"{IMAGE}@"):
        return IMAGE, int(name.split("@")[1], 16)
    return name, 0
