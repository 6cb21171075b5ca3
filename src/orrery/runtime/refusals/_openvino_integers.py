"""Where OpenVINO computes whole numbers otherwise than ONNX says: a range for every tensor.

Models:  64 bits are computed in 32, comparisons, reductions and products of matrices in float32,
         and 8 bits stay at their largest instead of beginning again. So a range is worked out for
         each tensor of whole numbers, from constants, sizes, types and what inputs may hold, and
         what could leave the range in which the library is exact is named. What only moves numbers
         is right for all of 32 bits; operators that are not known here are refused.
Ignores: how values hang together (x - x has the range of any difference); loops, whose carried
         numbers may be anything.
Judge:   ONNX Runtime at the edges of the ranges (tests/runtime/test_openvino_integers.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from orrery.graph import Constant, Graph, Node, TensorType

#: least and most, both included
Range = tuple[int, int]

_FULL: Range = (-(2**31), 2**31 - 1)

#: Whole numbers up to this are exact in float32.
SMALL = 1 << 24

_TYPES: dict[str, Range] = {
    "bool": (0, 1), "int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1), "int4": (-8, 7), "uint4": (0, 15),
}  # fmt: skip
_WIDE = ("int32", "int64", "uint32", "uint64")

#: Operators whose outputs are numbers of some inputs: from the first one on, up to so many.
_MOVES: dict[str, tuple[int, int | None]] = {
    "Compress": (0, 1), "Concat": (0, None), "DepthToSpace": (0, 1), "Dropout": (0, 1),
    "Expand": (0, 1), "Flatten": (0, 1), "Gather": (0, 1), "GatherElements": (0, 1),
    "GatherND": (0, 1), "Identity": (0, 1), "Max": (0, None), "Min": (0, None), "Pad": (0, 3),
    "Reshape": (0, 1), "ReverseSequence": (0, 1), "Slice": (0, 1), "SpaceToDepth": (0, 1),
    "Split": (0, 1), "Squeeze": (0, 1), "Tile": (0, 1), "Transpose": (0, 1), "Trilu": (0, 1),
    "Unsqueeze": (0, 1), "Where": (1, 3), "Col2Im": (0, 1), "CenterCropPad": (0, 1),
}  # fmt: skip

#: Those of them that may put zeros between.
_WITH_ZERO = {"Pad", "Trilu", "CenterCropPad"}

#: The same, in float32 on the way.
_SMALL_MOVES = {"ReduceMax", "ReduceMin", "MaxPool", "Clip", "TopK"}

_COMPARES = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}

#: Of floats, or of floats and 8 bits: outputs are anything of their type, as rounded.
_ROUNDED = {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}

_COUNTS = {"Shape", "Size", "NonZero", "ArgMax", "ArgMin"}

#: Operators that compute with numbers of one type and give the same.
_ARITHMETIC = {
    *_SMALL_MOVES, "Abs", "Add", "CumSum", "Div", "MatMul", "Mod", "Mul", "Neg", "Pow",
    "ReduceMean", "ReduceProd", "ReduceSum", "ScatterElements", "ScatterND", "Sign", "Sub", "Sum",
}  # fmt: skip

#: ONNX's numbers of the types of 32 and 64 bits.
_INTEGER_CODES = (6, 7, 12, 13)

_BITS = {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"}


def integers_computed_otherwise(graph: Graph, limit: int) -> dict[str, str]:
    """Return operators that may leave the range in which the library is exact, each with why.

    Parameters
    ----------
    limit : the largest whole number, and the negative of the least, that inputs may hold
    """
    found: dict[str, str] = {}
    given = {name: _given(graph.types.get(name), limit) for name in graph.inputs}
    _walk(graph, {n: r for n, r in given.items() if r is not None}, found)
    return found


def integer_limit(graph: Graph) -> int:
    """Return the largest whole number that inputs may hold where the graph is computed exactly.

    The graph is one that is not refused: where 32 bits are too many it is `SMALL`.
    """
    full = _FULL[1]
    return full if not integers_computed_otherwise(graph, full) else SMALL


def _given(type_: TensorType | None, limit: int) -> Range | None:
    """Return the range of a tensor of whole numbers of which only the type is known."""
    if type_ is None or (type_.dtype not in _TYPES and type_.dtype not in _WIDE):
        return None
    low, high = _TYPES.get(type_.dtype, (-limit - (limit == _FULL[1]), limit))
    return low, high


def _walk(graph: Graph, given: Mapping[str, Range], found: dict[str, str]) -> None:
    known: dict[str, Range] = dict(given)
    constants = graph.constants

    def range_of(name: str) -> Range | None:
        if name not in known and name in constants:
            held = _held(constants[name])
            if held is not None:
                known[name] = held
        return known.get(name)

    for node in graph.nodes:
        whole = [range_of(name) for name in node.inputs if name]
        if any(r is not None for r in whole) or _makes_integers(node, graph):
            _judge(node, graph, range_of, known, found)
        for value in node.attributes.values():
            if isinstance(value, Graph):
                _walk(value, _handed(node, value, range_of), found)
    for name in graph.outputs:
        held = range_of(name)
        if held is not None and not _within(held, _FULL):
            found["constant"] = f"{name!r} holds numbers beyond 32 bits"


def _handed(
    node: Node, body: Graph, range_of: Callable[[str], Range | None]
) -> dict[str, Range]:  # fmt: skip
    """Return the ranges of a body's inputs: of what it captures; the others may be anything."""
    count = int(node.attributes.get("captured", 0))
    own = len(body.inputs) - count
    ranges = {name: _given(body.types.get(name), _FULL[1]) for name in body.inputs[:own]}
    for name, outer in zip(body.inputs[own:], node.inputs[len(node.inputs) - count :]):
        ranges[name] = range_of(outer)
    return {name: held for name, held in ranges.items() if held is not None}


def _held(constant: Constant) -> Range | None:
    """Return the range of a constant of whole numbers; of short types it is that of the type."""
    dtype = constant.type.dtype
    if dtype in _TYPES:
        return _TYPES[dtype]
    if dtype not in _WIDE:
        return None
    values = constant.array()
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _makes_integers(node: Node, graph: Graph) -> bool:
    return any(_dtype(graph, name) not in (None, "bool") for name in node.outputs)


def _dtype(graph: Graph, name: str) -> str | None:
    """Return the type of a tensor of whole numbers, None of others."""
    type_ = graph.types.get(name)
    whole = type_ is not None and (type_.dtype in _TYPES or type_.dtype in _WIDE)
    return type_.dtype if whole and type_ is not None else None


def _dtype_without(
    graph: Graph, node: Node, name: str, own: Sequence[Range | None]
) -> str | None:  # fmt: skip
    """Return the type of a tensor whose type is not inferred, as in bodies; None: no whole one."""
    if not name or name in graph.types:
        return None
    first = _MOVES.get(node.op, (0, 1))[0]
    whole = len(own) > first and own[first] is not None
    kept = whole and (node.op in _MOVES or node.op in _ARITHMETIC)
    cast = node.op == "Cast" and node.attributes.get("to") in _INTEGER_CODES
    return "int64" if kept or cast or node.op in _COUNTS else None


def _judge(
    node: Node, graph: Graph, range_of: Callable[[str], Range | None], known: dict[str, Range],
    found: dict[str, str],
) -> None:  # fmt: skip
    """Note the ranges of a node's outputs, and why it is not exact."""
    own = [range_of(name) if name else None for name in node.inputs]
    for place, held in enumerate(own):
        ends = node.op == "Slice" and place in (1, 2)  # "to the end" is the largest of 64 bits
        if held is not None and not ends and not _within(held, _FULL):
            found[node.operator] = "numbers beyond 32 bits"
            own[place] = _FULL
    if node.op in _COMPARES:
        if own and all(held is not None and not _within(held, _small()) for held in own):
            found[node.operator] = "comparisons of whole numbers that may pass 24 bits"
        return
    for name in node.outputs:
        dtype = _dtype(graph, name) or _dtype_without(graph, node, name, own)
        if dtype in (None, "bool"):
            if dtype == "bool":
                known[name] = (0, 1)
            continue
        room = _TYPES.get(dtype or "", _FULL)
        made = _made(node, graph, own, room)
        if isinstance(made, str):
            found[node.operator] = made
            made = room
        elif not _within(made, room):
            found[node.operator] = f"{dtype} that may pass {'32' if room == _FULL else 'its'} bits"
            made = room
        known[name] = made


def _small() -> Range:
    return -SMALL, SMALL


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _joined(ranges: Sequence[Range | None]) -> Range:
    lows, highs = zip(*(r for r in ranges if r is not None)) if any(ranges) else ((0,), (0,))
    return min(lows), max(highs)


def _made(node: Node, graph: Graph, own: Sequence[Range | None], room: Range) -> Range | str:
    """Return the range of a node's outputs of whole numbers, or why they are not exact."""
    op = node.op
    if op in _MOVES:
        first, last = _MOVES[op]
        taken = list(own[first:last])
        if op == "Pad" and len(taken) > 1:
            del taken[1]  # how wide, not with what
        return _joined([*taken, (0, 0) if op in _WITH_ZERO else None])
    if op in ("ScatterElements", "ScatterND"):
        if node.attributes.get("reduction", "none") not in ("none", b"none"):
            return "whole numbers that meet"
        return _joined([own[0], own[2]])
    if op in _SMALL_MOVES:
        held = _joined([*own] if op == "Clip" else own[:1])
        return held if _within(held, _small()) else "whole numbers that may pass 24 bits"
    if op in _COUNTS:
        if op.startswith("Arg") and own[0] is not None and not _within(own[0], _small()):
            return "whole numbers that may pass 24 bits"
        return _sizes(node, graph)
    if op == "Cast":
        return _cast(node, graph, own[0])
    if op in _ROUNDED or op in ("If", "Loop", "Scan"):
        return room  # what is within was judged where it is made
    if op in _BITS:
        return room if room != _FULL else _FULL
    if op == "Constant":
        return _constant(node)
    if op == "ConstantOfShape":
        value = node.attributes.get("value")
        return _of_array(value) if value is not None else (0, 0)
    if op == "EyeLike":
        return 0, 1
    if op == "OneHot":
        return own[2] or room
    if op == "Range":
        return _joined(own) if all(r is not None for r in own) else "whole numbers"
    return _computed(node, graph, own)


def _computed(node: Node, graph: Graph, own: Sequence[Range | None]) -> Range | str:
    """Return the range of what arithmetic makes, or why it is not exact."""
    op = node.op
    held = [r for r in own if r is not None]
    if not held:
        return "whole numbers"
    (low, high), last = held[0], held[-1]
    if op in ("Add", "Sum"):
        return sum(r[0] for r in held), sum(r[1] for r in held)
    if op == "Sub":
        return low - last[1], high - last[0]
    if op == "Mul":
        ends = [a * b for a, b in product(held[0], last)]
        return min(ends), max(ends)
    if op == "Neg":
        return -high, -low
    if op == "Abs":
        return 0, max(abs(low), abs(high))
    if op in ("Div", "Mod"):
        most = max(abs(low), abs(high))
        if not all(_within(r, _small()) for r in held) or last[0] <= 0 <= last[1]:
            return "divisors that may be 0, or whole numbers that may pass 24 bits"
        return (-most, most) if op == "Div" else _joined([(-most, most), last, (-last[1], 0)])
    count = _summed(node, graph)
    if count is None:
        return "whole numbers"
    if op in ("ReduceSum", "CumSum"):
        made = count * min(low, 0), count * max(high, 0)
    else:  # MatMul and its kin
        most = count * max(abs(v) for v in held[0]) * max(abs(v) for v in held[1])
        # with zero points, which are taken off
        made = (-4 * most, 4 * most) if len(held) > 2 else (-most, most)
    return made if _within(made, _small()) else "sums of whole numbers that may pass 24 bits"


def _summed(node: Node, graph: Graph) -> int | None:
    """Return how many numbers are added up at the most; None of what is not known to add."""
    shapes = [_shape(graph, name) for name in node.inputs[:2]]
    first = shapes[0] if shapes else None
    if node.op in ("ReduceSum", "CumSum"):
        return None if first is None else math.prod(first)
    if node.op in ("MatMul", "MatMulInteger"):
        return first[-1] if first else None
    if node.op == "ConvInteger":
        kernel = shapes[1] if len(shapes) > 1 else None
        return None if kernel is None else math.prod(kernel[1:])
    return None


def _shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    type_ = graph.constants[name].type if name in graph.constants else graph.types.get(name)
    if type_ is None or not all(isinstance(n, int) for n in type_.shape):
        return None
    return tuple(int(n) for n in type_.shape)


def _sizes(node: Node, graph: Graph) -> Range:
    shape = _shape(graph, node.inputs[0])
    if shape is None:
        return 0, _FULL[1]
    return 0, math.prod(shape) if node.op == "Size" else max(shape, default=1)


def _cast(node: Node, graph: Graph, held: Range | None) -> Range | str:
    """Return the range after a change of type; a float may be anything of 64 bits."""
    dtype = _dtype(graph, node.outputs[0])
    if held is not None:
        return held
    if dtype in ("int64", "uint64", "uint32", None):
        return f"floats to {dtype or 'whole numbers'}"
    return _TYPES.get(dtype, _FULL)


def _constant(node: Node) -> Range | str:
    for name in ("value", "value_int", "value_ints"):
        value = node.attributes.get(name)
        if value is not None:
            return _of_array(value)
    return "whole numbers"


def _of_array(value: object) -> Range | str:
    array = getattr(value, "array", None)
    values = np.asarray(array() if callable(array) else value)
    if values.dtype.kind not in "biu":
        return "whole numbers"
    return (int(values.min()), int(values.max())) if values.size else (0, 0)
