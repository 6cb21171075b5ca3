"""Layers that are no products, as passes over data: one operation per element that is touched.

Models:  element-wise operators with broadcasting, pooling and its gradients, reductions, statistics
         and softmaxes as one pass that gathers and one that applies, copies.
Ignores: how many scalar operations an element takes (an exponential is one step, like a maximum);
         operators that read data they do not know beforehand read what they put out.
Judge:   the elements that a nest touches are those of the operands (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..sharding._layer import Layer
from ..sharding._operators import _ELEMENTWISE
from ._build import Found, problem, read_window, tensor
from ._problem import Index, NestProblem, NestTensor

_AXES = {1: ("G",), 2: ("N", "G"), 3: ("N", "G", "W"), 4: ("N", "G", "H", "W"),
         5: ("N", "G", "D", "H", "W")}  # fmt: skip


def _elementwise(layer: Layer, first: int = 0, last: int | None = None) -> Found:
    """Axes that the same operands follow are one loop where there are more than names."""
    out = layer.out()
    operands = [i for i in range(len(layer.node.inputs))[first:last] if layer.has(i)]
    follows = []
    for axis, size in enumerate(out):
        lead = [axis - len(out) + len(layer.sizes(i)) for i in operands]
        follows.append(tuple(at >= 0 and layer.sizes(i)[at] == size
                             for i, at in zip(operands, lead, strict=True)))  # fmt: skip
    sizes = list(out)
    while len(sizes) > max(_AXES):
        same = next((i for i in range(len(sizes) - 1)
                     if follows[i] == follows[i + 1] or 1 in sizes[i : i + 2]), None)  # fmt: skip
        if same is None:
            return f"{len(sizes)} axes that are broadcast differently; up to 5 have names"
        gone = same if sizes[same] == 1 else same + 1
        sizes[same : same + 2] = [sizes[same] * sizes[same + 1]]
        del follows[gone]
    loops = list(zip(_AXES[max(1, len(sizes))], sizes or [1], strict=True))
    made = [
        tensor(f"x{n}", "weight" if layer.node.inputs[i] in layer.graph.constants else "input",
               [loop for loop, along in zip(loops, follows, strict=False) if along[n]])
        for n, i in enumerate(operands)
    ]  # fmt: skip
    return (problem(loops, *made, tensor("y", "output", loops), macs=False),)


def _unary(layer: Layer) -> Found:
    """The first operand, element by element; the others are settings."""
    return _elementwise(layer, 0, 1)


def _pool(layer: Layer) -> Found:
    image, out = layer.sizes(0), layer.out()
    if layer.gives(1):
        return "its second output numbers positions"
    found = read_window(layer, image[2:], out[2:], layer.attribute("kernel_shape"))
    if isinstance(found, str):
        return found
    places, taps, window = found
    lead = [("N", image[0]), ("G", image[1])]
    return (problem((*lead, *places, *taps), tensor("x", "input", lead, *window),
                    tensor("y", "output", lead, places), macs=False),)  # fmt: skip


def _pool_grad(layer: Layer) -> Found:
    """Every window adds to the pixels it saw; a maximum looks for its own among them."""
    gradient, image = layer.sizes(0), layer.out()
    found = read_window(layer, image[2:], gradient[2:], layer.attribute("kernel_shape"))
    if isinstance(found, str):
        return found
    places, taps, window = found
    lead = [("N", image[0]), ("G", image[1])]
    seen = [tensor("x", "input", lead, *window)] if layer.node.op == "MaxPoolGrad" else []
    return (problem((*lead, *places, *taps), tensor("dy", "input", lead, places), *seen,
                    tensor("dx", "output", lead, *window), macs=False),)  # fmt: skip


def _global_pool(layer: Layer) -> Found:
    image = layer.sizes(0)
    return (_gathered(image[0] * image[1], math.prod(image[2:])),)


def _gathered(rows: int, inner: int) -> NestProblem:
    """Return a pass that makes one number of every row."""
    row, summed = ("N", rows), ("Cin", inner)
    return problem((row, summed), tensor("x", "input", [row, summed]),
                   tensor("y", "output", [row]), macs=False)  # fmt: skip


def normalised(rows: int, inner: int, *scales: NestTensor, channels: int = 1) -> Found:
    """Return two passes: what a row comes to, and every element by it.

    Parameters
    ----------
    scales : read in the second pass, along the loops N (rows of one channel), G and W
    channels : a row belongs to one of so many
    """
    loops = [("N", rows // channels), ("G", channels), ("W", inner)]
    return (_gathered(rows, inner),
            problem(loops, tensor("x", "input", loops), tensor("s", "input", loops[:2]), *scales,
                    tensor("y", "output", loops), macs=False))  # fmt: skip


def _softmax(layer: Layer) -> Found:
    sizes = layer.sizes(0)
    inner = sizes[layer.attribute("axis", -1) % len(sizes)]
    return normalised(math.prod(sizes) // inner, inner)


def _row_norm(layer: Layer) -> Found:
    """Normalise all axes from one on; scales follow them."""
    sizes = layer.sizes(0)
    inner = math.prod(sizes[layer.attribute("axis", -1) % len(sizes) :])
    scales = [tensor(f"w{i}", "weight", [("W", inner)])
              for i in range(1, len(layer.node.inputs)) if layer.has(i)]  # fmt: skip
    return normalised(math.prod(sizes) // inner, inner, *scales)


def _channel_norm(layer: Layer) -> Found:
    """Normalise images channel by channel; scales have one number for each."""
    sizes = layer.sizes(0)
    scales = _per_channel(layer, sizes[1], (1, 2))
    return normalised(sizes[0] * sizes[1], math.prod(sizes[2:]), *scales, channels=sizes[1])


def _per_channel(layer: Layer, channels: int, inputs: tuple[int, ...]) -> list[NestTensor]:
    return [tensor(f"w{i}", "weight", [("G", channels)]) for i in inputs if layer.has(i)]


def _group_norm(layer: Layer) -> Found:
    """Gather group by group, apply channel by channel."""
    sizes, groups = layer.sizes(0), int(layer.attribute("num_groups"))
    inner, pixels = sizes[1] // groups, math.prod(sizes[2:])
    loops = [("N", sizes[0]), ("G", groups), ("H", inner), ("W", pixels)]
    scales = [tensor(f"w{i}", "weight", loops[1:3]) for i in (1, 2)]
    return (_gathered(sizes[0] * groups, inner * pixels), problem(
        loops, tensor("x", "input", loops), tensor("s", "input", loops[:2]), *scales,
        tensor("y", "output", loops), macs=False,
    ))  # fmt: skip


def _batch_norm(layer: Layer) -> Found:
    """Apply what was learned; in training, gather the batch's own statistics first."""
    sizes = layer.sizes(0)
    channels = sizes[1] if len(sizes) > 1 else 1
    loops = [("N", sizes[0]), ("G", channels), ("W", math.prod(sizes[2:]))]
    scales = _per_channel(layer, channels, (1, 2, 3, 4))
    applied = problem(loops, tensor("x", "input", loops), *scales,
                      tensor("y", "output", loops), macs=False)  # fmt: skip
    if not layer.attribute("training_mode", 0):
        return (applied,)
    return (_gathered(channels, math.prod(sizes) // channels), applied)


def _local_response(layer: Layer) -> Found:
    sizes, size = layer.sizes(0), int(layer.attribute("size"))
    lead, inner = ("N", sizes[0]), ("W", math.prod(sizes[2:]))
    channel, near = ("G", sizes[1]), ("Kh", size)
    window = Index(size=sizes[1], offset=-((size - 1) // 2), terms=tuple(
        (loop, 1) for loop, n in (channel, near) if n > 1))  # fmt: skip
    return (problem((lead, channel, inner, near), tensor("x", "input", [lead], window, [inner]),
                    tensor("y", "output", [lead, channel, inner]), macs=False),)  # fmt: skip


def _reduce(layer: Layer) -> Found:
    made = layer.graph.type(layer.node.outputs[0]).elements
    return (_gathered(made, layer.type(0).elements // made),)


def _loss(layer: Layer) -> Found:
    """Read the scores for their maximum and for the rest, with logarithms where they are wanted."""
    sizes = layer.sizes(0)
    rows, classes = math.prod(sizes) // sizes[1], sizes[1]
    if layer.node.op == "NegativeLogLikelihoodLoss":
        return (_copied(rows, rows),)
    once = _gathered(rows, classes)
    return normalised(rows, classes) if layer.gives(1) else (once, once)


def _copied(made: int, read: int) -> NestProblem:
    """Return a copy: as many elements written as there are, read where there is something."""
    repeats, left = divmod(made, read) if read else (1, made)
    if read and not left:
        loops = [("N", repeats), ("W", read)]
        return problem(loops, tensor("x", "input", loops[1:]), tensor("y", "output", loops),
                       macs=False)  # fmt: skip
    source = NestTensor(name="x", role="input", axes=(Index(size=min(read, made),
                                                            terms=(("W", 1),)),))  # fmt: skip
    return problem([("W", made)], source, tensor("y", "output", [("W", made)]), macs=False)


def _copy(layer: Layer) -> Found:
    """Every output element from one input element; what is not from the inputs is written only."""
    made = sum(layer.graph.type(name).elements for name in layer.node.outputs if name)
    sources = len(layer.node.inputs) if layer.node.op == "Concat" else 1
    read = sum(layer.type(i).elements for i in range(sources) if layer.has(i))
    if layer.node.op in _PICKS:
        read = made
    return (_copied(made, read),)


#: read as much as they put out, wherever from
_PICKS = frozenset("""
    DepthToSpace Gather GatherElements GatherND ReverseSequence Slice SpaceToDepth Split Transpose
    Trilu
""".split())  # fmt: skip  # noqa: SIM905  # a table of words reads better

PASSES: dict[str, Callable[[Layer], Found]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_PICKS | {"Concat", "Expand", "Pad", "Resize", "Tile"}, _copy),
    **dict.fromkeys(("CastLike", "CumSum", "CumProd", "DequantizeLinear", "Dropout",
                     "QuantizeLinear", "RotaryEmbedding"), _unary),
    **dict.fromkeys(("ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum",
                     "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
                     "ReduceSum", "ReduceSumSquare"), _reduce),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), _softmax),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(("AveragePoolGrad", "MaxPoolGrad"), _pool_grad),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _row_norm),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), _loss),
    "BatchNormalization": _batch_norm, "GroupNormalization": _group_norm,
    "InstanceNormalization": _channel_norm, "LRN": _local_response,
}  # fmt: skip
