"""The six workloads as layer tables, read off the model library's graphs.

Models:  a layer of the published lists per convolution, fully connected layer and LSTM of the
         graph: features, rows, columns, kernel, steps from its tensors; an edge for each path
         from one to another, and, as the released reader of the lists has it, one between any two
         neighbours of a chain (in VLocNet from each of the last layer's two readers to the other).
Ignores: what the lists do not hold: activation functions, and the reshaping that the library
         inserts so that a list becomes a network that runs (pooling, resizing, padding).
Judge:   layers, weights and multiply-accumulates that the published lists add up to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from orrery.errors import SpecError
from orrery.graph import Graph, Node, build_model
from orrery.mapping import LocalityProblem

from ._accelerators import ACCELERATORS, BITS_PER_WORD, ListedLayer, costs_s

#: Model of the library -> name in tables.
WORKLOADS: Mapping[str, str] = {
    "vlocnet": "VLocNet", "casia-surf": "CASIA-SURF", "vfs": "VFS", "facebagnet": "FaceBagNet",
    "cnn-lstm": "CNN-LSTM", "mocap": "MoCap",
}  # fmt: skip

_SCOPE = re.compile(r"M(\d+)L(\d+)\.")
_KINDS = {"Conv": "CNN", "Gemm": "FC", "MatMul": "FC", "LSTM": "LSTM"}


def build_problem(
    model: str, *, link_bytes_per_s: float, reserved: float = 0.5, cross_edges: bool = True
) -> LocalityProblem:
    """Return a workload's tables on the twelve accelerators.

    Parameters
    ----------
    model : a key of `WORKLOADS`
    link_bytes_per_s : rate of the link through which each accelerator reaches memory
    reserved : share of an accelerator's memory that may hold bound weights
    cross_edges : whether the edges between chains count
    """
    layers, places, edges = layers_of(build_model(model))
    if not cross_edges:
        edges = tuple((p, c) for p, c in edges if places[p][0] == places[c][0])
    seconds = np.array(
        [[costs_s(layer, a, link_bytes_per_s) for a in ACCELERATORS] for layer in layers]
    )
    return LocalityProblem(
        layers=tuple(layer.name for layer in layers),
        accelerators=tuple(a.name for a in ACCELERATORS),
        kinds=tuple(a.kind for a in ACCELERATORS),
        chain=tuple(chain for chain, _ in places), place=tuple(place for _, place in places),
        edges=edges, compute_s=seconds[:, :, 0], weight_s=seconds[:, :, 1],
        input_s=seconds[:, :, 2], output_s=seconds[:, :, 3],
        weight_words=np.array([layer.weight_words for layer in layers], np.int64),
        capacity_words=np.array(
            [int(a.memory_bytes * reserved * 8 / BITS_PER_WORD) for a in ACCELERATORS], np.int64
        ),
        power_w=np.array([a.power_w for a in ACCELERATORS]),
    )  # fmt: skip


_Places = tuple[tuple[int, int], ...]


def layers_of(
    graph: Graph,
) -> tuple[tuple[ListedLayer, ...], _Places, tuple[tuple[int, int], ...]]:
    """Return layers, (chain, place) of each, and edges, those between neighbours first."""
    found: dict[tuple[int, int], ListedLayer] = {}
    feeding: dict[str, frozenset[tuple[int, int]]] = {}  # tensor -> the layers it comes from
    pairs: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    for node in graph.nodes:
        sources = frozenset().union(*(feeding.get(name, frozenset()) for name in node.inputs))
        if node.op in _KINDS:
            scope = _SCOPE.match(node.name)
            if scope is None:
                raise SpecError(
                    f"workload {graph.name}: node {node.name}", found="no chain and place",
                    wanted="a scope such as M1L2", fix="take a network of the model library",
                )  # fmt: skip
            key = (int(scope[1]), int(scope[2]))
            found[key] = _listed(graph, node, f"M{key[0]}L{key[1]}")
            pairs |= {(source, key) for source in sources}
            sources = frozenset({key})
        for name in node.outputs:
            feeding[name] = sources
    keys = sorted(found)
    index = {key: number for number, key in enumerate(keys)}
    chained = [(left, right) for left, right in pairwise(keys) if left[0] == right[0]]
    edges = tuple(
        (index[source], index[key]) for source, key in (*chained, *sorted(pairs - {*chained}))
    )
    return tuple(found[key] for key in keys), tuple(keys), edges


def _listed(graph: Graph, node: Node, name: str) -> ListedLayer:
    kind = _KINDS[node.op]
    takes = graph.type(node.inputs[0]).sizes
    weights = graph.type(node.inputs[1]).sizes
    gives = graph.type(node.outputs[0]).sizes
    if kind == "CNN":
        return ListedLayer(name=name, kind=kind, gives=gives[1], takes=takes[1], rows=gives[2],
                           columns=gives[3], kernel=weights[2])  # fmt: skip
    if kind == "LSTM":
        return ListedLayer(name=name, kind=kind, gives=weights[1] // 4, takes=takes[2],
                           steps=takes[0])  # fmt: skip
    return ListedLayer(name=name, kind=kind, gives=gives[-1], takes=takes[-1])
