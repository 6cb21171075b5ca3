"""Sums of products over loops: convolutions of all kinds, matrix products.

``out[A·iv + a] += in[B·iv + b] · w[C·iv + c]`` says which it is by what counters walk where: one
that is in the result and in the data walks over positions, one in the result and the weights over
output channels, one in data and weights only is summed, one in all three is a group. Where a
counter of the result and one of the sum walk along the same axis of the data, that axis is
convolved: their steps are stride and dilation.

Models:  Conv in 1 to 3 dimensions with stride, dilation, groups, padding on each side, in any
         layout of data and weights; Gemm and MatMul with any of the operands transposed;
         ConvTranspose of stride 1 where the weights are read backwards.
Ignores: sums in another order (floating point is not associative).
Judge:   routines written from random attributes in several layouts and tilings; the recovered
         attributes and outputs are compared (tests/decompile/matching).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..forms import Linear, Symbol
from ..tensors import Tensor, Tensors
from ._nest import Axis, Nest, Range
from ._statement import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A tensor whose axes are counters."""

    tensor: Tensor
    axes: tuple[Symbol, ...]


@dataclass(slots=True, kw_only=True)
class _Shape:
    """Counters by what they do, each list from the outermost in memory to the innermost."""

    batch: list[int]
    groups: list[int]
    summed: list[int]
    made: list[int]
    spatial: list[tuple[Axis, int | None, int | None]]  # axis, counter of result, of sum


def contracted(
    tensors: Tensors, x: Tensor, address: Linear, ranges: Sequence[Range], weights: Field,
    outer: Sequence[Symbol], inner: Sequence[Symbol], extents: Mapping[Symbol, int],
) -> Field:  # fmt: skip
    """Return the sum over `inner` of data times weights, as a tensor over `outer`.

    Parameters
    ----------
    x : data as it lies in memory; `address` is in elements from its begin
    ranges : what must hold for a product to be added
    weights : over their own counters
    outer : counters of the result, the outermost in memory first

    Raises
    ------
    Refusal : it is neither convolution nor matrix product
    """
    weighted = frozenset(weights.axes)
    data = {s for s in (*outer, *inner) if address.factor(s)}
    used = [s for s in outer if extents[s] > 1 and (s in data or s in weighted)]
    for symbol in inner:
        if extents[symbol] > 1 and not (symbol in data and symbol in weighted):
            raise Refusal("a loop of the sum is not in both factors")
    nest = Nest(extents, used, inner, address, ranges, weighted)
    loops_of_sum = sum(extents[s] > 1 for s in inner)
    nest.drop_single_turns()
    laid = None
    rough = len(x.inner.shape) == 1
    if rough:  # nothing is known of the axes: the loops as they stand say most
        laid = nest.copy().along(x.shape, known=False)
    nest.join_all()
    laid = laid or nest.along(tensors.axes_in_memory(x), known=not rough)
    if laid is None:
        raise Refusal("the positions that are read fit no axes of what is read")
    nest, axes = laid
    flipped = _flip(nest, axes)
    if flipped and weights.tensor.value is None:
        raise Refusal("weights that are not known are read backwards")
    shape = _classified(nest, axes, x, weights, loops_of_sum)
    if shape is None:
        return _matrix(tensors, nest, axes, x, weights, used)
    return _convolution(tensors, nest, axes, x, weights, used, shape, flipped)


def _flip(nest: Nest, axes: list[Axis]) -> list[int]:
    """Let counters that walk backwards over the data walk forwards; returns them."""
    found = []
    for axis in axes:
        for counter, reach in list(axis.terms.items()):
            if reach < 0:
                if nest.role[counter][0]:
                    raise Refusal("a result is computed backwards over its input")
                axis.offset += reach * (nest.extent(counter) - 1)
                axis.terms[counter] = -reach
                nest.flip(counter)
                found.append(counter)
    return found


def _classified(
    nest: Nest, axes: list[Axis], x: Tensor, weights: Field, loops_of_sum: int
) -> _Shape | None:
    """Return what counters do in a convolution; None where it is a matrix product."""
    spatial: list[tuple[Axis, int | None, int | None]] = []
    rows: list[tuple[Axis, int]] = []
    summed: list[tuple[Axis, int]] = []
    groups: list[tuple[Axis, int]] = []
    for axis in axes:
        result = next((c for c in axis.terms if nest.role[c] == (True, False)), None)
        both = next((c for c in axis.terms if nest.role[c] == (True, True)), None)
        total = next((c for c in axis.terms if not nest.role[c][0]), None)
        if result is not None and total is not None:
            spatial.append((axis, result, total))
            continue
        if axis.guarded:
            if both is not None:
                raise Refusal("a guard on channels")
            spatial.append((axis, result, total))
            continue
        if result is not None:
            rows.append((axis, result))
        if both is not None:
            groups.append((axis, both))
        if total is not None:
            summed.append((axis, total))
        if not axis.terms and axis.size > 1:
            raise Refusal("reads one position of an axis")
    place = {d: k for k, d in enumerate(d for digits in nest.owners.values() for d in digits)}
    made = sorted(
        (c for c in nest.counters if nest.role[c] == (True, True) and not nest.factors[c]),
        key=lambda c: place[nest.counters[c][0]],
    )
    known = tuple(s for s in x.inner.shape)
    if not spatial:
        constant = (
            weights.tensor.op in ("Constant", "Absent") or weights.tensor.inner.op == "Absent"
        )
        deep = len(known) >= 3
        kernel_loops = loops_of_sum >= 2 and len(summed) >= 2
        # Channels outside of positions: a matrix of data would lie the other way round.
        outside = bool(rows) and bool(summed) and summed[0][0].step > rows[0][0].step
        if not constant or not (deep or kernel_loops or outside):
            return None
        if not rows and not groups and loops_of_sum < 2:
            return None  # one loop over everything: no code of a window would be so
        last = not summed or summed[0][0].step == 1
        if len(summed) <= 1 and last and x.op != "Rearrange" and (not rows or len(known) == 3):
            # The last axis of a tensor that lies as it was made: a matrix product.
            return None
    # Of axes summed whole, the channels are the one that the known shape says, or the outermost.
    summed.sort(key=lambda pair: -pair[0].step)
    rows.sort(key=lambda pair: -pair[0].step)
    if len(summed) > 1 and not spatial:
        spatial = [(axis, None, c) for axis, c in summed[1:]]
        summed = summed[:1]
    elif len(summed) > 1:
        spatial += [(axis, None, c) for axis, c in _covering(nest, summed, spatial, rows)]
        summed = [pair for pair in summed if all(pair[0] is not a for a, _, _ in spatial)]
    # A row axis is a batch where it lies outside of the channels and another is convolved.
    channel_steps = [a.step for a, _ in (*summed, *groups)]
    batch: list[tuple[Axis, int]] = []
    for axis, counter in rows:
        outside = bool(channel_steps) and axis.step > max(channel_steps)
        innermost = bool(channel_steps) and min(channel_steps) == 1 and axes[-1].step == 1
        steps = [a.step for a, _, _ in spatial]
        if outside and not (innermost and not (steps and axis.step > max(steps) and len(rows) > 1)):
            batch.append((axis, counter))
        else:
            spatial.append((axis, counter, None))
    spatial.sort(key=lambda triple: -triple[0].step)
    if not spatial:
        return None
    for axis, counter in (*summed, *groups, *batch):
        alone = len(axis.terms) == 1
        if alone and (axis.terms[counter] != 1 or nest.extent(counter) != axis.size or axis.offset):
            raise Refusal("only a part of the channels is read")
    return _Shape(
        batch=[c for _, c in batch],
        groups=[c for _, c in sorted(groups, key=lambda pair: -pair[0].step)],
        summed=[c for _, c in summed], made=made, spatial=spatial,
    )  # fmt: skip


def _covering(
    nest: Nest, summed: list[tuple[Axis, int]],
    spatial: list[tuple[Axis, int | None, int | None]], rows: list[tuple[Axis, int]],
) -> list[tuple[Axis, int]]:  # fmt: skip
    """Return summed axes that a window covers whole: they lie between convolved ones.

    Channels lie outside of all positions or inside of all of them, or both (packed).
    """
    steps = [a.step for a, _, _ in spatial] + [a.step for a, _ in rows if rows]
    low, high = min(steps), max(steps)
    inside = [pair for pair in summed if low < pair[0].step < high]
    outside = [pair for pair in summed if pair[0].step > high]
    below = [pair for pair in summed if pair[0].step < low]
    # More than one axis outside: the outermost are channels, the last a window's rows.
    extra = outside[1:] if len(outside) > 1 else []
    extra += below[:-1] if len(below) > 1 else []
    if not outside and below and len(below) == 1:
        extra = []
    return inside + extra


def _convolution(
    tensors: Tensors, nest: Nest, axes: list[Axis], x: Tensor, weights: Field,
    used: Sequence[Symbol], shape: _Shape, flipped: list[int],
) -> Field:  # fmt: skip
    group_axes = [a for a in axes if any(c in a.terms for c in shape.groups)]
    channel_axes = group_axes + [
        a for a in axes if any(c in a.terms for c in shape.summed) and a not in group_axes
    ]
    channel_axes.sort(key=lambda a: -a.step)
    batch_axes = [a for a in axes if any(c in a.terms for c in shape.batch)]
    order = [*batch_axes, *channel_axes, *(a for a, _, _ in shape.spatial)]
    missing = [a for a in axes if a not in order]
    if any(a.size > 1 for a in missing):
        raise Refusal("an axis of the data that no loop walks over")
    group = prod(nest.extent(c) for c in shape.groups)
    each = prod(nest.extent(c) for c in shape.summed)
    if group > 1 and each > 1:
        _check_groups(nest, group_axes, shape)
    channels = group * each
    sizes = [a.size for a, _, _ in shape.spatial]
    data = tensors.rearrange(
        x, [a.size for a in axes], [axes.index(a) for a in (*order, *missing)],
        (prod(nest.extent(c) for c in shape.batch), channels, *sizes),
    )  # fmt: skip
    kernel_counters = [k for _, _, k in shape.spatial if k is not None]
    made = [c for c in shape.made if c not in shape.groups]
    kernel = _weights(
        tensors, nest, weights, [*shape.groups, *made, *shape.summed, *kernel_counters], flipped
    )
    outputs = group * prod(nest.extent(c) for c in made)
    kernel_shape = tuple(1 if k is None else nest.extent(k) for _, _, k in shape.spatial)
    kernel = tensors.reshape(kernel, (outputs, each, *kernel_shape))
    strides, dilations, before, after, result = [], [], [], [], []
    for axis, out, inner in shape.spatial:
        count = 1 if out is None else nest.extent(out)
        window = 1 if inner is None else nest.extent(inner)
        stride = 1 if out is None else axis.terms[out]
        dilation = 1 if inner is None else axis.terms[inner]
        stride, low, high = padding(axis, count, window, stride, dilation)
        strides.append(stride)
        dilations.append(dilation)
        before.append(low)
        after.append(high)
        result.append(count)
    y = tensors.node(
        "Conv", (data, kernel), (data.shape[0], outputs, *result), group=group,
        strides=tuple(strides), dilations=tuple(dilations), pads=(*before, *after),
        kernel_shape=kernel_shape, backwards=bool(flipped),
    )  # fmt: skip
    y.evidence.append(
        "loops and addresses: " + ", ".join(
            f"axis of {a.size}: {_walk(nest, a)}" for a in axes
        )
    )  # fmt: skip
    have = nest.digits_in([
        *shape.batch, *shape.groups, *made, *(o for _, o, _ in shape.spatial if o is not None)
    ])  # fmt: skip
    full = nest.rearrange(tensors, y, have, nest.digits_of(used), _extents(nest, used))
    return Field(tensor=full, axes=tuple(used))


def _check_groups(nest: Nest, group_axes: list[Axis], shape: _Shape) -> None:
    """Groups lie outside of the channels of a group, or it is no grouped convolution."""
    for axis in group_axes:
        mine = [c for c in axis.terms if c in shape.groups]
        inner = [c for c in axis.terms if c in shape.summed]
        for c in mine:
            size = prod(nest.extent(k) for k in inner)
            if axis.terms[c] != size or nest.extent(c) * size != axis.size:
                raise Refusal("groups that overlap")


def padding(
    axis: Axis, count: int, window: int, stride: int, dilation: int
) -> tuple[int, int, int]:  # fmt: skip
    """Return stride, padding before and after an axis, equal paddings where that says the same.

    A single result has no stride of its own: the least that gives no second one is taken.
    """
    before = -axis.offset
    if before < 0:
        raise Refusal("reads from the middle of an axis on")
    reach = (window - 1) * dilation + 1
    strides = (stride,) if count > 1 else (1, window, axis.size + before + 1)
    for step in strides:
        needed = (count - 1) * step + reach - axis.size - before
        for after in (before, max(needed, 0)):
            room = axis.size + before + after - reach
            if after >= needed and room >= 0 and room // step + 1 == count:
                return step, before, after
    raise Refusal("fewer results than the axis has positions for")


def _walk(nest: Nest, axis: Axis) -> str:
    parts = [f"{m}·(0…{nest.extent(c) - 1})" for c, m in axis.terms.items()]
    if axis.offset:
        parts.append(str(axis.offset))
    return " + ".join(parts) + (", guarded" if axis.guarded else "")


def _weights(
    tensors: Tensors, nest: Nest, weights: Field, order: Sequence[int], flipped: Sequence[int]
) -> Tensor:
    """Return weights with one axis for each counter in the order given."""
    have = nest.digits_of(weights.axes)
    want = nest.digits_in(order)
    if sorted(d for d in have if nest.sizes[d] != 1) != sorted(
        d for d in want if nest.sizes[d] != 1
    ):  # fmt: skip
        raise Refusal("weights walk over something that the data does not")
    shape = [nest.extent(c) for c in order]
    laid = nest.rearrange(tensors, weights.tensor, have, want, shape)
    if flipped and laid.value is not None:
        backwards = tuple(k for k, c in enumerate(order) if c in flipped)
        made = tensors.constant(np.flip(laid.value, backwards))
        made.sources.extend(s for s in laid.sources if s not in made.sources)
        return made
    return laid


def _extents(nest: Nest, symbols: Sequence[Symbol]) -> list[int]:
    return [prod(nest.sizes[d] for d in nest.owners[s]) for s in symbols]


def _matrix(
    tensors: Tensors, nest: Nest, axes: list[Axis], x: Tensor, weights: Field,
    used: Sequence[Symbol],
) -> Field:  # fmt: skip
    """Write a product of data and weights of which nothing is convolved."""
    for axis in axes:
        reach = sum(m * (nest.extent(c) - 1) for c, m in axis.terms.items()) + 1
        if axis.guarded or axis.offset or reach != axis.size:
            raise Refusal("a product over a part of what is read")
    order: list[int] = []
    for axis in axes:
        order += sorted(axis.terms, key=lambda c, a=axis: -a.terms[c])  # type: ignore[misc]  # axis is bound at once
    symbols = [s for s in nest.owners if any(d in nest.digits_in(order) for d in nest.owners[s])]
    mine = nest.digits_of(symbols)
    over = nest.rearrange(tensors, x, nest.digits_in(order), mine, _extents(nest, symbols))
    summed = [c for c in nest.counters if not nest.role[c][0]]
    inner = [s for s in nest.owners if set(nest.owners[s]) & set(nest.digits_in(summed))]
    extents = dict(zip(nest.owners, _extents(nest, list(nest.owners)), strict=True))
    return product_of(
        tensors, Field(tensor=over, axes=tuple(symbols)), weights, used, inner, extents
    )


def product_of(
    tensors: Tensors, a: Field, b: Field, outer: Sequence[Symbol], inner: Sequence[Symbol],
    extents: Mapping[Symbol, int],
) -> Field:  # fmt: skip
    """Return the sum over `inner` of two tensors over counters: Gemm or MatMul.

    Raises
    ------
    Refusal : no counter is summed, or one is in one factor only
    """
    summed = [s for s in inner if extents[s] > 1]
    if any((s in a.axes) != (s in b.axes) for s in summed):
        raise Refusal("a loop of the sum is not in both factors")
    batch = [s for s in outer if s in a.axes and s in b.axes and extents[s] > 1]
    rows = [s for s in outer if s in a.axes and s not in b.axes and extents[s] > 1]
    columns = [s for s in outer if s in b.axes and s not in a.axes and extents[s] > 1]

    def size(symbols: Sequence[Symbol]) -> int:
        return prod(extents[s] for s in symbols)

    def over(field: Field, *groups: Sequence[Symbol], shape: Sequence[int]) -> Tensor:
        have = [s for s in field.axes if extents[s] > 1]
        want = [s for group in groups for s in group]
        return tensors.rearrange(
            field.tensor, [extents[s] for s in have], [have.index(s) for s in want], shape
        )

    known = a.tensor.inner.shape
    flat = sum(s != 1 for s in known) <= 2 and not (len(known) > 2 and known[-1] != 1)
    m, n, k = size(rows), size(columns), size(summed)
    if not batch and b.tensor.inner.op in ("Constant", "Absent") and flat:
        x = over(a, rows, summed, shape=(m, k))
        w = over(b, columns, summed, shape=(n, k))
        y = tensors.node("Gemm", (x, w), (m, n), transB=1)
    else:
        lead = tuple(extents[s] for s in batch)
        leading = tuple(extents[s] for s in rows) or (1,)
        if b.tensor.inner.op in ("Constant", "Absent") and not batch:
            lead = known[:-1][: len(known) - 2] if prod(known[:-2]) > 1 else (1,) * (len(known) - 2)
            if prod((*lead, 1)) * known[-2] != m:
                lead = ()
            leading = (m // prod((*lead, 1)),)
            x = over(a, rows, summed, shape=(*lead, *leading, k))
            w = over(b, summed, columns, shape=(k, n))
        else:
            if not batch:
                leading = (m,)
            x = over(a, batch, rows, summed, shape=(*lead, m, k))
            w = over(b, batch, summed, columns, shape=(*lead, k, n))
            leading = (m,)
        y = tensors.node("MatMul", (x, w), (*lead, *leading, n))
    y.evidence.append(f"loops and addresses: {m} rows, {n} columns, {k} summed")
    have = [*batch, *rows, *columns]
    axes = [s for s in outer if s in a.axes or s in b.axes]
    full = tensors.rearrange(
        y, [extents[s] for s in have], [have.index(s) for s in axes if extents[s] > 1],
        [extents[s] for s in axes],
    )  # fmt: skip
    return Field(tensor=full, axes=tuple(axes))
