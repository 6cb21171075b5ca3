"""From a network to the workers that run its parts: cut, timed, placed, compared."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.progress import Progress
from orrery.store import Cache

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.mapping.phases import Placed, PlacementProblem
    from orrery.runtime.together import Comparison, LocalWorker, PlacedNetwork, Profile, WorkerPool

__all__ = ["PLACED", "Choice", "choose", "local_workers"]

#: back end -> the package it needs; in the order in which they are offered
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch"}
PLACED = "placed"  #: the name of the placement among the ways that are compared

#: A path is worth a subgraph of its own from so many seconds on: handing over costs tens of µs.
_LEAST_S, _LEAST_SHARE = 6e-5, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was found; `alone` names the whole network on one worker with all processors."""

    problem: PlacementProblem
    profile: Profile
    placed: Placed
    networks: Mapping[str, PlacedNetwork]
    alone: tuple[str, ...]
    comparison: Comparison

    @property
    def best(self) -> str:
        """The way to run it: the placement only where its gain is sure."""
        one = min(self.alone, key=self.comparison.median_s)
        _, (low, _) = self.comparison.speedup(PLACED, one)
        return PLACED if low > 1 else one


def local_workers(backends: Sequence[str] = ()) -> list[LocalWorker]:
    """Return a worker for each set of processors and back end; all that are installed but PyTorch.

    Raises
    ------
    SpecError : none is installed
    """
    from orrery.runtime import BACKENDS
    from orrery.runtime.together import LocalWorker, core_sets

    usual = [name for name, package in _PACKAGES.items()
             if name != "torch" and importlib.util.find_spec(package) is not None]  # fmt: skip
    chosen = list(dict.fromkeys(backends)) or usual
    if not chosen:
        raise SpecError("run: back ends", found="none installed", wanted="one or more",
                        fix='pip install "orrery[run]"')  # fmt: skip
    found = []
    for name in chosen:
        for processors, cores in core_sets().items():
            backend = BACKENDS[name]() if name == "reference" else BACKENDS[name](
                threads=len(cores))  # fmt: skip
            found.append(LocalWorker(name=f"{processors} {name}", processors=cores,
                                     backend=backend, label=f"{name} x{len(cores)}"))  # fmt: skip
    return found


def choose(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], pool: WorkerPool, *, repeats: int,
    cache: Cache | None, progress: Progress,
) -> Choice:  # fmt: skip
    """Cut a network, time its parts, place them, and compare with the whole on one worker."""
    import numpy as np

    from orrery.graph import Region
    from orrery.mapping.phases import (
        PlacementProblem,
        Worker,
        flows_of,
        greedy_correction,
        partition,
    )
    from orrery.runtime import layer_times
    from orrery.runtime.together import PlacedNetwork, Step, compare, profile_subgraphs

    work = layer_times(graph, inputs, threads=1, repeats=5, progress=progress)
    least = max(_LEAST_S, _LEAST_SHARE * sum(work.values()))
    cut = partition(graph, work, least=least)
    regions = [part.region for part in cut.subgraphs]
    profile = profile_subgraphs(graph, regions, pool, inputs, cache=cache, progress=progress)
    workers = tuple(
        Worker(name=w.name, processors=frozenset(map(str, w.processors)))
        for w in pool.workers.values()
    )
    problem = PlacementProblem(
        partition=cut, workers=workers, seconds=np.ascontiguousarray(profile.median_s),
        flows=flows_of(cut), passages={},
    )  # fmt: skip

    def network(placement: Sequence[int]) -> PlacedNetwork:
        return PlacedNetwork(graph, [
            Step(region=regions[k], worker=workers[placement[k]].name) for k in problem.order
        ], pool)  # fmt: skip

    def measured(placement: Sequence[int]) -> float:
        made = network(placement)
        made.run(inputs)
        return float(np.median([made.run(inputs).latency_s for _ in range(7)]))

    placed = greedy_correction(problem, measured, most_measured=24, progress=progress)
    most = max(len(w.processors) for w in pool.workers.values())
    whole = Region(graph=graph, nodes=tuple(n.name for n in graph.nodes), label="whole")
    networks = {PLACED: network(placed.placement)}
    for worker in pool.workers.values():
        if len(worker.processors) == most and worker.backend.refuses(graph) is None:
            networks[worker.name] = PlacedNetwork(
                graph, [Step(region=whole, worker=worker.name)], pool
            )
    if len(networks) == 1:
        raise SpecError(f"{graph.name} here", found="no back end that runs the whole network",
                        wanted="one to compare with", fix="add the reference back end")  # fmt: skip
    comparison = compare(
        {name: partial(made.run, inputs) for name, made in networks.items()}, rounds=repeats,
        progress=progress,
    )  # fmt: skip
    alone = tuple(name for name in networks if name != PLACED)
    return Choice(problem=problem, profile=profile, placed=placed, networks=networks, alone=alone,
                  comparison=comparison)  # fmt: skip
