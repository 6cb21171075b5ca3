"""A layer as a nest of loops, and how each axis of its tensors follows them.

Models:  loops that can be split, which of them sum, and affine access of tensors: an axis follows
         one loop in blocks, slides a window over two, or stays whole.
Ignores: the order of loops inside a party (that is the cost model's affair).
Judge:   shards executed apart and put together equal the whole layer (tests/runtime).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orrery.graph import Node

from ._box import Box, Span

Spans = Mapping[str, Span]  #: loop name -> the part of it that is run


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A loop of a layer.

    Attributes
    ----------
    name : ``N``, ``Cout``, ``Cin``, ``H``, ``W``, ``Kh``, ``Kw``, ``G`` of convolutions and
        pooling; ``M``, ``N``, ``K`` and ``batch0``, … of matrix products; ``batch``, ``heads``,
        ``sequence`` of attention; ``axis0``, … of the rest
    sums : whether its iterations are added up: splitting it leaves partial results
    """

    name: str
    extent: int
    sums: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How an image axis follows an output loop and kernel positions.

    Index = output · stride + position · dilation − begin. What strides step over belongs to the
    output before it, so that the parts of a loop leave nothing of the image out.

    Attributes
    ----------
    outputs : extent of the output loop
    """

    stride: int
    dilation: int
    begin: int
    kernel_loop: str | None
    kernel: int
    outputs: int

    def ends(self, output: Span, spans: Spans) -> Span:
        """Return the span that is touched, padding (below zero, beyond the end) included."""
        first, last = spans[self.kernel_loop] if self.kernel_loop else (0, self.kernel)
        start = output[0] * self.stride + first * self.dilation - self.begin
        stop = (output[1] - 1) * self.stride + (last - 1) * self.dilation - self.begin + 1
        return start, stop

    def skipped(self, output: Span, spans: Spans, size: int) -> int:
        """Return where what is stepped over after these outputs ends."""
        _, last = spans[self.kernel_loop] if self.kernel_loop else (0, self.kernel)
        if output[1] == self.outputs and last == self.kernel:
            return size
        # Where the whole kernel would start next: parts of it must lie inside of what it needs.
        return output[1] * self.stride - self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How the places of a window follow a loop over the image: those that see some of its pixels.

    The inverse of a `Window`. At least one place that starts no later than the first pixel is among
    them, so that the image begins inside of the first window or its padding.

    Attributes
    ----------
    window : over the image, its kernel whole
    """

    window: Window

    @property
    def kernel_loop(self) -> None:
        """Return None: the kernel's positions are not split."""
        return None

    def ends(self, pixels: Span, spans: Spans) -> Span:
        """Return the places from the first to the last that see one of the pixels."""
        w = self.window
        first, last = pixels[0] + w.begin, pixels[1] - 1 + w.begin
        sees = -((w.dilation * (w.kernel - 1) - first) // w.stride)
        low = min(sees, first // w.stride, w.outputs - 1)
        return max(low, 0), min(last // w.stride + 1, w.outputs)

    def skipped(self, pixels: Span, spans: Spans, size: int) -> int:
        """Return where they end: places leave nothing out."""
        return self.ends(pixels, spans)[1]

    def padding(self, pixels: Span, spans: Spans) -> tuple[int, int]:
        """Return by how much these places see beyond the pixels, before and after them."""
        w = self.window
        low, high = self.ends(pixels, spans)
        before = pixels[0] + w.begin - low * w.stride
        reach = (high - low - 1) * w.stride + w.dilation * (w.kernel - 1) + 1
        return before, max(0, reach - before - (pixels[1] - pixels[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis of a tensor follows loops.

    Attributes
    ----------
    size : of the whole axis
    loop : the loop it follows; None for an axis that everybody needs whole
    block : elements per iteration of the loop
    window : set for image axes, and for axes of places where the loop runs over the image
    """

    size: int
    loop: str | None = None
    block: int = 1
    window: Window | Reach | None = None

    @property
    def loops(self) -> tuple[str, ...]:
        """Loops whose split changes what is touched."""
        own = () if self.loop is None else (self.loop,)
        kernel = self.window.kernel_loop if self.window else None
        return (*own, kernel) if kernel else own

    def span(self, spans: Spans) -> Span:
        """Return the indices that parts of the loops touch."""
        if self.loop is None:
            return (0, self.size)
        start, stop = spans[self.loop]
        if self.window is None:
            return (start * self.block, stop * self.block)
        low, high = self.window.ends((start, stop), spans)
        high = max(high, self.window.skipped((start, stop), spans, self.size))
        low = min(max(low, 0), self.size)
        return (low, max(low, min(high, self.size)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A tensor that a layer reads or makes.

    Attributes
    ----------
    tensor : its name in the graph
    index : its position among the node's inputs or outputs
    once : an addend that only the first part of every summed loop may add (a bias)
    """

    tensor: str
    index: int
    axes: tuple[Axis, ...]
    once: bool = False

    @property
    def loops(self) -> frozenset[str]:
        return frozenset(loop for axis in self.axes for loop in axis.loops)

    def box(self, spans: Spans) -> Box:
        """Return the part that parts of the loops touch."""
        return Box(spans=tuple(axis.span(spans) for axis in self.axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """A layer's loops, operands and results.

    Attributes
    ----------
    fixed : loop name -> why it cannot be split here
    attributes : parts of the loops -> attributes of the node that computes them, where they differ
    values : parts of the loops -> whole numbers that replace an input of the node, by position
        (the shape that a part is reshaped to)
    """

    node: Node
    loops: tuple[Loop, ...]
    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    fixed: Mapping[str, str]
    attributes: Callable[[Spans], dict[str, Any]]
    values: Callable[[Spans], dict[int, tuple[int, ...]]]

    def loop(self, name: str) -> Loop | None:
        return next((loop for loop in self.loops if loop.name == name), None)

    @property
    def whole(self) -> dict[str, Span]:
        """Every loop from end to end."""
        return {loop.name: (0, loop.extent) for loop in self.loops}


def follow(size: int, loop: str, block: int = 1) -> Axis:
    """Return an axis that follows a loop, or a broadcast one of size 1 that stays whole.

    An axis of size 1 under a loop of extent 1 may stay whole as well: there is nothing to split.
    """
    return Axis(size=size) if size == 1 else Axis(size=size, loop=loop, block=block)


def plain(tensor: str, index: int, sizes: tuple[int, ...], once: bool = False) -> Operand:
    """Return an operand that everybody needs whole."""
    return Operand(tensor=tensor, index=index, once=once,
                   axes=tuple(Axis(size=size) for size in sizes))  # fmt: skip
