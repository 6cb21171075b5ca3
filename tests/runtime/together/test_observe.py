"""Steps of back ends that slow each other down: seen in company, not alone; some that hang."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from orrery.errors import CancelledError, SpecError
from orrery.graph import Graph
from orrery.runtime.together import (
    Ask,
    LocalWorker,
    Outcome,
    PlacedNetwork,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    observe,
    watched,
)

from .test_executor import INPUT, OWN, PLACED, Fake, diamond, same, steps
from .test_executor import workers as fakes

#: What a step takes alone, and the least that it takes in company; all between is the machine's.
ALONE_S, CROWDED_S, BETWEEN_S = 0.005, 0.12, 0.1


class Crowd:
    """Rests for a time; far longer where another one runs meanwhile.

    Requests as they are and one step at a time come in turn. In the first, b and c wait for each
    other, however late a busy machine begins one of them.
    """

    name = "crowd"

    def __init__(self) -> None:
        self.requests, self.running, self.lock = 0, 0, threading.Lock()
        self.both = threading.Barrier(2, timeout=60)

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


class _Prepared:
    def __init__(self, owner: Crowd, graph: Graph) -> None:
        self.owner, self.graph = owner, graph

    def run(self, inputs: Any) -> dict[str, Any]:
        owner, name = self.owner, self.graph.nodes[0].name
        with owner.lock:
            owner.requests += name == "a"
            owner.running += 1
            crowded = owner.running > 1
        if name in "bc" and owner.requests % 2:
            owner.both.wait()
            crowded = True
        time.sleep(CROWDED_S if crowded else ALONE_S)
        with owner.lock:
            owner.running -= 1
        return self.graph.evaluate(inputs)


class Cooling:
    """A network of one step that takes longer after another one has run."""

    steps, last = (None,), list[object]()

    def __init__(self, seconds: float, alone: Cooling | None = None) -> None:
        self.seconds, self.alone, self.runs = seconds, alone, 0

    def one_after_another(self) -> Cooling | None:
        return self.alone

    def run(self, inputs: Any) -> Outcome:
        took = self.seconds * (1 if self.last[-1:] == [self] else 3)
        self.last.append(self)
        self.runs += 1
        return Outcome(outputs={}, began_s=(0.0,), ended_s=(took,), asked_s=0.0, answered_s=took)


@pytest.mark.parametrize(("seconds", "runs", "factor"), [(1e-3, 9, 1), (0.1, 5, 3)])
def test_short_steps_are_timed_warm_as_the_profile_does(
    seconds: float, runs: int, factor: int
) -> None:
    alone = Cooling(seconds)
    network: Any = Cooling(seconds, alone)
    found = observe(network, {}, rounds=4)
    assert found.alone_s == pytest.approx((factor * seconds,))
    assert alone.runs == runs


@pytest.mark.parametrize(("placed", "node", "worker"), [
    (PLACED, "b", "w0"), (PLACED, "d", "all"), ([(n, "w1") for n in "abcd"], "c", "w1"),
])  # fmt: skip
def test_who_hangs_is_named_and_left(placed: list[tuple[str, str]], node: str, worker: str) -> None:
    """In its own thread; in whoever asks, who does its steps; where all is on one worker."""
    graph, fake, left = diamond(), Fake(), threading.Event()
    with WorkerPool(fakes(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, placed), pool)

        def race(ask: Ask) -> None:
            try:
                while True:
                    with suppress(WorkerFailedError):  # that way is out, and the others race on
                        ask(network, INPUT)
                    fake.waits = node
            except CancelledError:
                left.set()
                raise

        with pytest.raises(WorkerHungError) as told:
            watched(pool, race, limit_s=0.5)
        assert (told.value.worker, told.value.region) == (worker, node)
        assert pool.lost == {worker: node}
        assert all(one.future.done() for one in list(pool.under_way))  # nobody waits at the end
        fake.waits = ""
        fake.release.set()
        assert left.wait(60)
        while pool.lost or pool.under_way:
            time.sleep(0.01)
        same(network.run(INPUT).outputs, graph, INPUT)


def test_what_is_watched_returns_and_raises_as_if_it_were_not() -> None:
    graph = diamond()
    with WorkerPool(fakes(Fake(rest_s=0.1))) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        # Each is far longer than the limit, and no worker is so long at one subgraph.
        found = watched(pool, lambda ask: [ask(network, INPUT) for _ in range(3)], limit_s=0.9)
        for outcome in found:
            same(outcome.outputs, graph, INPUT)
        for error in (SpecError("x", found="1", wanted="2", fix="z"), TimeoutError("its own")):

            def fails(_: Ask, error: Exception = error) -> None:
                raise error

            with pytest.raises(type(error)) as told:
                watched(pool, fails, limit_s=60)
            assert told.value is error


@pytest.mark.skipif(len(OWN) < 2, reason="one processor: nothing can run beside anything else")
def test_company_is_seen_and_alone_is_alone() -> None:
    graph, backend = diamond(), Crowd()
    workers = [LocalWorker(name=name, processors=(OWN[k % len(OWN)],), backend=backend, label=name)
               for k, name in enumerate(("w0", "w1"))]  # fmt: skip
    with WorkerPool(workers) as pool:
        made = PlacedNetwork(
            graph, steps(graph, [("a", "w0"), ("b", "w0"), ("c", "w1"), ("d", "w0")]), pool
        )
        found = observe(made, INPUT, rounds=5)
        again = observe(made, INPUT, rounds=3, most_s=0)
    assert found.rounds == 5
    assert again.rounds == 1
    took = [b - a for a, b in zip(found.began_s, found.ended_s)]
    # b and c run side by side; a and d never have company.
    assert min(took[1], took[2]) >= CROWDED_S
    for k in range(4):
        assert ALONE_S <= found.alone_s[k] < BETWEEN_S
    assert max(took[0], took[3]) < BETWEEN_S
    assert found.latency_s >= max(found.ended_s)
    assert all(a <= b for a, b in zip(found.began_s, found.ended_s))
    with pytest.raises(SpecError):
        observe(made, INPUT, rounds=0)
