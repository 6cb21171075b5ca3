"""Batch normalisations, however their four vectors were put together.

Models:  ``(x - mean) / sqrt(variance + epsilon) * scale + shift`` in any order, with the root
         computed beforehand, without scale, shift or mean.
Judge:   routines written in each of these ways (tests/decompile); binaries of TVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._rewriting import noted
from ._tensors import ELEMENTWISE, Tensor, Tensors


def batch_norm(tensors: Tensors, t: Tensor, *, plain: bool = False) -> Tensor | None:
    """Read ``(x - mean) / sqrt(variance + epsilon) * scale + shift`` in any order."""
    if t.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    chain = _affine(t)
    if chain is None:
        return None
    x, a, b, parts = chain
    roots = [p for p in parts if p.op == "Sqrt"]
    if len(roots) != 1 or roots[0].inputs[0].op != "Add":
        return None
    one, two = roots[0].inputs[0].inputs
    epsilon = two.scalar() if two.size == 1 else one.scalar()
    variance = one if two.size == 1 else two
    if epsilon is None or variance.value is None:
        return None
    axes = [k for k in range(a.ndim) if _changes(a, k) or _changes(b, k)]
    if len(axes) != 1:
        return None
    channels = x.shape[axes[0]]
    a, b = (np.moveaxis(v, axes[0], 0).reshape(channels, -1)[:, 0] for v in (a, b))
    constants = [p for p in parts if p.op == "Constant" and p.size in (channels, 1)]
    var = np.broadcast_to(variance.value.reshape(-1), (channels,)).astype(np.float64)
    scale_wanted = np.broadcast_to(a.reshape(-1), (channels,)) * np.sqrt(var + epsilon)
    shift = np.broadcast_to(b.reshape(-1), (channels,))
    slope = np.broadcast_to(a.reshape(-1), (channels,))
    extra = [tensors.scalar(1.0)] if plain else []
    zero = [tensors.scalar(0.0)] if plain else []
    gamma = _nearest([*constants, *extra], [_of(p, channels) for p in (*constants, *extra)],
                     scale_wanted)  # fmt: skip
    pairs = [
        (mean, beta) for mean in (*constants, *zero) for beta in (*constants, *zero)
        if mean is not beta or mean in zero
    ]  # fmt: skip
    shifts = [_of(beta, channels) - _of(mean, channels) * slope for mean, beta in pairs]
    found = _nearest(pairs, shifts, shift)
    if gamma is None or found is None:
        return None
    mean, beta = found
    inputs = [_vector(tensors, p, channels) for p in (gamma, beta, mean, variance)]
    return _normed(tensors, x, axes[0], inputs, epsilon, parts)


def folded_batch_norm(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Read ``(x - mean) / deviation * scale + shift`` whose deviation a compiler has computed.

    The square of a deviation, rounded, has that deviation as its root, bit for bit.
    """
    constants = []
    at = t
    for op in ("Add", "Mul", "Div", "Sub"):
        if at.op != op:
            return None
        one, two = at.inputs
        if two.value is None and op in ("Add", "Mul"):
            one, two = two, one
        if two.value is None or one.shape != t.shape:
            return None
        constants.append(two)
        at = one
    shift, scale, deviation, mean = constants
    values = [np.broadcast_to(c.value, t.shape) for c in constants]  # type: ignore[arg-type]  # not None, above
    axes = [k for k in range(len(t.shape)) if any(_changes(v, k) for v in values)]
    if len(axes) != 1:
        return None
    (axis,) = axes
    inputs = [_vector(tensors, _along(tensors, c, t.shape, axis), t.shape[axis])
              for c in (scale, shift, mean, deviation)]  # fmt: skip
    root = inputs.pop()
    assert root.value is not None
    if not (root.value > 0).all():
        return None
    with np.errstate(over="ignore", under="ignore"):
        variance = tensors.constant(root.value * root.value)
    if not np.array_equal(np.sqrt(variance.value), root.value):  # type: ignore[arg-type]  # a constant has one
        return None
    variance.sources.extend(s for s in root.sources if s not in variance.sources)
    made = _normed(tensors, at, axis, [*inputs, variance], 0.0, [t])
    return noted(made, because="the variance is the square of a deviation that was folded")


def _along(tensors: Tensors, t: Tensor, shape: Sequence[int], axis: int) -> Tensor:
    """Return a constant's numbers along the one axis of a whole along which it changes."""
    assert t.value is not None
    whole = np.broadcast_to(t.value, shape)
    made = tensors.constant(np.moveaxis(whole, axis, 0).reshape(shape[axis], -1)[:, 0])
    made.sources.extend(s for s in t.sources if s not in made.sources)
    return made


def plain_batch_norm(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Read a batch normalisation without scale, shift or mean."""
    return batch_norm(tensors, t, plain=True)


def _of(t: Tensor, channels: int) -> NDArray[Any]:
    assert t.value is not None
    return np.broadcast_to(t.value.reshape(-1), (channels,)).astype(np.float64)


_Choice = TypeVar("_Choice")


def _nearest(
    choices: Sequence[_Choice], have: Sequence[NDArray[Any]], wanted: NDArray[Any]
) -> _Choice | None:
    """Return the choice whose numbers are nearest to the wanted ones, None where none is near."""
    best, least = None, 1e-5
    for choice, numbers in zip(choices, have, strict=True):
        error = float(np.max(np.abs(numbers - wanted) / (np.abs(wanted) + 1e-2)))
        if error < least:
            best, least = choice, error
    return best


def _changes(values: NDArray[Any], axis: int) -> bool:
    first = values.take([0], axis)
    return not np.array_equal(np.broadcast_to(first, values.shape), values)


def _normed(
    tensors: Tensors, x: Tensor, axis: int, inputs: list[Tensor], epsilon: float,
    parts: list[Tensor],
) -> Tensor:  # fmt: skip
    """Write a batch normalisation of any axis: channels are the second one."""
    shape = x.shape
    if axis != 1:
        shape = (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
    seen = tensors.reshape(x, shape)
    made = tensors.node("BatchNormalization", (seen, *inputs), shape, epsilon=epsilon)
    noted(
        made, *(p for p in parts if p.value is None),
        because="scale and shift per channel with the root of a variance",
    )  # fmt: skip
    return tensors.reshape(made, x.shape)


def _vector(tensors: Tensors, t: Tensor, channels: int) -> Tensor:
    assert t.value is not None
    made = tensors.constant(np.broadcast_to(t.value.reshape(-1), (channels,)))
    made.sources.extend(s for s in t.sources if s not in made.sources)
    return made


def _affine(t: Tensor) -> tuple[Tensor, NDArray[Any], NDArray[Any], list[Tensor]] | None:
    """Return x, a, b with ``t = a·x + b`` and constant a, b, and all that makes them."""
    if t.value is not None:
        return None
    parts: list[Tensor] = []
    path: list[tuple[str, NDArray[Any], bool]] = []
    at = t
    while at.op in ("Add", "Sub", "Mul", "Div") and len(path) < 8:
        one, two = at.inputs
        left, right = _computed(one, parts), _computed(two, parts)
        if (left is None) == (right is None):
            break
        if right is not None and one.shape == t.shape:
            path.append((at.op, right, False))
            parts.append(at)
            at = one
        elif left is not None and two.shape == t.shape and at.op != "Div":
            path.append((at.op, left, True))
            parts.append(at)
            at = two
        else:
            break
    if not path:
        return None
    a: NDArray[Any] = np.ones((1,) * len(t.shape))
    b: NDArray[Any] = np.zeros((1,) * len(t.shape))
    for op, value, first in reversed(path):
        if op == "Mul":
            a, b = a * value, b * value
        elif op == "Div":
            a, b = a / value, b / value
        elif op == "Add":
            b = b + value
        elif first:
            a, b = -a, value - b
        else:
            b = b - value
    a, b = np.broadcast_arrays(a, b)
    return at, a, b, parts


def _computed(t: Tensor, parts: list[Tensor]) -> NDArray[Any] | None:
    """Return the value of a tensor that constants alone make, noting them."""
    if t.value is not None:
        parts.append(t)
        return t.value.astype(np.float64)
    if t.op == "Rearrange":
        inner = _computed(t.inputs[0], parts)
        digits = t.digits
        if inner is None:
            return None
        return inner.reshape(digits.sizes).transpose(digits.order).reshape(t.shape)
    if t.op not in ELEMENTWISE or not t.inputs or len(t.inputs) > 2:
        return None
    before = len(parts)
    inputs = [_computed(x, parts) for x in t.inputs]
    compute = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
               "Sqrt": np.sqrt}.get(t.op)  # fmt: skip
    if compute is None or any(x is None for x in inputs):
        del parts[before:]
        return None
    parts.append(t)
    return np.asarray(compute(*inputs))
