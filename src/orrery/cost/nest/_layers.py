"""Layers of a network as the loop nests that an array runs, one or several for a node.

Models:  convolutions and their gradients (transposed ones and gradients of images scatter: one
         operation per place of the small image and kernel position), matrix products of any
         batch, Einsum of two operands, attention as its two products around a softmax, recurrent
         layers as one product over the sequence and one per step; everything else in `_passes`.
         Operations of a product are MACs as the house counts them: for every output position and
         kernel position, padding included.
Ignores: biases, masks and scales (one operation per result, done on its way out); activations of
         recurrent cells; zeros of a gradient where no window saw the image. Several nodes at once.
Judge:   products, run operation by operation, give what their operators give; MACs equal
         `work_of` (a nest of which they do not is refused).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from orrery.errors import OrreryError
from orrery.graph import TRAINING_DOMAIN, Graph, Node, Region, Statistics

from .._cost import Refusal
from .._work import moves_nothing, unpriceable, work_of
from ..sharding._layer import SPATIAL, Layer
from ._build import Found, Shape, image_window, problem, read_window, tensor
from ._passes import PASSES, normalised
from ._problem import Index, NestProblem


def nest_problem(region: Region) -> tuple[NestProblem, ...] | Refusal:
    """Return the loop nests of a region, in the order in which they run.

    None at all for a node that moves nothing and for one whose results hold no element.
    """
    reason = unpriceable(region)
    if reason is not None:
        return Refusal(reason=reason, uncountable=True)
    if len(region.nodes) != 1:
        return Refusal(reason=f"{len(region.nodes)} nodes; map them one by one")
    node, graph = region.members[0], region.graph
    if moves_nothing(graph, node) or not any(
        graph.type(name).elements for name in node.outputs if name
    ):
        return ()
    try:
        found = _reader(node)(Layer(graph, node))
        wanted = work_of(region).total_macs
    except OrreryError as error:
        return Refusal(reason=f"{node.operator}: {error}")
    if isinstance(found, str):
        return Refusal(reason=f"{node.operator}: {found}")
    macs = sum(p.operations * p.times for p in found if p.macs)
    if macs != wanted:
        return Refusal(
            reason=f"{node.operator}: its nests do {macs} MACs of {wanted}; it cannot be mapped"
        )
    return found


def operand_density(region: Region, statistics: Statistics) -> dict[str, float]:
    """Return role -> density of a product's operands, as far as it is known.

    Attention and recurrent layers make operands of their own: nothing is known of them.
    """
    node = region.members[0]
    if node.op not in _READERS or node.op in ("Attention", "GRU", "LSTM", "RNN"):
        return {}
    second = 3 if node.op.startswith("QLinear") else 1
    names = [node.inputs[0], node.inputs[second]]
    if node.op in _EITHER and _swapped(Layer(region.graph, node), second):
        names.reverse()
    return {role: statistics.density[name] for role, name in
            zip(("input", "weight"), names, strict=True) if name in statistics.density}  # fmt: skip


def _reader(node: Node) -> Callable[[Layer], Found]:
    if node.domain not in ("", TRAINING_DOMAIN) or any(
        isinstance(value, Graph) for value in node.attributes.values()
    ):
        return lambda layer: "its loops are not known"
    return _READERS.get(node.op) or PASSES.get(node.op) or (lambda layer: "its loops are not known")


def _conv(layer: Layer, weights_at: int = 1) -> Found:
    return _windowed(
        layer, layer.sizes(0), layer.sizes(weights_at), layer.out(),
        ("x", "input", "image"), ("w", "weight", "filters"), ("y", "output", "made"),
    )  # fmt: skip


def _windowed(
    layer: Layer, image: Sequence[int], filters: Sequence[int], made: Sequence[int],
    *operands: tuple[str, str, str],
) -> Found:  # fmt: skip
    """Return the products of filters with what their window sees at every place.

    Parameters
    ----------
    image, filters, made : sizes of what the window moves over, of the filters (all groups' outputs
        first, inputs of one group second) and of what there is at the places
    operands : name and role of each tensor, and which of the three it is
    """
    found = read_window(layer, image[2:], made[2:], filters[2:])
    if isinstance(found, str):
        return found
    places, taps, window = found
    groups = int(layer.attribute("group", 1))
    batch, group = ("N", image[0]), ("G", groups)
    out, read = ("Cout", made[1] // groups), ("Cin", filters[1])
    axes: dict[str, tuple[Shape | Index, ...]] = {
        "image": ((batch, group, read), *window), "filters": ((group, out, read), taps),
        "made": ((batch, group, out), places),
    }  # fmt: skip
    return (problem((batch, group, out, read, *places, *taps),
                    *(tensor(name, role, *axes[of]) for name, role, of in operands)),)  # fmt: skip


def _conv_transpose(layer: Layer) -> Found:
    image, weights, out = layer.sizes(0), layer.sizes(1), layer.out()
    group = int(layer.attribute("group", 1))
    names = SPATIAL.get(len(image) - 2)
    if names is None:
        return f"{len(image) - 2} spatial axes; up to 3 have names"
    strides = layer.attribute("strides") or (1,) * len(names)
    dilations = layer.attribute("dilations") or (1,) * len(names)
    begins = _begins(layer, image[2:], weights[2:], out[2:], strides, dilations)
    places = list(zip(names, image[2:], strict=True))
    taps = [(f"K{name.lower()}", int(k)) for name, k in zip(names, weights[2:], strict=True)]
    window = [
        image_window(size, (place, tap), (int(s), int(d)), -begin)
        for size, place, tap, s, d, begin in zip(out[2:], places, taps, strides, dilations,
                                                 begins, strict=True)
    ]  # fmt: skip
    lead, groups = ("N", image[0]), ("G", group)
    read, made = ("Cin", image[1] // group), ("Cout", weights[1])
    return (problem(
        (lead, groups, made, read, *places, *taps),
        tensor("x", "input", (lead, groups, read), places),
        tensor("w", "weight", (groups, read, made), taps),
        tensor("y", "output", (lead, groups, made), *window),
    ),)  # fmt: skip


def _begins(
    layer: Layer, image: Sequence[int], kernel: Sequence[int], out: Sequence[int],
    strides: Sequence[int], dilations: Sequence[int],
) -> list[int]:  # fmt: skip
    """Return what a transposed convolution cuts off at the beginning of every axis."""
    auto, pads = layer.attribute("auto_pad", "NOTSET"), layer.attribute("pads")
    if auto in ("NOTSET", "") and not layer.attribute("output_shape"):
        return [int(p) for p in (pads or ())[: len(image)]] or [0] * len(image)
    extra = layer.attribute("output_padding") or (0,) * len(image)
    begins = []
    for i, size in enumerate(image):
        full = (size - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 + extra[i]
        cut = 0 if auto == "VALID" else full - out[i]
        begins.append(cut - cut // 2 if auto == "SAME_LOWER" else cut // 2)
    return begins


def _conv_grad_weight(layer: Layer) -> Found:
    """Add up dy · x over all images and places."""
    return _windowed(
        layer, layer.sizes(0), layer.out(), layer.sizes(1),
        ("x", "input", "image"), ("dy", "weight", "made"), ("dw", "output", "filters"),
    )  # fmt: skip


def _conv_grad_input(layer: Layer) -> Found:
    """Scatter dy · w over the image, as a transposed convolution does."""
    return _windowed(
        layer, layer.out(), layer.sizes(1), layer.sizes(0),
        ("dy", "input", "made"), ("w", "weight", "filters"), ("dx", "output", "image"),
    )  # fmt: skip


# -- products -------------------------------------------------------------------------------------


def _product(
    shared: int, rows: int, columns: int, inner: int, *, first_is_weight: bool = False,
    times: int = 1,
) -> NestProblem:  # fmt: skip
    """Return `shared` products of rows x inner by inner x columns."""
    group, summed = ("G", shared), ("Cin", inner)
    if first_is_weight:
        rows, columns = columns, rows
    row, column = ("N", rows), ("Cout", columns)
    return problem(
        (group, row, column, summed), tensor("x", "input", (group, row, summed)),
        tensor("w", "weight", (group, summed, column)),
        tensor("y", "output", (group, row, column)), times=times,
    )  # fmt: skip


def _matmul(layer: Layer, second: int = 1) -> Found:
    """Batch axes that both factors have are products apart; those of one factor are its rows."""
    a, b = layer.sizes(0), layer.sizes(second)
    a, b = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    shared, rows, columns = 1, a[-2], b[-1]
    rank = max(len(a), len(b)) - 2
    for m, n in zip((1,) * (rank + 2 - len(a)) + a[:-2], (1,) * (rank + 2 - len(b)) + b[:-2],
                    strict=True):  # fmt: skip
        if m == n:
            shared *= m
        elif n == 1:
            rows *= m
        else:
            columns *= n
    swap = _swapped(layer, second)
    return (_product(shared, rows, columns, a[-1], first_is_weight=swap),)


def _swapped(layer: Layer, second: int) -> bool:
    """Return whether the first factor is the one that is learned."""
    constants, inputs = layer.graph.constants, layer.node.inputs
    return inputs[0] in constants and inputs[second] not in constants


def _gemm(layer: Layer) -> Found:
    (rows, columns), a = layer.out(), layer.sizes(0)
    inner = a[0] if layer.attribute("transA", 0) else a[1]
    swap = _swapped(layer, 1)
    return (_product(1, rows, columns, inner, first_is_weight=swap),)


def _einsum(layer: Layer) -> Found:
    """Two operands: labels in both and the result are products apart, in both alone summed."""
    equation = str(layer.attribute("equation")).replace(" ", "")
    left, _, out = equation.partition("->")
    labels = left.split(",")
    if "->" not in equation or "." in equation or len(labels) != 2:
        return f"the equation {equation!r}; of two operands, without '...', with '->' it has loops"
    sizes: dict[str, int] = {}
    for index, row in enumerate(labels):
        if len(set(row)) < len(row):
            return f"a diagonal in {equation!r}"
        for label, size in zip(row, layer.sizes(index), strict=True):
            if sizes.setdefault(label, size) != size:
                return f"broadcasting in {equation!r}"
    a, b = map(set, labels)
    kinds = {"G": a & b & set(out), "N": (a - b) & set(out), "Cout": (b - a) & set(out),
             "Cin": (a & b) - set(out)}  # fmt: skip
    if set().union(*kinds.values()) != a | b or len(kinds["Cin"]) == 0:
        return f"no product of matrices in {equation!r}"
    shared, rows, columns, inner = (
        math.prod(sizes[label] for label in kinds[k]) for k in ("G", "N", "Cout", "Cin")
    )
    return (_product(shared, rows, columns, inner),)


def _attention(layer: Layer) -> Found:
    """Scores of each key head for all queries that share it, their softmax, values by scores."""
    queries, keys, values = (layer.sizes(i) for i in range(3))
    if len(queries) == 3:
        heads, groups = int(layer.attribute("q_num_heads")), int(layer.attribute("kv_num_heads"))
        length, total = queries[1], keys[1]
        size, width = queries[2] // heads, values[2] // groups
    else:
        heads, groups, length, total = queries[1], keys[1], queries[2], keys[2]
        size, width = queries[3], values[3]
    if layer.has(4):
        total += layer.sizes(4)[2]
    shared, rows = queries[0] * groups, heads // groups * length
    return (_product(shared, rows, total, size), *normalised(shared * rows, total),
            _product(shared, rows, width, total))  # fmt: skip


def _recurrent(layer: Layer) -> Found:
    """Inputs of all steps in one product, then a product per step, direction by direction."""
    x, (directions, gates, hidden) = layer.sizes(0), layer.sizes(2)
    steps, batch = (x[1], x[0]) if layer.attribute("layout", 0) else (x[0], x[1])
    if layer.node.op == "LSTM" and layer.has(7):
        return "peepholes"
    return (_product(1, steps * batch, directions * gates, x[2]),
            _product(1, batch, gates, hidden, times=steps * directions))  # fmt: skip


#: products of which either factor may be the learned one
_EITHER = frozenset(("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"))

_READERS: dict[str, Callable[[Layer], Found]] = {
    "Attention": _attention, "Conv": _conv, "ConvGradInput": _conv_grad_input,
    "ConvGradWeight": _conv_grad_weight, "ConvInteger": _conv, "ConvTranspose": _conv_transpose,
    "Einsum": _einsum, "GRU": _recurrent, "Gemm": _gemm, "LSTM": _recurrent, "MatMul": _matmul,
    "MatMulInteger": _matmul, "QLinearConv": lambda layer: _conv(layer, 3),
    "QLinearMatMul": lambda layer: _matmul(layer, 3), "RNN": _recurrent,
}  # fmt: skip
