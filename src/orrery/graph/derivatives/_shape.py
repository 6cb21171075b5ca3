"""Derivatives of operators that move elements: gradients go back the way values came.

Judge: PyTorch's gradients; <f(x), y> = <x, f'(y)>, since all of them are linear.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._derive import DerivativeContext, derivative
from .._types import numpy_dtype
from ..operators._shape import pad_pairs, slices, window_of


@derivative("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(c: DerivativeContext) -> list[str | None]:
    return [c.reshape(c.gradient, c.shape(c.inputs[0])), None]


@derivative("Transpose")
def transpose(c: DerivativeContext) -> list[str | None]:
    rank = len(c.shape(c.inputs[0]))
    perm = c.attribute("perm") or tuple(reversed(range(rank)))
    return [c.emit("Transpose", c.gradient, perm=tuple(int(i) for i in np.argsort(perm)))]


@derivative("DepthToSpace")
def depth_to_space(c: DerivativeContext) -> list[str | None]:
    return [_rearranged(c, "SpaceToDepth")]


@derivative("SpaceToDepth")
def space_to_depth(c: DerivativeContext) -> list[str | None]:
    return [_rearranged(c, "DepthToSpace")]


def _rearranged(c: DerivativeContext, op: str) -> str:
    mode = c.attribute("mode", "DCR")
    extra = {} if mode == "DCR" else {"mode": mode}
    return c.emit(op, c.gradient, blocksize=int(c.attribute("blocksize")), **extra)


@derivative("ReverseSequence")
def reverse_sequence(c: DerivativeContext) -> list[str | None]:
    return [c.emit("ReverseSequence", c.gradient, c.inputs[1], **c.node.attributes), None]


@derivative("Trilu")
def trilu(c: DerivativeContext) -> list[str | None]:
    more = (c.inputs[1],) if c.has(1) else ()
    return [c.emit("Trilu", c.gradient, *more, **c.node.attributes), None]


# -- joining and cutting --------------------------------------------------------------------------


@derivative("Concat")
def concat(c: DerivativeContext) -> list[str | None]:
    """Each input gets its part of the gradient."""
    axis = int(c.attribute("axis"))
    sizes = np.array([c.shape(x)[axis] for x in c.inputs], np.int64)
    if len(sizes) == 1:
        return [c.gradient]
    parts = c.emit_all("Split", c.gradient, sizes, outputs=len(sizes), axis=axis,
                       keep=[c.needs(i) for i in range(len(sizes))])  # fmt: skip
    return [part or None for part in parts]


@derivative("Split")
def split(c: DerivativeContext) -> list[str | None]:
    """Parts without a gradient count as zeros."""
    if any(not name for name in c.outputs):
        raise c.error("a part without a name", "all parts named", "name the output")
    parts = [g or c.zeros_like(y) for g, y in zip(c.gradients, c.outputs, strict=True)]
    return [c.emit("Concat", *parts, axis=int(c.attribute("axis", 0))), None]


def _pad(c: DerivativeContext, x: str, before: Sequence[int], after: Sequence[int]) -> str:
    if not any(before) and not any(after):
        return x
    return c.emit("Pad", x, np.array([*before, *after], np.int64))


@derivative("Slice")
def slice_(c: DerivativeContext) -> list[str | None]:
    """What was cut off is zero: flip back, put zeros between steps, pad."""
    shape = c.shape(c.inputs[0])
    arrays = [np.array(c.known(i, "bounds"), np.int64) if c.has(i) else None for i in range(1, 5)]
    starts, ends, axes, steps = arrays
    if starts is None or ends is None:
        raise c.error("no bounds", "starts and ends", "give inputs 1 and 2")
    g, rank = c.gradient, len(shape)
    before, after = [0] * rank, [0] * rank
    for axis, start, end, step in slices(rank, starts, ends, axes, steps):
        size = shape[axis]
        taken = range(*window_of(size, start, end, step).indices(size))
        if step < 0:
            g = _flipped(c, g, axis)
            taken = taken[::-1]
        if not taken:
            after[axis] = size
            continue
        if taken.step > 1 and len(taken) > 1:
            g = _stretched(c, g, axis, taken.step)
        before[axis], after[axis] = taken[0], size - 1 - taken[-1]
    return [_pad(c, g, before, after), None, None, None, None]


def _flipped(c: DerivativeContext, x: str, axis: int) -> str:
    least = np.iinfo(np.int64).min
    bounds = (np.array([v], np.int64) for v in (-1, least, axis, -1))
    return c.emit("Slice", x, *bounds)


def _stretched(c: DerivativeContext, x: str, axis: int, step: int) -> str:
    """Put step - 1 zeros behind each element but the last."""
    shape = c.shape(x)
    split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
    after = [step - 1 if i == axis + 1 else 0 for i in range(len(split))]
    wide = _pad(c, c.reshape(x, split), [0] * len(split), after)
    joined = c.reshape(wide, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return _pad(c, joined, [0] * len(shape), [1 - step if i == axis else 0
                                              for i in range(len(shape))])  # fmt: skip


# -- growing --------------------------------------------------------------------------------------


@derivative("Pad")
def pad(c: DerivativeContext) -> list[str | None]:
    """Constant: cut the frame off. Other modes: its gradients go back to their origins."""
    shape, mode = c.shape(c.inputs[0]), c.attribute("mode", "constant")
    axes = np.array(c.known(3, "axes"), np.int64) if c.has(3) else None
    pairs = pad_pairs(len(shape), np.array(c.known(1, "pads"), np.int64), axes)
    if mode == "constant":
        inner = _pad(c, c.gradient, [-b for b, _ in pairs], [-a for _, a in pairs])
        fill = None
        if c.needs(2):
            everything = range(len(shape))
            frame = c.emit("Sub", c.sum(c.gradient, everything), c.sum(inner, everything))
            fill = c.reshape(frame, c.shape(c.inputs[2]))
        return [inner, None, fill, None]
    g = c.gradient
    for axis, (before, after) in enumerate(pairs):
        if before == 0 and after == 0:
            continue
        places = np.arange(shape[axis])
        places = places[max(0, -before) : shape[axis] + min(0, after)]
        grown = np.pad(places, (max(0, before), max(0, after)), mode=mode)
        g = scatter_rows(c, g, c.constant(grown.astype(np.int64)), axis, shape[axis])
    return [g, None, None, None]


@derivative("Tile")
def tile(c: DerivativeContext) -> list[str | None]:
    """Add up all copies."""
    shape = c.shape(c.inputs[0])
    repeats = [t // n if n else 1 for t, n in zip(c.shape(c.gradient), shape, strict=True)]
    parts = [size for pair in zip(repeats, shape, strict=True) for size in pair]
    split = c.reshape(c.gradient, parts)
    return [c.reshape(c.sum(split, range(0, len(parts), 2)), shape), None]


@derivative("Expand")
def expand(c: DerivativeContext) -> list[str | None]:
    return [c.summed(c.gradient, 0), None]


def scatter_rows(c: DerivativeContext, g: str, places: str, axis: int, size: int) -> str:
    """Add slices of g up where `places` says: the adjoint of gathering along an axis.

    g [a, *places, b] -> [a, size, b], with `axis` the rank of a.
    """
    shape, depth = c.shape(g), len(c.shape(places))
    order = (*range(axis, axis + depth), *range(axis), *range(axis + depth, len(shape)))
    moved = g if axis == 0 else c.emit("Transpose", g, perm=order)
    rest = (*shape[:axis], *shape[axis + depth :])
    dtype = numpy_dtype(c.type(g).dtype)
    empty = c.emit("ConstantOfShape", np.array([size, *rest], np.int64), value=np.zeros(1, dtype))
    rows = c.emit("Unsqueeze", places, np.array([-1], np.int64))
    total = c.emit("ScatterND", empty, rows, moved, reduction="add")
    if axis == 0:
        return total
    return c.emit(
        "Transpose", total, perm=(*range(1, axis + 1), 0, *range(axis + 1, len(rest) + 1))
    )
