"""The two-dimensional convolution as the convolution designs see it.

Models:  `Conv` on float32 images [batch, channels, height, width] with groups, stride, dilation,
         padding and bias.
Ignores: everything else; `read_convolution` returns the reason.
Judge:   tests compare with a loop written from the definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Node, Region

from ._record import Tensors

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """The sizes of one convolution; pairs are (vertical, horizontal).

    Attributes
    ----------
    channels, filters : input and output channels of *one* group
    image, output : height and width of input and output
    pads : zeros before the first row and the first column
    input_bytes, weight_bytes, output_bytes : each tensor once, bias among the weights
    """

    batch: int
    groups: int
    channels: int
    filters: int
    image: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int]
    input_bytes: int
    weight_bytes: int
    output_bytes: int

    @property
    def taps(self) -> int:
        """Weights of one filter in one channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pixels(self) -> int:
        """Output pixels of one image and filter."""
        return self.output[0] * self.output[1]

    @property
    def macs(self) -> int:
        """MACs that the definition asks for, padding included."""
        return self.batch * self.groups * self.filters * self.channels * self.pixels * self.taps

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors once: what must cross the off-chip memory at least."""
        return self.input_bytes + self.weight_bytes + self.output_bytes

    def extent(self, outputs: int, axis: int) -> int:
        """Return how many input rows (columns) that many neighbouring output rows need."""
        return (outputs - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1


def read_convolution(region: Region) -> Convolution | str:
    """Return the sizes of the region's convolution, or why it is not one for these designs."""
    # Refusals, costs and energies of several designs ask for the same one.
    return region.graph.remembered("convolution", region.nodes, lambda: _read(region))


def _read(region: Region) -> Convolution | str:
    if len(region.nodes) != 1:
        return f"{len(region.nodes)} operators in one region; the design runs one convolution"
    node = region.members[0]
    if node.operator != "Conv":
        return f"operator {node.operator}; the design runs Conv only"
    types = region.graph.types
    wanted = [name for name in (*node.inputs, node.outputs[0]) if name]
    for name in wanted:
        if name not in types or not types[name].is_bound:
            return f"tensor {name!r} has no bound shape"
        if types[name].dtype != "float32":
            return f"tensor {name!r} is {types[name].dtype}; the design takes float32"
        if types[name].elements == 0:
            return f"tensor {name!r} is empty"
    image, weights, output = (types[n] for n in (*node.inputs[:2], node.outputs[0]))
    if image.rank != 4 or weights.rank != 4:
        return f"{image.rank - 2} spatial dimensions; the design has two"
    groups = int(node.attributes.get("group", 1))
    batch, channels, height, width = image.sizes
    filters, per_group, *kernel = weights.sizes
    if groups < 1 or channels != groups * per_group or filters % groups:
        return f"{channels} channels and {filters} filters do not fit {groups} groups"
    stride = tuple(int(s) for s in node.attributes.get("strides", (1, 1)))
    dilation = tuple(int(d) for d in node.attributes.get("dilations", (1, 1)))
    pads = _pads(node, (height, width), (kernel[0], kernel[1]), stride, dilation)
    if isinstance(pads, str):
        return pads
    bias = types[node.inputs[2]].size_bytes if len(node.inputs) > 2 and node.inputs[2] else 0
    return Convolution(
        batch=batch, groups=groups, channels=per_group, filters=filters // groups,
        image=(height, width), output=(output.sizes[2], output.sizes[3]),
        kernel=(kernel[0], kernel[1]), stride=(stride[0], stride[1]),
        dilation=(dilation[0], dilation[1]), pads=pads, input_bytes=image.size_bytes,
        weight_bytes=weights.size_bytes + bias, output_bytes=output.size_bytes,
    )  # fmt: skip


def _pads(
    node: Node,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, int] | str:
    mode = node.attributes.get("auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if mode == "VALID":
        return 0, 0
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before = []
        for axis in (0, 1):
            outputs = -(-image[axis] // stride[axis])
            reach = (outputs - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            total = max(0, reach - image[axis])
            before.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        return before[0], before[1]
    if mode not in ("NOTSET", ""):
        return f"auto_pad {mode!r}; the design knows NOTSET, VALID, SAME_UPPER and SAME_LOWER"
    pads = tuple(int(p) for p in node.attributes.get("pads", (0, 0, 0, 0)))
    if len(pads) != 4 or min(pads) < 0:
        return f"pads {pads}; the design wants four, zero or more"
    return pads[0], pads[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """The values of one convolution, split by group.

    Attributes
    ----------
    image : [groups, batch, channels, height + margins, width + margins], zeros around
    weights : [groups, filters, channels, kernel height, kernel width]
    bias : [groups, filters], or None
    """

    image: Array
    weights: Array
    bias: Array | None


def operands(
    region: Region, inputs: Tensors, sizes: Convolution, *, reach: tuple[int, int] | None = None
) -> Operands:
    """Return image, weights and bias; the image padded and cut to `reach` rows and columns.

    The default reach is exactly what the output needs.
    """
    node = region.members[0]

    def value(name: str) -> Array:
        if name in inputs:
            return np.asarray(inputs[name])
        return np.asarray(region.graph.constants[name].array())

    reach = reach or (sizes.extent(sizes.output[0], 0), sizes.extent(sizes.output[1], 1))
    image = value(node.inputs[0]).reshape(sizes.batch, sizes.groups, sizes.channels, *sizes.image)
    top, left = sizes.pads
    padded = np.zeros((sizes.groups, sizes.batch, sizes.channels, *reach), image.dtype)
    height, width = (min(n, r - p) for n, r, p in zip(sizes.image, reach, sizes.pads))
    if height > 0 and width > 0:
        padded[..., top : top + height, left : left + width] = image.swapaxes(0, 1)[
            ..., :height, :width
        ]
    weights = value(node.inputs[1]).reshape(
        sizes.groups, sizes.filters, sizes.channels, *sizes.kernel
    )
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = value(node.inputs[2]).reshape(sizes.groups, sizes.filters)
    return Operands(image=padded, weights=weights, bias=bias)


def shifted(image: Array, sizes: Convolution, row: int, column: int) -> Array:
    """Return the pixels that tap (row, column) of the kernel meets: image[..., R, C], a view."""
    (sh, sw), (dh, dw) = sizes.stride, sizes.dilation
    top, left = row * dh, column * dw
    height, width = (sizes.output[0] - 1) * sh + 1, (sizes.output[1] - 1) * sw + 1
    return image[..., top : top + height : sh, left : left + width : sw]


def absolute_convolution(image: Array, weights: Array, sizes: Convolution) -> Array:
    """Convolve magnitudes in float64: [groups, batch, filters, R, C], the scale of error bounds."""
    return convolve(np.abs(image.astype(np.float64)), np.abs(weights.astype(np.float64)), sizes)


def convolve(image: Array, weights: Array, sizes: Convolution) -> Array:
    """Return [groups, batch, filters, R, C] of float64 operands, tap after tap."""
    total = np.zeros((sizes.groups, sizes.batch, sizes.filters, *sizes.output))
    for row in range(sizes.kernel[0]):
        for column in range(sizes.kernel[1]):
            pixels = shifted(image, sizes, row, column)
            flat = pixels.reshape(sizes.groups, sizes.batch, sizes.channels, -1)
            taps = weights[:, None, :, :, row, column]
            total += (taps @ flat).reshape(total.shape)
    return total


def to_output(result: Array, sizes: Convolution) -> Array:
    """Turn [groups, batch, filters, R, C] into the tensor [batch, groups·filters, R, C]."""
    shape = (sizes.batch, sizes.groups * sizes.filters, *sizes.output)
    return np.ascontiguousarray(result.swapaxes(0, 1).reshape(shape))


def ceil_div(value: int, divisor: int) -> int:
    """Return the quotient rounded up."""
    return -(-value // divisor)
