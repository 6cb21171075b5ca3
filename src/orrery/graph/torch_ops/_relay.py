"""Learned tensors that a network only reads in another layout are kept in that layout.

Models:  transposes, reshapes, joins, splits and permutations of whole learned tensors. Each maps
         elements one to one, so an optimiser that works element by element (all of ours do) takes
         the same step before and after; everything else that depends on a learned tensor stays.
Ignores: tensors that are read at several places, which stay as they are, as do the nodes.
Judge:   PyTorch's own training steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace

import numpy as np

from .._constant import ArrayConstant, Constant
from .._graph import Node
from .._operator import find_operator

_LAYOUT = {"Concat", "Flatten", "Gather", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze"}


def relay(
    nodes: Sequence[Node], outputs: Sequence[str], constants: MutableMapping[str, Constant],
    learned: set[str], fresh: Callable[[str], str], origin: MutableMapping[str, tuple[str, ...]],
) -> list[Node]:  # fmt: skip
    """Return the nodes without those that only lay learned tensors out; updates the tables.

    A transposed matrix ``w`` becomes the constant ``w.T``. `origin` then says of each constant that
    was made which learned tensors it holds.
    """
    uses = Counter(name for node in nodes for name in node.inputs if name)
    uses.update(outputs)
    renamed: dict[str, str] = {}
    kept: list[Node] = []
    for node in nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        operator = find_operator(node)
        if operator is None or not _moves(node, uses, constants, learned):
            kept.append(node)
            continue
        if set(outputs) & set(node.outputs):
            kept.append(node)
            continue
        data = node.inputs if node.op == "Concat" else node.inputs[:1]
        sources = [source for name in data for source in origin.get(name, (name,))]
        arrays = [constants[name].array() if name else None for name in node.inputs]
        for name, array in zip(node.outputs, operator.run(node, arrays), strict=True):
            if not name or array is None:
                continue
            label = name
            if node.op == "Transpose" and array.ndim == 2:
                label = fresh(f"{node.inputs[0]}.T")
            array = array.view()
            array.flags.writeable = False  # else the constant would copy it
            renamed[name], constants[label] = label, ArrayConstant(array)
            uses[label] = uses[name]
            learned.add(label)
            origin[label] = tuple(sources)
    return kept


def _moves(
    node: Node, uses: Mapping[str, int], constants: Mapping[str, Constant], learned: set[str]
) -> bool:
    """Return whether a node maps all elements of learned tensors, read only here, one to one."""
    if node.op not in _LAYOUT or node.domain:
        return False
    data = node.inputs if node.op == "Concat" else node.inputs[:1]
    rest = node.inputs[len(data) :]
    if any(name not in learned or uses[name] != 1 for name in data):
        return False
    if any(name and (name not in constants or name in learned) for name in rest):
        return False
    if node.op != "Gather":
        return True
    places = constants[rest[0]].array()
    size = constants[data[0]].type.sizes[int(node.attributes.get("axis", 0))]
    return places.shape == (size,) and np.array_equal(np.sort(places), np.arange(size))
