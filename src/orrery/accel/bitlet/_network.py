"""Whole networks: every product on the engine, the rest in NumPy, cycles counted on the way.

Models:  a network run node by node; `Conv`, `Gemm` and `MatMul` as `BitletFunction` computes them
         or, to save time, as NumPy does; each counted by `count_layer` on the values that reach it.
Ignores: the time of what lies between products (activations, pooling, additions); overlap of
         layers, which follow one another.
Judge:   the sum of its layers; the graph's reference (tests/accel/bitlet/test_network.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orrery.graph import Graph, check_inputs, evaluate_node
from orrery.progress import SILENT, Progress

from .._products import read_layer
from .._record import Tensors
from ._cycles import BitletArray, LayerCycles, count_layer, schedule
from ._function import BitletFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCycles:
    """What a network takes on the array, layer after layer.

    Attributes
    ----------
    layers : region -> what it takes, in order
    elsewhere : region with MACs that the engine does not run -> why
    outputs : the network's, as computed
    latency_s : of all layers with their memory traffic
    """

    layers: Mapping[str, LayerCycles]
    elsewhere: Mapping[str, str]
    outputs: Tensors
    latency_s: float

    @property
    def macs(self) -> int:
        """MACs on the engine."""
        return sum(layer.macs for layer in self.layers.values())

    @property
    def array_cycles(self) -> float:
        """Cycles of the array, memory aside."""
        return math.fsum(layer.array_cycles for layer in self.layers.values())

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of `array_cycles`: layers are sampled independently."""
        return math.sqrt(math.fsum(layer.half_width**2 for layer in self.layers.values()))

    @property
    def relative_error(self) -> float:
        """`half_width` as a share of `array_cycles`, 0 for a network without layers."""
        return self.half_width / self.array_cycles if self.layers else 0.0

    @property
    def cycles_per_64_macs(self) -> float:
        """Mean cycles of one element for 64 MACs; NaN for a network without layers."""
        total = math.fsum(layer.element_cycles for layer in self.layers.values())
        return 64 * total / self.macs if self.layers else math.nan

    @property
    def summary(self) -> str:
        """One line: cycles with their interval, MACs counted and cycles per 64 MACs."""
        counted = math.fsum(x.macs * x.sampled / x.positions for x in self.layers.values())
        share = counted / self.macs if self.layers else 1.0
        whole = all(x.sampled == x.positions for x in self.layers.values())
        how = (
            "exactly"
            if whole
            else f"± {self.relative_error:.2%} (95 %; {share:.1%} of MACs counted)"
        )
        each = f"{self.cycles_per_64_macs:.2f} cycles per 64 MACs on one element"
        return f"{self.array_cycles:.6g} cycles {how}, {each}, {1e3 * self.latency_s:.4g} ms"


def run_network(
    graph: Graph,
    inputs: Tensors,
    array: BitletArray,
    *,
    bits: bool = True,
    count: bool = True,
    exact_macs: int = 1 << 28,
    error: float = 0.01,
    seed: int = 0,
    progress: Progress = SILENT,
) -> NetworkCycles:
    """Run a network once and count what its products take.

    Parameters
    ----------
    inputs : of the graph
    bits : False: values by NumPy, which is faster; cycles then belong to those values
    count : False: values only, no cycles and no layers
    exact_macs, error, seed : as for `count_layer`; each layer draws by itself

    Raises
    ------
    SpecError : inputs that do not fit, weights that are not finite
    CancelledError : the user asked to stop
    """
    check_inputs(graph, inputs)
    function = BitletFunction(engine=array.engine)
    values: dict[str, Any] = dict(inputs)
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    layers: dict[str, LayerCycles] = {}
    elsewhere: dict[str, str] = {}
    latency_s = 0.0
    for done, region in enumerate(graph.regions()):
        progress.step("bitlet", done, len(graph.nodes))
        node = region.members[0]
        given = {name: values[name] for name in node.inputs if name in values}
        reason = read_layer(region)
        if isinstance(reason, str):
            if region.operations.macs:
                elsewhere[region.name] = reason
            values.update(evaluate_node(graph, node, values))
        else:
            if count:
                found = count_layer(region, given, array, exact_macs=exact_macs, error=error,
                                    seed=seed + done)  # fmt: skip
                layers[region.name] = found
                *_, last = schedule(found, array)
                latency_s += last.end
            values.update(function(region, given) if bits else evaluate_node(graph, node, values))
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name not in graph.outputs:
                values.pop(name, None)
    return NetworkCycles(
        layers=layers, elsewhere=elsewhere, latency_s=latency_s,
        outputs={
            name: values[name] if name in values else graph.constants[name].array()
            for name in graph.outputs
        },
    )  # fmt: skip
