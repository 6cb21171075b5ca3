"""The loop nests of operators that can be sharded, read from a node and its types.

Models:  Conv (1-D to 3-D, groups), pooling, MatMul, Gemm, Attention, softmaxes, normalisations,
         reductions, Transpose, Concat and all element-wise operators, with broadcasting.
         Reshape and its like split where blocks of both shapes agree. Gradients and look-ups have
         files of their own. All other operators have no loop: every party computes them whole.
Ignores: operators that draw random numbers and those with bodies: they are refused.
Judge:   execution of every shard (tests/runtime/test_sharded.py).
"""

from __future__ import annotations

import math
from typing import Any

from orrery.graph import RANDOM_OPERATORS, TRAINING_DOMAIN, Graph, Node, Region

from .._cost import Refusal
from .._work import unpriceable
from ._indexing import INDEXING
from ._layer import SPATIAL, Builder, Layer, free, image_axes, local_window, whole, windows_of
from ._nest import Axis, Loop, Nest, Spans, follow
from ._training import TRAINING, batch_norm, channels_of, cross_entropy

_ELEMENTWISE = frozenset("""
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod
    Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
""".split())  # fmt: skip  # noqa: SIM905  # a table of words reads better


def nest_of(region: Region) -> Nest | Refusal:
    """Return the loop nest of a region, or why it has none."""
    problem = unpriceable(region)
    if problem is not None:
        return Refusal(reason=problem, uncountable=True)
    if len(region.nodes) != 1:
        return Refusal(reason=f"{len(region.nodes)} nodes; shard them one by one")
    node = region.members[0]
    if node.op in RANDOM_OPERATORS or any(isinstance(x, Graph) for x in node.attributes.values()):
        why = "parties that compute it apart would not agree" if node.op in RANDOM_OPERATORS else (
            "its bodies are opaque")  # fmt: skip
        return Refusal(reason=f"{node.operator}: {why}")
    builder = _builder(node)
    found = builder(Layer(region.graph, node))
    return Refusal(reason=f"{node.operator}: {found}") if isinstance(found, str) else found


def _builder(node: Node) -> Builder:
    if node.domain == TRAINING_DOMAIN:
        return TRAINING.get(node.op, whole)
    if node.domain:
        return whole
    return _elementwise if node.op in _ELEMENTWISE else _BUILDERS.get(node.op, whole)


# -- windows --------------------------------------------------------------------------------------


def _conv(layer: Layer) -> Nest | str:
    image, weights, outputs = layer.sizes(0), layer.sizes(1), layer.out()
    if len(image) - 2 not in SPATIAL:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    group = int(layer.attribute("group", 1))
    names = SPATIAL[len(image) - 2]
    windows = windows_of(layer, image[2:], weights[2:], outputs[2:], split_kernel=True)
    spatial = [Loop(name=n, extent=e) for n, e in zip(names, outputs[2:])]
    kernels = [Loop(name=f"K{n.lower()}", extent=k, sums=True) for n, k in zip(names, weights[2:])]
    taps = [Axis(size=loop.extent, loop=loop.name) for loop in kernels]
    batch = Axis(size=image[0], loop="N")
    channels, made, read, inner, fixed = channels_of(group, weights[0], image[1], "Cin")
    operands = [layer.operand(0, [batch, read, *image_axes(layer, windows)]),
                layer.operand(1, [made, inner, *taps])]  # fmt: skip
    if layer.has(2):
        operands.append(layer.operand(2, [made], once=True))
    result = layer.result(0, [batch, made, *(Axis(size=s.extent, loop=s.name) for s in spatial)])
    return layer.nest(
        [Loop(name="N", extent=image[0]), *channels, *spatial, *kernels], operands, [result], fixed,
        lambda spans: local_window(layer, windows, spans, kernel_shape=True),
    )  # fmt: skip


def _pool(layer: Layer) -> Nest | str:
    image, outputs = layer.sizes(0), layer.out()
    if len(image) - 2 not in SPATIAL:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    if layer.gives(1):
        return "its second output numbers positions of the whole image"
    names = SPATIAL[len(image) - 2]
    windows = windows_of(layer, image[2:], layer.attribute("kernel_shape"), outputs[2:])
    fixed = {}
    if layer.attribute("ceil_mode", 0) and layer.attribute("count_include_pad", 0):
        # Overhang and padding are divided by differently, and a shard's padding may be either.
        fixed = dict.fromkeys(names, "ceil_mode with count_include_pad")
    lead = [Axis(size=image[0], loop="N"), Axis(size=image[1], loop="C")]
    loops = [Loop(name="N", extent=image[0]), Loop(name="C", extent=image[1])]
    spatial = [Loop(name=n, extent=e) for n, e in zip(names, outputs[2:])]
    result = [*lead, *(Axis(size=s.extent, loop=s.name) for s in spatial)]

    def attributes(spans: Spans) -> dict[str, Any]:
        if fixed:
            return {}
        return {**local_window(layer, windows, spans, kernel_shape=False), "ceil_mode": 0}

    if fixed:
        operand = layer.operand(0, [*lead, *(Axis(size=size) for size in image[2:])])
    else:
        operand = layer.operand(0, [*lead, *image_axes(layer, windows)])
    return layer.nest([*loops, *spatial], [operand], [layer.result(0, result)], fixed, attributes)


# -- matrix products ------------------------------------------------------------------------------


def _matmul(layer: Layer) -> Nest | str:
    a, b, out = layer.sizes(0), layer.sizes(1), layer.out()
    if len(a) < 2 or len(b) < 2:
        return "a factor of rank 1; reshape it to a matrix"
    batches = [Loop(name=f"batch{i}", extent=size) for i, size in enumerate(out[:-2])]

    def lead(sizes: tuple[int, ...]) -> list[Axis]:
        names = [loop.name for loop in batches][len(batches) - len(sizes) + 2 :]
        return [follow(size, name) for size, name in zip(sizes[:-2], names)]

    m, k, n = a[-2], a[-1], b[-1]
    rows, inner, columns = (Axis(size=s, loop=x) for s, x in ((m, "M"), (k, "K"), (n, "N")))
    loops = [*batches, Loop(name="M", extent=m), Loop(name="N", extent=n),
             Loop(name="K", extent=k, sums=True)]  # fmt: skip
    outer = [Axis(size=loop.extent, loop=loop.name) for loop in batches]
    return layer.nest(
        loops,
        [layer.operand(0, [*lead(a), rows, inner]), layer.operand(1, [*lead(b), inner, columns])],
        [layer.result(0, [*outer, rows, columns])],
    )  # fmt: skip


def _gemm(layer: Layer) -> Nest | str:
    (m, n), a = layer.out(), layer.sizes(0)
    k = a[0] if layer.attribute("transA", 0) else a[1]
    rows, inner, columns = (Axis(size=s, loop=x) for s, x in ((m, "M"), (k, "K"), (n, "N")))
    first = [inner, rows] if layer.attribute("transA", 0) else [rows, inner]
    second = [columns, inner] if layer.attribute("transB", 0) else [inner, columns]
    operands = [layer.operand(0, first), layer.operand(1, second)]
    if layer.has(2):
        sizes = layer.sizes(2)
        names = ("M", "N")[2 - len(sizes) :]
        operands.append(layer.operand(2, [follow(s, x) for s, x in zip(sizes, names)], once=True))
    loops = [Loop(name="M", extent=m), Loop(name="N", extent=n)]
    fixed = {}
    if layer.attribute("alpha", 1.0) != 1.0 and "float" not in layer.type(0).dtype:
        fixed["K"] = "alpha rounds every partial sum of integers"
    loops.append(Loop(name="K", extent=k, sums=True))
    return layer.nest(loops, operands, [layer.result(0, [rows, columns])], fixed)


# -- attention ------------------------------------------------------------------------------------


def _attention(layer: Layer) -> Nest | str:
    packed = len(layer.sizes(0)) == 3
    queries, keys = layer.sizes(0), layer.sizes(1)
    if packed:
        heads, groups = int(layer.attribute("q_num_heads")), int(layer.attribute("kv_num_heads"))
        length = queries[1]
    else:
        heads, groups, length = queries[1], keys[1], queries[2]
    shared = heads // groups
    batch = Axis(size=queries[0], loop="batch")

    def tensor(sizes: tuple[int, ...], per_head: int, along: Axis) -> list[Axis]:
        """Axes in either layout; a head's loop runs over groups of query heads."""
        if len(sizes) == 3:
            return [batch, along, Axis(size=sizes[2], loop="heads", block=sizes[2] // groups)]
        return [
            batch,
            Axis(size=sizes[1], loop="heads", block=per_head),
            along,
            Axis(size=sizes[3]),
        ]

    row = Axis(size=length, loop="sequence")
    operands = [layer.operand(0, tensor(queries, shared, row))]
    for index in (1, 2):
        sizes = layer.sizes(index)
        operands.append(
            layer.operand(index, tensor(sizes, 1, Axis(size=sizes[1 if packed else 2])))
        )
    if layer.has(3):
        names: tuple[tuple[str, int], ...] = (("batch", 1), ("heads", shared), ("sequence", 1))
        sizes = layer.sizes(3)
        axes = [follow(size, *name) for size, name in zip(sizes[:-1], names[4 - len(sizes) :])]
        operands.append(layer.operand(3, [*axes, Axis(size=sizes[-1])]))
    for index in (4, 5):
        if layer.has(index):
            sizes = layer.sizes(index)
            operands.append(layer.operand(index, tensor(sizes, 1, Axis(size=sizes[2]))))
    if layer.has(6):
        operands.append(layer.operand(6, [batch]))
    results = []
    for index in range(4):
        if not layer.gives(index):
            continue
        sizes = layer.out(index)
        along = row if index in (0, 3) else Axis(size=sizes[2])
        results.append(layer.result(index, tensor(sizes, shared if index in (0, 3) else 1, along)))
    fixed = {}
    if layer.attribute("is_causal", 0) or max(
        layer.attribute("left_window_size", -1), layer.attribute("right_window_size", -1)
    ) >= 0 or layer.has(6):  # fmt: skip
        fixed["sequence"] = "which keys a query may see depends on its place in the whole"
    elif layer.gives(1) or layer.gives(2):
        fixed["sequence"] = "the cache it gives would be made by everybody"

    def attributes(spans: Spans) -> dict[str, Any]:
        mine = spans["heads"][1] - spans["heads"][0]
        return {"q_num_heads": mine * shared, "kv_num_heads": mine} if packed else {}

    loops = [Loop(name="batch", extent=queries[0]), Loop(name="heads", extent=groups),
             Loop(name="sequence", extent=length)]  # fmt: skip
    return layer.nest(loops, operands, results, fixed, attributes)


# -- everything that follows its first input axis by axis -----------------------------------------


def _elementwise(layer: Layer) -> Nest | str:
    out = layer.out()
    loops = [Loop(name=f"axis{i}", extent=size) for i, size in enumerate(out)]
    operands = []
    for index in range(len(layer.node.inputs)):
        if layer.has(index):
            sizes = layer.sizes(index)
            lead = len(out) - len(sizes)
            axes = [follow(size, f"axis{lead + i}") for i, size in enumerate(sizes)]
            operands.append(layer.operand(index, axes))
    axes = [Axis(size=size, loop=f"axis{i}") for i, size in enumerate(out)]
    return layer.nest(loops, operands, [layer.result(0, axes)])


def _softmax(layer: Layer) -> Nest | str:
    rank = len(layer.sizes(0))
    return free(layer, [layer.attribute("axis", -1) % rank], "it is normalised over")


def _layer_norm(layer: Layer) -> Nest | str:
    rank = len(layer.sizes(0))
    first = layer.attribute("axis", -1) % rank
    affine = []
    for index in range(1, len(layer.node.inputs)):
        if layer.has(index):
            sizes = layer.sizes(index)
            places = range(rank - len(sizes), rank)
            affine.append(layer.operand(index, [
                Axis(size=size) if i >= first else follow(size, f"axis{i}")
                for i, size in zip(places, sizes)
            ]))  # fmt: skip
    return free(layer, range(first, rank), "it is normalised over", affine)


def _instance_norm(layer: Layer) -> Nest | str:
    sizes = layer.sizes(0)
    channel = [Axis(size=sizes[1], loop="axis1")]
    return free(layer, range(2, len(sizes)), "it is normalised over",
                 [layer.operand(i, channel) for i in (1, 2)])  # fmt: skip


def _group_norm(layer: Layer) -> Nest | str:
    return free(layer, range(1, len(layer.sizes(0))), "it is normalised over", layer.kept(1))


def _local_response(layer: Layer) -> Nest | str:
    return free(layer, [1], "neighbouring channels are summed")


def _global_pool(layer: Layer) -> Nest | str:
    return free(layer, range(2, len(layer.sizes(0))), "it is pooled over")


def _reduce(layer: Layer) -> Nest | str:
    sizes, rank = layer.sizes(0), len(layer.sizes(0))
    if layer.has(1):
        constant = layer.graph.constants.get(layer.node.inputs[1])
        if constant is None:
            return "axes that are not known before running"
        axes = [int(axis) % rank for axis in constant.array().ravel()]
    else:
        axes = []
    if not axes:
        axes = [] if layer.attribute("noop_with_empty_axes", 0) else list(range(rank))
    adds = layer.node.op == "ReduceSum"
    keep = layer.attribute("keepdims", 1)
    out, read, loops, made = iter(layer.out()), [], [], []
    fixed = {}
    for i, size in enumerate(sizes):
        name = f"axis{i}"
        gone = i in axes
        if gone and not adds:
            fixed[name] = "it is reduced over"
            read.append(Axis(size=size))
        else:
            read.append(Axis(size=size, loop=name))
            loops.append(Loop(name=name, extent=size, sums=gone))
        if gone and keep:
            made.append(Axis(size=next(out)))
        elif not gone:
            made.append(Axis(size=next(out), loop=name))
    if not made:
        fixed.update({loop.name: "a scalar cannot be summed in parts" for loop in loops})
    return layer.nest(
        loops, [layer.operand(0, read), *layer.kept(1)], [layer.result(0, made)], fixed
    )


def _reshape(layer: Layer) -> Nest | str:
    """Group the axes of both shapes into runs of equal size; a run splits at its outermost axes.

    In (2, 6, 4) → (2, 24) the runs are 2 → 2 and 6×4 → 24; the second splits into gcd(6, 24) parts,
    1 index of 6 and 4 indices of 24 each.
    """
    sizes, out = layer.sizes(0), layer.out()
    read, made = [Axis(size=size) for size in sizes], [Axis(size=size) for size in out]
    loops: list[Loop] = []
    i = j = 0
    while 0 not in sizes and i < len(sizes) and j < len(out):
        first, last, left, right = i, j, sizes[i], out[j]
        while left != right:
            if left < right:
                i += 1
                left *= sizes[i]
            else:
                j += 1
                right *= out[j]
        i, j = i + 1, j + 1
        while first < i and sizes[first] == 1:
            first += 1
        while last < j and out[last] == 1:
            last += 1
        if first < i and last < j:
            parts, name = math.gcd(sizes[first], out[last]), f"axis{last}"
            read[first] = Axis(size=sizes[first], loop=name, block=sizes[first] // parts)
            made[last] = Axis(size=out[last], loop=name, block=out[last] // parts)
            loops.append(Loop(name=name, extent=parts))
    result = layer.result(0, made)
    if layer.node.op != "Reshape" or not loops:
        return layer.nest(loops, [layer.operand(0, read), *layer.kept(1)], [result])
    return layer.nest(loops, [layer.operand(0, read)], [result],
                      values=lambda spans: {1: result.box(spans).sizes})  # fmt: skip


def _dropout(layer: Layer) -> Nest | str:
    if layer.has(2):
        return "parties that draw random numbers apart would not agree"
    return free(layer, [], "", layer.kept(1))


def _transpose(layer: Layer) -> Nest | str:
    sizes = layer.sizes(0)
    order = layer.attribute("perm") or tuple(reversed(range(len(sizes))))
    axes = [Axis(size=size, loop=f"axis{i}") for i, size in enumerate(layer.out())]
    read = [axes[list(order).index(i)] for i in range(len(sizes))]
    loops = [Loop(name=f"axis{i}", extent=axis.size) for i, axis in enumerate(axes)]
    return layer.nest(loops, [layer.operand(0, read)], [layer.result(0, axes)])


def _concat(layer: Layer) -> Nest | str:
    out = layer.out()
    joined = layer.attribute("axis") % len(out)
    free = [i for i in range(len(out)) if i != joined]

    def axes(sizes: tuple[int, ...]) -> list[Axis]:
        return [Axis(size=size) if i == joined else Axis(size=size, loop=f"axis{i}")
                for i, size in enumerate(sizes)]  # fmt: skip

    return layer.nest(
        [Loop(name=f"axis{i}", extent=out[i]) for i in free],
        [layer.operand(i, axes(layer.sizes(i))) for i in range(len(layer.node.inputs))],
        [layer.result(0, axes(out))], {f"axis{joined}": "inputs are joined along it"},
    )  # fmt: skip


_BUILDERS: dict[str, Builder] = {
    "Attention": _attention, "AveragePool": _pool, "BatchNormalization": batch_norm,
    "Concat": _concat, "Conv": _conv, "Flatten": _reshape, "Gemm": _gemm,
    "Dropout": _dropout, "GlobalAveragePool": _global_pool,
    "GlobalLpPool": _global_pool, "GlobalMaxPool": _global_pool,
    "GroupNormalization": _group_norm, "Hardmax": _softmax,
    "InstanceNormalization": _instance_norm, "LRN": _local_response,
    "LayerNormalization": _layer_norm, "LogSoftmax": _softmax, "LpNormalization": _softmax,
    "LpPool": _pool, "MatMul": _matmul, "MaxPool": _pool, "RMSNormalization": _layer_norm,
    "ReduceL1": _reduce, "ReduceL2": _reduce, "ReduceMax": _reduce, "ReduceMean": _reduce,
    "ReduceMin": _reduce, "ReduceProd": _reduce, "ReduceSum": _reduce,
    "ReduceSumSquare": _reduce, "Reshape": _reshape, "Softmax": _softmax, "Squeeze": _reshape,
    "NegativeLogLikelihoodLoss": cross_entropy, "SoftmaxCrossEntropyLoss": cross_entropy,
    "Transpose": _transpose, "Unsqueeze": _reshape, **INDEXING,
}  # fmt: skip
