"""Records of a product as matrices, and the geometry of convolutions.

Models:  sizes and values of one product; padding, strides and dilations of any rank.
Ignores: what computes the product.
Judge:   the NumPy reference of `orrery.graph` (tests/accel/bitlet/test_function.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import Node

Array = NDArray[Any]
Sizes = tuple[int, ...]
#: batches, filters, positions, terms, and the input that plays the weights
Read = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Sizes of one layer.

    Attributes
    ----------
    operator : ``Conv``, ``Gemm``, ``MatMul`` or a gradient of a convolution
    batches : independent products, e.g. a convolution's groups
    filters, positions, terms : of one batch
    weights, activations : which inputs of the node play those parts
    activation_elements, weight_elements, output_elements : of the tensors, each once
    bias_elements : what is added to the sums
    exchanged : the operands play each other's parts; weights are then held as they were gathered,
        and `weight_elements` counts each as often as it is held
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
    exchanged: bool = False

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


def axes_of(node: Node, name: str, rank: int) -> Sizes:
    return tuple(int(v) for v in node.attributes.get(name) or (1,) * rank)


def pads_of(node: Node, image: Sizes, kernel: Sizes) -> list[tuple[int, int]] | str:
    """Return zeros before and after each axis (negative ones cut)."""
    rank = len(image)
    mode = node.attributes.get("auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    strides, dilations = axes_of(node, "strides", rank), axes_of(node, "dilations", rank)
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


def windows(node: Node, image: Array, kernel: Sizes, outputs: Sizes) -> Array:
    """Return what each place of the output sees, [N, C, *outputs, *kernel]; nothing is copied."""
    rank = image.ndim - 2
    strides, dilations = axes_of(node, "strides", rank), axes_of(node, "dilations", rank)
    padded = np.pad(image, [(0, 0), (0, 0), *known_pads(node, image.shape[2:], kernel)])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    axes = tuple(range(2, 2 + rank))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    placed = [slice(0, (o - 1) * s + 1, s) for o, s in zip(outputs, strides)]
    whole = slice(None)
    seen: Array = view[(whole, whole, *placed, *(slice(None, None, d) for d in dilations))]
    return seen


def known_pads(node: Node, image: Sizes, kernel: Sizes) -> list[tuple[int, int]]:
    pads = pads_of(node, image, kernel)
    if isinstance(pads, str):
        raise SpecError(node.op, found=pads, wanted="known padding", fix="ask `read_layer` first")
    return pads
