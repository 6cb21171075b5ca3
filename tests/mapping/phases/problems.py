"""Random placement problems: towers and joins, workers that share processors, two memories.

With company, subgraphs slow each other down while they run side by side.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from orrery.graph import Graph
from orrery.mapping.phases import (
    Passage,
    PlacementProblem,
    Worker,
    flows_of,
    partition,
)

from ..cases import dags

CORES = (
    Worker(name="cpu", processors=frozenset({"c0", "c1"})),
    Worker(name="cpu0", processors=frozenset({"c0"})),
    Worker(name="cpu1", processors=frozenset({"c1"})),
    Worker(name="gpu", processors=frozenset({"g"}), memory="gpu"),
)


def problem_of(
    network: Graph, seconds: np.ndarray, passage: Passage, slower: np.ndarray | None = None,
    *, gpu: bool = True,
) -> PlacementProblem:  # fmt: skip
    found = partition(network, {}, least=0)
    count, own = len(found.subgraphs), CORES if gpu else CORES[:3]
    return PlacementProblem(
        partition=found, workers=own, seconds=seconds[:count, : len(own)], flows=flows_of(found),
        slower=None if slower is None else slower[:count, : len(own)],
        passages={pair: passage for pair in (("host", "gpu"), ("gpu", "host")) if gpu}
        | {("cpu0", "cpu1"): Passage(fixed_s=passage.fixed_s / 10)},
    )  # fmt: skip


@st.composite
def problems(
    draw: st.DrawFn, *, most: int = 8, company: bool = False, gpu: bool = True
) -> PlacementProblem:
    network = draw(dags(most=most))
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0.1, 5, (most, len(CORES)))
    seconds[:, 0] = seconds[:, 1:3].min(axis=1) * rng.uniform(0.5, 1, most)
    if draw(st.booleans()):
        seconds[rng.random((most, len(CORES))) < 0.2] = np.inf
        seconds[:, 0] = np.where(np.isfinite(seconds[:, 0]), seconds[:, 0], 3.0)
    passage = Passage(fixed_s=draw(st.sampled_from([0.0, 0.5, 3.0])),
                      s_per_byte=draw(st.sampled_from([0.0, 0.1])))  # fmt: skip
    slower = None
    if company:  # who has all processors has none beside it
        slower = rng.choice([1.0, 1.1, 1.5, 2.5], (most, len(CORES)))
        slower[:, [0, 3]] = 1.0
    return problem_of(network, seconds, passage, slower, gpu=gpu)
