"""Tensors with numbers put between their elements, and the transposed convolutions that need them.

A compiler that has no transposed convolution writes a plain one over its input spread out: between
two elements lie as many zeros as the stride says, weights are turned round.

Models:  ``Spread`` (attributes ``steps`` and ``before`` for each axis, ``fill``), which only lives
         until a convolution has taken it in or it is written as Pad, Reshape and Slice.
Judge:   ONNX's own ConvTranspose, by the numbers (tests/decompile/tensors); binaries of TVM.
"""

from __future__ import annotations

import numpy as np

from ._rewriting import noted
from ._tensors import Tensor, Tensors


def as_transposed(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a convolution over a tensor with zeros between its elements as a transposed one."""
    if t.op != "Conv" or t.inputs[0].op != "Spread" or t.inputs[1].value is None:
        return None
    wide, weights = t.inputs[0], t.inputs[1].value
    x, steps, before = wide.inputs[0], wide.attribute("steps"), wide.attribute("before")
    attributes = dict(t.attributes)
    kernel, group, spread = (attributes[n] for n in ("kernel_shape", "group", "dilations"))
    rank = len(kernel)
    if wide.attribute("fill") != 0 or set(attributes["strides"]) != {1}:
        return None
    if x.shape[:2] != wide.shape[:2]:
        return None
    low, high, more = [], [], []
    for k in range(rank):
        reach = (kernel[k] - 1) * spread[k]
        first = reach - attributes["pads"][k] - before[2 + k]
        last = (x.shape[2 + k] - 1) * steps[2 + k] + reach + 1 - first - t.shape[2 + k]
        if first < 0 or -last >= max(steps[2 + k], spread[k]):
            return None
        low.append(first)
        high.append(max(last, 0))
        more.append(max(-last, 0))
    made, each = weights.shape[:2]
    flipped = np.flip(weights, tuple(range(2, 2 + rank)))
    parts = flipped.reshape(group, made // group, each, *kernel)
    constant = tensors.constant(parts.swapaxes(1, 2).reshape(group * each, made // group, *kernel))
    constant.sources.extend(s for s in t.inputs[1].sources if s not in constant.sources)
    padding = {"output_padding": tuple(more)} if any(more) else {}
    node = tensors.node(
        "ConvTranspose", (x, constant, *t.inputs[2:]), t.shape, group=group,
        strides=steps[2:], dilations=spread, pads=(*low, *high), kernel_shape=kernel, **padding,
    )  # fmt: skip
    return noted(node, wide, because="a convolution over elements with zeros between them")


def written_out(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a tensor that is spread out by operators of ONNX."""
    if t.op != "Spread":
        return None
    x, steps, before = t.inputs[0], t.attribute("steps"), t.attribute("before")
    fill = t.attribute("fill")
    rank = len(x.shape)
    fine = tensors.reshape(x, [s for size in x.shape for s in (size, 1)])
    after = [s for step in steps for s in (0, step - 1)]
    wide = tensors.reshape(
        tensors.pad(fine, (0,) * (2 * rank), after, fill),
        [size * step for size, step in zip(x.shape, steps, strict=True)],
    )
    # What lies behind the last element is cut off, for the padding may be less.
    kept = tuple((size - 1) * step + 1 for size, step in zip(x.shape, steps, strict=True))
    if kept != wide.shape:
        wide = tensors.node("Slice", (wide,), kept, starts=(0,) * rank, stops=kept)
    rest = [s - b - n for s, b, n in zip(t.shape, before, kept, strict=True)]
    return noted(tensors.pad(wide, before, rest, fill), t)
