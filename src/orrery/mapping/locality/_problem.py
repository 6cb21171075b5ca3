"""Layers of several chains on typed accelerators, each with a memory of its own.

Models:  a directed graph of layers. A layer runs on one accelerator of its kind and takes
         compute + weights in + activations in + activations out, one after the other, over the
         accelerator's own link. Weights bound to an accelerator's memory are not sent. Where a
         layer directly follows the layer before it of the same chain on the same accelerator, the
         activations between the two are not sent either.
Ignores: contention (every transfer is charged as if alone), the producer of an activation that
         crosses chains (it is charged with the consumer's own input and the producer's own
         output), reading weights while something else computes, idle energy.
Judge:   brute force over assignments × orders × bound sets on small problems; a checker that
         shares no code with this file.

The problem is that of Zhang et al., "H2H: Heterogeneous Model to Heterogeneous System Mapping with
Computation and Communication Awareness", DAC 2022 (arXiv 2204.13852), as its released code has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalityProblem:
    """The tables of the problem.

    Attributes
    ----------
    layers : names, L of them
    accelerators : names, A of them
    kinds : what each accelerator runs, e.g. ``CNN``; A of them
    chain, place : which chain a layer belongs to, and where in it; L of each
    edges : (producer, consumer) as indices into `layers`
    compute_s, weight_s, input_s, output_s : seconds, shape [L, A]; compute is infinite where an
        accelerator does not run the layer
    weight_words : words of each layer's weights, shape [L]
    capacity_words : words each accelerator may hold bound, shape [A]
    power_w : watts of each accelerator while busy, shape [A]
    """

    layers: tuple[str, ...]
    accelerators: tuple[str, ...]
    kinds: tuple[str, ...]
    chain: tuple[int, ...]
    place: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    compute_s: Table
    weight_s: Table
    input_s: Table
    output_s: Table
    weight_words: NDArray[np.int64]
    capacity_words: NDArray[np.int64]
    power_w: Table

    def __post_init__(self) -> None:
        layers, accelerators = len(self.layers), len(self.accelerators)
        for name in ("compute_s", "weight_s", "input_s", "output_s"):
            table: NDArray[Any] = getattr(self, name)
            if table.shape != (layers, accelerators):
                _refuse(name, f"shape {table.shape}", f"shape {(layers, accelerators)}")
            if np.isnan(table).any() or (table < 0).any():
                _refuse(name, "a negative number or none at all", "seconds from zero up")
            if name != "compute_s" and np.isinf(table).any():
                _refuse(name, "an endless transfer", "finite seconds; raise the bandwidth")
        for name, size in (("chain", layers), ("place", layers), ("kinds", accelerators),
                           ("weight_words", layers), ("capacity_words", accelerators),
                           ("power_w", accelerators)):  # fmt: skip
            if len(getattr(self, name)) != size:
                _refuse(name, f"{len(getattr(self, name))} entries", f"{size} entries")
        if len(set(zip(self.chain, self.place))) != layers:
            _refuse("place", "two layers at one place of a chain", "one layer per place")
        if not layers:
            _refuse("layers", "none", "one or more")
        if any(not (0 <= p < layers and 0 <= c < layers and p != c) for p, c in self.edges):
            _refuse("edges", "an edge of or to no layer", "pairs of two layers' indices")
        if len(_topological(layers, self.edges)) < layers:
            _refuse("edges", "a cycle", "a directed graph without cycles")

    @property
    def before(self) -> tuple[int, ...]:
        """Per layer the one before it in its chain, -1 for the first."""
        at = {key: layer for layer, key in enumerate(zip(self.chain, self.place))}
        return tuple(at.get((c, p - 1), -1) for c, p in zip(self.chain, self.place))

    @property
    def after(self) -> tuple[int, ...]:
        """Per layer the next one of its chain, -1 for the last."""
        at = {key: layer for layer, key in enumerate(zip(self.chain, self.place))}
        return tuple(at.get((c, p + 1), -1) for c, p in zip(self.chain, self.place))

    @property
    def runs_on(self) -> tuple[tuple[int, ...], ...]:
        """Per layer the accelerators that run it."""
        return tuple(tuple(np.flatnonzero(np.isfinite(row)).tolist()) for row in self.compute_s)

    def producers(self) -> tuple[tuple[int, ...], ...]:
        """Return per layer the layers it waits for, in the order of `edges`."""
        found: list[list[int]] = [[] for _ in self.layers]
        for producer, consumer in self.edges:
            found[consumer].append(producer)
        return tuple(map(tuple, found))

    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """Return per layer the layers that wait for it, in the order of `edges`."""
        found: list[list[int]] = [[] for _ in self.layers]
        for producer, consumer in self.edges:
            found[producer].append(consumer)
        return tuple(map(tuple, found))

    def topological(self) -> tuple[int, ...]:
        """Return the layers so that none comes before a producer of its own."""
        return _topological(len(self.layers), self.edges)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalitySchedule:
    """Which accelerator runs which layers in which order, what is bound, and when all happens.

    Attributes
    ----------
    queues : per accelerator its layers in order
    bound : per layer whether its weights stay in the accelerator's memory
    start_s, end_s : per layer, as the searcher claims them; `check_locality` says if they hold
    """

    queues: tuple[tuple[int, ...], ...]
    bound: tuple[bool, ...]
    start_s: tuple[float, ...]
    end_s: tuple[float, ...]

    @property
    def makespan_s(self) -> float:
        """The latest end."""
        return max(self.end_s)

    @property
    def assigned(self) -> tuple[int, ...]:
        """Per layer its accelerator."""
        of = {layer: a for a, queue in enumerate(self.queues) for layer in queue}
        return tuple(of[layer] for layer in range(len(self.start_s)))

    def energy_j(self, problem: LocalityProblem) -> float:
        """Return busy time × power, all that the published model counts."""
        return sum(
            (self.end_s[layer] - self.start_s[layer]) * float(problem.power_w[a])
            for a, queue in enumerate(self.queues) for layer in queue
        )  # fmt: skip


def retime(
    problem: LocalityProblem, queues: Sequence[Sequence[int]], bound: Sequence[bool]
) -> LocalitySchedule | None:
    """Give every layer the earliest times that queues and edges allow; None for a cycle."""
    before, after = problem.before, problem.after
    edges = list(problem.edges)
    accelerator = [0] * len(problem.layers)
    keeps_in = [False] * len(problem.layers)
    keeps_out = [False] * len(problem.layers)
    for a, queue in enumerate(queues):
        for layer in queue:
            accelerator[layer] = a
        for left, right in pairwise(queue):
            edges.append((left, right))
            keeps_out[left] = after[left] == right
            keeps_in[right] = before[right] == left
    order = _topological(len(problem.layers), edges)
    if len(order) < len(problem.layers):
        return None
    waits: list[list[int]] = [[] for _ in problem.layers]
    for producer, consumer in edges:
        waits[consumer].append(producer)
    start = [0.0] * len(order)
    end = [0.0] * len(order)
    for layer in order:
        a = accelerator[layer]
        start[layer] = max((end[p] for p in waits[layer]), default=0.0)
        end[layer] = start[layer] + duration(
            problem, layer, a, weights=not bound[layer], inputs=not keeps_in[layer],
            outputs=not keeps_out[layer],
        )  # fmt: skip
    return LocalitySchedule(
        queues=tuple(map(tuple, queues)), bound=tuple(map(bool, bound)), start_s=tuple(start),
        end_s=tuple(end),
    )  # fmt: skip


def duration(
    problem: LocalityProblem, layer: int, a: int, *, weights: bool = True, inputs: bool = True,
    outputs: bool = True,
) -> float:  # fmt: skip
    """Return the seconds of a layer on an accelerator with the transfers that remain."""
    return float(
        problem.compute_s[layer, a]
        + (
            (problem.weight_s[layer, a] if weights else 0.0)
            + (problem.input_s[layer, a] if inputs else 0.0)
        )
        + (problem.output_s[layer, a] if outputs else 0.0)
    )


def sequence_of(schedule: LocalitySchedule, problem: LocalityProblem) -> tuple[int, ...]:
    """Return all layers in one order that agrees with queues and edges."""
    edges = list(problem.edges)
    for queue in schedule.queues:
        edges += pairwise(queue)
    return _topological(len(problem.layers), edges)


def bind_weights(
    problem: LocalityProblem, queues: Sequence[Sequence[int]], *, grain: int = 1000
) -> list[bool]:
    """Choose per accelerator the weights to bind: a 0/1 knapsack, as many words as fit.

    Parameters
    ----------
    grain : words per unit; sizes and capacities are rounded up to it, as the published flow does
    """
    bound = [False] * len(problem.layers)
    for a, queue in enumerate(queues):
        room = -(-int(problem.capacity_words[a]) // grain)
        sizes = [-(-int(problem.weight_words[layer]) // grain) for layer in queue]
        for layer, taken in zip(queue, _fill(sizes, room)):
            bound[layer] = taken
    return bound


def _fill(sizes: list[int], room: int) -> list[bool]:
    """Return which items to take so that they fill the room best; of equals, the earlier ones.

    Bit n of ``reach[k]`` says that some of the first k items have n units together.
    """
    if sum(sizes) <= room:
        return [size > 0 for size in sizes]
    mask = (1 << (room + 1)) - 1
    reach = [1]
    for size in sizes:
        reach.append((reach[-1] | (reach[-1] << size)) & mask)
    taken = [False] * len(sizes)
    for k in range(len(sizes), 0, -1):
        best, without = _highest(reach[k], room), _highest(reach[k - 1], room)
        if best > without:
            taken[k - 1] = True
            room -= sizes[k - 1]
    return taken


def _highest(bits: int, room: int) -> int:
    return (bits & ((1 << (room + 1)) - 1)).bit_length() - 1


def _topological(count: int, edges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the layers in an order of the edges, lowest index first; shorter for a cycle."""
    consumers: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for producer, consumer in edges:
        consumers[producer].append(consumer)
        waiting[consumer] += 1
    ready = [layer for layer in range(count) if not waiting[layer]]
    order: list[int] = []
    for layer in ready:  # grows while it is walked
        order.append(layer)
        for consumer in consumers[layer]:
            waiting[consumer] -= 1
            if not waiting[consumer]:
                ready.append(consumer)
    return tuple(order)


def _refuse(key: str, found: str, wanted: str) -> None:
    raise SpecError(f"locality problem: {key}", found=found, wanted=wanted, fix="correct the table")
