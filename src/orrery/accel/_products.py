"""Products as matrices: filters by a sum's terms, and the positions that they meet.

Models:  `Conv` of any rank with groups, stride, dilation and padding; `Gemm`; `MatMul` with any
         batch axes. All become weights (batches, filters, terms) and activations (batches,
         positions, terms), the terms in the order in which the weight tensor stores them
         (channel, then kernel row, then kernel column).
         Of a `MatMul`'s factors the constant one is the weights; the second, if both or none are.
Ignores: `ConvTranspose` and recurrent layers, refused with a reason.
Judge:   the NumPy reference of `orrery.graph` (tests/accel/bitlet/test_function.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import Node, Region

from ._record import Tensors

__all__ = ["Layer", "Matrices", "blocks", "filled_share", "matrices", "read_layer", "require_layer"]

Array = NDArray[Any]

#: Activations gathered at a time.
_BLOCK_ELEMENTS = 1 << 21

FLOAT_TYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Sizes of one layer.

    Attributes
    ----------
    operator : ``Conv``, ``Gemm`` or ``MatMul``
    batches : independent products, e.g. a convolution's groups
    filters, positions, terms : of one batch
    weights, activations : which inputs of the node play those parts
    activation_elements, weight_elements, output_elements : of the tensors, each once
    bias_elements : what is added to the sums
    """

    operator: str
    batches: int
    filters: int
    positions: int
    terms: int
    weights: int
    activations: int
    activation_elements: int
    weight_elements: int
    output_elements: int
    bias_elements: int

    @property
    def macs(self) -> int:
        """MACs that the definition asks for, padding included."""
        return self.batches * self.filters * self.positions * self.terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """The values of one layer.

    Attributes
    ----------
    source : the activations' tensor as it is
    weights : (batches, filters, terms)
    take : (batch, positions) -> activations (positions, terms)
    bias : broadcasts to (batches, filters, positions), or None
    scale : what the sums are multiplied by before the bias is added
    tensor : (batches, filters, positions) -> the output tensor
    """

    source: Array
    weights: Array
    take: Callable[[int, Array], Array]
    bias: Array | None
    scale: float
    tensor: Callable[[Array], Array]


def read_layer(region: Region) -> Layer | str:
    """Return the sizes of a region's layer, or why it is none."""
    if len(region.nodes) != 1:
        return f"{len(region.nodes)} operators in one region; the design runs one product"
    node = region.members[0]
    if node.operator not in _READERS:
        return f"operator {node.operator}; the design runs {', '.join(_READERS)} only"
    types = region.graph.types
    for name in (*(n for n in node.inputs if n), node.outputs[0]):
        if name not in types or not types[name].is_bound:
            return f"tensor {name!r} has no bound shape"
        if types[name].dtype not in FLOAT_TYPES:
            return f"tensor {name!r} is {types[name].dtype}; the design takes floating point"
        if types[name].elements == 0:
            return f"tensor {name!r} is empty"
    shapes = [types[n].sizes if n else () for n in node.inputs]
    out = types[node.outputs[0]].sizes
    found = _READERS[node.operator](region, node, shapes, out)
    if isinstance(found, str):
        return found
    batches, filters, positions, terms, weights = found
    activations = 1 - weights
    bias = math.prod(shapes[2]) if len(node.inputs) > 2 and node.inputs[2] else 0
    return Layer(
        operator=node.operator, batches=batches, filters=filters, positions=positions,
        terms=terms, weights=weights, activations=activations,
        activation_elements=math.prod(shapes[activations]),
        weight_elements=math.prod(shapes[weights]), output_elements=math.prod(out),
        bias_elements=bias,
    )  # fmt: skip


def require_layer(region: Region) -> Layer:
    """Return the sizes, or raise for a region that is no such layer."""
    layer = read_layer(region)
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
    return _MAKERS[node.operator](node, layer, first, second, value(2), out)


def blocks(layer: Layer) -> Iterator[Array]:
    """Cut the positions so that the activations of one block fit a few dozen megabytes."""
    step = max(1, _BLOCK_ELEMENTS // layer.terms)
    for first in range(0, layer.positions, step):
        yield np.arange(first, min(first + step, layer.positions))


def filled_share(region: Region) -> float:
    """Return the share of a layer's terms, over all positions, that padding does not fill.

    1 for products that are no convolution. A layer of nothing but padding has 0.

    Raises
    ------
    SpecError : the region is no supported layer
    """
    require_layer(region)
    node, types = region.members[0], region.graph.types
    if node.operator != "Conv":
        return 1.0
    image, kernel = (types[name].sizes[2:] for name in node.inputs[:2])
    outputs = types[node.outputs[0]].sizes[2:]
    rank = len(image)
    pads = _pads(node, image, kernel)
    share = 1.0
    for axis in range(rank):
        before = 0 if isinstance(pads, str) else pads[axis][0]
        places = np.arange(outputs[axis])[:, None] * _axes(node, "strides", rank)[axis]
        taps = np.arange(kernel[axis]) * _axes(node, "dilations", rank)[axis] - before
        inside = (places + taps >= 0) & (places + taps < image[axis])
        share *= float(inside.mean())
    return share


_Sizes = tuple[int, ...]
_Read = tuple[int, int, int, int, int]


# -- convolutions ---------------------------------------------------------------------------------


def _read_conv(region: Region, node: Node, shapes: list[_Sizes], out: _Sizes) -> _Read | str:
    del region
    image, kernel = shapes[0], shapes[1]
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or image[1] != groups * kernel[1] or kernel[0] % groups:
        return f"{image[1]} channels and {kernel[0]} filters do not fit {groups} groups"
    pads = _pads(node, image[2:], kernel[2:])
    if isinstance(pads, str):
        return pads
    positions = image[0] * math.prod(out[2:])
    return groups, kernel[0] // groups, positions, math.prod(kernel[1:]), 1


def _axes(node: Node, name: str, rank: int) -> _Sizes:
    return tuple(int(v) for v in node.attributes.get(name) or (1,) * rank)


def _pads(node: Node, image: _Sizes, kernel: _Sizes) -> list[tuple[int, int]] | str:
    """Return zeros before and after each axis (negative ones cut)."""
    rank = len(image)
    mode = node.attributes.get("auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    strides, dilations = _axes(node, "strides", rank), _axes(node, "dilations", rank)
    if mode == "VALID":
        return [(0, 0)] * rank
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, taps, stride, dilation in zip(image, kernel, strides, dilations):
            reach = (-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1
            total = max(0, reach - size)
            half = total // 2
            pairs.append((half, total - half) if mode == "SAME_UPPER" else (total - half, half))
        return pairs
    if mode not in ("NOTSET", ""):
        return f"auto_pad {mode!r}; the design knows NOTSET, VALID, SAME_UPPER and SAME_LOWER"
    pads = tuple(int(p) for p in node.attributes.get("pads") or (0,) * (2 * rank))
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        return f"pads {pads}; the design wants {2 * rank}, zero or more"
    return list(zip(pads[:rank], pads[rank:]))


def _make_conv(
    node: Node, layer: Layer, image: Array, weights: Array, bias: Array | None, out: _Sizes
) -> Matrices:
    rank = image.ndim - 2
    kernel, outputs = weights.shape[2:], out[2:]
    strides, dilations = _axes(node, "strides", rank), _axes(node, "dilations", rank)
    pads = _pads(node, image.shape[2:], kernel)
    if isinstance(pads, str):
        raise SpecError("Conv", found=pads, wanted="known padding", fix="ask `read_layer` first")
    padded = np.pad(image, [(0, 0), (0, 0), *pads])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    axes = tuple(range(2, 2 + rank))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    # Before: [N, C, *places, *reach]; after: [N, *outputs, groups, C / groups, *kernel].
    placed = [slice(0, (o - 1) * s + 1, s) for o, s in zip(outputs, strides)]
    view = view[(slice(None), slice(None), *placed, *(slice(None, None, d) for d in dilations))]
    view = np.moveaxis(view, 1, 1 + rank)
    channels = image.shape[1] // layer.batches
    everywhere = (slice(None),) * (1 + rank)

    def take(group: int, positions: Array) -> Array:
        place = np.unravel_index(positions, (len(image), *outputs))
        mine = view[(*everywhere, slice(group * channels, (group + 1) * channels))][place]
        return np.ascontiguousarray(mine.reshape(len(positions), layer.terms))

    def tensor(sums: Array) -> Array:
        spread = sums.reshape(layer.batches * layer.filters, len(image), *outputs)
        return np.ascontiguousarray(np.moveaxis(spread, 0, 1))

    return Matrices(
        source=image, weights=weights.reshape(layer.batches, layer.filters, layer.terms), take=take,
        bias=None if bias is None else bias.reshape(layer.batches, layer.filters, 1), scale=1.0,
        tensor=tensor,
    )  # fmt: skip


# -- matrix products ------------------------------------------------------------------------------


def _read_gemm(region: Region, node: Node, shapes: list[_Sizes], out: _Sizes) -> _Read | str:
    del region
    terms = shapes[0][0 if node.attributes.get("transA", 0) else 1]
    return 1, out[1], out[0], terms, 1


def _make_gemm(
    node: Node, layer: Layer, a: Array, b: Array, c: Array | None, out: _Sizes
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


def _read_matmul(region: Region, node: Node, shapes: list[_Sizes], out: _Sizes) -> _Read | str:
    del out
    constant = [name in region.graph.constants for name in node.inputs]
    weights = 0 if constant == [True, False] else 1
    a, b = _matrix(shapes[0], first=True), _matrix(shapes[1], first=False)
    mine, other = (b, a) if weights else (a, b)
    filters, terms = (mine[-1], mine[-2]) if weights else (mine[-2], mine[-1])
    rows = other[-2] if weights else other[-1]
    if len(mine) == 2:  # one weight matrix for all: the batch is more positions
        return 1, filters, rows * math.prod(other[:-2]), terms, weights
    return math.prod(np.broadcast_shapes(a[:-2], b[:-2])), filters, rows, terms, weights


def _matrix(shape: _Sizes, *, first: bool) -> _Sizes:
    """Return a factor's shape with two axes at least: a vector is a row or a column."""
    if len(shape) > 1:
        return shape
    return (1, *shape) if first else (*shape, 1)


def _make_matmul(
    node: Node, layer: Layer, a: Array, b: Array, c: Array | None, out: _Sizes
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


_READERS: dict[str, Callable[[Region, Node, list[_Sizes], _Sizes], _Read | str]] = {
    "Conv": _read_conv, "Gemm": _read_gemm, "MatMul": _read_matmul,
}  # fmt: skip
_MAKERS: dict[str, Callable[[Node, Layer, Array, Array, Array | None, _Sizes], Matrices]] = {
    "Conv": _make_conv,
    "Gemm": _make_gemm,
    "MatMul": _make_matmul,
}
