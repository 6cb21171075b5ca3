"""What an operator has to read to write a part of its results, from its definition.

Models:  convolution and pooling windows and their gradients, matrix products, attention,
         element-wise operators with broadcasting, normalisations, reductions, joins, cuts,
         look-ups, reshapes; which of their loops are sums that may be done in parts. Any other
         operator needs all of every operand.
Ignores: values: zero weights, masks and indices do not make an operator need less.
Judge:   elements found by evaluating the NumPy reference with one changed input (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orrery.certificate import Box
from orrery.graph import Graph, Node

from ._reshape import reshaped

Span = tuple[int, int]
#: per input of the node: the part it needs, None for nothing
Need = list[Box | None]

_ELEMENTWISE = frozenset("""
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
    BitwiseXor Cast Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max
    Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
    Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
""".split())  # fmt: skip  # noqa: SIM905  # a table of words reads better
_KERNELS = {1: ("Kw",), 2: ("Kh", "Kw"), 3: ("Kd", "Kh", "Kw")}


class _Call:
    """A node with the sizes of its tensors, what it writes and which part of its sums it does."""

    def __init__(
        self, graph: Graph, node: Node, written: Mapping[int, Box], partial: Mapping[str, Span]
    ) -> None:
        self.graph, self.node, self.written, self.partial = graph, node, written, partial
        self.out = written.get(0, ())

    def sizes(self, index: int) -> tuple[int, ...]:
        return self.graph.type(self.node.inputs[index]).sizes

    def given(self, index: int = 0) -> tuple[int, ...]:
        """Return the sizes of a whole output."""
        return self.graph.type(self.node.outputs[index]).sizes

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def part(self, loop: str, extent: int) -> Span:
        return self.partial.get(loop, (0, extent))

    def all_of(self, index: int) -> Box | None:
        return whole_box(self.sizes(index)) if self.has(index) else None

    def rest(self, start: int) -> Need:
        return [self.all_of(i) for i in range(start, len(self.node.inputs))]

    @property
    def first(self) -> bool:
        """Whether this part of the sums is the one that the addend outside of them joins."""
        return all(start == 0 for start, _ in self.partial.values())


def whole_box(sizes: Sequence[int]) -> Box:
    """Return the box of a whole tensor."""
    return tuple((0, size) for size in sizes)


def operand_needs(
    graph: Graph, node: Node, written: Mapping[int, Box], partial: Mapping[str, Span]
) -> Need:
    """Return, per input of a node, the part that it must read; None for nothing.

    Parameters
    ----------
    written : number of an output -> the part of it that is written
    partial : summed loop -> the part of it that is added up; others are done from end to end
    """
    call = _Call(graph, node, written, partial)
    rule = _RULES.get(node.operator)
    if rule is None and not node.domain and node.op in _ELEMENTWISE:
        rule = _elementwise
    found = None if rule is None or 0 not in written else rule(call)
    return call.rest(0) if found is None else found


def summed_loops(graph: Graph, node: Node) -> dict[str, int]:
    """Return the loops of a node whose iterations are added up, and how long they are."""
    sizes = [graph.type(name).sizes if name else () for name in node.inputs]
    if node.operator in (_GRADIENT_OF_WEIGHTS, _GRADIENT_OF_IMAGE):
        return _gradient_sums(node, sizes)
    if node.domain:
        return {}
    if node.op == "Conv":
        weights = sizes[1]
        loops = dict(zip(_KERNELS.get(len(weights) - 2, ()), weights[2:]))
        if node.attributes.get("group", 1) == 1:
            loops["Cin"] = weights[1]
        return loops
    if node.op == "MatMul" and min(len(sizes[0]), len(sizes[1])) >= 2:
        return {"K": sizes[0][-1]}
    if node.op == "Gemm":
        return {"K": sizes[0][0 if node.attributes.get("transA", 0) else 1]}
    if node.op == "ReduceSum":
        return {f"axis{axis}": sizes[0][axis] for axis in _reduced(graph, node) or ()}
    return {}


# -- windows --------------------------------------------------------------------------------------


def _window(
    out: Span, taps: Span, size: int, stride: int, dilation: int, begin: int
) -> Span:  # fmt: skip
    """Return the pixels that some outputs see through some taps of a kernel."""
    low = out[0] * stride + taps[0] * dilation - begin
    high = (out[1] - 1) * stride + (taps[1] - 1) * dilation - begin + 1
    low = min(max(low, 0), size)
    return low, max(min(high, size), low)


def _padded(call: _Call, axis: int, size: int, outputs: int, kernel: int) -> int:
    """Return the padding before an axis of an image."""
    pads, auto = call.attribute("pads"), call.attribute("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        strides, dilations = call.attribute("strides"), call.attribute("dilations")
        stride, dilation = (int(v[axis]) if v else 1 for v in (strides, dilations))
        spare = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        return spare // 2 if auto == "SAME_UPPER" else (spare + 1) // 2
    return int(pads[axis]) if pads and auto in ("NOTSET", "") else 0


def _seen(
    call: _Call, taps: Sequence[Span], kernel: Sequence[int], outputs: Sequence[Span],
    full: Sequence[int],
) -> list[Span]:  # fmt: skip
    """Return the pixels behind some outputs, of as many as there are, through some taps."""
    sizes, rank = call.sizes(0)[2:], len(call.sizes(0)) - 2
    strides = call.attribute("strides") or (1,) * rank
    dilations = call.attribute("dilations") or (1,) * rank
    spans = []
    for i in range(rank):
        begin = _padded(call, i, sizes[i], full[i], kernel[i])
        spans.append(_window(outputs[i], taps[i], sizes[i], strides[i], dilations[i], begin))
    return spans


def _conv(call: _Call) -> Need | None:
    image, weights = call.sizes(0), call.sizes(1)
    names = _KERNELS.get(len(weights) - 2)
    if names is None:
        return None
    batch, made = call.out[:2]
    groups = int(call.attribute("group", 1))
    taps = [call.part(name, size) for name, size in zip(names, weights[2:])]
    seen = _seen(call, taps, weights[2:], call.out[2:], call.given()[2:])
    if groups == 1:
        channels = inner = call.part("Cin", weights[1])
    else:
        outs, ins = weights[0] // groups, image[1] // groups
        channels = (made[0] // outs * ins, -(-made[1] // outs) * ins)
        inner = (0, weights[1])
    needs: Need = [(batch, channels, *seen), (made, inner, *taps)]
    return [*needs, (made,) if call.first and call.has(2) else None]


def _pool(call: _Call) -> Need | None:
    if len(call.written) > 1:
        return None  # positions are counted in the whole image
    kernel = tuple(call.attribute("kernel_shape"))
    seen = _seen(call, whole_box(kernel), kernel, call.out[2:], call.given()[2:])
    return [(*call.out[:2], *seen)]


# -- gradients ------------------------------------------------------------------------------------

_GRADIENT_OF_WEIGHTS = "orrery.training.ConvGradWeight"
_GRADIENT_OF_IMAGE = "orrery.training.ConvGradInput"


def _gradient_sums(node: Node, sizes: Sequence[Sequence[int]]) -> dict[str, int]:
    """Return what a convolution's gradient adds up over: all places, or all filters."""
    if node.operator == _GRADIENT_OF_IMAGE:
        return {"Cout": sizes[0][1]} if node.attributes.get("group", 1) == 1 else {}
    places = [name[1:].upper() for name in _KERNELS.get(len(sizes[0]) - 2, ())]
    return {"N": sizes[0][0], **dict(zip(places, sizes[1][2:]))}


def _groups(span: Span, made: int, read: int) -> Span:
    """Return the channels that are of the same groups: so many there for so many here."""
    return span[0] // made * read, -(-span[1] // made) * read


def _conv_grad_weight(call: _Call) -> Need | None:
    image, gradient = call.sizes(0), call.sizes(1)
    names = _KERNELS.get(len(image) - 2)
    if names is None:
        return None
    filters, channels, *taps = call.out
    groups = int(call.attribute("group", 1))
    if groups > 1:
        channels = _groups(filters, gradient[1] // groups, image[1] // groups)
    batch = call.part("N", image[0])
    places = [call.part(name[1:].upper(), size) for name, size in zip(names, gradient[2:])]
    seen = _seen(call, taps, call.given()[2:], places, gradient[2:])
    return [(batch, channels, *seen), (batch, filters, *places)]


def _conv_grad_input(call: _Call) -> Need | None:
    gradient, weights = call.sizes(0), call.sizes(1)
    batch, made = call.out[:2]
    groups = int(call.attribute("group", 1))
    filters, inner = call.part("Cout", weights[0]), made
    if groups > 1:
        filters = _groups(made, weights[1], weights[0] // groups)
        inner = (0, weights[1])
    places = _places(call, weights[2:], gradient[2:])
    return [(batch, filters, *places), (filters, inner, *whole_box(weights[2:])), None]


def _places(call: _Call, kernel: Sequence[int], outputs: Sequence[int]) -> list[Span]:
    """Return the places of a window that see some of the pixels that are written."""
    image, rank = call.given()[2:], len(kernel)
    strides = call.attribute("strides") or (1,) * rank
    dilations = call.attribute("dilations") or (1,) * rank
    spans = []
    for i, (low, high) in enumerate(call.out[2:]):
        begin = _padded(call, i, image[i], outputs[i], kernel[i])
        seeing = [
            p
            for p in range(outputs[i])
            if any(
                low <= p * strides[i] + k * dilations[i] - begin < high for k in range(kernel[i])
            )
        ]
        spans.append((seeing[0], seeing[-1] + 1) if seeing else (0, 0))
    return spans


def _pool_grad(call: _Call) -> Need:
    lead = call.out[:2]
    needs: Need = [(*lead, *whole_box(call.sizes(0)[2:]))]
    needs.append((*lead, *whole_box(call.sizes(1)[2:])) if call.node.op == "MaxPoolGrad" else None)
    return needs


# -- matrix products ------------------------------------------------------------------------------


def _broadcast(sizes: Sequence[int], spans: Sequence[Span]) -> Box:
    """Return the part of an operand that meets these spans, aligned at the last axis."""
    aligned = spans[len(spans) - len(sizes) :]
    return tuple((0, 1) if size == 1 else span for size, span in zip(sizes, aligned))


def _matmul(call: _Call) -> Need | None:
    a, b = call.sizes(0), call.sizes(1)
    if len(a) < 2 or len(b) < 2:
        return None
    *batches, rows, columns = call.out
    inner = call.part("K", a[-1])
    return [(*_broadcast(a[:-2], batches), rows, inner),
            (*_broadcast(b[:-2], batches), inner, columns)]  # fmt: skip


def _gemm(call: _Call) -> Need:
    rows, columns = call.out
    across, down = call.attribute("transA", 0), call.attribute("transB", 0)
    inner = call.part("K", call.sizes(0)[0 if across else 1])
    added = _broadcast(call.sizes(2), call.out) if call.has(2) and call.first else None
    return [(inner, rows) if across else (rows, inner),
            (columns, inner) if down else (inner, columns), added]  # fmt: skip


def _attention(call: _Call) -> Need | None:
    packed = len(call.sizes(0)) == 3
    queries, keys = call.sizes(0), call.sizes(1)
    heads = int(call.attribute("q_num_heads")) if packed else queries[1]
    groups = int(call.attribute("kv_num_heads")) if packed else keys[1]
    share = heads // groups
    lows, highs = [], []
    batch, sequence = call.out[0], call.out[1 if packed else 2]
    for index, box in call.written.items():
        span, total = (box[2], call.graph.type(call.node.outputs[index]).sizes[2]) \
            if len(box) == 3 else (box[1], heads if index in (0, 3) else groups)  # fmt: skip
        lows.append(span[0] * groups // total)
        highs.append(-(-span[1] * groups // total))
    low, high = min(lows), max(highs)

    def of(index: int, per_group: int, along: Span) -> Box | None:
        if not call.has(index):
            return None
        sizes = call.sizes(index)
        if len(sizes) == 3:
            width = sizes[2] // groups
            return (batch, along, (low * width, high * width))
        return (batch, (low * per_group, high * per_group), along, (0, sizes[3]))

    def length(index: int) -> Span:
        return (0, call.sizes(index)[1 if len(call.sizes(index)) == 3 else 2])

    needs: Need = [of(0, share, sequence), of(1, 1, length(1)), of(2, 1, length(2))]
    for index in range(3, len(call.node.inputs)):
        if not call.has(index):
            needs.append(None)
        elif index == 3:
            spans = (batch, (low * share, high * share), sequence, (0, call.sizes(3)[-1]))
            needs.append(_broadcast(call.sizes(3), spans))
        elif index in (4, 5):
            needs.append(of(index, 1, length(index)))
        else:
            needs.append((batch,) if index == 6 else call.all_of(index))
    return needs


# -- axis by axis ---------------------------------------------------------------------------------


def _elementwise(call: _Call) -> Need:
    return [_broadcast(call.sizes(i), call.out) if call.has(i) else None
            for i in range(len(call.node.inputs))]  # fmt: skip


def _along(axes: Callable[[_Call, int], Sequence[int]]) -> Callable[[_Call], Need]:
    """Return the rule of an operator that needs some axes whole; its parameters broadcast."""

    def rule(call: _Call) -> Need:
        sizes = call.sizes(0)
        held = axes(call, len(sizes))
        spans = tuple((0, sizes[i]) if i in held else span for i, span in enumerate(call.out))
        others = [_broadcast(call.sizes(i), spans) if call.has(i) else None
                  for i in range(1, len(call.node.inputs))]  # fmt: skip
        return [spans, *others]

    return rule


def _one_axis(call: _Call, rank: int) -> Sequence[int]:
    return [call.attribute("axis", -1) % rank]


def _trailing_axes(call: _Call, rank: int) -> Sequence[int]:
    return range(call.attribute("axis", -1) % rank, rank)


def _hull(spans: Sequence[Span]) -> Span:
    return min(a for a, _ in spans), max(b for _, b in spans)


def _batch_norm(call: _Call) -> Need | None:
    if len(call.out) < 2:
        return None if call.attribute("training_mode", 0) else [call.out, *call.rest(1)]
    image: Box = call.out
    channel = call.out[1]
    if call.attribute("training_mode", 0):
        sizes = call.sizes(0)
        channel = _hull([channel, *(box[0] for i, box in call.written.items() if i)])
        image = ((0, sizes[0]), channel, *whole_box(sizes[2:]))
    return [image, *((channel,) for _ in range(1, len(call.node.inputs)))]


def _cross_entropy(call: _Call) -> Need | None:
    """Only a loss per place asks for less than all."""
    if call.attribute("reduction", "mean") != "none":
        return None
    boxes = [call.out]
    if 1 in call.written:
        logs = call.written[1]
        boxes.append((logs[0], *logs[2:]))
    places = tuple(_hull(spans) for spans in zip(*boxes, strict=True))
    scores = (places[0], (0, call.sizes(0)[1]), *places[1:])
    return [scores, places, *call.rest(2)]


def _instance_norm(call: _Call) -> Need:
    sizes = call.sizes(0)
    return [(*call.out[:2], *whole_box(sizes[2:])), (call.out[1],), (call.out[1],)]


def _group_norm(call: _Call) -> Need:
    return [(call.out[0], *whole_box(call.sizes(0)[1:])), *call.rest(1)]


def _local_response(call: _Call) -> Need:
    size, width = call.sizes(0)[1], int(call.attribute("size"))
    low, high = call.out[1]
    channels = (max(low - (width - 1) // 2, 0), min(high + width // 2, size))
    return [(call.out[0], channels, *call.out[2:])]


def _global_pool(call: _Call) -> Need:
    return [(*call.out[:2], *whole_box(call.sizes(0)[2:]))]


def _reduced(graph: Graph, node: Node) -> list[int] | None:
    """Return the axes that a reduction takes away; None when only running can tell."""
    rank, axes = graph.type(node.inputs[0]).rank, []
    if len(node.inputs) > 1 and node.inputs[1]:
        constant = graph.constants.get(node.inputs[1])
        if constant is None:
            return None
        axes = [int(axis) % rank for axis in constant.array().ravel()]
    if not axes and not node.attributes.get("noop_with_empty_axes", 0):
        axes = list(range(rank))
    return axes


def _reduce(call: _Call) -> Need | None:
    axes = _reduced(call.graph, call.node)
    if axes is None:
        return None
    keeps, made = call.attribute("keepdims", 1), iter(call.out)
    box = []
    for axis, size in enumerate(call.sizes(0)):
        if axis in axes:
            box.append(call.part(f"axis{axis}", size))
            if keeps:
                next(made)
        else:
            box.append(next(made))
    return [tuple(box), *call.rest(1)]


def _concat(call: _Call) -> Need:
    axis = call.attribute("axis") % len(call.out)
    low, high = call.out[axis]
    needs: Need = []
    start = 0
    for index in range(len(call.node.inputs)):
        stop = start + call.sizes(index)[axis]
        mine = (max(low, start) - start, min(high, stop) - start)
        box = (*call.out[:axis], mine, *call.out[axis + 1 :])
        needs.append(box if mine[0] < mine[1] else None)
        start = stop
    return needs


def _transpose(call: _Call) -> Need:
    rank = len(call.out)
    order = list(call.attribute("perm") or reversed(range(rank)))
    return [tuple(call.out[order.index(axis)] for axis in range(rank))]


def _reshape(call: _Call) -> Need:
    out = call.graph.type(call.node.outputs[0]).sizes
    # The shape to give is the writer's own: what it makes has the sizes of its part.
    return [reshaped(call.sizes(0), out, call.out), *(None for _ in call.node.inputs[1:])]


# -- looking up, cutting and placing --------------------------------------------------------------


def _gather(call: _Call) -> Need:
    data, rank = call.sizes(0), len(call.sizes(1))
    axis = call.attribute("axis", 0) % len(data)
    table = (*call.out[:axis], (0, data[axis]), *call.out[axis + rank :])
    return [table, call.out[axis : axis + rank]]


def _one_hot(call: _Call) -> Need:
    axis = call.attribute("axis", -1) % len(call.out)
    return [(*call.out[:axis], *call.out[axis + 1 :]), *call.rest(1)]


def _scatter_nd(call: _Call) -> Need:
    indices, updates = call.sizes(1), call.sizes(2)
    slices = call.out[indices[-1] :]
    lead = whole_box(updates[: len(indices) - 1])
    return [call.out, call.all_of(1), (*lead, *slices)]


def _split(call: _Call) -> Need:
    sizes = call.sizes(0)
    axis = call.attribute("axis", 0) % len(sizes)
    along = [_hull(spans) for spans in zip(*call.written.values(), strict=True)]
    # Which output starts where along the cut axis is not followed.
    return [(*along[:axis], (0, sizes[axis]), *along[axis + 1 :]), *call.rest(1)]


def _untouched(call: _Call) -> Need | None:
    """A slice or a padding: along the axes it does not name, an element stays at its place."""
    sizes = call.sizes(0)
    cuts = call.node.op == "Slice"
    axes: Sequence[int] = range(call.sizes(1)[0] if cuts else len(sizes))
    if call.has(3):
        constant = call.graph.constants.get(call.node.inputs[3])
        if constant is None:
            return None
        axes = [int(axis) % len(sizes) for axis in constant.array().ravel()]
    if not cuts:
        amounts = call.graph.constants.get(call.node.inputs[1])
        if amounts is None:
            return None
        pads = amounts.array().reshape(2, -1)
        axes = [axis for axis, pair in zip(axes, pads.T) if pair.any()]
    box = tuple((0, n) if i in axes else call.out[i] for i, n in enumerate(sizes))
    return [box, *call.rest(1)]


def _expand(call: _Call) -> Need:
    # The shape to give is the writer's own, as for a reshape.
    return [_broadcast(call.sizes(0), call.out), None]


_RULES: dict[str, Callable[[_Call], Need | None]] = {
    "Attention": _attention, "BatchNormalization": _batch_norm, "Concat": _concat, "Conv": _conv,
    "Gemm": _gemm, "GroupNormalization": _group_norm, "InstanceNormalization": _instance_norm,
    "LRN": _local_response, "MatMul": _matmul, "Transpose": _transpose,
    "Expand": _expand, "Gather": _gather, "OneHot": _one_hot, "Pad": _untouched,
    "ScatterND": _scatter_nd, "Slice": _untouched, "Split": _split,
    _GRADIENT_OF_WEIGHTS: _conv_grad_weight, _GRADIENT_OF_IMAGE: _conv_grad_input,
    **dict.fromkeys(["orrery.training.AveragePoolGrad", "orrery.training.MaxPoolGrad"], _pool_grad),
    **dict.fromkeys(["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"], _cross_entropy),
    **dict.fromkeys(["AveragePool", "LpPool", "MaxPool"], _pool),
    **dict.fromkeys(["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"], _global_pool),
    **dict.fromkeys(["Flatten", "Reshape", "Squeeze", "Unsqueeze"], _reshape),
    **dict.fromkeys(["Hardmax", "LogSoftmax", "LpNormalization", "Softmax"], _along(_one_axis)),
    **dict.fromkeys(["LayerNormalization", "RMSNormalization"], _along(_trailing_axes)),
    **dict.fromkeys(["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
                     "ReduceSum", "ReduceSumSquare"], _reduce),
}  # fmt: skip
