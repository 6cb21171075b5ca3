"""Requests watched: what each step of a placed network takes, together and alone; who hangs.

Models:  nothing; it measures. Requests as they are alternate with requests of the same steps in the
         same places, one step at a time, so that the machine disturbs both alike.
         Whoever asks without a time limit does a worker's steps itself: somebody else must see that
         it hangs, and be able to leave.
Judge:   back ends that slow each other down by a known factor, or wait
         (tests/runtime/together/test_observe.py).
"""

from __future__ import annotations

import copy
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from orrery.errors import CancelledError, SpecError

from .._backend import Tensors
from ._compare import SHORT_S
from ._executor import Outcome, PlacedNetwork
from ._fallback import Fallback
from ._pool import WorkerPool, forwarding

T = TypeVar("T")

#: Has a network serve a request.
Ask = Callable[[PlacedNetwork | Fallback, Tensors], Outcome]

#: How often somebody looks whether a worker hangs.
_LOOK_S = 0.5


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
    ask: Ask = lambda network, inputs: network.run(inputs),
    clock: Callable[[], float] = time.perf_counter,
) -> Observed:
    """Time the steps of a network in requests and alone.

    Parameters
    ----------
    most_s : no round is begun after so many seconds, save the first
    ask : as `watched` gives it

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
        ask(network, inputs)
        short = ask(single_file, inputs).latency_s < SHORT_S
    together: list[Outcome] = []
    alone: list[Outcome] = []
    until = clock() + most_s
    while len(together) < rounds and (not together or clock() < until):
        together.append(ask(network, inputs))
        if short:  # what other requests left in the caches is not of the steps: see `timed_warm`
            ask(single_file, inputs)
        alone.append(ask(single_file, inputs))
    steps = range(len(network.steps))
    return Observed(
        began_s=tuple(statistics.median(o.began_s[k] - o.asked_s for o in together) for k in steps),
        ended_s=tuple(statistics.median(o.ended_s[k] - o.asked_s for o in together) for k in steps),
        latency_s=statistics.median(o.latency_s for o in together),
        alone_s=tuple(statistics.median(o.ended_s[k] - o.began_s[k] for o in alone) for k in steps),
        rounds=len(together),
    )  # fmt: skip


def watched(pool: WorkerPool, action: Callable[[Ask], T], *, limit_s: float) -> T:
    """Have another thread make requests without a time limit; leave it where a worker hangs.

    Parameters
    ----------
    action : asks networks of the pool by what it is given; once left, it comes to ask no more
    limit_s : a worker that is longer at one subgraph hangs

    Returns
    -------
    what the action returns; what it raises is raised

    Raises
    ------
    WorkerHungError : names who is at what
    """
    left, found = False, Future[T]()

    def ask(network: PlacedNetwork | Fallback, inputs: Tensors) -> Outcome:
        if left:
            raise CancelledError("requests that nobody waits for any more")
        return network.run(inputs)

    def work() -> None:
        with forwarding(found):
            found.set_result(action(ask))

    threading.Thread(target=work, name="asking", daemon=True).start()
    every_s = min(_LOOK_S, limit_s / 4)
    looked = since = time.perf_counter()
    try:
        while not wait([found], every_s).done:
            before, looked = looked, time.perf_counter()
            if looked - before > 4 * every_s:  # all of us stood still, as after Ctrl-Z
                since = looked
            if looked - since <= limit_s:
                continue
            for one in list(pool.under_way):
                if (hung := one.network.overdue(one, limit_s)) is not None:
                    raise hung
        return found.result()
    except BaseException:  # the user's Ctrl-C too
        left = True
        raise


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
