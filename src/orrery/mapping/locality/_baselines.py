"""Valid mappings to compare with: the published steps made safe, one accelerator per kind, random.

Models:  the problem of `LocalityProblem`. The four steps are those of `four_steps`, but after each
         all times are computed anew from queues and edges, a move that closes a cycle is refused,
         knapsacks are solved afresh, and every chain is swept, not only those that end in a sink.
Ignores: what the problem ignores.
Judge:   `check_locality` on every result; none below the bound.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from orrery.progress import SILENT, Progress

from ._four_steps import computation_first
from ._problem import LocalityProblem, LocalitySchedule, bind_weights, retime


def safe_four_steps(
    problem: LocalityProblem, *, progress: Progress = SILENT
) -> tuple[LocalitySchedule, LocalitySchedule]:
    """Return the schedules before and after locality-aware remapping, both valid."""
    queues = [list(queue) for queue in computation_first(problem).queues]
    best = first = _timed(problem, queues)
    producers, consumers, runs_on = problem.producers(), problem.consumers(), problem.runs_on
    chains: dict[int, list[int]] = {}
    for layer in sorted(range(len(problem.layers)), key=lambda index: problem.place[index]):
        chains.setdefault(problem.chain[layer], []).append(layer)
    ordered = sorted(chains.values(), key=lambda chain: max(first.end_s[n] for n in chain))
    for done, layer in enumerate(layer for _ in range(2) for chain in ordered[::-1]
                                 for layer in chain):  # fmt: skip
        progress.step("safe remapping", done, 2 * len(problem.layers), best=best.makespan_s)
        beside = [(p, 1) for p in producers[layer]] + [(c, 0) for c in consumers[layer]]
        for neighbour, behind in beside:
            assigned = best.assigned
            if assigned[layer] == assigned[neighbour]:
                continue
            if assigned[neighbour] not in runs_on[layer]:
                continue
            trial = [[n for n in queue if n != layer] for queue in best.queues]
            target = trial[assigned[neighbour]]
            target.insert(target.index(neighbour) + behind, layer)
            found = retime(problem, trial, bind_weights(problem, trial, grain=1000))
            if found is not None and found.makespan_s < best.makespan_s:
                best = found
    return first, best


def one_per_kind(problem: LocalityProblem) -> LocalitySchedule:
    """Return the best mapping that uses one accelerator for all layers of a kind.

    Every choice of accelerators is tried, with chains one after the other and side by side.
    """
    topological = problem.topological()
    by_chain = _chain_order(problem)
    chosen = [0] * len(problem.layers)
    runs_on = problem.runs_on
    groups: dict[tuple[int, ...], list[int]] = {}
    for layer, devices in enumerate(runs_on):
        groups.setdefault(devices, []).append(layer)
    best: LocalitySchedule | None = None
    for devices, layers in groups.items():  # kinds share nothing, but the graph couples them
        for layer in layers:
            chosen[layer] = devices[0]
    for _ in range(2):  # a kind's best choice may change once the others are chosen
        for devices, layers in groups.items():
            kept = chosen[layers[0]]
            for device in devices:
                for layer in layers:
                    chosen[layer] = device
                for order in (by_chain, topological):
                    found = _timed(problem, _queued(problem, order, chosen))
                    if best is None or found.makespan_s < best.makespan_s:
                        best, kept = found, device
            for layer in layers:
                chosen[layer] = kept
    if best is None:
        raise RuntimeError("a problem has at least one layer")
    return best


def random_locality(
    problem: LocalityProblem, *, trials: int = 1000, seed: int = 0
) -> LocalitySchedule:
    """Return the best of many mappings drawn at random, in topological order."""
    draw, runs_on, order = random.Random(seed), problem.runs_on, problem.topological()
    found = (
        _timed(problem, _queued(problem, order, [draw.choice(devices) for devices in runs_on]))
        for _ in range(max(1, trials))
    )
    return min(found, key=lambda schedule: schedule.makespan_s)


def _timed(problem: LocalityProblem, queues: Sequence[Sequence[int]]) -> LocalitySchedule:
    found = retime(problem, queues, bind_weights(problem, queues))
    if found is None:
        raise RuntimeError("queues filled in topological order close no cycle")
    return found


def _queued(
    problem: LocalityProblem, order: Sequence[int], chosen: Sequence[int]
) -> list[list[int]]:
    queues: list[list[int]] = [[] for _ in problem.accelerators]
    for layer in order:
        queues[chosen[layer]].append(layer)
    return queues


def _chain_order(problem: LocalityProblem) -> tuple[int, ...]:
    """Return a topological order that stays in a chain as long as it can."""
    producers, consumers, after = problem.producers(), problem.consumers(), problem.after
    waiting = [len(p) for p in producers]
    ready = [layer for layer, count in enumerate(waiting) if not count][::-1]
    order: list[int] = []
    while ready:
        layer = ready.pop()
        order.append(layer)
        freed = []
        for consumer in consumers[layer]:
            waiting[consumer] -= 1
            if not waiting[consumer]:
                freed.append(consumer)
        freed.sort(key=lambda consumer: consumer == after[layer])
        ready.extend(freed)
    return tuple(order)
