"""What readers of layers build their loop nests from: tensors, problems, windows over images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..sharding._layer import SPATIAL, Layer, windows_of
from ._problem import Index, NestProblem, NestTensor

#: nests in the order in which they run, or why there are none
Found = tuple[NestProblem, ...] | str

#: (loop, extent); axes of an operand that no other axis of it shares
Shape = Sequence[tuple[str, int]]


def tensor(name: str, role: str, *axes: Shape | Index) -> NestTensor:
    """Return a tensor of runs of axes along one loop each, and of axes given as such.

    Loops of one pass are left out.
    """
    found: list[Index] = []
    for part in axes:
        if isinstance(part, Index):
            found.append(part)
        else:
            found += [Index(size=n, terms=((loop, 1),)) for loop, n in part if n > 1]
    return NestTensor(name=name, role=role, axes=tuple(found))


def problem(
    loops: Iterable[tuple[str, int]], *tensors: NestTensor, macs: bool = True, times: int = 1
) -> NestProblem:
    """Return a nest; loops of one pass are left out, but for the last of all."""
    loops = tuple(loops)
    kept = tuple((loop, n) for loop, n in loops if n > 1) or loops[:1]
    return NestProblem(loops=kept, tensors=tensors, macs=macs, times=times)


# -- windows --------------------------------------------------------------------------------------


def image_window(size: int, terms: Shape, strides: Sequence[int], offset: int) -> Index:
    """Return an axis that a window moves over; loops of one pass stand at their first place."""
    moving = tuple(
        (loop, stride) for (loop, n), stride in zip(terms, strides, strict=True) if n > 1
    )
    if not moving:
        return Index(size=int(0 <= offset < size))
    return Index(size=size, offset=offset, terms=moving)


def read_window(
    layer: Layer, image: Sequence[int], places: Sequence[int], kernel: Sequence[int]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[Index]] | str:
    """Return the loops over places and kernel positions, and the image axes they index."""
    if len(image) not in SPATIAL:
        return f"{len(image)} spatial axes; up to 3 have names"
    names = SPATIAL[len(image)]
    steps = list(zip(names, places, strict=True))
    taps = [(f"K{name.lower()}", int(k)) for name, k in zip(names, kernel, strict=True)]
    axes = [
        image_window(size, (step, tap), (w.stride, w.dilation), -w.begin)
        for size, step, tap, w in zip(image, steps, taps,
                                      windows_of(layer, image, kernel, places), strict=True)
    ]  # fmt: skip
    return steps, taps, axes
