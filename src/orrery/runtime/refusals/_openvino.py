"""What OpenVINO cannot run, or computes otherwise than ONNX says, told before it is tried.

Judge: ONNX's node tests with release 2026.4 of the library; the tests name each case that still
fails, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orrery.graph import Graph, Node

from ._openvino_integers import SMALL, integers_computed_otherwise

#: Operators that the library lacks.
_LACKING = frozenset({
    "BitCast", "CausalConvWithState", "CumProd", "DeformConv", "Det", "LinearAttention",
    "MaxUnpool", "MelWeightMatrix", "STFT", "Scan", "SwiGLU", "TensorScatter", "TfIdfVectorizer",
})  # fmt: skip

#: Operators that it computes otherwise, and how.
_OTHERWISE = {
    "Attention": "windows and masks that reach into the past",
    "BitShift": "shifts by the width, and of negative numbers",
    "DFT": "real signals",
    "DynamicQuantizeLinear": "roundings of the zero point",
    "NonMaxSuppression": "overlaps equal to the threshold",
}

Rule = Callable[[Node, Graph], "str | None"]


def refused_operators(graph: Graph) -> str | None:
    """Return every operator of a graph that the library cannot be trusted with, or None."""
    found: dict[str, None] = {}
    for node, holder in _nodes(graph):
        why = "lacking" if node.op in _LACKING else _OTHERWISE.get(node.op)
        if why is None and node.op in _RULES:
            why = _RULES[node.op](node, holder)
        if why is not None:
            found[node.operator if why == "lacking" else f"{node.operator} ({why})"] = None
    for operator, why in integers_computed_otherwise(graph, SMALL).items():
        found[f"{operator} ({why})"] = None
    if not found:
        return None
    return f"operators that OpenVINO lacks or computes otherwise: {', '.join(sorted(found))}"


def _nodes(graph: Graph) -> Iterator[tuple[Node, Graph]]:
    for node in graph.nodes:
        yield node, graph
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _nodes(value)


def _recurrent(node: Node, graph: Graph) -> str | None:
    if len(node.inputs) > 7 and node.inputs[7]:
        return "peepholes"
    return "batches first" if node.attributes.get("layout", 0) else None


def _pool(node: Node, graph: Graph) -> str | None:
    """Refuse a last window that starts in the end padding: ONNX leaves it out, the library not."""
    type_ = graph.types.get(node.inputs[0])
    if not node.attributes.get("ceil_mode", 0) or type_ is None:
        return None
    kernel = node.attributes.get("kernel_shape", ())
    rank = len(kernel)
    strides = node.attributes.get("strides") or (1,) * rank
    dilations = node.attributes.get("dilations") or (1,) * rank
    pads = node.attributes.get("pads") or (0,) * (2 * rank)
    for i, size in enumerate(type_.shape[2:]):
        if not isinstance(size, int):
            return "windows that overhang an unknown size"
        room = size + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1
        if -(-room // strides[i]) * strides[i] >= size + pads[i]:
            return "windows that start in the padding"
    return None


def _resize(node: Node, graph: Graph) -> str | None:
    given = node.attributes
    for name in ("antialias", "exclude_outside"):
        if given.get(name, 0):
            return name
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "keep_aspect_ratio_policy"
    mode = given.get("coordinate_transformation_mode", "half_pixel")
    scaled = len(node.inputs) > 2 and bool(node.inputs[2])
    if mode in ("tf_crop_and_resize", "half_pixel_symmetric") or (
        mode == "align_corners" and scaled
    ):
        return str(mode)
    return None


def _only(**allowed: object) -> Rule:
    """Return a rule that an attribute, if given, has this value."""
    ((name, wanted),) = allowed.items()

    def rule(node: Node, graph: Graph) -> str | None:
        found = node.attributes.get(name, wanted)
        return None if found == wanted else f"{name}={found}"

    return rule


def _constant(index: int, what: str) -> Rule:
    """Return a rule that an input, if given, is known before running."""

    def rule(node: Node, graph: Graph) -> str | None:
        name = node.inputs[index] if len(node.inputs) > index else ""
        return None if not name or name in graph.constants else f"{what} that data tell"

    return rule


def _top_k(node: Node, graph: Graph) -> str | None:
    wanted = len(node.outputs) > 1 and node.outputs[1]
    return "places of equal values" if wanted else None


def _mod(node: Node, graph: Graph) -> str | None:
    type_ = graph.types.get(node.inputs[0])
    real = type_ is not None and "float" in type_.dtype
    return "floats with the divisor's sign" if real and not node.attributes.get("fmod", 0) else None


def _dropout(node: Node, graph: Graph) -> str | None:
    return "training mode" if len(node.inputs) > 2 and node.inputs[2] else None


def _pad(node: Node, graph: Graph) -> str | None:
    return "mode=wrap" if node.attributes.get("mode") == "wrap" else None


def _grid_sample(node: Node, graph: Graph) -> str | None:
    type_ = graph.types.get(node.inputs[0])
    return "volumes" if type_ is not None and type_.rank == 5 else None


def _celu(node: Node, graph: Graph) -> str | None:
    type_ = graph.types.get(node.inputs[0])
    return "float16" if type_ is not None and type_.dtype == "float16" else None


def _col2im(node: Node, graph: Graph) -> str | None:
    type_ = graph.types.get(node.inputs[1])
    return "volumes" if type_ is not None and type_.shape != (2,) else None


_AXES = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Squeeze", "Unsqueeze",
)  # fmt: skip

_RULES: dict[str, Rule] = {
    "GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent, "MaxPool": _pool,
    "AveragePool": _pool, "LpPool": _pool, "Resize": _resize, "TopK": _top_k, "Mod": _mod,
    "Dropout": _dropout, "Pad": _pad, "GridSample": _grid_sample, "Celu": _celu,
    "Col2Im": _col2im,
    "RoiAlign": _only(mode="avg"), "SpaceToDepth": _only(mode="DCR"),
    "QuantizeLinear": _only(block_size=0),
    # Repeats that arrive while running leave the output unwritten.
    "Tile": _constant(1, "repeats"),
    **dict.fromkeys(_AXES, _constant(1, "axes")),
}  # fmt: skip
