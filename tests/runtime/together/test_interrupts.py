"""Signal handlers that raise, at random moments and at chosen ones; the network answers after."""

from __future__ import annotations

import random
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from orrery.runtime.together import Fallback, PlacedNetwork, WorkerPool
from orrery.runtime.together._interrupts import Interrupts
from orrery.runtime.together._pool import _OPEN

from .test_executor import INPUT, PLACED, Fake, diamond, same, steps, workers

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGALRM"), reason="timers that raise need a system that has SIGALRM"
)


class StopError(Exception):
    """What the handler raises."""


@pytest.fixture
def told() -> Iterator[list[int]]:
    calls: list[int] = []

    def handler(number: int, _: object) -> None:
        calls.append(number)
        raise StopError

    before = signal.signal(signal.SIGALRM, handler)
    yield calls
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_the_network_answers_after_an_interrupt_at_any_moment(
    told: list[int], timeout_s: float | None
) -> None:
    graph, rng = diamond(), random.Random(0)
    with WorkerPool(workers()) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        latency_s = min(network.run(INPUT, timeout_s=60).latency_s for _ in range(10))
        stopped = 0
        for number in range(120):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + 1.5 * rng.random() * latency_s)
                while len(told) == number:
                    network.run(INPUT, timeout_s=timeout_s)
            except StopError:
                stopped += 1
            same(network.submit(INPUT).result(60).outputs, graph, INPUT)
        assert stopped == len(told) == 120
    assert not pool.under_way


def test_whoever_waits_for_a_worker_that_hangs_can_be_stopped(told: list[int]) -> None:
    fake, graph = Fake(waits="b"), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        with pytest.raises(StopError):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            network.run(INPUT)  # for ever
        fake.waits = ""
        fake.release.set()
        same(network.run(INPUT).outputs, graph, INPUT)
    assert len(told) == 1


def test_what_a_handler_raises_is_not_lost_in_a_callback(told: list[int]) -> None:
    """Whoever makes a future call it prints what it raises, and goes on."""
    graph = diamond()
    with WorkerPool(workers()) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        served, submit = Fallback({"one": network}), network.submit
        arrived = served._arrived

        def over(inputs: Any) -> Any:
            future = submit(inputs)
            future.result(60)
            return future

        def arrives(*args: Any) -> None:
            signal.raise_signal(signal.SIGALRM)
            arrived(*args)

        network.submit, served._arrived = over, arrives  # type: ignore[method-assign]
        with pytest.raises(StopError):
            served.submit(INPUT)
        assert not pool.under_way
    assert len(told) == 1


def test_a_closed_pool_leaves_no_python_code_to_a_collection_of_memory() -> None:
    """It would be the first to run after a signal: what a handler raises there is lost."""
    graph = diamond()
    with WorkerPool(workers()) as pool:
        assert pool in _OPEN
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        network.run(INPUT, timeout_s=60)
    assert pool not in _OPEN
    for one in (pool, network):
        assert [ref for ref in weakref.getweakrefs(one) if ref.__callback__ is not None] == []


def test_handlers_wait_for_the_end_and_are_back_after_it(told: list[int]) -> None:
    own, woken = signal.getsignal(signal.SIGALRM), []
    with pytest.raises(StopError), Interrupts(lambda: woken.append(1)) as interrupts:
        signal.raise_signal(signal.SIGALRM)
        assert (told, woken) == ([], [1])
        with pytest.raises(StopError):
            interrupts.deliver()
        interrupts.open = True
        with pytest.raises(StopError):
            signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGALRM)  # a second one waits
        assert len(told) == 2
    assert len(told) == 3
    assert signal.getsignal(signal.SIGALRM) is own


def test_handlers_that_raise_nothing_stop_nobody() -> None:
    seen: list[Any] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(threading.current_thread()))
    fake, graph = Fake(waits="b"), diamond()
    try:
        with WorkerPool(workers(fake)) as pool:
            network = PlacedNetwork(graph, steps(graph, PLACED), pool)
            threading.Timer(0.2, fake.release.set).start()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            same(network.run(INPUT).outputs, graph, INPUT)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == [threading.main_thread()]


def test_other_threads_are_left_alone(told: list[int]) -> None:
    own, found = signal.getsignal(signal.SIGALRM), []

    def other() -> None:
        with Interrupts():
            found.append(signal.getsignal(signal.SIGALRM))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [own]
    assert not told
