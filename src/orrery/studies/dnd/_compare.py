"""A recovered network beside the one that was compiled: operators, attributes, weights, wiring.

Models:  operators as (name, number of elements of the output), connections as pairs of these;
         reshapes are passed through, a bias that is added belongs to its product.
Ignores: which of two operators that look alike is which. Whether networks are the same is not
         decided here but by `orrery.decompile.topology.differences`; this says how far off.
Judge:   networks altered by hand (tests/studies/dnd).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Graph, Node

__all__ = ["Likeness", "likeness", "weights_found"]

Label = tuple[str, int]

#: Operators that only say how the same numbers are to be read.
_PASSED = {"Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Dropout", "Cast"}
_SAME_NAME = {"MatMul": "Gemm", "GlobalAveragePool": "Mean", "ReduceMean": "Mean",
              "GlobalMaxPool": "Max", "ReduceMax": "Max"}  # fmt: skip
_BIASED = {"Gemm", "MatMul", "Conv", "ConvTranspose"}

#: operator -> its attributes that decide what it computes, with what stands for none; of windows
#: a default is as long as the window has axes
_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "Conv": {"kernel_shape": None, "strides": 1, "dilations": 1, "pads": 0, "group": "1"},
    "ConvTranspose": {"kernel_shape": None, "strides": 1, "dilations": 1, "pads": 0, "group": "1"},
    "MaxPool": {"kernel_shape": None, "strides": 1, "dilations": 1, "pads": 0},
    "AveragePool": {"kernel_shape": None, "strides": 1, "dilations": 1, "pads": 0,
                    "count_include_pad": "0"},
    "LRN": {"size": "", "alpha": "0.0001", "beta": "0.75", "bias": "1"},
    "LeakyRelu": {"alpha": "0.01"},
    "Softmax": {"axis": "-1"},
    "Gelu": {"approximate": "none"},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How much of a network was found.

    Attributes
    ----------
    operators, expected : operators that both have; that the compiled network has
    attributes, attributed : operators whose attributes are right as well, of those that have some
    distance : operators and connections that one has and the other has not
    """

    operators: int
    expected: int
    attributes: int
    attributed: int
    distance: int


def _attributes(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return a node's attributes as text, what it leaves out filled in."""
    known = _ATTRIBUTES[node.op]
    shape = node.attributes.get("kernel_shape")
    if shape is None and node.op.startswith("Conv") and len(node.inputs) > 1:
        shape = tuple(graph.type(node.inputs[1]).sizes[2:])
    rank = len(shape) if isinstance(shape, tuple | list) else 0
    words = []
    for name, default in known.items():
        value: Any = shape if name == "kernel_shape" else node.attributes.get(name, default)
        if isinstance(value, int) and value in (0, 1) and name in ("strides", "dilations", "pads"):
            value = (value,) * (2 * rank if name == "pads" else rank)
        if name == "axis" and int(value) < 0:
            value = int(value) + len(graph.type(node.outputs[0]).sizes)
        if isinstance(value, tuple | list):
            value = " ".join(str(int(one)) for one in value)
        elif isinstance(value, float) or name in ("alpha", "beta", "bias"):
            value = f"{float(value):.5g}"
        words.append(f"{name}={value}")
    return tuple(words)


def _windowless(graph: Graph, node: Node) -> str:
    """Return an operator's name, a pool over all positions as a mean or a maximum."""
    if node.op in ("AveragePool", "MaxPool"):
        sizes = graph.type(node.outputs[0]).sizes
        read = graph.type(node.inputs[0]).sizes
        kernel = node.attributes.get("kernel_shape")
        if all(s == 1 for s in sizes[2:]) and tuple(kernel or ()) == tuple(read[2:]):
            return "Mean" if node.op == "AveragePool" else "Max"
    return _SAME_NAME.get(node.op, node.op)


class _Sketch:
    """Operators and connections of a graph, counted."""

    def __init__(self, graph: Graph) -> None:
        graph = graph.infer()
        self.nodes: Counter[Label] = Counter()
        self.edges: Counter[tuple[Label, Label]] = Counter()
        self.attributes: Counter[tuple[Label, tuple[str, ...]]] = Counter()
        made: dict[str, Label] = {
            name: (f"input {place}", math.prod(graph.type(name).sizes))
            for place, name in enumerate(graph.inputs)
        }
        products = set[str]()
        for node in graph.nodes:
            read = [name for name in node.inputs if name in made]
            out = node.outputs[0]
            if not read:
                continue  # of constants alone
            if node.op in _PASSED or self._bias(node, read, products):
                made[out] = made[read[0]]
                continue
            name = _windowless(graph, node)
            label = (name, math.prod(graph.type(out).sizes))
            made[out] = label
            self.nodes[label] += 1
            self.edges.update((made[one], label) for one in read)
            if node.op in _BIASED and len(node.inputs) < 3:
                products.add(out)
            if node.op in _ATTRIBUTES and name not in ("Mean", "Max"):
                self.attributes[label, _attributes(graph, node)] += 1
        ends = (made[name] for name in graph.outputs if name in made)
        self.edges.update((label, ("output", label[1])) for label in ends)

    @staticmethod
    def _bias(node: Node, read: list[str], products: set[str]) -> bool:
        return node.op == "Add" and len(read) == 1 and read[0] in products


def likeness(found: Graph | None, wanted: Graph) -> Likeness:
    """Return how much of a network another graph has."""
    want = _Sketch(wanted)
    expected, attributed = want.nodes.total(), want.attributes.total()
    if found is None:
        return Likeness(operators=0, expected=expected, attributes=0, attributed=attributed,
                        distance=expected + want.edges.total())  # fmt: skip
    have = _Sketch(found)
    nodes, edges = have.nodes & want.nodes, have.edges & want.edges
    off = have.nodes.total() + want.nodes.total() - 2 * nodes.total()
    off += have.edges.total() + want.edges.total() - 2 * edges.total()
    right = (have.attributes & want.attributes).total()
    return Likeness(operators=nodes.total(), expected=expected, attributed=attributed,
                    attributes=right, distance=off)  # fmt: skip


def _words(graph: Graph) -> Counter[int]:
    """Return the bits of every parameter, counted; single numbers are no parameters."""
    held: Counter[int] = Counter()
    for constant in graph.constants.values():
        value: NDArray[Any] = constant.array()
        if value.dtype == np.float32 and value.size > 1:
            bits, counts = np.unique(value.view(np.uint32), return_counts=True)
            held.update(dict(zip(bits.tolist(), counts.tolist(), strict=True)))
    return held


def weights_found(found: Graph | None, wanted: Graph) -> tuple[int, int]:
    """Return how many of a network's parameters another has bit for bit, and how many there are.

    What a compiler folded (a deviation instead of a variance) is not there any more.
    """
    want = _words(wanted)
    if found is None:
        return 0, want.total()
    return (_words(found) & want).total(), want.total()
