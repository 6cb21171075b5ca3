"""The ablation: single operators timed and summed, where the method times whole subgraphs.

Models:  each operator prepared by itself on each worker and timed in its place; a subgraph takes
         the sum. What is fused inside a subgraph, and what a call costs, is then counted wrongly.
Judge:   the same placements measured (the study prints both errors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Graph, Region
from orrery.mapping.phases import PlacementProblem, greedy_correction
from orrery.progress import Progress
from orrery.runtime import Tensors
from orrery.runtime.together import LocalWorker, WorkerPool, profile_subgraphs

from ._case import Effort, Operators, Point
from ._rounds import Way, in_rounds


def summed_seconds(
    graph: Graph, problem: PlacementProblem, workers: Sequence[LocalWorker], inputs: Tensors,
    most_s: float, progress: Progress,
) -> NDArray[np.float64]:  # fmt: skip
    """Return seconds of subgraphs × workers as sums over their operators, timed one by one.

    Infinite where a worker does not run one of them.

    Raises
    ------
    ModelError : an operator that no worker runs by itself
    """
    regions = [Region(graph=graph, nodes=(n.name,), label=n.name) for n in graph.nodes]
    # Threads and prepared operators of its own, gone when it is over.
    with WorkerPool(workers) as pool:
        profile = profile_subgraphs(graph, regions, pool, inputs, most_s=most_s, progress=progress)
    place = {node.name: number for number, node in enumerate(graph.nodes)}
    rows = [[place[node] for node in part.region.nodes] for part in problem.partition.subgraphs]
    return np.array([profile.median_s[row].sum(axis=0) for row in rows])


def with_sums(
    problem: PlacementProblem, sums: NDArray[np.float64], points: Sequence[Point]
) -> tuple[Point, ...]:
    """Return points with what the sums predict of each."""
    other = replace(problem, seconds=sums)

    def predicted(point: Point) -> float | None:
        if not all(np.isfinite(sums[k, w]) for k, w in enumerate(point.placement)):
            return None
        return other.timing(point.placement).makespan_s

    return tuple(replace(point, summed_s=predicted(point)) for point in points)


def operators_of(
    problem: PlacementProblem, sums: NDArray[np.float64],
    way: Callable[[tuple[int, ...]], Way], effort: Effort, progress: Progress,
) -> Operators:  # fmt: skip
    """Place by the sums and measure that placement beside the one that whole subgraphs choose."""
    # A worker that runs a subgraph need not run each of its operators, nor the other way round.
    both = np.where(np.isfinite(problem.seconds), sums, np.inf)
    chosen = greedy_correction(replace(problem, seconds=both)).placement
    usual = greedy_correction(problem).placement
    if chosen == usual:
        return Operators(same=True, slower=1.0, interval=(1.0, 1.0))
    found = in_rounds(
        {"sums": way(chosen), "wholes": way(usual)}, rounds=10 * effort.sweep_rounds,
        most_s=effort.sweep_s / 2, progress=progress, task="placement by single operators",
    )  # fmt: skip
    slower, interval = found.speedup("wholes", "sums")
    return Operators(same=False, slower=slower, interval=interval)
