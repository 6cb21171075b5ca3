"""Sums and maxima over windows and whole axes: pooling and reductions.

Models:  ``WindowSum``, ``WindowMax``, ``WindowMin`` over any axes with stride, dilation and
         padding (which counts for nothing), reductions of whole axes.
Judge:   routines written from random attributes (tests/decompile/matching).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..forms import Linear, Symbol
from ..tensors import Tensor, Tensors, groups_of, refine
from ._contract import Field, padding
from ._nest import Axis, Nest, Range
from ._statement import Refusal
from ._views import view

_REDUCTIONS = {"Add": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin"}


def windowed(
    tensors: Tensors, kind: str, x: Tensor, address: Linear, ranges: Sequence[Range],
    outer: Sequence[Symbol], inner: Sequence[Symbol], extents: Mapping[Symbol, int],
) -> Field:  # fmt: skip
    """Return ``Add``, ``Max`` or ``Min`` over `inner` of what is read.

    Raises
    ------
    Refusal : windows that fit no axes
    """
    read = {s for s in (*outer, *inner) if address.factor(s) and extents[s] > 1}
    used = [s for s in outer if s in read]
    times = prod(extents[s] for s in inner if s not in read)
    summed = [s for s in inner if s in read]
    made = _coupled(tensors, kind, x, address, ranges, used, summed, extents)
    if made is None:
        made = _whole(tensors, kind, x, address, ranges, used, summed, extents)
    if kind == "Add" and times > 1:
        made = Field(
            tensor=tensors.apply("Mul", made.tensor, tensors.scalar(float(times))), axes=made.axes
        )
    return made


def _whole(
    tensors: Tensors, kind: str, x: Tensor, address: Linear, ranges: Sequence[Range],
    used: Sequence[Symbol], summed: Sequence[Symbol], extents: Mapping[Symbol, int],
) -> Field:  # fmt: skip
    if ranges:
        raise Refusal("a guard in a sum over whole axes")
    seen = view(tensors, x, address, (*used, *summed), extents)
    places = range(len(used), len(used) + len(summed))
    reduced = tensors.reduce(_REDUCTIONS[kind], seen, list(places))
    return Field(tensor=tensors.reshape(reduced, [extents[s] for s in used]), axes=tuple(used))


def _coupled(
    tensors: Tensors, kind: str, x: Tensor, address: Linear, ranges: Sequence[Range],
    used: Sequence[Symbol], summed: Sequence[Symbol], extents: Mapping[Symbol, int],
) -> Field | None:  # fmt: skip
    """Return windows along axes; None where no axis has both a window and results."""
    nest = Nest(extents, used, summed, address, ranges, frozenset())
    nest.drop_single_turns()
    rough = len(x.inner.shape) == 1
    laid = nest.copy().along(x.shape, known=False) if rough else None
    nest.join_all()
    laid = laid or nest.along(tensors.axes_in_memory(x), known=not rough)
    if laid is None:
        if ranges:
            raise Refusal("windows that fit no axes of what is read")
        return None
    nest, axes = laid
    both = [a for a in axes if len(a.terms) == 2 or a.guarded]
    if not both:
        return None
    where = _inner_axes(x, axes)
    if where is not None and not rough:
        inner, order = x.inner, where
    else:  # as pools have it: two axes before those of the windows
        lead = max(0, 2 - min(k for k, a in enumerate(axes) if a in both))
        inner = tensors.reshape(x, [1] * lead + [a.size for a in axes])
        order = [None] * lead + list(range(len(axes)))
    windows: list[tuple[int, int, int, int, int]] = []
    shape: list[int] = []
    digits: list[int] = []
    for place in order:
        if place is None:
            windows.append((1, 1, 1, 0, 0))
            shape.append(1)
            continue
        axis = axes[place]
        result = next((c for c in axis.terms if nest.role[c][0]), None)
        total = next((c for c in axis.terms if not nest.role[c][0]), None)
        if any(m < 0 for m in axis.terms.values()):
            raise Refusal("a window that is walked backwards")
        count = nest.extent(result) if result is not None else 1
        window = nest.extent(total) if total is not None else 1
        stride = axis.terms[result] if result is not None else 1
        dilation = axis.terms[total] if total is not None else 1
        step, before, after = padding(axis, count, window, stride, dilation)
        windows.append((window, step, dilation, before, after))
        shape.append(count)
        if result is not None:
            digits += nest.counters[result]
    op = {"Add": "WindowSum", "Max": "WindowMax", "Min": "WindowMin"}[kind]
    y = tensors.node(op, (inner,), shape, windows=tuple(windows))
    y.evidence.append("loops and addresses: windows " + ", ".join(map(_text, windows)))
    made = nest.rearrange(tensors, y, digits, nest.digits_of(used), [extents[s] for s in used])
    return Field(tensor=made, axes=tuple(used))


def _text(window: tuple[int, int, int, int, int]) -> str:
    size, stride, dilation, before, after = window
    return (
        f"{size} by {stride}"
        + (f" dilated {dilation}" if dilation > 1 else "")
        + (f" padded {before},{after}" if before or after else "")
    )


def _inner_axes(x: Tensor, axes: Sequence[Axis]) -> list[int | None] | None:
    """Return which axis in memory each axis of the rearranged tensor is; None where none is."""
    inner = x.inner
    sizes = [a.size for a in axes]
    fine = refine(x.digits, read=inner.shape, written=sizes)
    if fine is None:
        return None
    written = groups_of(fine.written, sizes)
    read = groups_of(fine.sizes, inner.shape)
    if written is None or read is None:
        return None
    found: list[int | None] = []
    for group in read:
        if not group:
            found.append(None)
            continue
        same = [k for k, w in enumerate(written) if [fine.order[p] for p in w] == group]
        if len(same) != 1:
            return None
        found.append(same[0])
    return found if len([f for f in found if f is not None]) == len(sizes) else None
