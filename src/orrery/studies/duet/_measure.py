"""One network on the workers of this machine, in every way there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.api.checking import judge_outputs
from orrery.api.choosing import PLACED as CHOSEN
from orrery.api.choosing import Choice, Ways
from orrery.api.choosing import Effort as SearchEffort
from orrery.api.placing import choose
from orrery.errors import OrreryError
from orrery.graph import Graph, Region, example_inputs
from orrery.mapping.phases import PlacementProblem, bounds_of
from orrery.progress import Progress
from orrery.runtime import Tensors
from orrery.runtime.together import (
    HOST,
    Comparison,
    Fallback,
    LocalWorker,
    PlacedNetwork,
    Step,
    WorkerPool,
    one_at_a_time,
)

from ._case import ALONE, IN_TURN, PLACED, SERVED, Case, Effort, Kind, Operators
from ._operators import operators_of, summed_seconds, with_sums
from ._pytorch import pytorch_ways
from ._rounds import Way, in_rounds, outside, timed
from ._sweep import survey

Chooser = Callable[..., Choice]
_Maker = Callable[[tuple[int, ...]], Way]

#: |a - b| / (1 + |b|): float32 through tens of layers, summed in another order.
TOLERANCE = 1e-4

#: Where one run takes less, runs are counted and the last thousandth is shown; else seconds are.
SHORT_S = 0.05
_SMALL_S = 0.005  #: where one takes less, ten times as many cost little and make tails sure
_MOST_RUNS = 1_000_000


def measure_case(
    graph: Graph, workers: Sequence[LocalWorker], effort: Effort, progress: Progress, *,
    choose: Chooser = choose,
) -> Case:  # fmt: skip
    """Place a network as the command does, and hold the placement against everything else.

    Parameters
    ----------
    choose : places it; tests hand in their own

    Raises
    ------
    CancelledError : the user asked to stop
    ModelError : a network that none of the workers runs
    """
    begun = time.perf_counter()
    inputs = example_inputs(graph, seed=0)
    notes: list[str] = []
    with WorkerPool(workers) as pool:
        choice = choose(
            graph, inputs, pool, repeats=max(30, min(effort.rounds, 60)), cache=None,
            progress=progress,
            effort=SearchEffort(profile_s=effort.profile_s, races_s=effort.races_s),
        )  # fmt: skip
        ran = _run_all(graph, inputs, choice, pool, effort, notes, progress)
    choice = replace(choice, networks={})  # each has weights of its own
    problem, ours = choice.problem, tuple(choice.placed.placement)

    with _placements(problem, workers, inputs, choice.processes) as (way, in_turn):
        sweep = survey(problem, ours, way, in_turn, effort, progress)
    operators: Operators | None = None
    if len(graph.nodes) <= effort.most_operators:
        try:
            sums = summed_seconds(graph, problem, workers, inputs, effort.sweep_s, progress)
        except OrreryError as error:
            notes.append(f"single operators are left out: {error}")
        else:
            sweep = replace(sweep, points=with_sums(problem, sums, sweep.points))
            with _placements(problem, workers, inputs, choice.processes) as (way, _):
                operators = operators_of(problem, sums, way, effort, progress)
    else:
        notes.append(f"single operators are left out: {len(graph.nodes)} of them")
    outputs, blocks, kinds = ran.outputs, ran.blocks, ran.kinds
    reference = graph.evaluate(inputs)
    judged = {name: judge_outputs(made, reference, TOLERANCE) for name, made in outputs.items()}
    empty = {f for judgement in judged.values() for f in judgement.failures}
    notes += [f"outputs are not judged: {failure}" for failure in sorted(empty)]
    pace = problem.paced(ours, blocks[0].median_s(IN_TURN))
    slower = pace or 1.0  # what follows from times of the profile is as the machine was in rounds
    bounds, cut_s, limit_s = bounds_of(problem).at(slower), _cut(choice, blocks[0], kinds), None
    if problem.factors is not None:  # what is exact is so with company
        limit_s = slower * (sweep.exact_s or bounds_of(problem.apart).best_s)
        limit_s = max(limit_s, bounds.best_s)
    refused = sorted(set(choice.profile.refusals.values()))
    return Case(
        name=graph.name, single_path=problem.partition.is_single_path,
        steps=tuple(
            (problem.partition.subgraphs[k].region.name,
             len(problem.partition.subgraphs[k].region.nodes), problem.workers[ours[k]].name)
            for k in problem.order
        ),
        kinds=kinds, blocks=tuple(blocks), chosen=PLACED if choice.best == CHOSEN else choice.best,
        predicted_s=slower * problem.timing(ours).makespan_s,
        bound_s=bounds.best_s, reason=bounds.reason, limit_s=limit_s, pace=pace, busy=None,
        cut_s=None if cut_s is None else slower * cut_s, sweep=sweep, operators=operators,
        errors={name: judgement.error for name, judgement in judged.items()}, tolerance=TOLERANCE,
        tails=ran.tails, notes=(*problem.partition.notes, *choice.notes, *refused, *notes),
        seconds=time.perf_counter() - begun, date=date.today().isoformat(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What every way gave and took; nothing in it keeps weights."""

    kinds: Mapping[str, Kind]
    outputs: Mapping[str, Mapping[str, NDArray[Any]]]
    blocks: Sequence[Comparison]
    tails: Comparison | None


def _run_all(
    graph: Graph, inputs: Tensors, choice: Choice, pool: WorkerPool, effort: Effort,
    notes: list[str], progress: Progress,
) -> _Ran:  # fmt: skip
    """Run the network in every way, in turn."""
    pool.forget()  # subgraphs that only other placements use
    networks, kinds = _whole(graph, choice, pool, notes)
    served = Fallback({name: networks[PLACED if name == CHOSEN else name]
                       for name in _preferred(choice)})  # fmt: skip
    ways: dict[str, Way] = {
        name: timed(partial(made.run, inputs)) for name, made in networks.items()
    }
    ways[SERVED], kinds[SERVED] = timed(partial(served.run, inputs)), "served"
    ways[IN_TURN], kinds[IN_TURN] = _summed(networks[PLACED], inputs), "steps"
    outputs = {name: made.run(inputs).outputs for name, made in networks.items()}
    blocks = [in_rounds(ways, rounds=effort.rounds, most_s=effort.rounds_s, progress=progress,
                        task=f"{graph.name}: all ways")]  # fmt: skip
    if effort.torch != "off":
        threads = max(len(worker.processors) for worker in pool.workers.values())
        with pytorch_ways(graph, inputs, threads, compiled=effort.torch == "compiled") as others:
            notes += others.notes
            if others.ways:
                outputs |= others.outputs
                kinds |= others.kinds
                blocks.append(in_rounds(
                    {PLACED: ways[PLACED],
                     **{name: outside(pool, other) for name, other in others.ways.items()}},
                    rounds=effort.rounds, most_s=effort.rounds_s / 2, progress=progress,
                    task=f"{graph.name}: PyTorch",
                ))  # fmt: skip
    return _Ran(kinds=kinds, outputs=outputs, blocks=blocks,
                tails=_tails(ways, blocks[0], kinds, effort, graph.name, progress))  # fmt: skip


@contextmanager
def _placements(
    problem: PlacementProblem, workers: Sequence[LocalWorker], inputs: Tensors, processes: bool
) -> Iterator[tuple[_Maker, _Maker]]:
    """Yield what makes placements ready, as they are and one step at a time; gone afterwards."""
    with WorkerPool(workers) as pool:
        placed = cache(Ways(problem, pool, inputs, processes=processes).placed)
        yield (lambda placement: timed(partial(placed(placement).run, inputs)),
               lambda placement: _summed(placed(placement), inputs))  # fmt: skip


def _whole(
    graph: Graph, choice: Choice, pool: WorkerPool, notes: list[str]
) -> tuple[dict[str, PlacedNetwork], dict[str, Kind]]:
    """Return the placement and the whole network on every worker that runs it, with their kinds."""
    networks = {PLACED: choice.networks[CHOSEN]}
    kinds: dict[str, Kind] = {PLACED: "placed"}
    most = max(len(w.processors) for w in pool.workers.values())
    whole = Region(graph=graph, nodes=tuple(n.name for n in graph.nodes), label="whole")
    for worker in pool.workers.values():
        own_memory = worker.memory_name != HOST
        kinds[worker.name] = (
            "gpu" if own_memory else "cpu" if len(worker.processors) == most else "part"
        )
        if worker.name in choice.networks:
            networks[worker.name] = choice.networks[worker.name]
        elif (reason := worker.backend.refuses(graph)) is not None:
            notes.append(f"the whole on {worker.name} is left out: {reason}")
        else:
            networks[worker.name] = PlacedNetwork(
                graph, [Step(region=whole, worker=worker.name)], pool
            )
    return networks, {name: kinds[name] for name in networks}


def _preferred(choice: Choice) -> list[str]:
    """Return the command's ways, the one that it stands by first."""
    return sorted(choice.networks, key=lambda name: (name != choice.best, name))


def _summed(network: PlacedNetwork, inputs: Tensors) -> Way:
    """Return a way that runs steps one at a time, and takes what they take without the rest."""
    in_turn = one_at_a_time(network)

    def once() -> float:
        found = in_turn.run(inputs)
        return sum(found.ended_s) - sum(found.began_s)

    return once


def _cut(choice: Choice, found: Comparison, kinds: Mapping[str, Kind]) -> float | None:
    """Return what the subgraphs take one by one on the worker of the best way alone, as timed."""
    alone = [name for name in found.times_s if kinds[name] in ALONE]
    names = [worker.name for worker in choice.problem.workers]
    if not alone:
        return None
    column: NDArray[np.float64] = choice.problem.seconds[
        :, names.index(min(alone, key=found.median_s))
    ]
    total = float(column.sum())
    return total if np.isfinite(total) else None


def _tails(
    ways: Mapping[str, Way], found: Comparison, kinds: Mapping[str, Kind], effort: Effort,
    name: str, progress: Progress,
) -> Comparison | None:  # fmt: skip
    """Run the placement, the best way alone and the served way for long; None: left out."""
    if effort.tail_runs == 0:
        return None
    alone = [way for way in found.times_s if kinds[way] in ALONE]
    wanted = [PLACED, SERVED, *([min(alone, key=found.median_s)] if alone else [])]
    slowest = max(found.median_s(way) for way in wanted)
    runs, most_s = effort.tail_runs, float("inf")
    if slowest < _SMALL_S:
        runs *= 10
    elif slowest >= SHORT_S:
        runs, most_s = _MOST_RUNS, effort.tail_s
    return in_rounds({way: ways[way] for way in wanted}, rounds=runs, most_s=most_s,
                     progress=progress, task=f"{name}: slow tail")  # fmt: skip
