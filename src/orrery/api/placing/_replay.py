"""A placement that was kept, run again as it is: nothing is timed or searched anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orrery.errors import MissingExtraError, OrreryError, SpecError
from orrery.plan import Plan
from orrery.progress import Progress

from ..keeping import as_it_ran, backend_version, thread_name, whole_ways, worker_of
from ._again import timed_again
from ._ready import Arrays, Ready, latency, patience
from ._replay_page import replay_sections

if TYPE_CHECKING:
    from orrery.graph import Graph
    from orrery.runtime.together import LocalWorker, PlacedNetwork, WorkerPool

AS_PLANNED = "as planned"  #: the name of the plan among the ways of running its network


def planned_workers(plan: Plan) -> tuple[list[LocalWorker], list[str]]:
    """Return the workers of a plan that are here, and a sentence for each one that is not.

    With them comes the quickest other one that the whole network was timed on: it is what is left
    when one of them is not here, or fails.

    Raises
    ------
    SpecError : none is left to run the network on
    """
    planned = {thread_name(a.device): _asked(worker_of(a)) for a in plan.assignments}
    whole = {name: _named(name) for name in whole_ways(plan)}
    here: dict[str, str] = {}
    why: dict[str, str] = {}
    for name, asked in {**whole, **planned}.items():
        try:
            here |= dict.fromkeys((w.name for w in _workers([asked]) if w.name == name), asked)
        except OrreryError as error:
            why[name] = str(error)
    gone = [name for name in planned if name not in here]
    notes = [f"The plan's worker {name!r} is not here: {why.get(name, 'another one is')}."
             for name in gone]  # fmt: skip
    spare = [name for name in whole if name in here and name not in planned][:1]
    if gone and not any(name in here for name in whole):
        raise SpecError(
            f"plan of {plan.models[0].name}: workers", found=" ".join(notes).rstrip("."),
            wanted="them, or a worker that the whole network was timed on",
            fix="install what is missing, or place the network anew with --fresh",
        )  # fmt: skip
    return _workers([here[name] for name in (*planned, *spare) if name in here]), notes


def _asked(said: Mapping[str, str]) -> str:
    return f"{said['backend']}@{said['device']}"


def _named(worker: str) -> str:
    """Return how to ask for a worker by its name."""
    device, _, backend = worker.rpartition(" ")
    return f"{backend}@{device}"


def _workers(asked: Sequence[str]) -> list[LocalWorker]:
    from orrery.runtime import BACKENDS
    from orrery.runtime.together import workers_here

    for one in asked:
        backend = one.partition("@")[0]
        if backend in BACKENDS and not backend_version(backend):
            extra = {"onnxruntime": "run"}.get(backend, backend)
            raise MissingExtraError(backend, extra, purpose="a kept placement")
    return workers_here(asked)


def replay(
    graph: Graph, plan: Plan, given: Arrays, pool: WorkerPool, *, notes: Sequence[str],
    repeats: int, progress: Progress,
) -> Ready:  # fmt: skip
    """Prepare a plan on its workers and time it, or where that fails the whole on one of them.

    Raises
    ------
    SpecError : the plan does not hold every node of the network once, in an order that can be run
    OrreryError : nothing that is here runs the network
    """
    from orrery.runtime.together import Fallback

    said, ways = list(notes), dict[str, "PlacedNetwork"]()
    failed: OrreryError | None = None
    candidates = [AS_PLANNED, *whole_ways(plan)]
    if any(thread_name(name) not in pool.workers for name in plan.device_of().values()):
        candidates.remove(AS_PLANNED)
    planned = [assignment.device for assignment in plan.assignments]
    for way in candidates:
        if len(ways) == (2 if AS_PLANNED in ways else 1):
            break
        if (way != AS_PLANNED and way not in pool.workers) or [way] == planned:
            continue
        try:
            ways[way] = _prepared(graph, plan, way, pool, said)
        except SpecError:  # the plan itself is wrong, and its user must know
            raise
        except OrreryError as error:
            failed = error
            said.append(f"{way} cannot be prepared: {error}.")
    if not ways:
        raise failed or SpecError(f"plan of {graph.name}", found="no worker left",
                                  wanted="one or more",
                                  fix="place the network anew with --fresh")  # fmt: skip
    served = Fallback(ways)
    found, outcome = timed_again(served, pool, given, repeats, progress,
                                 limit_s=patience(plan.settings.get("measured_s")))  # fmt: skip
    current = next(iter(found.times_s))
    if current != AS_PLANNED:
        said.append(f"So the whole network runs on {current}; --fresh places it anew.")
    how = "a kept placement" if current == AS_PLANNED else current
    return Ready(
        graph=graph, plan=as_it_ran(plan, ways[current], found), served=served,
        figures=(latency(graph, current, found, how, note=f"median of {found.rounds} runs"),),
        sections=tuple(replay_sections(plan, found, ways[current], outcome, said)),
    )  # fmt: skip


def _prepared(
    graph: Graph, plan: Plan, way: str, pool: WorkerPool, said: list[str]
) -> PlacedNetwork:  # fmt: skip
    from orrery.graph import Region
    from orrery.runtime.processes import placed_network, refuses_processes
    from orrery.runtime.together import PlacedNetwork, Step

    if way != AS_PLANNED:
        whole = Region(graph=graph, nodes=tuple(n.name for n in graph.nodes), label="whole")
        return PlacedNetwork(graph, [Step(region=whole, worker=way)], pool)
    steps = [Step(region=Region(graph=graph, nodes=a.nodes, label=a.region), worker=a.device)
             for a in plan.assignments]  # fmt: skip
    apart = any(thread_name(step.worker) != step.worker for step in steps)
    if apart and (reason := refuses_processes(graph, steps, pool)) is not None:
        said.append(f"Its workers are threads now; they cannot be processes here: {reason}.")
        steps = [replace(step, worker=thread_name(step.worker)) for step in steps]
    return placed_network(graph, steps, pool)
