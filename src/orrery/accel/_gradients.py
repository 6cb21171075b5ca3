"""The gradients of a convolution as matrices.

Models:  `ConvGradInput`: pixels that are as far from the stride's grid meet the same taps, so each
         such distance is a batch of its own, a convolution of stride 1 (no zeros are put between
         the gradient's pixels); distances with fewer taps than others are filled up with zeros.
         `ConvGradWeight`: a tap is a position, the output's gradient holds the filters, and the sum
         runs over the batch and all places.
Ignores: that a tap filled up and a pixel outside could be skipped: they count as terms.
Judge:   the NumPy reference of `orrery.graph` (tests/accel/bitlet/test_training_products.py).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import TRAINING_DOMAIN, Node, Region

from ._layer import Array, Layer, Matrices, Read, Sizes, axes_of, known_pads, pads_of, windows

#: Gradients of a convolution with respect to its image and to its filters.
GRAD_INPUT = f"{TRAINING_DOMAIN}.ConvGradInput"
GRAD_WEIGHT = f"{TRAINING_DOMAIN}.ConvGradWeight"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """The pixels of an image that meet the same taps of a convolution with a stride.

    Attributes
    ----------
    first : of these pixels, per axis; the others follow at the stride
    taps : which they meet, per axis; -1 fills up
    table : (pixels, taps) -> the output that saw the pixel through the tap, flat; one beyond the
        last: none
    """

    first: Sizes
    taps: tuple[Sizes, ...]
    table: NDArray[np.int64]


def phases_of(node: Node, image: Sizes, kernel: Sizes, outputs: Sizes) -> list[_Phase]:
    """Cut an image by the stride; pixels that no tap reaches are in no phase."""
    rank = len(image)
    strides, dilations = axes_of(node, "strides", rank), axes_of(node, "dilations", rank)
    pads = known_pads(node, image, kernel)
    axes: list[list[tuple[int, Sizes, Array]]] = []
    for size, count, stride, dilation, (before, _), seen in zip(
        image, kernel, strides, dilations, pads, outputs
    ):
        met = {r: [k for k in range(count) if (r + before - k * dilation) % stride == 0]
               for r in range(min(stride, size))}  # fmt: skip
        slots = max(map(len, met.values()))
        found = []
        for r, taps in met.items():
            if not taps:
                continue
            filled = (*taps, *(-1,) * (slots - len(taps)))
            pixel = r + stride * np.arange(-(-size // stride))[:, None]
            tap = np.array(filled)
            place = (pixel + before - tap * dilation) // stride
            inside = (pixel < size) & (tap >= 0) & (place >= 0) & (place < seen)
            found.append((r, filled, np.where(inside, place, -1)))
        axes.append(found)
    phases = []
    for parts in itertools.product(*axes):
        flat, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        for (_, _, place), seen in zip(parts, outputs):
            grid = np.maximum(place, 0)
            flat = (flat[:, None, :, None] * seen + grid[None, :, None, :]).reshape(
                len(flat) * len(grid), -1
            )
            inside = (inside[:, None, :, None] & (place >= 0)[None, :, None, :]).reshape(flat.shape)
        phases.append(_Phase(
            first=tuple(p[0] for p in parts), taps=tuple(p[1] for p in parts),
            table=np.where(inside, flat, math.prod(outputs)),
        ))  # fmt: skip
    return phases


def read_grad_input(region: Region, node: Node, shapes: list[Sizes], out: Sizes) -> Read | str:
    del region
    gradient, kernel = shapes[0], shapes[1]
    groups = int(node.attributes.get("group", 1))
    fits = groups >= 1 and out[1] == groups * kernel[1] and gradient[1] == kernel[0]
    if not fits or kernel[0] % groups:
        return f"{out[1]} channels and {kernel[0]} filters do not fit {groups} groups"
    pads = pads_of(node, out[2:], kernel[2:])
    if isinstance(pads, str):
        return pads
    phases = phases_of(node, out[2:], kernel[2:], gradient[2:])
    if not phases:
        return "no window meets a pixel; the gradient is zero"
    pixels, slots = phases[0].table.shape
    terms = kernel[0] // groups * slots
    return groups * len(phases), kernel[1], out[0] * pixels, terms, 1


def make_grad_input(
    node: Node, layer: Layer, gradient: Array, weights: Array, c: Array | None, out: Sizes
) -> Matrices:
    del c
    phases = phases_of(node, out[2:], weights.shape[2:], gradient.shape[2:])
    groups = layer.batches // len(phases)
    batch, filters, rank = out[0], len(weights) // groups, len(out) - 2
    pixels = len(phases[0].table)
    strides = axes_of(node, "strides", rank)
    # One place behind the last holds the zero that stands for no output.
    flat = gradient.reshape(batch, groups, filters, -1)
    flat = np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1)
    # One tap behind the last: the zero that fills up; index -1 finds it.
    wide = np.pad(weights, [(0, 0), (0, 0), *[(0, 1)] * rank])
    split = wide.reshape(groups, filters, *wide.shape[1:]).swapaxes(1, 2)
    whole = slice(None)
    held = []
    for phase in phases:
        met: tuple[Any, ...] = np.ix_(*phase.taps)
        held.append(split[(whole, whole, whole, *met)])
    rows = np.arange(filters)[None, :, None]

    def take(index: int, positions: Array) -> Array:
        phase, group = divmod(index, groups)
        image, pixel = np.divmod(positions, pixels)
        seen = phases[phase].table[pixel]
        taken: Array = flat[image[:, None, None], group, rows, seen[:, None, :]]
        return taken.reshape(len(positions), layer.terms)

    def tensor(sums: Array) -> Array:
        result = np.zeros(out, sums.dtype)
        cells = tuple(-(-size // stride) for size, stride in zip(out[2:], strides))
        each = sums.reshape(len(phases), out[1], batch, *cells)
        for part, phase in zip(each, phases):
            places = tuple(slice(f, None, s) for f, s in zip(phase.first, strides))
            into = result[(whole, whole, *places)]
            into[...] = part.swapaxes(0, 1)[(whole, whole, *map(slice, into.shape[2:]))]
        return result

    return Matrices(
        source=gradient, take=take, bias=None, scale=1.0, tensor=tensor,
        weights=np.ascontiguousarray(
            np.stack(held).reshape(layer.batches, layer.filters, layer.terms)
        ),
    )  # fmt: skip


def read_grad_weight(region: Region, node: Node, shapes: list[Sizes], out: Sizes) -> Read | str:
    del region
    image, gradient = shapes[0], shapes[1]
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or image[1] != groups * out[1] or gradient[1] != out[0] or out[0] % groups:
        return f"{image[1]} channels and {out[0]} filters do not fit {groups} groups"
    pads = pads_of(node, image[2:], out[2:])
    if isinstance(pads, str):
        return pads
    terms = image[0] * math.prod(gradient[2:])
    return groups, out[0] // groups, math.prod(out[1:]), terms, 1


def make_grad_weight(
    node: Node, layer: Layer, image: Array, gradient: Array, c: Array | None, out: Sizes
) -> Matrices:
    del c
    rank, channels = image.ndim - 2, out[1]
    view = windows(node, image, out[2:], gradient.shape[2:])
    # Before: [N, C, *outputs, *kernel]; after: [C, *kernel, N, *outputs].
    view = view.transpose(1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))

    def take(group: int, positions: Array) -> Array:
        mine = view[group * channels : (group + 1) * channels]
        taken: Array = mine[np.unravel_index(positions, out[1:])]
        return np.ascontiguousarray(taken.reshape(len(positions), layer.terms))

    held = np.ascontiguousarray(gradient.swapaxes(0, 1))
    return Matrices(
        source=image, weights=held.reshape(layer.batches, layer.filters, layer.terms), take=take,
        bias=None, scale=1.0, tensor=lambda sums: np.ascontiguousarray(sums.reshape(out)),
    )  # fmt: skip
