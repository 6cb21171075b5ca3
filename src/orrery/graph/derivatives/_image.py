"""Derivatives of resizing and of rotary positions: linear maps, run backwards.

Judge: PyTorch's `interpolate`; <f(x), y> = <x, f'(y)>.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._derive import DerivativeContext, derivative
from .._operator import find_operator
from .._types import numpy_dtype

__all__: list[str] = []


@derivative("Resize")
def resize(c: DerivativeContext) -> list[str | None]:
    """One matrix product per resized axis; growing by a whole factor to the nearest is a sum.

    The matrix of an axis is what `Resize` makes of unit vectors along it.
    """
    shape, target = c.shape(c.inputs[0]), c.shape(c.gradient)
    if c.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise c.error("tf_crop_and_resize", "a mode without a region", "crop before")
    if any(c.needs(i) for i in range(1, len(c.inputs))):
        raise c.error("scales or sizes that are learned", "fixed ones", "make them constants")
    g = c.gradient
    for axis, (before, after) in enumerate(zip(shape, target, strict=True)):
        if before == after and _is_identity(c, axis):
            continue
        matrix = _matrix(c, axis, before)
        have = c.shape(g)
        if _repeats(matrix, before, after):
            parts = (*have[:axis], before, after // before, *have[axis + 1 :])
            g = c.sum(c.reshape(g, parts), [axis + 1])
            continue
        last = len(have) - 1
        order = [i for i in range(len(have)) if i != axis] + [axis]
        moved = g if axis == last else c.emit("Transpose", g, perm=tuple(order))
        moved = c.emit("MatMul", moved, matrix.astype(numpy_dtype(c.type(g).dtype)))
        back = tuple(int(i) for i in np.argsort(order))
        g = moved if axis == last else c.emit("Transpose", moved, perm=back)
    return [g, None, None, None]


def _is_identity(c: DerivativeContext, axis: int) -> bool:
    scale = _scale(c, axis)
    return scale is None or scale == 1


def _scale(c: DerivativeContext, axis: int) -> float | None:
    scales = c.value(2)
    if scales is None or not scales.size:
        return None
    axes = c.attribute("axes")
    rank = len(c.shape(c.inputs[0]))
    chosen = [int(a) % rank for a in axes] if axes else list(range(rank))
    return float(scales.ravel()[chosen.index(axis)]) if axis in chosen else 1.0


def _matrix(c: DerivativeContext, axis: int, length: int) -> NDArray[np.float64]:
    """Return [resized, length]: column i is the resized i-th unit vector."""
    operator = find_operator(c.node)
    if operator is None:
        raise ValueError("no operator Resize")
    attributes = {k: v for k, v in c.node.attributes.items() if k != "axes"}
    attributes["axes"] = (1,)
    scale = _scale(c, axis)
    identity = np.eye(length)
    scales = None if scale is None else np.array([scale], np.float32)
    sizes = None if scale is not None else np.array([c.shape(c.gradient)[axis]], np.int64)
    if scale is None:
        attributes.pop("keep_aspect_ratio_policy", None)
    return np.asarray(operator.evaluate(identity, None, scales, sizes, **attributes)).T


def _repeats(matrix: NDArray[np.float64], before: int, after: int) -> bool:
    if before == 0 or after % before:
        return False
    return np.array_equal(matrix, np.repeat(np.eye(before), after // before, axis=0))


@derivative("RotaryEmbedding")
def rotary_embedding(c: DerivativeContext) -> list[str | None]:
    """Rotate back: the same cosines, the opposite sines."""
    if c.needs(1) or c.needs(2):
        raise c.error("tables of angles that are learned", "fixed ones", "make them constants")
    opposite = c.emit("Neg", c.inputs[2])
    more = (c.inputs[3],) if c.has(3) else ()
    return [
        c.emit("RotaryEmbedding", c.gradient, c.inputs[1], opposite, *more, **c.node.attributes),
        None, None, None,
    ]  # fmt: skip
