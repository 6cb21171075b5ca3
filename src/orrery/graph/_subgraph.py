"""A region as a network of its own, to be run, measured or written alone."""

from __future__ import annotations

from ._graph import Graph, Region


def subgraph(region: Region) -> Graph:
    """Return the region as a stand-alone graph.

    Its inputs and outputs are the region's, in the region's order; it holds the constants that
    members read. A state whose two ends both are at the region's border stays a state.
    """
    graph, members = region.graph, region.members
    inputs, outputs, weights = region.inputs, region.outputs, region.weights
    tensors = {*inputs, *outputs, *weights, *(t for n in members for t in n.outputs if t)}
    return Graph(
        name=f"{graph.name}/{region.name}",
        nodes=members,
        inputs=inputs,
        outputs=outputs,
        types={name: graph.types[name] for name in sorted(tensors) if name in graph.types},
        constants={name: graph.constants[name] for name in weights},
        states={old: new for old, new in graph.states.items() if old in inputs and new in outputs},
    )
