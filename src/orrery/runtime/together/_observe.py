"""What each step of a placed network takes in a request, and alone.

Models:  nothing; it measures. Requests as they are alternate with requests of the same steps in the
         same places, one step at a time, so that the machine disturbs both alike.
Judge:   back ends that slow each other down by a known factor
         (tests/runtime/together/test_observe.py).
"""

from __future__ import annotations

import copy
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from orrery.errors import SpecError

from .._backend import Tensors
from ._compare import SHORT_S
from ._executor import Outcome, PlacedNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Medians of requests, in the order of the network's steps.

    Attributes
    ----------
    began_s, ended_s : per step, from when the request came
    latency_s : of requests
    alone_s : per step, what it takes with nothing beside it
    rounds : of both
    """

    began_s: tuple[float, ...]
    ended_s: tuple[float, ...]
    latency_s: float
    alone_s: tuple[float, ...]
    rounds: int


def observe(
    network: PlacedNetwork,
    inputs: Tensors,
    *,
    rounds: int = 15,
    warmup: int = 1,
    most_s: float = 5.0,
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Observed:
    """Time the steps of a network in requests and alone.

    Parameters
    ----------
    most_s : no round is begun after so many seconds, save the first
    timeout_s : of a request

    Raises
    ------
    SpecError : no round
    WorkerFailedError, WorkerHungError : see `PlacedNetwork.run`
    """
    if rounds < 1:
        raise SpecError("observe", found=f"{rounds} rounds", wanted="1 or more",
                        fix="correct the number")  # fmt: skip
    single_file = one_at_a_time(network)
    short = False
    for _ in range(warmup):
        network.run(inputs, timeout_s=timeout_s)
        short = single_file.run(inputs, timeout_s=timeout_s).latency_s < SHORT_S
    together: list[Outcome] = []
    alone: list[Outcome] = []
    until = clock() + most_s
    while len(together) < rounds and (not together or clock() < until):
        together.append(network.run(inputs, timeout_s=timeout_s))
        if short:  # what other requests left in the caches is not of the steps: see `timed_warm`
            single_file.run(inputs, timeout_s=timeout_s)
        alone.append(single_file.run(inputs, timeout_s=timeout_s))
    steps = range(len(network.steps))
    return Observed(
        began_s=tuple(statistics.median(o.began_s[k] - o.asked_s for o in together) for k in steps),
        ended_s=tuple(statistics.median(o.ended_s[k] - o.asked_s for o in together) for k in steps),
        latency_s=statistics.median(o.latency_s for o in together),
        alone_s=tuple(statistics.median(o.ended_s[k] - o.began_s[k] for o in alone) for k in steps),
        rounds=len(together),
    )  # fmt: skip


def one_at_a_time(network: PlacedNetwork) -> PlacedNetwork:
    """Return the same steps in the same places, each waiting for the one before it."""
    own = getattr(network, "one_after_another", None)  # of processes
    if own is not None:
        made: PlacedNetwork = own()
        return made
    if network.straight is not None:
        return network
    made = copy.copy(network)  # what is ready is shared: two made alike are not quite as quick
    made.lock, made.tails = threading.Lock(), {}
    made.frees, made.waiting = [list(others) for others in network.frees], list(network.waiting)
    for number in range(1, len(made.steps)):
        if number not in made.frees[number - 1]:
            made.frees[number - 1].append(number)
            made.waiting[number] += 1
    return made
