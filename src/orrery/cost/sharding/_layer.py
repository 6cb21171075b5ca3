"""A node as the builders of loop nests see it, and what they share: windows, free axes.

Models:  types by position, operands and results as axes; windows that slide over an image, and how
         the attributes of a part of them differ (explicit padding, the kernel positions it does).
Ignores: what an operator computes: that is its builder's affair.
Judge:   execution of every shard (tests/runtime).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orrery.graph import Graph, Node, TensorType

from ._nest import Axis, Loop, Nest, Operand, Spans, Window, plain

#: rank of an image -> names of its spatial loops
SPATIAL = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}


class Layer:
    """A node with the types of its tensors at hand."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node

    def type(self, index: int) -> TensorType:
        return self.graph.type(self.node.inputs[index])

    def sizes(self, index: int) -> tuple[int, ...]:
        return self.type(index).sizes

    def out(self, index: int = 0) -> tuple[int, ...]:
        return self.graph.type(self.node.outputs[index]).sizes

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def gives(self, index: int) -> bool:
        """Whether somebody wants this output."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index])

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def operand(self, index: int, axes: Sequence[Axis], *, once: bool = False) -> Operand:
        return Operand(tensor=self.node.inputs[index], index=index, axes=tuple(axes), once=once)

    def kept(self, start: int) -> list[Operand]:
        """Return the operands from a position on, as ones that everybody needs whole."""
        return [plain(self.node.inputs[i], i, self.sizes(i))
                for i in range(start, len(self.node.inputs)) if self.has(i)]  # fmt: skip

    def result(self, index: int, axes: Sequence[Axis]) -> Operand:
        return Operand(tensor=self.node.outputs[index], index=index, axes=tuple(axes))

    def nest(
        self, loops: Sequence[Loop], operands: Sequence[Operand], results: Sequence[Operand],
        fixed: dict[str, str] | None = None,
        attributes: Callable[[Spans], dict[str, Any]] = lambda spans: {},
        values: Callable[[Spans], dict[int, tuple[int, ...]]] = lambda spans: {},
    ) -> Nest:  # fmt: skip
        return Nest(node=self.node, loops=tuple(loops), operands=tuple(operands),
                    results=tuple(results), fixed=fixed or {}, attributes=attributes,
                    values=values)  # fmt: skip


#: what makes a nest of a node, or says why there is none
Builder = Callable[[Layer], Nest | str]


def whole(layer: Layer) -> Nest | str:
    """An operator of which everybody needs and computes everything: nothing to split."""
    results = [
        plain(layer.node.outputs[index], index, layer.out(index))
        for index in range(len(layer.node.outputs)) if layer.gives(index)
    ]  # fmt: skip
    return layer.nest([], layer.kept(0), results)


def free(layer: Layer, held: Sequence[int], why: str, others: Sequence[Operand] = ()) -> Nest:
    """Every output axis is a loop of its own, except those that the operator needs whole."""
    sizes = layer.sizes(0)
    axes = [Axis(size=size) if i in held else Axis(size=size, loop=f"axis{i}")
            for i, size in enumerate(sizes)]  # fmt: skip
    loops = [Loop(name=f"axis{i}", extent=s) for i, s in enumerate(sizes) if i not in held]
    results = [
        layer.result(index, [Axis(size=out) if out != axis.size else axis
                             for out, axis in zip(layer.out(index), axes)])
        for index in range(len(layer.node.outputs)) if layer.gives(index)
    ]  # fmt: skip
    fixed = {f"axis{i}": why for i in held}
    return layer.nest(loops, [layer.operand(0, axes), *others], results, fixed)


# -- windows --------------------------------------------------------------------------------------


def windows_of(
    layer: Layer, sizes: Sequence[int], kernel: Sequence[int], outputs: Sequence[int], *,
    split_kernel: bool = False,
) -> list[Window]:  # fmt: skip
    """Return one window per spatial axis of an image.

    Parameters
    ----------
    sizes : of the image along them
    outputs : places of the window along each of them
    split_kernel : whether the positions in a kernel are loops that may be split
    """
    names, windows = SPATIAL[len(sizes)], []
    strides, dilations = layer.attribute("strides"), layer.attribute("dilations")
    pads, auto = layer.attribute("pads"), layer.attribute("auto_pad", "NOTSET")
    for i, size in enumerate(sizes):
        stride = int(strides[i]) if strides else 1
        dilation = int(dilations[i]) if dilations else 1
        begin = int(pads[i]) if pads and auto in ("NOTSET", "") else 0
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            extent = dilation * (int(kernel[i]) - 1) + 1
            total = max((outputs[i] - 1) * stride + extent - size, 0)
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        windows.append(Window(stride=stride, dilation=dilation, begin=begin, kernel=int(kernel[i]),
                              kernel_loop=f"K{names[i].lower()}" if split_kernel else None,
                              outputs=outputs[i]))  # fmt: skip
    return windows


def image_axes(layer: Layer, windows: Sequence[Window]) -> list[Axis]:
    """Return the spatial axes of the first operand."""
    sizes = layer.sizes(0)[2:]
    return [Axis(size=size, loop=name, window=window)
            for size, name, window in zip(sizes, SPATIAL[len(sizes)], windows)]  # fmt: skip


def local_window(
    layer: Layer, windows: Sequence[Window], spans: Spans, *, kernel_shape: bool
) -> dict[str, Any]:
    """Return explicit padding (what is touched outside of the image), kernel sizes, groups."""
    sizes = layer.sizes(0)[2:]
    begins, ends, kernel = [], [], []
    for size, name, window in zip(sizes, SPATIAL[len(sizes)], windows):
        low, high = window.ends(spans[name], spans)
        start, stop = Axis(size=size, loop=name, window=window).span(spans)
        # A window that lies outside altogether sees an empty image; all it sees is padding.
        begin = min(max(start - low, 0), high - low)
        begins.append(begin)
        ends.append(max(0, high - low - begin - (stop - start)))
        first, last = spans[window.kernel_loop] if window.kernel_loop else (0, window.kernel)
        kernel.append(last - first)
    changes: dict[str, Any] = {"pads": (*begins, *ends), "auto_pad": "NOTSET"}
    if kernel_shape:
        changes["kernel_shape"] = tuple(kernel)
    return changes | local_group(spans)


def local_group(spans: Spans) -> dict[str, Any]:
    """Return how many groups of channels a part does, where there are groups."""
    return {"group": spans["G"][1] - spans["G"][0]} if "G" in spans else {}
