"""Which part of a tensor a part of its reshaped self shows.

Models:  both shapes fall apart into runs of axes of equal size; in each run elements keep their
         place in row-major order, and a part is taken as the stretch from its first to its last.
Ignores: that a part of a run may have holes (what lies between is then asked for too).
Judge:   NumPy's reshape of numbered elements (tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from orrery.certificate import Box

Span = tuple[int, int]


def reshaped(sizes: Sequence[int], out: Sequence[int], part: Box) -> Box:
    """Return the part of a tensor of these sizes that holds a part of it reshaped to `out`."""
    whole = tuple((0, size) for size in sizes)
    if 0 in sizes or 0 in out or prod(sizes) != prod(out):
        return whole
    box: list[Span] = list(whole)
    for (a, b), (c, d) in _runs(sizes, out):
        first = _place([span[0] for span in part[c:d]], out[c:d])
        last = _place([span[1] - 1 for span in part[c:d]], out[c:d])
        box[a:b] = _stretch(first, last, sizes[a:b])
    return tuple(box)


def _runs(sizes: Sequence[int], out: Sequence[int]) -> Iterator[tuple[Span, Span]]:
    """Yield the shortest groups of axes of both shapes that hold equally many elements."""
    a = b = c = d = 0
    left = right = 1
    while b < len(sizes) or d < len(out):
        if d == len(out) or (b < len(sizes) and left <= right):
            left *= sizes[b]
            b += 1
        else:
            right *= out[d]
            d += 1
        if left == right:
            yield (a, b), (c, d)
            a, c, left, right = b, d, 1, 1


def _place(index: Sequence[int], sizes: Sequence[int]) -> int:
    """Return the number of an element in row-major order."""
    place = 0
    for i, size in zip(index, sizes):
        place = place * size + i
    return place


def _stretch(first: int, last: int, sizes: Sequence[int]) -> list[Span]:
    """Return the smallest box that holds the elements with numbers from first to last."""
    spans: list[Span] = []
    for size in reversed(sizes):
        if first // size == last // size:  # the stretch lies in one row
            spans.append((first % size, last % size + 1))
        else:
            spans.append((0, size))
        first, last = first // size, last // size
    return spans[::-1]
