"""How dense the tensors of a network are when it runs on data.

Models:  shares of elements that are not zero, over all samples together; constants as they are.
Ignores: where the zeros stand, and how the share varies from sample to sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from orrery.graph import Graph, Statistics, measure_statistics
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source

from ._data import LabelledData, batch_size
from ._running import usual_backend


def measure_densities(
    graph: Graph, data: LabelledData, *, progress: Progress = SILENT
) -> Statistics:
    """Run a network on data and return the density of every numeric tensor of it.

    Raises
    ------
    SpecError : data that do not fit, as `LabelledData.batches` says
    CancelledError : the caller asked to stop
    """
    names = [name for name in dict.fromkeys(
        output for node in graph.nodes for output in node.outputs if output
    ) if graph.type(name).dtype != "string"]  # fmt: skip
    watched = replace(graph, outputs=tuple(names))
    run = usual_backend(watched).prepare(watched).run
    filled: dict[str, int] = {}
    seen: dict[str, int] = {}
    batch, done = batch_size(graph), 0
    for inputs, labels in data.batches(graph):
        for name, values in (inputs | dict(run(inputs))).items():
            filled[name] = filled.get(name, 0) + int(np.count_nonzero(values))
            seen[name] = seen.get(name, 0) + int(np.size(values))
        done += len(labels)
        progress.step("densities", done, max(batch, len(data.chosen)))
    density = {name: filled[name] / seen[name] for name in filled if seen[name]}
    constants = measure_statistics(graph, progress=progress)
    return Statistics(
        source=Source(basis=Basis.MEASURED, where=f"{data.name}, {data.drawn}",
                      note=f"constants of {graph.name}, other tensors as it ran on the samples"),
        density={**density, **constants.density}, bit_density=constants.bit_density,
    )  # fmt: skip
