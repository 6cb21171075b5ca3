"""Sums that are spread over a result: transposed convolutions.

``out[A·iv + a] += in[B·iv + b] · w[C·iv + c]`` where a counter of the data and one of the weights
walk along the same axis of the *result* is a convolution turned round: their steps are stride and
dilation, as they are of the data in a plain one.

Models:  ConvTranspose in 1 to 3 dimensions with stride, dilation, groups, padding on each side and
         output padding.
Judge:   tests/decompile/matching; binaries of a C generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..forms import Linear, Symbol
from ..tensors import Tensor, Tensors
from ._contract import Field
from ._nest import Axis, Nest, Range
from ._statement import Refusal


def spread(
    tensors: Tensors, before: Tensor, address: Linear, ranges: Sequence[Range], data: Field,
    weights: Field, extents: Mapping[Symbol, int],
) -> Tensor:  # fmt: skip
    """Return what is added to a result, shaped as the result lies in memory.

    Parameters
    ----------
    before : the result as it lay in memory; `address` is in elements from its begin
    data, weights : over their own counters

    Raises
    ------
    Refusal : it is no transposed convolution
    """
    read, weighted = frozenset(data.axes), frozenset(weights.axes)
    everything = [s for s in dict.fromkeys((*data.axes, *weights.axes)) if extents[s] > 1]
    for symbol in everything:
        if not address.factor(symbol) and not (symbol in read and symbol in weighted):
            raise Refusal("a loop of the sum is not in both factors")
    outer = [s for s in everything if s in read]
    inner = [s for s in everything if s not in read]
    nest = Nest(extents, outer, inner, address, ranges, weighted)
    nest.drop_single_turns()
    nest.join_all()
    laid = nest.along(tensors.axes_in_memory(before))
    if laid is None:
        raise Refusal("the places that are added to fit no axes of the result")
    nest, axes = laid
    spatial: list[tuple[Axis, int | None, int | None]] = []
    rows: list[tuple[Axis, int]] = []
    made: list[tuple[Axis, int]] = []
    groups: list[tuple[Axis, int]] = []
    for axis in axes:
        if any(reach < 0 for reach in axis.terms.values()):
            raise Refusal("a result is added to backwards")
        place = next((c for c in axis.terms if nest.role[c] == (True, False)), None)
        both = next((c for c in axis.terms if nest.role[c] == (True, True)), None)
        kernel = next((c for c in axis.terms if not nest.role[c][0]), None)
        if axis.guarded or (place is not None and kernel is not None):
            if both is not None:
                raise Refusal("a guard on channels")
            spatial.append((axis, place, kernel))
            continue
        if both is not None:
            groups.append((axis, both))
        if kernel is not None:
            made.append((axis, kernel))
        if place is not None:
            rows.append((axis, place))
    if not spatial:
        raise Refusal("a sum kept in memory that is no transposed convolution")
    highest = max(a.step for a, _, _ in spatial)
    spatial += [(a, None, c) for a, c in made if len(made) > 1 and a.step < highest and a.step > 1]
    made = [pair for pair in made if all(pair[0] is not s[0] for s in spatial)]
    batch = [(a, c) for a, c in rows if a.step > highest]
    spatial += [(a, c, None) for a, c in rows if a.step <= highest]
    spatial.sort(key=lambda triple: -triple[0].step)
    return _written(tensors, nest, axes, before, data, weights, batch, groups, made, spatial)


def _written(
    tensors: Tensors, nest: Nest, axes: Sequence[Axis], before: Tensor, data: Field,
    weights: Field, batch: Sequence[tuple[Axis, int]], groups: Sequence[tuple[Axis, int]],
    made: Sequence[tuple[Axis, int]],
    spatial: Sequence[tuple[Axis, int | None, int | None]],
) -> Tensor:  # fmt: skip
    group_counters = [c for _, c in groups]
    summed = [c for c in nest.counters if nest.role[c] == (True, True) and c not in group_counters]
    places = [o for _, o, _ in spatial if o is not None]
    kernels = [k for _, _, k in spatial if k is not None]
    group = prod(nest.extent(c) for c in group_counters)
    each = prod(nest.extent(c) for c in summed)
    outputs = prod(nest.extent(c) for _, c in made)
    counts = [1 if o is None else nest.extent(o) for _, o, _ in spatial]
    kernel_shape = tuple(1 if k is None else nest.extent(k) for _, _, k in spatial)
    x = nest.rearrange(
        tensors, data.tensor, nest.digits_of(data.axes),
        nest.digits_in([*(c for _, c in batch), *group_counters, *summed, *places]),
        (prod(nest.extent(c) for _, c in batch), group * each, *counts),
    )  # fmt: skip
    w = nest.rearrange(
        tensors, weights.tensor, nest.digits_of(weights.axes),
        nest.digits_in([*group_counters, *summed, *(c for _, c in made), *kernels]),
        (group * each, outputs, *kernel_shape),
    )  # fmt: skip
    strides, dilations, low, high, more = [], [], [], [], []
    for (axis, place, kernel), count in zip(spatial, counts, strict=True):
        stride = 1 if place is None else axis.terms[place]
        dilation = 1 if kernel is None else axis.terms[kernel]
        window = 1 if kernel is None else nest.extent(kernel)
        whole = (count - 1) * stride + (window - 1) * dilation + 1
        if axis.offset > 0:
            raise Refusal("a result that begins in the middle of an axis")
        after = whole + axis.offset - axis.size
        strides.append(stride)
        dilations.append(dilation)
        low.append(-axis.offset)
        high.append(max(after, 0))
        more.append(max(-after, 0))
        if max(-after, 0) >= max(stride, dilation):
            raise Refusal("a result longer than what is added to it")
    sizes = [a.size for a, _, _ in spatial]
    attributes = {"output_padding": tuple(more)} if any(more) else {}
    y = tensors.node(
        "ConvTranspose", (x, w), (x.shape[0], group * outputs, *sizes), group=group,
        strides=tuple(strides), dilations=tuple(dilations), pads=(*low, *high),
        kernel_shape=kernel_shape, **attributes,
    )  # fmt: skip
    y.evidence.append("products are added to places that a counter of each factor decides")
    both = sorted([*(a for a, _ in groups), *(a for a, _ in made)], key=lambda a: -a.step)
    channel_axes = [a for k, a in enumerate(both) if all(a is not b for b in both[:k])]
    order = [*(a for a, _ in batch), *channel_axes, *(a for a, _, _ in spatial)]
    if prod(a.size for a in order) != before.size:
        raise Refusal("an axis of the result that no loop walks over")
    back = sorted(range(len(order)), key=lambda k: -order[k].step)
    return tensors.rearrange(y, [a.size for a in order], back, before.shape)
