"""Derivatives of resizing and of rotary positions: linear maps, run backwards.

Judge: PyTorch's `interpolate`; <f(x), y> = <x, f'(y)>.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._derive import DerivativeContext, derivative
from .._graph import Node
from .._operator import TRAINING_DOMAIN, Array, Operations, TypeContext, find_operator, operator
from .._types import TensorType
from ..operators._rules import in_float32, integers, known_integers


@derivative("Resize")
def resize(c: DerivativeContext) -> list[str | None]:
    """Growing by a whole factor to the nearest is undone by a sum; the rest by `ResizeGrad`."""
    shape, target = c.shape(c.inputs[0]), c.shape(c.gradient)
    if c.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise c.error("tf_crop_and_resize", "a mode without a region", "crop before")
    if any(c.needs(i) for i in range(1, len(c.inputs))):
        raise c.error("scales or sizes that are learned", "fixed ones", "make them constants")
    matrices = _matrices(c.node, shape, target, c.value(2))
    repeats = [_repeats(m, before, after) if m is not None else 1
               for m, before, after in zip(matrices, shape, target, strict=True)]  # fmt: skip
    if all(repeats):
        parts = [size for pair in zip(shape, repeats, strict=True) for size in pair]
        axes = [2 * axis + 1 for axis, times in enumerate(repeats) if times > 1]
        split = [n for i, n in enumerate(parts) if i % 2 == 0 or i in axes]
        places = [_place(i, axes) for i in axes]
        dx = c.reshape(c.sum(c.reshape(c.gradient, split), places), shape)
        return [dx, None, None, None]
    scales = c.value(2)
    given = None if scales is None or not scales.size else np.asarray(scales, np.float32)
    dx = c.emit("ResizeGrad", c.gradient, np.array(shape, np.int64), given,
                domain=TRAINING_DOMAIN, **c.node.attributes)  # fmt: skip
    return [dx, None, None, None]


def _place(index: int, axes: Sequence[int]) -> int:
    """Return where a repeated axis stands when only repeated axes are split in two."""
    return index // 2 + 1 + sum(other < index for other in axes)


def _matrices(
    node: Node, shape: Sequence[int], target: Sequence[int], scales: Any
) -> list[NDArray[np.float64] | None]:
    """Return [resized, length] for every axis that is resized: what becomes of unit vectors."""
    resize_ = find_operator(replace(node, op="Resize", domain=""))
    if resize_ is None:
        raise ValueError("no operator Resize")
    axes = node.attributes.get("axes")
    chosen = [int(a) % len(shape) for a in axes] if axes else list(range(len(shape)))
    plain = {k: v for k, v in node.attributes.items()
             if k not in ("axes", "keep_aspect_ratio_policy")}  # fmt: skip
    given = None if scales is None or not np.asarray(scales).size else np.ravel(scales)
    result: list[NDArray[np.float64] | None] = [None] * len(shape)
    for i, axis in enumerate(chosen):
        scale = None if given is None else np.array([given[i]], np.float32)
        if shape[axis] == target[axis] and (scale is None or scale[0] == 1):
            continue
        sizes = None if scale is not None else np.array([target[axis]], np.int64)
        unit = resize_.evaluate(np.eye(shape[axis]), None, scale, sizes, **plain, axes=(1,))
        result[axis] = np.asarray(unit).T
    return result


def _repeats(matrix: NDArray[np.float64], before: int, after: int) -> int:
    """Return how often each cell is repeated, 0 when the matrix does something else."""
    if before == 0 or after % before:
        return 0
    times = after // before
    return times if np.array_equal(matrix, np.repeat(np.eye(before), times, axis=0)) else 0


def _resize_gradient_type(context: TypeContext) -> list[TensorType | None]:
    dy, known = context.input(0), known_integers(context, 1)
    if known is None:
        raise context.error("a shape that only running tells", "a constant shape")
    return [TensorType(dtype=dy.dtype, shape=known)]


def _resize_gradient_count(context: TypeContext) -> Operations:
    """As many MACs as `Resize` has; the nearest cell takes one addition per gradient."""
    taps = {"linear": 2, "cubic": 4}.get(context.attribute("mode", "nearest"), 0)
    dy, dx = context.input(0), context.output()
    macs, shape = 0, list(dx.sizes)
    for axis, (before, after) in enumerate(zip(dx.sizes, dy.sizes, strict=True)):
        if before != after:
            shape[axis] = after
            macs += taps * math.prod(shape)
    return Operations(macs=macs, others=0 if taps else dy.elements)


@operator("ResizeGrad", infer=_resize_gradient_type, count=_resize_gradient_count,
          domain=TRAINING_DOMAIN)  # fmt: skip
@in_float32
def resize_gradient(
    dy: Array, x_shape: Array, scales: Array | None = None, *, antialias: int = 0,
    axes: Sequence[int] | None = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Any:  # fmt: skip
    """Return d loss / d x of ``y = Resize(x)``; the attributes are the resizing's."""
    node = Node(name="resize", op="Resize", inputs=(), outputs=(), attributes={
        "antialias": antialias, "axes": axes, "cubic_coeff_a": cubic_coeff_a, "mode": mode,
        "coordinate_transformation_mode": coordinate_transformation_mode,
        "exclude_outside": exclude_outside, "nearest_mode": nearest_mode,
    })  # fmt: skip
    dx = dy
    for axis, matrix in enumerate(_matrices(node, integers(x_shape), dy.shape, scales)):
        if matrix is not None:
            along = np.moveaxis(dx, axis, -1) @ matrix.astype(dy.dtype)
            dx = np.moveaxis(along, -1, axis)
    return dx


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
