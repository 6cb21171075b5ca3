"""The four published steps, with the start-time propagation they were released with.

Models:  (1) the ready layers of each kind go, all combinations tried, where the latest accelerator
         ends first; (2) a knapsack per accelerator binds weights; (3) activations between
         neighbours of a chain stay; (4) each layer is tried beside its producers and consumers.
         Times are *pulled in* after each step and hardly ever pushed out: a layer takes the end of
         the one before it on its accelerator without asking its other producers; a moved layer
         keeps its old length until something recomputes it, and pushes only its own accelerator's
         later layers; a binding once made is never taken back. So the result may break order,
         overlap, be too short and overfill a memory: `check_locality` counts.
Ignores: what the problem ignores.
Judge:   step times, violations and overlaps that were measured by running the released code on
         the same tables (``tests/studies/test_h2h.py``).

Written from the flow of Zhang et al., DAC 2022 (arXiv 2204.13852) and the behaviour of its
released mapper. The dependency-safe form is `safe_four_steps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product

import numpy as np

from orrery.progress import SILENT, Progress

from ._problem import LocalityProblem, LocalitySchedule, bind_weights, duration

#: The order in which kinds are served in each round of step 1.
_KINDS = ("CNN", "LSTM", "FC")


def four_steps(
    problem: LocalityProblem, *, progress: Progress = SILENT
) -> tuple[LocalitySchedule, LocalitySchedule, LocalitySchedule, LocalitySchedule]:
    """Return the schedule after each step with the times that the flow claims for it."""
    first = computation_first(problem)
    flow = _Flow(problem, first)
    flow.bind()
    start = flow.copy()  # step 4 sets out from here: weights chosen, times of step 1
    start.bound = [False] * len(problem.layers)
    flow.pull_bound(everywhere=True)
    second = flow.schedule()
    flow.drop_activations(everywhere=True)
    third = flow.schedule()
    best, latest = flow, max(flow.end)
    sinks = [layer for layer, consumers in enumerate(flow.consumers) if not consumers]
    sinks.sort(key=lambda layer: flow.end[layer], reverse=True)
    heads = [_head(problem, layer) for layer in sinks]
    done = 0
    for layer, neighbour, follows in _sweep(flow, heads * 2):
        queues = start.queue_of
        if queues[layer] == queues[neighbour] or not _same_kind(problem, layer, neighbour):
            continue
        trial = start.copy()
        trial.move(layer, neighbour, follows)
        trial.bind()
        trial.pull_bound(everywhere=False)
        trial.drop_activations(everywhere=False)
        if latest > max(trial.end):
            latest = max(trial.end)
            start = best = trial
        done += 1
        progress.step("locality-aware remapping", done, best=latest)
    return first, second, third, best.schedule()


def computation_first(problem: LocalityProblem) -> LocalitySchedule:
    """Return step 1: every transfer charged, ready layers placed by trying all combinations."""
    producers, runs_on = problem.producers(), problem.runs_on
    left = dict.fromkeys(range(len(problem.layers)))
    full = problem.compute_s + (problem.weight_s + problem.input_s) + problem.output_s
    free = [0.0] * len(problem.accelerators)
    start, end = [0.0] * len(left), [0.0] * len(left)
    queues: list[list[int]] = [[] for _ in free]
    while left:
        ready = [layer for layer in left if not any(p in left for p in producers[layer])]
        kinds = {layer: problem.kinds[runs_on[layer][0]] for layer in ready}
        for kind in (*_KINDS, *sorted(set(kinds.values()) - set(_KINDS))):
            layers = [layer for layer in ready if kinds[layer] == kind]
            devices = [a for a, own in enumerate(problem.kinds) if own == kind]
            if not layers:
                continue
            earliest = {
                layer: max((end[p] for p in producers[layer]), default=0.0) for layer in layers
            }
            chosen, free = _best_combination(layers, devices, earliest, free, full)
            for layer, (a, begin, finish) in chosen.items():
                del left[layer]
                queues[a].append(layer)
                start[layer], end[layer] = begin, finish
    return LocalitySchedule(
        queues=tuple(map(tuple, queues)), bound=(False,) * len(start), start_s=tuple(start),
        end_s=tuple(end),
    )  # fmt: skip


_Placed = dict[int, tuple[int, float, float]]


def _best_combination(
    layers: Sequence[int], devices: Sequence[int], earliest: dict[int, float],
    free: list[float], full: np.ndarray,
) -> tuple[_Placed, list[float]]:  # fmt: skip
    """Return the placement whose latest accelerator ends first; the first of equals."""
    size = min(len(layers), len(devices))
    least, best, kept = np.inf, {}, free
    for some in combinations(layers, size):
        for choice in product(devices, repeat=size):
            now, placed = free.copy(), {}
            for layer, a in zip(some, choice):
                begin = max(now[a], earliest[layer])
                now[a] = begin + float(full[layer, a])
                placed[layer] = (a, begin, now[a])
            if max(now) < least:
                least, best, kept = max(now), placed, now
    return best, kept


def _head(problem: LocalityProblem, layer: int) -> int:
    chain = [other for other, c in enumerate(problem.chain) if c == problem.chain[layer]]
    return min(chain, key=lambda other: problem.place[other])


def _same_kind(problem: LocalityProblem, left: int, right: int) -> bool:
    runs_on = problem.runs_on
    return problem.kinds[runs_on[left][0]] == problem.kinds[runs_on[right][0]]


def _sweep(flow: _Flow, heads: Iterable[int]) -> Iterable[tuple[int, int, bool]]:
    """Yield (layer, neighbour, layer follows neighbour) down every path from the heads."""
    for head in heads:
        stack = [head]
        while stack:
            layer = stack.pop()
            yield from ((layer, producer, True) for producer in flow.producers[layer])
            yield from ((layer, consumer, False) for consumer in flow.consumers[layer])
            stack.extend(reversed(flow.consumers[layer]))


class _Flow:
    """Queues, bindings and times, and the ways in which the flow changes them."""

    def __init__(self, problem: LocalityProblem, schedule: LocalitySchedule) -> None:
        self.problem = problem
        self.producers, self.consumers = problem.producers(), problem.consumers()
        self.before, self.after = problem.before, problem.after
        self.queues = [list(queue) for queue in schedule.queues]
        self.queue_of = list(schedule.assigned)
        self.start, self.end = list(schedule.start_s), list(schedule.end_s)
        self.bound = list(schedule.bound)

    def copy(self) -> _Flow:
        """Return an independent state."""
        other = object.__new__(_Flow)
        other.problem = self.problem
        other.producers, other.consumers = self.producers, self.consumers
        other.before, other.after = self.before, self.after
        other.queues = [queue.copy() for queue in self.queues]
        other.queue_of, other.bound = self.queue_of.copy(), self.bound.copy()
        other.start, other.end = self.start.copy(), self.end.copy()
        return other

    def schedule(self) -> LocalitySchedule:
        """Return the state as data."""
        return LocalitySchedule(
            queues=tuple(map(tuple, self.queues)), bound=tuple(self.bound),
            start_s=tuple(self.start), end_s=tuple(self.end),
        )  # fmt: skip

    def bind(self) -> None:
        """Mark what the knapsacks take; marks of earlier knapsacks stay."""
        fresh = bind_weights(self.problem, self.queues)
        self.bound = [old or new for old, new in zip(self.bound, fresh)]

    def pull_bound(self, *, everywhere: bool) -> None:
        """Take the weights' transfer from bound layers, earliest end first, and pull in."""
        order = [layer for queue in self.queues for layer in queue]
        rank = {layer: index for index, layer in enumerate(order)}
        # sorted once, by the ends before any of them changes; the last of equals goes first
        claimed = self.end.copy()
        for layer in sorted(
            (layer for layer in order if self.bound[layer]),
            key=lambda layer: (claimed[layer], -rank[layer]),
        ):
            length = duration(self.problem, layer, self.queue_of[layer], weights=False)
            self.end[layer] = self.start[layer] + length
            self._pull_after(layer, everywhere)

    def drop_activations(self, *, everywhere: bool) -> None:
        """Take the activations between neighbours of a chain, then pull in once more."""
        for queue in self.queues:
            for index, layer in enumerate(queue):
                follows = index > 0 and self.before[layer] == queue[index - 1]
                leads = index + 1 < len(queue) and self.after[layer] == queue[index + 1]
                if not (follows or leads):
                    continue
                if follows:  # whatever else it waits for
                    self.start[layer] = self.end[queue[index - 1]]
                self.end[layer] = self.start[layer] + duration(
                    self.problem, layer, self.queue_of[layer], weights=not self.bound[layer],
                    inputs=not follows, outputs=not leads,
                )  # fmt: skip
        order = [layer for queue in self.queues for layer in queue]
        rank = {layer: index for index, layer in enumerate(order)}
        firsts = {queue[0] for queue in self.queues if queue}
        waiting = [
            layer for layer in order if not (layer in firsts and self.before[layer] < 0)
        ]  # fmt: skip
        claimed = self.end.copy()
        waiting.sort(key=lambda layer: (claimed[layer], rank[layer]))
        for layer in waiting:
            if self._pull(layer):
                self._pull_after(layer, everywhere)

    def move(self, layer: int, neighbour: int, follows: bool) -> None:
        """Put a layer directly behind or before a neighbour; push what comes after it there."""
        old, new = self.queue_of[layer], self.queue_of[neighbour]
        place = self.queues[old].index(layer)
        self.queues[old].pop(place)
        left_behind = self.queues[old][place] if place < len(self.queues[old]) else None
        self.queues[new].insert(self.queues[new].index(neighbour) + follows, layer)
        self.queue_of[layer] = new
        for moved in self.queues[new][self.queues[new].index(layer) :]:
            length = self.end[moved] - self.start[moved]
            self.start[moved] = self._ready(moved)
            self.end[moved] = self.start[moved] + length
        if left_behind is not None:
            for later in self.queues[old][place:]:
                if not self._pull(later):
                    break

    def _ready(self, layer: int) -> float:
        queue = self.queues[self.queue_of[layer]]
        place = queue.index(layer)
        latest = self.end[queue[place - 1]] if place else 0.0
        return max([latest, *(self.end[p] for p in self.producers[layer])])

    def _pull(self, layer: int) -> bool:
        """Start a layer as soon as it may, if that is earlier; return whether it was."""
        ready = self._ready(layer)
        if ready >= self.start[layer]:
            return False
        self.end[layer] = ready + (self.end[layer] - self.start[layer])
        self.start[layer] = ready
        return True

    def _pull_after(self, layer: int, everywhere: bool) -> None:
        """Pull in what follows on the accelerator; in the graph too in steps 2 and 3.

        In step 4 only the direct consumers of the layer itself are looked at, and from each only
        its accelerator's queue.
        """
        stack = [*reversed(self.consumers[layer]), *self._next(layer)]
        while stack:
            other = stack.pop()
            if self._pull(other):
                if everywhere:
                    stack.extend(reversed(self.consumers[other]))
                stack.extend(self._next(other))

    def _next(self, layer: int) -> list[int]:
        queue = self.queues[self.queue_of[layer]]
        place = queue.index(layer) + 1
        return queue[place : place + 1]
