"""Small problems for the tests, and the best schedule of one by trying everything."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

from orrery.mapping.locality import LocalityProblem


def draw_problem(
    rng: np.random.Generator, *, layers: int = 5, accelerators: int = 3, memory: float = 0.6
) -> LocalityProblem:
    """Return a random problem: up to three chains, cross edges, one or two kinds."""
    chain = sorted(int(c) for c in rng.integers(0, 3, layers))
    place = [chain[:n].count(c) + 1 for n, c in enumerate(chain)]
    edges = [(n - 1, n) for n in range(1, layers) if chain[n] == chain[n - 1]]
    for consumer in range(1, layers):
        for producer in range(consumer):
            if chain[producer] != chain[consumer] and rng.random() < 0.2:
                edges.append((producer, consumer))
    kinds = ["CNN"] * accelerators
    own = np.zeros(layers, bool)
    if accelerators > 2 and rng.random() < 0.5:
        kinds[-1] = "FC"
        own = rng.random(layers) < 0.3
    runs = np.array([[kind == ("FC" if fc else "CNN") for kind in kinds] for fc in own])
    shape = (layers, accelerators)
    words = rng.integers(1, 9, layers)
    return LocalityProblem(
        layers=tuple(f"M{c}L{p}" for c, p in zip(chain, place)),
        accelerators=tuple(f"a{n}" for n in range(accelerators)), kinds=tuple(kinds),
        chain=tuple(chain), place=tuple(place), edges=tuple(edges),
        compute_s=np.where(runs, rng.integers(1, 20, shape).astype(float), np.inf),
        weight_s=np.repeat(words[:, None] * 1.0, accelerators, axis=1),
        input_s=rng.integers(0, 6, shape).astype(float),
        output_s=rng.integers(0, 6, shape).astype(float),
        weight_words=words.astype(np.int64) * 1000,
        capacity_words=np.full(accelerators, int(memory * words.sum()) * 1000, np.int64),
        power_w=np.ones(accelerators),
    )  # fmt: skip


def naive_makespan(
    problem: LocalityProblem, queues: list[list[int]], bound: tuple[bool, ...]
) -> float:
    """Return the makespan by pushing every layer back until nothing moves any more."""
    length, waits = {}, []
    for a, queue in enumerate(queues):
        for k, n in enumerate(queue):
            here = (problem.chain[n], problem.place[n])
            neighbours = [(problem.chain[m], problem.place[m]) for m in queue]
            total = problem.compute_s[n, a] + (0 if bound[n] else problem.weight_s[n, a])
            if not (k and neighbours[k - 1] == (here[0], here[1] - 1)):
                total += problem.input_s[n, a]
            if not (k + 1 < len(queue) and neighbours[k + 1] == (here[0], here[1] + 1)):
                total += problem.output_s[n, a]
            length[n] = total
            if k:
                waits.append((queue[k - 1], n))
    start = dict.fromkeys(length, 0.0)
    moved = True
    while moved:
        moved = False
        for before, after in (*waits, *problem.edges):
            if start[after] < start[before] + length[before]:
                start[after], moved = start[before] + length[before], True
    return max(start[n] + length[n] for n in length)


def _bindings(problem: LocalityProblem, device: tuple[int, ...]) -> Iterator[tuple[bool, ...]]:
    """Yield the bound sets that fit and to which nothing can be added: less is never faster."""

    def room(bound: tuple[bool, ...], a: int) -> int:
        held = sum(
            int(problem.weight_words[n]) for n, d in enumerate(device) if bound[n] and d == a
        )
        return int(problem.capacity_words[a]) - held

    for bound in product((False, True), repeat=len(device)):
        rooms = [room(bound, a) for a in range(len(problem.accelerators))]
        if min(rooms) >= 0 and not any(
            not b and problem.weight_words[n] <= rooms[device[n]] for n, b in enumerate(bound)
        ):
            yield bound


def best_of_all(problem: LocalityProblem) -> float:
    """Return the least makespan over all assignments, orders and bound sets."""
    layers = range(len(problem.layers))
    orders = [
        order for order in permutations(layers)
        if all(order.index(p) < order.index(c) for p, c in problem.edges)
    ]  # fmt: skip
    best = float("inf")
    for device in product(*problem.runs_on):
        queues = {
            tuple(tuple(n for n in order if device[n] == a)
                  for a in range(len(problem.accelerators)))
            for order in orders
        }  # fmt: skip
        for bound in _bindings(problem, device):
            for queue in queues:
                best = min(best, naive_makespan(problem, [list(q) for q in queue], bound))
    return best
