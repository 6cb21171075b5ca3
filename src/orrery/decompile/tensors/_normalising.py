"""Operators that several loop nests make up: Softmax, means, normalisations, pooling, padding.

Models:  rules from one tensor to an equal one; what is equal up to the order of floating-point
         arithmetic counts as equal, nothing else does.
Judge:   networks of single operators, recovered and compared; near misses that must stay as
         they are (tests/decompile/matching).
"""

from __future__ import annotations

from math import isclose, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._activations import scaled
from ._batch_norm import batch_norm, folded_batch_norm, plain_batch_norm
from ._digits import groups_of, refine
from ._rewriting import Rule, noted
from ._spreading import as_transposed
from ._tensors import Tensor, Tensors

#: Constants of 24 bits that were computed in one or two steps agree to this.
_CLOSE = 1e-6
#: Anything below counts as minus infinity where a maximum is taken.
_LOWEST = -3.4e38


def _mean(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Read a sum times one part of its number of elements as a mean."""
    if t.op not in ("Mul", "Div"):
        return None
    base, factor = scaled(t)
    if base.op == "ReduceSum" and base is not t:
        axes = base.attribute("axes")
        count = prod(base.inputs[0].shape[a] for a in axes)
        if isclose(factor * count, 1, rel_tol=_CLOSE):
            made = tensors.reduce("ReduceMean", base.inputs[0], axes)
            return noted(made, base, because=f"a sum of {count} divided by {count}")
    return None


def _nested(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op in ("ReduceSum", "ReduceMax", "ReduceMin") and t.inputs[0].op == t.op:
        inner = t.inputs[0]
        axes = (*inner.attribute("axes"), *t.attribute("axes"))
        return noted(tensors.reduce(t.op, inner.inputs[0], axes), inner)
    return None


def _softmax(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Div":
        above, below = t.inputs
        if above.op != "Exp" or below.op != "ReduceSum" or below.inputs[0] is not above:
            return None
        axes = below.attribute("axes")
        x, because = above.inputs[0], "exp divided by the sum of exp"
        name = "Softmax"
    elif t.op == "Sub" and t.inputs[1].op == "Log":
        inner, below = t.inputs[0], t.inputs[1].inputs[0]
        if below.op != "ReduceSum" or below.inputs[0].op != "Exp":
            return None
        if below.inputs[0].inputs[0] is not inner:
            return None
        axes = below.attribute("axes")
        x, because, name = inner, "x minus the log of the sum of exp", "LogSoftmax"
    else:
        return None
    if x.op == "Sub" and x.inputs[1].op == "ReduceMax" and x.inputs[1].inputs[0] is x.inputs[0]:
        if x.inputs[1].attribute("axes") != axes:
            return None
        noted(t, x.inputs[1], x)
        x, because = x.inputs[0], because + ", the maximum taken off"
    if len(axes) != 1:
        if axes != tuple(range(axes[0], len(x.shape))):
            return None
        lead = x.shape[: axes[0]]
        flat = tensors.reshape(x, (*lead, prod(x.shape[axes[0] :])))
        made = tensors.node(name, (flat,), flat.shape, axis=len(lead))
        return tensors.reshape(noted(made, t, *t.inputs, because=because), t.shape)
    made = tensors.node(name, (x,), x.shape, axis=axes[0])
    return noted(made, *t.inputs, because=because)


def _layer_norm(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Div":
        centred, root = t.inputs
        found = _spread(root)
    elif t.op == "Mul":
        found = None
        centred = t.inputs[0]
        for a, b in (t.inputs, t.inputs[::-1]):
            if b.op == "Pow" and b.inputs[1].scalar() == -0.5:
                centred, found = a, _within(b.inputs[0])
    else:
        return None
    if found is None or centred.op != "Sub":
        return None
    variance, epsilon = found
    x, mean = centred.inputs
    if mean.op != "ReduceMean" or mean.inputs[0] is not x:
        return None
    axes = mean.attribute("axes")
    if axes != tuple(range(len(x.shape) - len(axes), len(x.shape))):
        return None
    if not _is_variance(variance, x, centred, mean):
        return None
    ones = tensors.constant(np.ones([x.shape[a] for a in axes], np.float32))
    made = tensors.node(
        "LayerNormalization", (x, ones), x.shape, axis=len(x.shape) - len(axes), epsilon=epsilon
    )
    return noted(made, centred, mean, variance, because="x minus its mean over its deviation")


def _spread(root: Tensor) -> tuple[Tensor, float] | None:
    return _within(root.inputs[0]) if root.op == "Sqrt" else None


def _within(t: Tensor) -> tuple[Tensor, float] | None:
    """Return a tensor and the small number that is added to it."""
    if t.op == "Add":
        for a, b in (t.inputs, t.inputs[::-1]):
            number = b.scalar()
            if number is not None and a.value is None:
                return a, number
    return t, 0.0


def _is_variance(t: Tensor, x: Tensor, centred: Tensor, mean: Tensor) -> bool:
    axes = mean.attribute("axes")
    if t.op == "ReduceMean" and t.attribute("axes") == axes:
        return _is_square(t.inputs[0], centred)
    if t.op == "Sub":
        first, second = t.inputs
        return (
            first.op == "ReduceMean" and first.attribute("axes") == axes
            and _is_square(first.inputs[0], x) and _is_square(second, mean)
        )  # fmt: skip
    return False


def _is_square(t: Tensor, x: Tensor) -> bool:
    if t.op == x.op == "Rearrange" and t.digits == x.digits and t.shape == x.shape:
        return _is_square(t.inputs[0], x.inputs[0])
    if t.op == "Mul":
        return t.inputs[0] is x and t.inputs[1] is x
    return t.op == "Pow" and t.inputs[0] is x and t.inputs[1].scalar() == 2


def _affine_norm(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Take scale and shift after a layer's normalisation into it."""
    if t.op not in ("Mul", "Add"):
        return None
    for norm, other in (t.inputs, t.inputs[::-1]):
        if norm.op != "LayerNormalization" or other.value is None or len(norm.inputs) > 2:
            continue
        x, scale = norm.inputs
        axes = norm.attribute("axis")
        shape = x.shape[axes:]
        lead = other.shape[: max(0, len(other.shape) - len(shape))]
        if prod(lead) != 1 or norm.shape != t.shape:
            continue
        value = np.broadcast_to(other.value.reshape(other.shape[len(lead) :]), shape)
        made = tensors.constant(value)
        made.sources.extend(s for s in other.sources if s not in made.sources)
        if t.op == "Mul" and scale.scalar() == 1:
            inputs: tuple[Tensor, ...] = (x, made)
        elif t.op == "Add":
            inputs = (x, scale, made)
        else:
            continue
        return noted(
            tensors.node("LayerNormalization", inputs, x.shape, **dict(norm.attributes)), norm
        )
    return None


def _lrn(tensors: Tensors, t: Tensor) -> Tensor | None:
    if t.op == "Div":
        x, power = t.inputs
        sign = 1.0
    elif t.op == "Mul":
        x, power = t.inputs if t.inputs[1].op == "Pow" else t.inputs[::-1]
        sign = -1.0
    else:
        return None
    if power.op != "Pow" or power.inputs[0].op != "Add":
        return None
    beta = power.inputs[1].scalar()
    if beta is None:
        return None
    for total, other in (power.inputs[0].inputs, power.inputs[0].inputs[::-1]):
        bias = other.scalar()
        base, factor = scaled(total)
        if bias is None or base.op not in ("WindowSum", "AveragePool"):
            continue
        if not _is_square(base.inputs[0], x) or not dict(base.attributes).get("counted", 1):
            continue
        windows = base.attribute("windows")
        walked = [k for k, w in enumerate(windows) if w != (1, 1, 1, 0, 0)]
        if len(walked) != 1:
            continue
        (axis,) = walked
        size, step, dilation, before, after = windows[axis]
        if step != 1 or dilation != 1 or (before, after) != ((size - 1) // 2, size // 2):
            continue
        shape = x.shape
        if axis != 1 or len(shape) < 3:
            shape = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
        made = tensors.node(
            "LRN", (tensors.reshape(x, shape),), shape, size=size,
            alpha=float(np.float32(factor if base.op == "AveragePool" else factor * size)),
            beta=float(np.float32(sign * beta)), bias=float(np.float32(bias)),
        )  # fmt: skip
        noted(made, power, base, because="x over a power of the sum of squares of channels")
        return tensors.reshape(made, x.shape)
    return None


def _average(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Read sums of windows divided by their number of elements as a mean."""
    if t.op not in ("Mul", "Div"):
        return None
    base, factor = scaled(t)
    if base.op == "WindowSum" and base is not t:
        windows = base.attribute("windows")
        count = prod(w[0] for w in windows)
        if isclose(factor * count, 1, rel_tol=_CLOSE):
            made = tensors.node("AveragePool", base.inputs, base.shape, windows=windows, counted=1)
            return noted(made, base, because=f"a sum of windows of {count} divided by {count}")
    if t.op == "Div" and t.inputs[0].op == "WindowSum" and t.inputs[1].value is not None:
        base, counts = t.inputs
        windows = base.attribute("windows")
        wanted = _counts(base)
        if np.array_equal(np.broadcast_to(counts.value, wanted.shape), wanted):  # type: ignore[arg-type]  # not None, above
            made = tensors.node("AveragePool", base.inputs, base.shape, windows=windows, counted=0)
            return noted(made, base, because="a sum of windows divided by what lies inside")
    return None


def _counts(t: Tensor) -> NDArray[Any]:
    """Return how many positions of each window lie inside of the tensor."""
    total = np.ones((1,) * len(t.shape))
    for axis, (size, step, dilation, before, _) in enumerate(t.attribute("windows")):
        start = np.arange(t.shape[axis])[:, None] * step - before
        at = start + np.arange(size)[None, :] * dilation
        inside = ((at >= 0) & (at < t.inputs[0].shape[axis])).sum(1)
        total = total * inside.reshape([-1 if k == axis else 1 for k in range(len(t.shape))])
    return total


def _pad_of(
    tensors: Tensors, t: Tensor
) -> tuple[Tensor, Tensor, tuple[int, ...], tuple[int, ...]] | None:
    """Return the padding that a tensor is, its inside, and how much of it is on each axis.

    A rearrangement after it is put before it where it leaves the padded axes whole.
    """
    if t.op == "Pad":
        return t, t.inputs[0], t.attribute("before"), t.attribute("after")
    if t.op != "Rearrange" or t.inputs[0].op != "Pad":
        return None
    pad = t.inputs[0]
    x, low, high = pad.inputs[0], pad.attribute("before"), pad.attribute("after")
    fine = refine(t.digits, read=pad.shape, written=t.shape)
    read = groups_of(fine.sizes, pad.shape) if fine is not None else None
    written = groups_of(fine.written, t.shape) if fine is not None else None
    if fine is None or read is None or written is None:
        return None
    before, after = [0] * len(t.shape), [0] * len(t.shape)
    sizes, shape = list(fine.sizes), list(t.shape)
    for axis in range(len(pad.shape)):
        if not (low[axis] or high[axis]):
            continue
        if len(read[axis]) != 1:
            return None
        (digit,) = read[axis]
        place = next((k for k, g in enumerate(written) if [fine.order[d] for d in g] == [digit]),
                     None)  # fmt: skip
        if place is None:
            return None
        before[place], after[place] = low[axis], high[axis]
        sizes[digit] = shape[place] = x.shape[axis]
    inside = tensors.rearrange(x, sizes, fine.order, shape)
    return pad, inside, tuple(before), tuple(after)


def _padded(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Take padding of what a window or a convolution reads into it."""
    if t.op not in ("Conv", "WindowMax", "WindowSum") or not t.inputs:
        return None
    found = _pad_of(tensors, t.inputs[0])
    if found is None:
        return None
    pad, x, before, after = found
    value = pad.attribute("fill")
    because = "a padded copy of what it reads"
    if t.op == "Conv":
        if value != 0 or any(before[:2]) or any(after[:2]):
            return None
        rank = len(x.shape) - 2
        attributes = dict(t.attributes)
        pads = attributes["pads"]
        attributes["pads"] = tuple(
            p + extra for p, extra in zip(pads, (*before[2:], *after[2:]), strict=True)
        )
        assert len(pads) == 2 * rank
        return noted(tensors.node("Conv", (x, *t.inputs[1:]), t.shape, **attributes), pad,
                     because=because)  # fmt: skip
    if t.op == "WindowSum" and value != 0:
        return None
    # The operator pads with what never wins; a 0 does not win either where nothing is below it.
    if t.op == "WindowMax" and value > _LOWEST and not (value == 0 and _never_negative(x)):
        return None
    windows = tuple(
        (size, step, dilation, low + b, high + a)
        for (size, step, dilation, low, high), b, a in zip(
            t.attribute("windows"), before, after, strict=True
        )
    )
    if any(max(w[3], w[4]) >= w[0] > 0 for w in windows if w[3] or w[4]):
        return None  # some windows would hold nothing else
    return noted(tensors.node(t.op, (x,), t.shape, windows=windows), pad, because=because)


def _never_negative(x: Tensor) -> bool:
    """Whether no element is below 0, whatever goes in."""
    if x.op == "Clip":
        least = x.inputs[1].scalar()
        return least is not None and least >= 0
    return x.op == "Relu"


def _biased(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Take a number for each output channel that is added into what makes the channels."""
    if t.op != "Add":
        return None
    for y, bias in (t.inputs, t.inputs[::-1]):
        if y.op not in ("Conv", "Gemm", "ConvTranspose") or len(y.inputs) != 2:
            continue
        if bias.inner.op not in ("Constant", "Absent") or y.shape != t.shape:
            continue
        channels = y.shape[1]
        have = (1,) * (len(t.shape) - len(bias.shape)) + bias.shape
        if any(s != 1 for k, s in enumerate(have) if k != 1) or bias.size not in (1, channels):
            continue
        if bias.size == 1 and channels > 1:
            if bias.value is None or (not bias.sources and bias.scalar() == 0):
                continue
            vector = tensors.constant(np.full(channels, bias.value.reshape(-1)[0]))
            vector.sources.extend(bias.sources)
        else:
            vector = tensors.reshape(bias, (channels,))
        made = tensors.node(y.op, (*y.inputs, vector), y.shape, **dict(y.attributes))
        return noted(made, y, because="a number for each output channel is added")
    return None


def _transposed(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a convolution whose weights are read backwards as what it was: a transposed one."""
    if t.op != "Conv" or not t.attribute("backwards") or t.inputs[1].value is None:
        return None
    attributes = dict(t.attributes)
    kernel, group = attributes["kernel_shape"], attributes["group"]
    rank = len(kernel)
    if set(attributes["strides"]) != {1} or any(a == 1 for a in attributes["dilations"]) is False:
        return None
    weights = t.inputs[1].value
    made, each = weights.shape[:2]
    flipped = np.flip(weights, tuple(range(2, 2 + rank)))
    parts = flipped.reshape(group, made // group, each, *kernel)
    swapped = parts.swapaxes(1, 2).reshape(group * each, made // group, *kernel)
    reach = [(k - 1) * d for k, d in zip(kernel, attributes["dilations"], strict=True)]
    pads = tuple(r - p for r, p in zip((*reach, *reach), attributes["pads"], strict=True))
    if min(pads) < 0:
        return None
    constant = tensors.constant(swapped)
    constant.sources.extend(s for s in t.inputs[1].sources if s not in constant.sources)
    made_node = tensors.node(
        "ConvTranspose", (t.inputs[0], constant, *t.inputs[2:]), t.shape, group=group,
        strides=attributes["strides"], dilations=attributes["dilations"], pads=pads,
        kernel_shape=kernel,
    )  # fmt: skip
    return noted(made_node, because="weights are read backwards")


NORMALISING: tuple[Rule, ...] = (
    _nested, _mean, _average, _padded, batch_norm, folded_batch_norm, _biased, _softmax,
    _layer_norm, _affine_norm, _lrn, _transposed, as_transposed,
)  # fmt: skip

#: applied once the rest is done: what could still become more would be taken too early
PLAIN: tuple[Rule, ...] = (plain_batch_norm,)
