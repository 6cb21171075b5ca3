"""The inner loop of the annealing search: plain Python over arrays, compiled on first use.

Models:  a state is one order of all layers that agrees with the graph, an accelerator per layer
         and what is bound. Reading the order front to back gives every queue, so every state is
         valid; and every valid schedule is such a state.
Ignores: what the problem ignores.
Judge:   `retime` on random states; brute force on small problems.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code

Array = NDArray[Any]


def makespan(
    order: Array, device: Array, bound: Array, compute: Array, weight: Array, inputs: Array,
    outputs: Array, before: Array, after: Array, starts: Array, producers: Array, end: Array,
    free: Array, last: Array, follows: Array,
) -> tuple[float, float]:  # fmt: skip
    """Return makespan and the mean end; fills `end`."""
    for a in range(free.size):
        free[a] = 0.0
        last[a] = -1
    for layer in range(order.size):
        follows[layer] = 0
    for k in range(order.size):
        layer = order[k]
        a = device[layer]
        if before[layer] >= 0 and last[a] == before[layer]:
            follows[layer] = 1
        last[a] = layer
    latest, total = 0.0, 0.0
    for k in range(order.size):
        layer = order[k]
        a = device[layer]
        now = free[a]
        for e in range(starts[layer], starts[layer + 1]):
            if end[producers[e]] > now:
                now = end[producers[e]]
        now += compute[layer, a]
        if not bound[layer]:
            now += weight[layer, a]
        if not follows[layer]:
            now += inputs[layer, a]
        if after[layer] < 0 or not follows[after[layer]]:
            now += outputs[layer, a]
        end[layer] = now
        free[a] = now
        total += now
        if now > latest:
            latest = now
    return latest, total / order.size


def draw(
    random: Array, below: int,
) -> int:  # fmt: skip
    """Return a number from 0 to below - 1 (xorshift; `random` holds the state)."""
    x = random[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    random[0] = x
    return np.int64((x >> np.uint64(11)) % np.uint64(below))  # type: ignore[return-value]


def fill_memories(
    order: Array, device: Array, bound: Array, words: Array, room: Array,
) -> None:  # fmt: skip
    """Bind, front to back, what still fits."""
    for k in range(order.size):
        layer = order[k]
        if not bound[layer] and words[layer] <= room[device[layer]]:
            bound[layer] = 1
            room[device[layer]] -= words[layer]


def anneal(
    order: Array, device: Array, bound: Array, room: Array, best_order: Array, best_device: Array,
    best_bound: Array, best: float, random: Array, compute: Array, weight: Array, inputs: Array,
    outputs: Array, before: Array, after: Array, starts: Array, producers: Array,
    out_starts: Array, consumers: Array, words: Array, choice_starts: Array, choices: Array,
    steps: int, hot: float, cold: float, tight: bool,
) -> float:  # fmt: skip
    """Walk `steps` moves while the temperature falls from `hot` to `cold`; return the best found.

    A move picks a run of neighbours of a chain, perhaps gives it another accelerator, and perhaps
    puts it elsewhere in the order between the last of its producers and the first of its
    consumers; or it exchanges two accelerators over a stretch of the order; or, where memory is
    short, it binds one layer's weights instead of another's.
    """
    n = order.size
    end, follows = np.zeros(n), np.zeros(n, np.int8)
    free, last = np.zeros(room.size), np.zeros(room.size, np.int64)
    order2, device2, bound2, room2 = order.copy(), device.copy(), bound.copy(), room.copy()
    chosen, run = np.zeros(n, np.int8), np.zeros(n, np.int64)
    value, mean = makespan(
        order, device, bound, compute, weight, inputs, outputs, before, after, starts, producers,
        end, free, last, follows,
    )  # fmt: skip
    now = value + 0.02 * mean
    cooling = (cold / hot) ** (1.0 / max(1, steps))
    temperature = hot
    for _ in range(steps):
        temperature *= cooling
        order2[:], device2[:], bound2[:], room2[:] = order, device, bound, room
        kind = draw(random, 16)
        first = draw(random, n)
        if kind == 0:  # exchange two accelerators over a stretch
            if choice_starts[first + 1] - choice_starts[first] < 2:
                continue
            options = choice_starts[first + 1] - choice_starts[first]
            left = device[first]
            right = choices[choice_starts[first] + draw(random, options)]
            low, high = draw(random, n), draw(random, n) + 1
            if low >= high or left == right:
                continue
            for k in range(low, high):
                layer = order[k]
                to = right if device[layer] == left else left
                if (device[layer] == left or device[layer] == right) and np.isfinite(
                    compute[layer, to]
                ):
                    device2[layer] = to
                    if bound[layer]:
                        bound2[layer] = 0
                        room2[device[layer]] += words[layer]
            fill_memories(order2, device2, bound2, words, room2)
        elif kind == 1 and tight:
            if bound[first]:
                continue
            a = device[first]
            for _ in range(n):
                if room2[a] >= words[first]:
                    break
                other = draw(random, n)
                if device[other] == a and bound2[other]:
                    bound2[other] = 0
                    room2[a] += words[other]
            if room2[a] < words[first]:
                continue
            bound2[first] = 1
            room2[a] -= words[first]
            fill_memories(order2, device2, bound2, words, room2)
        else:
            longest = 1 + draw(random, 4) if kind < 10 else 1 + draw(random, n)
            size = 0
            layer = first
            while layer >= 0 and size < longest:
                run[size] = layer
                size += 1
                layer = after[layer]
            options = choice_starts[first + 1] - choice_starts[first]
            if kind % 4 != 3:  # another accelerator
                to = choices[choice_starts[first] + draw(random, options)]
                if kind % 2 == 0:  # the one of a neighbour
                    if draw(random, 2) and before[first] >= 0:
                        to = device[before[first]]
                    elif layer >= 0:
                        to = device[layer]
                for k in range(size):
                    layer = run[k]
                    if device[layer] != to and np.isfinite(compute[layer, to]):
                        if bound2[layer]:
                            bound2[layer] = 0
                            room2[device[layer]] += words[layer]
                        device2[layer] = to
                fill_memories(order2, device2, bound2, words, room2)
            if kind % 4 >= 1:  # another place in the order
                for k in range(size):
                    chosen[run[k]] = 1
                write, low, high = 0, 0, n - size
                for k in range(n):
                    layer = order[k]
                    if chosen[layer]:
                        continue
                    order2[write] = layer
                    write += 1
                    for e in range(out_starts[layer], out_starts[layer + 1]):
                        if chosen[consumers[e]]:
                            low = write
                    if write - 1 < high:
                        for e in range(starts[layer], starts[layer + 1]):
                            if chosen[producers[e]]:
                                high = write - 1
                                break
                for k in range(size):
                    chosen[run[k]] = 0
                if low > high:
                    continue
                at = low + draw(random, high - low + 1)
                for k in range(n - size - 1, at - 1, -1):
                    order2[k + size] = order2[k]
                for k in range(size):
                    order2[at + k] = run[k]
        value2, mean2 = makespan(
            order2, device2, bound2, compute, weight, inputs, outputs, before, after, starts,
            producers, end, free, last, follows,
        )  # fmt: skip
        new = value2 + 0.02 * mean2
        if new <= now or (draw(random, 1 << 30) + 0.5) / (1 << 30) < np.exp(
            (now - new) / temperature
        ):
            now, value = new, value2
            order[:], device[:], bound[:], room[:] = order2, device2, bound2, room2
            if value < best:
                best = value
                best_order[:], best_device[:], best_bound[:] = order, device, bound
    return best


@cache
def compiled() -> tuple[Callable[..., Any], ...]:
    """Return `makespan` and `anneal` as machine code; loads the compiler on first use."""
    return machine_code(makespan, anneal, calls=(makespan, draw, fill_memories))
