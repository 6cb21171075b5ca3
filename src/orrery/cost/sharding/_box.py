"""Boxes of indices: which part of a tensor somebody holds, and how an extent is cut into parts."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orrery.errors import SpecError

Span = tuple[int, int]  #: first index, and one past the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangular part of a tensor: one half-open span of indices per axis.

    Attributes
    ----------
    spans : per axis; an empty span makes an empty box
    """

    spans: tuple[Span, ...]

    @classmethod
    def whole(cls, sizes: Iterable[int]) -> Box:
        """Return the box that holds a tensor of these sizes."""
        return cls(spans=tuple((0, size) for size in sizes))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in self.spans)

    @property
    def volume(self) -> int:
        """Number of elements; 1 for a scalar's box."""
        elements = 1
        for start, stop in self.spans:
            elements *= stop - start
        return elements

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the box in the whole tensor."""
        return tuple(slice(start, stop) for start, stop in self.spans)

    def inside(self, outer: Box) -> tuple[slice, ...]:
        """Index of this box in an array that holds `outer`."""
        return tuple(
            slice(start - base, stop - base)
            for (start, stop), (base, _) in zip(self.spans, outer.spans, strict=True)
        )

    def meet(self, other: Box) -> Box:
        """Return what both hold; empty boxes come out with empty spans."""
        return Box(spans=tuple(
            (max(a, c), max(min(b, d), max(a, c)))
            for (a, b), (c, d) in zip(self.spans, other.spans, strict=True)
        ))  # fmt: skip

    def holds(self, inner: Box) -> bool:
        """Whether every element of another box is in this one."""
        return inner.volume == 0 or all(
            a <= c and d <= b
            for (a, b), (c, d) in zip(self.spans, inner.spans, strict=True)
        )  # fmt: skip

    def with_span(self, axis: int, span: Span) -> Box:
        """Return the box with another span along one axis."""
        return Box(spans=(*self.spans[:axis], span, *self.spans[axis + 1 :]))

    def __str__(self) -> str:
        return "[" + ", ".join(f"{a}:{b}" for a, b in self.spans) + "]"


def subtract(box: Box, hole: Box) -> Iterator[Box]:
    """Yield disjoint boxes that hold what `box` has and `hole` lacks."""
    common = box.meet(hole)
    if common.volume == 0:
        if box.volume:
            yield box
        return
    rest = box
    for axis, ((a, b), (c, d)) in enumerate(zip(box.spans, common.spans, strict=True)):
        if a < c:
            yield rest.with_span(axis, (a, c))
        if d < b:
            yield rest.with_span(axis, (d, b))
        rest = rest.with_span(axis, (c, d))


def tiles(parts: Sequence[Box], whole: Box) -> bool:
    """Whether the parts cover a box exactly, no element twice."""
    if sum(part.volume for part in parts) != whole.volume:
        return False
    full = [part for part in parts if part.volume]
    return all(whole.holds(part) for part in full) and not any(
        a.meet(b).volume for i, a in enumerate(full) for b in full[i + 1 :]
    )


def cut(extent: int, weights: Sequence[float]) -> tuple[Span, ...]:
    """Cut an extent into one span per weight, so that the slowest finishes as early as can be.

    Water-filling in whole numbers: the largest of length / weight is least. Nobody gets nothing.

    Parameters
    ----------
    extent : length to cut
    weights : speeds, above zero; equal ones give lengths that differ by at most one

    Raises
    ------
    SpecError : fewer elements than parts, or a weight that is not above zero
    """
    if extent < len(weights) or not weights:
        raise SpecError("shard", found=f"an extent of {extent}", wanted=f"{len(weights)} or more, "
                        "one for each part", fix="split another loop, or less")  # fmt: skip
    if not all(weight > 0 and math.isfinite(weight) for weight in weights):
        raise SpecError("shard: weights", found=weights, wanted="finite numbers above zero",
                        fix="leave out who computes nothing")  # fmt: skip
    total = math.fsum(weights)
    # Whole parts of the ideal lengths never exceed the best lengths, so filling starts there;
    # rounding is kept from overshooting by taking a hair less.
    lengths = [max(1, int(extent * weight / total * (1 - 1e-12))) for weight in weights]
    queue = [((length + 1) / weights[i], i) for i, length in enumerate(lengths)]
    heapq.heapify(queue)
    for _ in range(extent - sum(lengths)):
        _, i = heapq.heappop(queue)
        lengths[i] += 1
        heapq.heappush(queue, ((lengths[i] + 1) / weights[i], i))
    while sum(lengths) > extent:  # the ones given to the weakest are taken from the fullest
        i = max((j for j in range(len(lengths)) if lengths[j] > 1),
                key=lambda j: (lengths[j] / weights[j], j))  # fmt: skip
        lengths[i] -= 1
    spans, start = [], 0
    for length in lengths:
        spans.append((start, start + length))
        start += length
    return tuple(spans)
