"""A placement as a plan that others can read.

Each region's schedule is a point in the space of this machine's workers: which back end, of which
version, on which device and processors, in which phase.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orrery.graph import Graph
from orrery.plan import Assignment, KernelSchedule, ModelReference, Plan, Transfer

from ._kept import WHOLE, WORKER, thread_name, worker_of
from ._machine import backend_version, machine_facts, machine_here

if TYPE_CHECKING:
    from orrery.runtime.together import Comparison, LocalWorker, PlacedNetwork

    from ..placing import Choice


def plan_of(choice: Choice, way: str, *, seed: int) -> Plan:
    """Return one of the ways that were compared as a plan."""
    network, found = choice.networks[way], choice.comparison
    placed = way not in choice.alone
    graph, low_high = network.graph, found.interval_s(way)
    pace = choice.pace or 1.0  # as the whole page: what was timed before, as the machine is now
    bound = pace * max(choice.problem.bounds())
    subgraphs = choice.problem.partition.subgraphs
    whole = {f"{WHOLE}{name}": found.median_s(name) for name in choice.alone}
    phases = {s.region.name: s.phase for s in subgraphs} if placed else {}
    return Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest),),
        system=machine_here(),
        assignments=_assignments(network, phases),
        transfers=_transfers(network),
        objective="latency",
        searcher="greedy-correction, measured" if placed else "whole on one worker",
        settings={
            **machine_facts(), "rounds": found.rounds, "measured_s": found.median_s(way),
            "measured_low_s": low_high[0], "measured_high_s": low_high[1], **whole,
        },
        seed=seed,
        predicted_latency_s=choice.foreseen.makespan_s if placed else None,
        resident_bytes=_resident(network),
        lower_bound_s=bound,
        bound=f"placements of these {len(subgraphs)} subgraphs on these "
        f"{len(choice.problem.workers)} workers, as they were timed"
        + ("" if choice.pace is None else f", at {choice.pace:.3g} times these times"),
        notes=() if placed else ("Run whole: no placement on several workers was surely "
                                        "quicker.",),
    )  # fmt: skip


def as_it_ran(plan: Plan, network: PlacedNetwork, found: Comparison | None = None) -> Plan:
    """Return a plan for what ran in its stead, where its workers are not those of the network.

    Parameters
    ----------
    found : what that took; None: not known
    """
    if [step.worker for step in network.steps] == [a.device for a in plan.assignments]:
        return plan
    settings = {k: v for k, v in plan.settings.items() if not k.startswith("measured_")}
    settings.pop("rounds", None)
    if found is not None:
        way = next(iter(found.times_s))
        low, high = found.interval_s(way)
        settings |= {"rounds": found.rounds, "measured_s": found.median_s(way),
                     "measured_low_s": low, "measured_high_s": high}  # fmt: skip
    phases = {a.region: int(phase) for a in plan.assignments
              if (phase := worker_of(a).get("phase")) is not None}  # fmt: skip
    workers = dict.fromkeys(step.worker for step in network.steps)
    return replace(
        plan, assignments=_assignments(network, phases), transfers=_transfers(network),
        resident_bytes=_resident(network), settings=settings, predicted_latency_s=None,
        notes=(*plan.notes, f"As it ran, on {', '.join(workers)}: its own workers could not."),
    )  # fmt: skip


def _assignments(network: PlacedNetwork, phases: dict[str, int]) -> tuple[Assignment, ...]:
    graph = network.graph
    made = {t: s.region.name for s in network.steps for t in s.region.outputs}
    return tuple(
        Assignment(
            region=step.region.name, nodes=step.region.nodes, device=step.worker,
            schedule=_schedule(network.pool.worker(step.worker), phases.get(step.region.name)),
            after=tuple(dict.fromkeys(
                made[t] for t in step.region.inputs if t not in graph.inputs)),
        )
        for step in network.steps
    )  # fmt: skip


def _schedule(worker: LocalWorker, phase: int | None) -> KernelSchedule:
    backend, name = worker.backend.name, thread_name(worker.name)
    return KernelSchedule(space=WORKER, parameters={
        "backend": backend, "version": backend_version(backend),
        "device": name.replace(backend, "").strip(" @") or name,
        "processors": tuple(worker.processors),
        **({} if worker.kind == "thread" else {"kind": worker.kind}),
        **({} if phase is None else {"phase": phase}),
    })  # fmt: skip


def _transfers(network: PlacedNetwork) -> tuple[Transfer, ...]:
    """Return what one worker makes and others read."""
    graph: Graph = network.graph
    found = []
    for step in network.steps:
        for tensor in step.region.outputs:
            readers = [s for s in network.steps
                       if s.worker != step.worker and tensor in s.region.inputs]  # fmt: skip
            if readers:
                targets = tuple(dict.fromkeys(s.worker for s in readers))
                found.append(Transfer(
                    tensor=tensor, size_bytes=graph.known_bytes(tensor) or 0, source=step.worker,
                    targets=targets, producer=step.region.name,
                    consumers=tuple(s.region.name for s in readers),
                    links=tuple(() for _ in targets),
                ))  # fmt: skip
    return tuple(found)


def _resident(network: PlacedNetwork) -> dict[str, int]:
    held: dict[str, set[str]] = {}
    for step in network.steps:
        held.setdefault(step.worker, set()).update(step.region.weights)
    constants = network.graph.constants
    return {worker: sum(constants[name].type.size_bytes for name in sorted(names))
            for worker, names in held.items()}  # fmt: skip
