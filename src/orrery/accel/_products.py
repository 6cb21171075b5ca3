"""Products as matrices: filters by a sum's terms, and the positions that they meet.

Models:  `Conv` of any rank with groups, stride, dilation and padding; `Gemm`; `MatMul` with any
         batch axes; the two gradients of a convolution (`_gradients`). All become weights (batches,
         filters, terms) and activations (batches, positions, terms), the terms of a convolution in
         the order in which the weight tensor stores them (channel, then kernel row, then kernel
         column).
         Of a `MatMul`'s factors the constant one is the weights; the second, if both or none are.
         Any operand may be asked to play the weights instead: then filters and positions change
         places, and what was gathered is held.
Ignores: `ConvTranspose` and recurrent layers, refused with a reason.
Judge:   the NumPy reference of `orrery.graph` (tests/accel/bitlet/test_function.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from orrery.errors import SpecError
from orrery.graph import Node, Region

from ._gradients import (
    GRAD_INPUT,
    GRAD_WEIGHT,
    make_grad_input,
    make_grad_weight,
    phases_of,
    read_grad_input,
    read_grad_weight,
)
from ._layer import Array, Layer, Matrices, Read, Sizes, axes_of, pads_of, windows
from ._record import Tensors

__all__ = ["Layer", "Matrices", "blocks", "filled_share", "matrices", "read_layer", "require_layer"]

#: Activations gathered at a time.
_BLOCK_ELEMENTS = 1 << 21
#: Activations of a line of outputs from which on lines are copied one by one.
_LINE_ELEMENTS = 1 << 8

FLOAT_TYPES = ("float32", "float16", "bfloat16")


def read_layer(region: Region, weights: int | None = None) -> Layer | str:
    """Return the sizes of a region's layer, or why it is none.

    Parameters
    ----------
    weights : the input that plays the weights, 0 or 1; None: the usual one

    Raises
    ------
    SpecError : `weights` is neither input
    """
    if weights not in (None, 0, 1):
        raise SpecError(f"region {region.name!r}: weights", found=weights, wanted="input 0 or 1",
                        fix="None takes the usual one")  # fmt: skip
    if len(region.nodes) != 1:
        return f"{len(region.nodes)} operators in one region; the design runs one product"
    node = region.members[0]
    if node.operator not in _READERS:
        return f"operator {node.operator}; the design runs {', '.join(_READERS)} only"
    gradient = node.operator in (GRAD_INPUT, GRAD_WEIGHT)
    operands = node.inputs[:2] if gradient else node.inputs
    types = region.graph.types
    for name in (*(n for n in operands if n), node.outputs[0]):
        if name not in types or not types[name].is_bound:
            return f"tensor {name!r} has no bound shape"
        if types[name].dtype not in FLOAT_TYPES:
            return f"tensor {name!r} is {types[name].dtype}; the design takes floating point"
        if types[name].elements == 0:
            return f"tensor {name!r} is empty"
    shapes = [types[n].sizes if n else () for n in operands]
    out = types[node.outputs[0]].sizes
    if node.operator == "MatMul":
        found = _read_matmul(region, node, shapes, out, weights)
    else:
        found = _READERS[node.operator](region, node, shapes, out)
    if isinstance(found, str):
        return found
    batches, filters, positions, terms, usual = found
    bias = math.prod(shapes[2]) if len(operands) > 2 and operands[2] else 0
    layer = Layer(
        operator=node.operator, batches=batches, filters=filters, positions=positions,
        terms=terms, weights=usual, activations=1 - usual,
        activation_elements=math.prod(shapes[1 - usual]),
        weight_elements=math.prod(shapes[usual]), output_elements=math.prod(out),
        bias_elements=bias,
    )  # fmt: skip
    if weights in (None, usual):
        return layer
    return replace(
        layer, filters=positions, positions=filters, weights=1 - usual, activations=usual,
        weight_elements=batches * positions * terms, activation_elements=layer.weight_elements,
        exchanged=True,
    )  # fmt: skip


def require_layer(region: Region, weights: int | None = None) -> Layer:
    """Return the sizes, or raise for a region that is no such layer."""
    layer = read_layer(region, weights)
    if isinstance(layer, str):
        raise SpecError(f"region {region.name!r}", found=layer, wanted="a supported product",
                        fix="ask the cost model whether it refuses first")  # fmt: skip
    return layer


def matrices(region: Region, inputs: Tensors, layer: Layer) -> Matrices:
    """Return the values of a layer; activations are gathered only when asked for."""
    node = region.members[0]

    def value(index: int) -> Array | None:
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        name = node.inputs[index]
        found = inputs[name] if name in inputs else region.graph.constants[name].array()
        return np.asarray(found)

    first, second = value(0), value(1)
    if first is None or second is None:
        raise SpecError(f"region {region.name!r}", found="a missing operand", wanted="two operands",
                        fix="ask `read_layer` first")  # fmt: skip
    out = region.graph.types[node.outputs[0]].sizes
    third = None if node.operator == GRAD_INPUT else value(2)
    if not layer.exchanged:
        return _MAKERS[node.operator](node, layer, first, second, third, out)
    usual = replace(layer, filters=layer.positions, positions=layer.filters, exchanged=False)
    return _exchanged(_MAKERS[node.operator](node, usual, first, second, third, out), usual)


def _exchanged(given: Matrices, usual: Layer) -> Matrices:
    """Hold what was gathered, and hand out what was held."""
    places = np.arange(usual.positions)
    held = given.weights

    def take(batch: int, positions: Array) -> Array:
        taken: Array = held[batch, positions]
        return taken

    return Matrices(
        source=held, weights=np.stack([given.take(b, places) for b in range(usual.batches)]),
        take=take, bias=None if given.bias is None else given.bias.swapaxes(1, 2),
        scale=given.scale, tensor=lambda sums: given.tensor(sums.swapaxes(1, 2)),
    )  # fmt: skip


def blocks(layer: Layer) -> Iterator[Array]:
    """Cut the positions so that the activations of one block fit a few dozen megabytes."""
    step = max(1, _BLOCK_ELEMENTS // layer.terms)
    for first in range(0, layer.positions, step):
        yield np.arange(first, min(first + step, layer.positions))


def filled_share(region: Region) -> float:
    """Return the share of a layer's terms, over all positions, that padding does not fill.

    1 for products of matrices. A layer of nothing but padding has 0.

    Raises
    ------
    SpecError : the region is no supported layer
    """
    require_layer(region)
    node, types = region.members[0], region.graph.types
    first, second, result = (types[n].sizes[2:] for n in (*node.inputs[:2], node.outputs[0]))
    if node.operator == GRAD_INPUT:
        tables = [phase.table for phase in phases_of(node, result, second, first)]
        return float(np.mean([(table < math.prod(first)).mean() for table in tables]))
    if node.operator == "Conv":
        image, kernel, outputs = first, second, result
    elif node.operator == GRAD_WEIGHT:
        image, kernel, outputs = first, result, second
    else:
        return 1.0
    rank = len(image)
    pads = pads_of(node, image, kernel)
    share = 1.0
    for axis in range(rank):
        before = 0 if isinstance(pads, str) else pads[axis][0]
        places = np.arange(outputs[axis])[:, None] * axes_of(node, "strides", rank)[axis]
        taps = np.arange(kernel[axis]) * axes_of(node, "dilations", rank)[axis] - before
        inside = (places + taps >= 0) & (places + taps < image[axis])
        share *= float(inside.mean())
    return share


# -- convolutions ---------------------------------------------------------------------------------


def _read_conv(region: Region, node: Node, shapes: list[Sizes], out: Sizes) -> Read | str:
    del region
    image, kernel = shapes[0], shapes[1]
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or image[1] != groups * kernel[1] or kernel[0] % groups:
        return f"{image[1]} channels and {kernel[0]} filters do not fit {groups} groups"
    pads = pads_of(node, image[2:], kernel[2:])
    if isinstance(pads, str):
        return pads
    positions = image[0] * math.prod(out[2:])
    return groups, kernel[0] // groups, positions, math.prod(kernel[1:]), 1


def _make_conv(
    node: Node, layer: Layer, image: Array, weights: Array, bias: Array | None, out: Sizes
) -> Matrices:
    rank, outputs = image.ndim - 2, out[2:]
    # Before: [N, C, *outputs, *kernel]; after: [N, *outputs, C, *kernel].
    view = np.moveaxis(windows(node, image, weights.shape[2:], outputs), 1, 1 + rank)
    channels = image.shape[1] // layer.batches
    everywhere = (slice(None),) * (1 + rank)

    def take(group: int, positions: Array) -> Array:
        mine = view[(*everywhere, slice(group * channels, (group + 1) * channels))]
        line = outputs[-1]
        first, last = int(positions[0]), int(positions[-1])
        near = last - first + 1 == len(positions) and bool((np.diff(positions) == 1).all())
        if not near or line * layer.terms < _LINE_ELEMENTS:
            picked = mine[np.unravel_index(positions, (len(image), *outputs))]
            return np.ascontiguousarray(picked.reshape(len(positions), layer.terms))
        # Neighbours: whole lines of a plane are copied faster than places are picked.
        start, beyond = first // line, last // line + 1
        held = np.empty((beyond - start, *mine.shape[rank:]), mine.dtype)
        planes, height = mine.shape[: rank - 1], mine.shape[rank - 1]
        for plane in range(start // height, (beyond - 1) // height + 1):
            low, high = max(start, plane * height), min(beyond, (plane + 1) * height)
            lines = slice(low - plane * height, high - plane * height)
            outer: tuple[Any, ...] = np.unravel_index(plane, planes) if planes else ()
            held[low - start : high - start] = mine[(*outer, lines)]
        begin = first - start * line
        rows = held.reshape(-1, layer.terms)[begin : begin + len(positions)]
        return np.ascontiguousarray(rows)

    def tensor(sums: Array) -> Array:
        spread = sums.reshape(layer.batches * layer.filters, len(image), *outputs)
        return np.ascontiguousarray(np.moveaxis(spread, 0, 1))

    return Matrices(
        source=image, weights=weights.reshape(layer.batches, layer.filters, layer.terms), take=take,
        bias=None if bias is None else bias.reshape(layer.batches, layer.filters, 1), scale=1.0,
        tensor=tensor,
    )  # fmt: skip


# -- matrix products ------------------------------------------------------------------------------


def _read_gemm(region: Region, node: Node, shapes: list[Sizes], out: Sizes) -> Read | str:
    del region
    terms = shapes[0][0 if node.attributes.get("transA", 0) else 1]
    return 1, out[1], out[0], terms, 1


def _make_gemm(
    node: Node, layer: Layer, a: Array, b: Array, c: Array | None, out: Sizes
) -> Matrices:
    rows = np.ascontiguousarray(a.T if node.attributes.get("transA", 0) else a)
    weights = b if node.attributes.get("transB", 0) else b.T
    beta = float(node.attributes.get("beta", 1.0))
    bias = None
    if c is not None and beta != 0.0:
        wide = np.broadcast_to(c if beta == 1.0 else (beta * c).astype(c.dtype), out)
        bias = wide.T[None]

    def take(batch: int, positions: Array) -> Array:
        del batch
        taken: Array = rows[positions]
        return taken

    return Matrices(
        source=a, weights=np.ascontiguousarray(weights)[None], take=take, bias=bias,
        scale=float(node.attributes.get("alpha", 1.0)),
        tensor=lambda sums: np.ascontiguousarray(sums[0].T),
    )  # fmt: skip


def _read_matmul(
    region: Region, node: Node, shapes: list[Sizes], out: Sizes, weights: int | None = None
) -> Read | str:
    del out
    constant = [name in region.graph.constants for name in node.inputs]
    if weights is None:
        weights = 0 if constant == [True, False] else 1
    a, b = _matrix(shapes[0], first=True), _matrix(shapes[1], first=False)
    mine, other = (b, a) if weights else (a, b)
    filters, terms = (mine[-1], mine[-2]) if weights else (mine[-2], mine[-1])
    rows = other[-2] if weights else other[-1]
    if len(mine) == 2:  # one weight matrix for all: the batch is more positions
        return 1, filters, rows * math.prod(other[:-2]), terms, weights
    return math.prod(np.broadcast_shapes(a[:-2], b[:-2])), filters, rows, terms, weights


def _matrix(shape: Sizes, *, first: bool) -> Sizes:
    """Return a factor's shape with two axes at least: a vector is a row or a column."""
    if len(shape) > 1:
        return shape
    return (1, *shape) if first else (*shape, 1)


def _make_matmul(
    node: Node, layer: Layer, a: Array, b: Array, c: Array | None, out: Sizes
) -> Matrices:
    del node, c
    a, b = a.reshape(_matrix(a.shape, first=True)), b.reshape(_matrix(b.shape, first=False))
    mine, other = (b.swapaxes(-1, -2), a) if layer.weights else (a, b.swapaxes(-1, -2))
    shared = mine.ndim == 2
    if shared:
        batch = other.shape[:-2]
        flat, mine = np.ascontiguousarray(other).reshape(1, -1, layer.terms), mine[None]
    else:
        batch = np.broadcast_shapes(mine.shape[:-2], other.shape[:-2])
        mine = np.broadcast_to(mine, (*batch, *mine.shape[-2:])).reshape(-1, *mine.shape[-2:])
        flat = np.broadcast_to(other, (*batch, *other.shape[-2:])).reshape(-1, *other.shape[-2:])

    def tensor(sums: Array) -> Array:
        each = sums
        if shared:  # before: [1, filters, batch · rows]; after: [batch, filters, rows]
            rows = layer.positions // math.prod(batch)
            each = np.moveaxis(sums[0].reshape(layer.filters, -1, rows), 0, 1)
        if layer.weights:
            each = each.swapaxes(-1, -2)
        return np.ascontiguousarray(each).reshape(out)

    def take(index: int, positions: Array) -> Array:
        taken: Array = np.ascontiguousarray(flat[index, positions])
        return taken

    return Matrices(
        source=other, weights=np.ascontiguousarray(mine), take=take, bias=None, scale=1.0,
        tensor=tensor,
    )  # fmt: skip


_READERS: dict[str, Callable[[Region, Node, list[Sizes], Sizes], Read | str]] = {
    "Conv": _read_conv, "Gemm": _read_gemm, "MatMul": _read_matmul,
    GRAD_INPUT: read_grad_input, GRAD_WEIGHT: read_grad_weight,
}  # fmt: skip
_MAKERS: dict[str, Callable[[Node, Layer, Array, Array, Array | None, Sizes], Matrices]] = {
    "Conv": _make_conv,
    "Gemm": _make_gemm,
    "MatMul": _make_matmul,
    GRAD_INPUT: make_grad_input,
    GRAD_WEIGHT: make_grad_weight,
}
