"""Small integer tensors whose elements are sizes, some of them names that are not bound yet.

Models:  what exporters write to compute shapes: Shape, Gather, Concat, Slice, Cast, +, ×, ….
Ignores: everything else; a shape rule that cannot see a size gives it a fresh name.
Judge:   binding the names and inferring again gives the same shapes as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._graph import Node
from ._types import Dimension, TensorType

Sizes = tuple[Dimension, ...]
_Known = Callable[[int], Sizes | None]


def propagate(
    node: Node,
    types: Mapping[str, TensorType],
    values: dict[str, NDArray[Any]],
    sizes: dict[str, Sizes],
) -> None:
    """Add what a node computes to `sizes`; what has no name in it goes to `values`.

    ``Shape(x)`` of ``x: [n, 3, 8]`` is ``("n", 3, 8)``; ``Gather`` of 1 in it is the number 3.
    """
    rule = _RULES.get(node.op) if not node.domain else None
    target = node.outputs[0] if node.outputs else ""
    if rule is None or not target or target in values:
        return
    type_ = types.get(target)
    if type_ is None or type_.rank > 1 or type_.dtype not in ("int64", "int32"):
        return

    def known(index: int) -> Sizes | None:
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name in sizes:
            return sizes[name]
        value = values.get(name)
        if value is None or value.ndim > 1 or value.dtype.kind not in "iu":
            return None
        return tuple(int(v) for v in value.ravel())

    found = rule(node, known, types)
    if found is None or not type_.is_bound or len(found) != type_.elements:
        return
    if all(isinstance(size, int) for size in found):
        values[target] = np.array(found, type_.dtype).reshape(type_.sizes)
    else:
        sizes[target] = found


def _shape(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    type_ = types.get(node.inputs[0])
    window = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return None if type_ is None else type_.shape[window]


def _size(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    from .operators._rules import times

    type_ = types.get(node.inputs[0])
    return None if type_ is None else (times(*type_.shape),)


def _same(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    return known(0)


def _gather(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    data, places = known(0), known(1)
    if data is None or places is None or types[node.inputs[0]].rank != 1:
        return None
    picked = [p for p in places if isinstance(p, int) and -len(data) <= p < len(data)]
    return tuple(data[p] for p in picked) if len(picked) == len(places) else None


def _concat(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    parts = [known(i) for i in range(len(node.inputs))]
    joined: list[Dimension] = []
    for part in parts:
        if part is None:
            return None
        joined += part
    return tuple(joined)


def _slice(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
    data = known(0)
    bounds = [known(i) for i in (1, 2, 4)]
    if data is None or bounds[0] is None or bounds[1] is None:
        return None
    start, end, step = (b[0] if b else 1 for b in bounds)
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)) or step < 1:
        return None
    return data[start:end:step]


def _binary(
    combine: Callable[[Dimension, Dimension], Dimension | None],
) -> Callable[[Node, _Known, Mapping[str, TensorType]], Sizes | None]:
    def rule(node: Node, known: _Known, types: Mapping[str, TensorType]) -> Sizes | None:
        first, second = known(0), known(1)
        if first is None or second is None:
            return None
        length = max(len(first), len(second))
        if len(first) not in (1, length) or len(second) not in (1, length):
            return None
        pairs = zip(
            first * (length // len(first)), second * (length // len(second)), strict=True
        )  # fmt: skip
        found = [combine(a, b) for a, b in pairs]
        return None if None in found else tuple(d for d in found if d is not None)

    return rule


def _add(first: Dimension, second: Dimension) -> Dimension | None:
    from .operators._rules import plus

    return plus(first, second)


def _subtract(first: Dimension, second: Dimension) -> Dimension | None:
    from .operators._rules import plus

    if first == second:
        return 0
    return plus(first, -second) if isinstance(second, int) else None


def _multiply(first: Dimension, second: Dimension) -> Dimension | None:
    from .operators._rules import times

    return times(first, second)


def _divide(first: Dimension, second: Dimension) -> Dimension | None:
    from .operators._rules import divide_out, formula

    exact = divide_out((first,), (second,))
    if exact is not None or not isinstance(second, int) or second < 1:
        return exact
    return formula(f"({{}})//{second}", lambda n: n // second, first)


_RULES: dict[str, Callable[[Node, _Known, Mapping[str, TensorType]], Sizes | None]] = {
    "Shape": _shape, "Size": _size, "Gather": _gather, "Concat": _concat, "Slice": _slice,
    "Identity": _same, "Cast": _same, "Unsqueeze": _same, "Squeeze": _same, "Reshape": _same,
    "Add": _binary(_add), "Sub": _binary(_subtract), "Mul": _binary(_multiply),
    "Div": _binary(_divide),
}  # fmt: skip
