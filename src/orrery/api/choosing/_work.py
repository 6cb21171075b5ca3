"""Seconds of single nodes, to see which paths are worth a subgraph of their own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import CancelledError, MissingExtraError, ModelError
from orrery.progress import Progress

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.runtime import Executable
    from orrery.runtime.together import WorkerPool

#: Who is longer at one run of the whole hangs, and is out when its parts are timed.
_HANGS_S = 300.0


def node_work(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], pool: WorkerPool, progress: Progress
) -> tuple[dict[str, float], str]:
    """Return seconds per node, and how they were found where not one by one.

    ONNX Runtime times nodes. Where it is not there, or refuses the network, they are estimated from
    operations and bytes at the rates of this machine, and scaled to what the whole really takes.
    """
    from orrery.runtime import layer_times

    try:
        return layer_times(graph, inputs, threads=1, repeats=5, progress=progress), ""
    except (MissingExtraError, ModelError) as error:
        why = "ONNX Runtime is not installed" if isinstance(error, MissingExtraError) else (
            "ONNX Runtime does not run this network")  # fmt: skip
    work = _estimated(graph)
    whole, worker = _whole(graph, inputs, pool)
    total = sum(work.values())
    how = "operations and bytes at the rates of this machine"
    if whole is not None and total > 0:
        work = {name: seconds * whole / total for name, seconds in work.items()}
        how += f", scaled to what the whole takes on {worker}"
    return work, f"Where to cut was decided by estimates ({how}): {why}, so that single nodes " \
                 "were not timed."  # fmt: skip


def load_note() -> str:
    """Return a warning where others keep this machine busy; empty where it is quiet or unknown."""
    load, processors = (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0), os.cpu_count()
    if load <= 0.5 * (processors or 1):
        return ""
    return (f"This machine was busy before anything ran here (load {load:.1f} on {processors} "
            "processors): times vary, and a placement needs a large gain to be sure.")  # fmt: skip


def _estimated(graph: Graph) -> dict[str, float]:
    from orrery.cost import roofline
    from orrery.graph import Region
    from orrery.runtime import this_machine

    device = next(d for d in this_machine().devices if d.name == "cpu")
    found = {}
    for node in graph.nodes:
        region = Region(graph=graph, nodes=(node.name,))
        if roofline.refuses(region, device) is None:
            found[node.name] = roofline.cost(region, device).latency_s
    return found


def _whole(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], pool: WorkerPool
) -> tuple[float | None, str]:
    """Return seconds of the whole network on the first worker that runs it."""
    for worker in pool.workers.values():
        if worker.backend.refuses(graph) is None:
            try:
                made = pool.prepare(worker.name, graph)
                times = [pool.call(worker.name, partial(_seconds, made, inputs),
                                   timeout_s=_HANGS_S) for _ in range(5)]  # fmt: skip
            except CancelledError:
                raise
            except Exception:  # whatever a library raises: that worker is out when it is timed
                continue
            return statistics.median(times[1:]), worker.name
    return None, ""


def _seconds(made: Executable, inputs: Mapping[str, NDArray[Any]]) -> float:
    begun = time.perf_counter()
    made.run(inputs)
    return time.perf_counter() - begun
