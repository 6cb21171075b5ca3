"""The loop nests of gradients and of operators that differ in training.

Models:  gradients of convolutions (those of weights are summed over N and over the places of the
         window, those of images over Cout) and of pooling; normalisation by the batch's own
         statistics, channel by channel; losses that are not reduced.
Ignores: splitting the image of a pooling gradient: windows overlap there, and what two parties add
         to the same pixel would have to be exchanged.
Judge:   execution of every shard (tests/runtime/test_sharded_training.py).
"""

from __future__ import annotations

from typing import Any

from ._layer import (
    SPATIAL,
    Builder,
    Layer,
    free,
    image_axes,
    local_group,
    local_window,
    whole,
    windows_of,
)
from ._nest import Axis, Loop, Nest, Operand, Reach, Spans

_OVERLAP = "windows that overlap add to the same pixels"


def channels_of(
    group: int, filters: int, image: int, sums: str = ""
) -> tuple[list[Loop], Axis, Axis, Axis, dict[str, str]]:
    """Return the loops of channels, the axes of dy's and of x's and of a filter's inputs.

    And why channels do not split where there are groups.

    Parameters
    ----------
    filters, image : channels of the convolution's output and of its input
    sums : the loop that is summed over
    """
    if group == 1:
        loops = [Loop(name=name, extent=extent, sums=name == sums)
                 for name, extent in (("Cout", filters), ("Cin", image))]  # fmt: skip
        seen = Axis(size=image, loop="Cin")
        return loops, Axis(size=filters, loop="Cout"), seen, seen, {}
    made = Axis(size=filters, loop="G", block=filters // group)
    read = Axis(size=image, loop="G", block=image // group)
    fixed = dict.fromkeys(("Cout", "Cin"), f"a part of it lies across {group} groups; split G")
    return [Loop(name="G", extent=group)], made, read, Axis(size=image // group), fixed


def _conv_grad_weight(layer: Layer) -> Nest | str:
    """dw[o, i, k] = Σ over n, p of dy[n, o, p] · x[n, i, p · stride + k · dilation − begin]."""
    image, gradient, weights = layer.sizes(0), layer.sizes(1), layer.out()
    if len(image) - 2 not in SPATIAL:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    group, names = int(layer.attribute("group", 1)), SPATIAL[len(image) - 2]
    windows = windows_of(layer, image[2:], weights[2:], gradient[2:], split_kernel=True)
    batch = Loop(name="N", extent=image[0], sums=True)
    places = [Loop(name=n, extent=e, sums=True) for n, e in zip(names, gradient[2:])]
    taps = [Loop(name=f"K{n.lower()}", extent=k) for n, k in zip(names, weights[2:])]
    channels, made, read, inner, fixed = channels_of(group, gradient[1], image[1])
    lead = Axis(size=image[0], loop="N")
    return layer.nest(
        [batch, *channels, *places, *taps],
        [layer.operand(0, [lead, read, *image_axes(layer, windows)]),
         layer.operand(1, [lead, made, *_axes(places)])],
        [layer.result(0, [made, inner, *_axes(taps)])], fixed,
        lambda spans: local_window(layer, windows, spans, kernel_shape=True),
    )  # fmt: skip


def _axes(loops: list[Loop]) -> list[Axis]:
    return [Axis(size=loop.extent, loop=loop.name) for loop in loops]


def _conv_grad_input(layer: Layer) -> Nest | str:
    """dx[n, i, q] = Σ over o and k of dy[n, o, p] · w[o, i, k] where p sees q through k."""
    gradient, weights, image = layer.sizes(0), layer.sizes(1), layer.out()
    if len(image) - 2 not in SPATIAL:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    group, names = int(layer.attribute("group", 1)), SPATIAL[len(image) - 2]
    channels, made, read, inner, fixed = channels_of(group, gradient[1], image[1], "Cout")
    windows = windows_of(layer, image[2:], weights[2:], gradient[2:])
    reaches = [Reach(window=window) for window in windows]
    pixels = [Loop(name=n, extent=e) for n, e in zip(names, image[2:])]
    places = [Axis(size=size, loop=name, window=reach)
              for size, name, reach in zip(gradient[2:], names, reaches)]  # fmt: skip
    lead = Axis(size=image[0], loop="N")
    result = layer.result(0, [lead, read, *_axes(pixels)])

    def attributes(spans: Spans) -> dict[str, Any]:
        around = [reach.padding(spans[name], spans) for name, reach in zip(names, reaches)]
        pads = (*(before for before, _ in around), *(after for _, after in around))
        return {"pads": pads, "auto_pad": "NOTSET", **local_group(spans)}

    return layer.nest(
        [Loop(name="N", extent=image[0]), *channels, *pixels],
        [layer.operand(0, [lead, made, *places]),
         layer.operand(1, [made, inner, *_held(weights[2:])])],
        [result], fixed, attributes, lambda spans: {2: result.box(spans).sizes},
    )  # fmt: skip


def _held(sizes: tuple[int, ...]) -> list[Axis]:
    return [Axis(size=size) for size in sizes]


def _pool_grad(layer: Layer) -> Nest | str:
    """Images and channels are pooled apart; the second input is the image or just its shape."""
    gradient, image = layer.sizes(0), layer.out()
    if len(image) - 2 not in SPATIAL:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    lead = [Axis(size=image[0], loop="N"), Axis(size=image[1], loop="C")]
    operands = [layer.operand(0, [*lead, *_held(gradient[2:])])]
    result = layer.result(0, [*lead, *_held(image[2:])])
    loops = [Loop(name="N", extent=image[0]), Loop(name="C", extent=image[1])]
    fixed = dict.fromkeys(SPATIAL[len(image) - 2], _OVERLAP)
    if layer.node.op == "MaxPoolGrad":
        operands.append(layer.operand(1, [*lead, *_held(image[2:])]))
        return layer.nest(loops, operands, [result], fixed)
    return layer.nest(loops, operands, [result], fixed,
                      values=lambda spans: {1: result.box(spans).sizes})  # fmt: skip


def batch_norm(layer: Layer) -> Nest | str:
    """With running statistics every axis is free, with the batch's own only the channels."""
    sizes = layer.sizes(0)
    if not layer.attribute("training_mode", 0):
        channel = [Axis(size=sizes[1], loop="axis1")] if len(sizes) > 1 else [Axis(size=1)]
        return free(layer, [], "", [layer.operand(i, channel) for i in range(1, 5)])
    if len(sizes) < 2:
        return whole(layer)
    vector = [Axis(size=sizes[1], loop="axis1")]
    held = [i for i in range(len(sizes)) if i != 1]
    image = [Axis(size=size, loop="axis1" if i == 1 else None) for i, size in enumerate(sizes)]
    return layer.nest(
        [Loop(name="axis1", extent=sizes[1])],
        [layer.operand(0, image), *(layer.operand(i, vector) for i in range(1, 5))],
        [layer.result(i, vector if i else image) for i in range(3) if layer.gives(i)],
        {f"axis{i}": "statistics are taken over the whole of it" for i in held},
    )  # fmt: skip


def cross_entropy(layer: Layer) -> Nest | str:
    """A loss per place splits everywhere but along the classes; a reduced one nowhere.

    A sum over the batch could be made in parts only up to rounding (all its types are floats), its
    mean not at all (parts do not know each other's weights), and the logarithms that it gives
    besides are no partial sums.
    """
    scores, labels = layer.sizes(0), layer.sizes(1)
    if layer.attribute("reduction", "mean") != "none":
        found = whole(layer)
        why = "the loss is one number: its sum in parts would round differently"
        reasons = {f"axis{i}": why for i in range(len(scores))}
        return found if isinstance(found, str) else layer.nest(
            [], found.operands, found.results, reasons
        )  # fmt: skip
    axes = [Axis(size=size, loop=None if i == 1 else f"axis{i}") for i, size in enumerate(scores)]
    places = [axes[0], *axes[2:]]
    operands: list[Operand] = [layer.operand(0, axes), layer.operand(1, places)]
    results = [layer.result(0, places)]
    if layer.gives(1):
        results.append(layer.result(1, axes))
    loops = [Loop(name=axis.loop, extent=axis.size) for axis in places if axis.loop is not None]
    if len(labels) != len(places):
        return f"labels of rank {len(labels)} for scores of rank {len(scores)}"
    return layer.nest(loops, [*operands, *layer.kept(2)], results,
                      {"axis1": "it is normalised over"})  # fmt: skip


#: operators of the training domain
TRAINING: dict[str, Builder] = {
    "AveragePoolGrad": _pool_grad, "ConvGradInput": _conv_grad_input,
    "ConvGradWeight": _conv_grad_weight, "MaxPoolGrad": _pool_grad,
}  # fmt: skip
